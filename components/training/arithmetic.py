"""float32 or bfloat16: measured where it cannot be predicted, and remembered for the machine."""

import statistics
import time

import torch
from pydantic import BaseModel, FiniteFloat

from components.common.devices import has_bfloat16_vectors, pick_dtype
from components.common.remembering import remembered
from components.families import AnyFamily
from components.families.port import FamilyConfig, Shape
from components.families.trainer import Machine

STEPS = 4
MIN_GAIN = 1.15
"""Speed-up of a step from which bfloat16 is taken; less is not worth its rounding."""


def choose_dtype(
    precision: str, family: AnyFamily, config: FamilyConfig, shape: Shape, device: torch.device
) -> torch.dtype:
    """The arithmetic of a training's networks.

    On a CPU with bfloat16 vector instructions but no matrix units, 'auto' takes a few steps in
    both, once for each machine, family and config: the answer is kept in the person's cache, so
    that the same training gives the same weights there the next time.
    """
    chosen = pick_dtype(precision, device)
    if precision != "auto" or chosen is torch.bfloat16 or not has_bfloat16_vectors(device):
        return chosen
    asked = [family.name, config.model_dump(mode="json"), shape.resolution, shape.num_styles]
    answer = remembered(
        "arithmetic",
        device,
        asked,
        _Gain,
        lambda: _Gain(times_as_fast=round(_measure(family, config, shape, device), 3)),
    )
    return torch.bfloat16 if answer.times_as_fast >= MIN_GAIN else torch.float32


class _Gain(BaseModel):
    times_as_fast: FiniteFloat
    """A step in bfloat16, against float32."""


def _measure(family: AnyFamily, config: FamilyConfig, shape: Shape, device: torch.device) -> float:
    """Speed of a step in bfloat16 as a multiple of float32's: medians of alternating steps."""
    images = torch.zeros(config.batch_size, 3, shape.resolution, shape.resolution, device=device)
    labels = torch.zeros(config.batch_size, dtype=torch.int64, device=device)
    trainers = [
        family.method().build_trainer(config, shape, Machine(device, dtype, torch.Generator()))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    seconds: list[list[float]] = [[], []]
    for _ in range(STEPS + 1):
        for trainer, spent in zip(trainers, seconds, strict=True):
            begun = time.perf_counter()
            trainer.step(images, labels, 1)
            spent.append(time.perf_counter() - begun)
    # The first of each is the warm-up.
    plain, reduced = (statistics.median(spent[1:]) for spent in seconds)
    return plain / reduced
