"""Settings of an experiment, which runs several trainings or models one after another."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from interfaces.contract import MAX_SEED, CommaList, Message, Seed
from interfaces.igs import Device

NUM_SHOWN = 2
"""Drawings of a study's figures; its curves rest on these and others."""

FIGURE_COUNT = 25
"""Pictures in most figures of paper 004."""

MEASUREMENTS_IN_A_TRIAL = 4
"""Number of measurements in a trial, evenly spaced; by them a hopeless one is given up."""


class SearchSettings(Message):
    """Settings of a search for hyper-parameters: its duration, and how much one trial may see."""

    total_seconds: float = Field(
        default=600.0,
        gt=0,
        description="Time for the whole search, resumed parts included, seconds.",
    )
    trial_images: int = Field(
        default=5_000,
        ge=MEASUREMENTS_IN_A_TRIAL,
        description="Training images seen in one trial, repeats counted.",
    )
    seed: Seed = Field(default=0, description="Fixes which hyper-parameters are tried.")


class BenchmarkSettings(Message):
    """Settings for measuring the cost of models and enlargers: as in paper 003, and in batches."""

    images: int = Field(
        default=5,
        ge=2,
        le=1000,
        description="Pictures made one by one, after one to warm up; the paper makes five.",
    )
    seed: Seed = Field(default=0, description="Seed of the picture that warms up.")
    max_batch: int = Field(
        default=64, ge=1, le=4096, description="Largest batch to try; 1 tries no batches."
    )
    batch_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Batch sizes whose measurement would take longer are not tried, seconds.",
    )
    prompt: str = Field(
        default="a garden at dusk, oil on canvas",
        min_length=1,
        max_length=2000,
        description="Prompt for a family that reads words.",
    )
    source: Path | None = Field(
        default=None,
        description=(
            "The picture for a family that needs one, and for the enlargers; by default pictures "
            "that the project paints."
        ),
    )
    enlarged_side: int = Field(
        default=64,
        ge=8,
        le=2048,
        description="Side of the pictures that are given to the enlargers, pixels.",
    )
    device: Device = Field(default="auto", description="Where the networks run.")


class SketchStudySettings(Message):
    """Settings for repeating the experiments of paper 004."""

    drawings: int = Field(
        default=8,
        ge=NUM_SHOWN,
        le=1000,
        description="Held-out pictures that serve as drawings; the first two are shown.",
    )
    seeds: int = Field(
        default=16,
        ge=2,
        le=1000,
        description="Pictures of each drawing at each point of the curves.",
    )
    # Not 0: of models trained so far, the constant noise is the very noise that seed 0 draws.
    seed: Seed = Field(default=1, description="Seed of the first picture; the others follow it.")
    steps: int = Field(
        default=16, ge=1, le=1000, description="Network evaluations from noise to picture."
    )
    sampler: Literal["ddim", "ddpm", "dpmpp_2m"] = Field(
        default="ddim", description="Rule by which noise is removed step by step."
    )
    intensities: Annotated[tuple[int, ...], CommaList] = Field(
        default=tuple(range(16)),
        description="Intensities on the baseline's curve; 0 and 15 must be among them.",
    )
    radii: Annotated[tuple[float, ...], CommaList] = Field(
        default=tuple(float(radius) for radius in range(1, 13)),
        description="Radii on the other curves, pixels at a side of 64; 2 and 7 among them.",
    )
    guided_radius: float = Field(
        default=3.0,
        ge=0,
        le=64,
        description="Radius in this project's own figures, pixels at a side of 64.",
    )
    sketch_guidances: Annotated[tuple[float, ...], CommaList] = Field(
        default=(1.0, 3.0), description="On the guided curve: how strongly strokes are followed."
    )
    device: Device = Field(default="auto", description="Where the networks run.")

    @model_validator(mode="after")
    def _claims_can_be_judged(self) -> Self:
        for name, needed in (
            ("intensities", {0, 15}),
            ("radii", {2, 7}),
            ("sketch_guidances", {1}),
        ):
            if lacking := needed - set(getattr(self, name)):
                listed = ", ".join(str(value) for value in sorted(lacking))
                raise ValueError(f"{name}: the paper's claims need {listed} among them")
        if min(self.intensities) < 0 or max(self.intensities) > 15:
            raise ValueError("intensities: are 0 to 15")
        if self.seed + max(self.seeds, FIGURE_COUNT) > MAX_SEED + 1:
            raise ValueError(f"seed: the last of them would be over {MAX_SEED}")
        return self
