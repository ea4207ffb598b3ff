"""What a person chooses for an experiment: several trainings or models, one after another."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from interfaces.contract import Seed
from interfaces.igs import Device

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
        default=5_000,
        ge=MEASUREMENTS_IN_A_TRIAL,
        description="Training images seen in one trial, repeats counted.",
    )
    seed: Seed = Field(default=0, description="Fixes which hyper-parameters are tried.")


class BenchmarkSettings(BaseModel):
    """How the cost of models and enlargers is measured: as in paper 003, and in batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(
        default=5,
        ge=2,
        le=1000,
        description="Pictures made one by one, after one to warm up; the paper takes five.",
    )
    seed: Seed = Field(default=0, description="Seed of the picture that warms up.")
    max_batch: int = Field(
        default=64, ge=1, le=4096, description="Larger batches are not tried; 1: none are."
    )
    batch_seconds: float = Field(
        default=60.0,
        gt=0,
        description="A size of batch whose measurement would take longer is not tried, seconds.",
    )
    prompt: str = Field(
        default="a garden at dusk, oil on canvas",
        min_length=1,
        max_length=2000,
        description="What a family that reads words is asked for.",
    )
    source: Path | None = Field(
        default=None,
        description=(
            "The picture for a family that needs one, and for the enlargers; else pictures that "
            "the project paints."
        ),
    )
    enlarged_side: int = Field(
        default=64,
        ge=8,
        le=2048,
        description="Side of the pictures that are given to the enlargers, pixels.",
    )
    device: Device = Field(default="auto", description="Where the networks run.")
