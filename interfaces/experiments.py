"""What a person chooses for an experiment: several trainings, one after another."""

from pydantic import BaseModel, ConfigDict, Field

from interfaces.contract import Seed

MEASUREMENTS_IN_A_TRIAL = 4
"""How often a trial is measured, evenly spaced: what a hopeless one is given up by."""


class SearchSettings(BaseModel):
    """How long hyper-parameters are searched, and how much one trial may see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_seconds: float = Field(
        default=600.0,
        gt=0,
        description="Time for the whole search, all its sessions together, seconds.",
    )
    trial_images: int = Field(
        default=20_000,
        ge=MEASUREMENTS_IN_A_TRIAL,
        description="Training images seen in one trial, repeats counted.",
    )
    seed: Seed = Field(default=0, description="Fixes which hyper-parameters are tried.")
