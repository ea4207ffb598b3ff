# pyright: standard
"""Noise along a straight path: how much a picture is under, in training and on a sampler's way.

x_t = (1-t) x0 + t ε (Liu, Gong, Liu 2022, arXiv 2209.03003; Lipman et al. 2022, arXiv 2210.02747).
Paper 004 does not say how it lays noise; on this path alone «0 means that the picture is wholly
replaced» holds exactly: its intensity k is t = 1 - k/16.
"""

import math
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from components.families.sketch_diffusion.config import (
    INTENSITIES,
    Schedule,
    SketchDiffusionConfig,
)

MIN_NOISE = 1e-3
SAMPLING_STEPS: dict[Schedule, int] = {"sixteen": INTENSITIES, "continuous": 8}
"""Steps of a sampler; measured in docs/studies/diffusion.md."""
SAMPLING_SHIFT = 2.5
"""Shift of a sampler's noise levels; measured there too."""
DETAIL_SHIFT = 2 * SAMPLING_SHIFT
"""The same with a level of detail, so that averages of 2×2 pixels go the usual way."""

Levels = TypeVar("Levels", float, Tensor, NDArray[np.float64])


def noise_of(intensity: float) -> float:
    """The paper's intensity, 0 (wholly replaced) to 15 (weakest) => t, 1 to 1/16."""
    return 1 - intensity / INTENSITIES


def add_noise(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """(1-t) x0 + t ε: images and noise (N, 3, S, S), t (N,)."""
    return torch.lerp(images, noise, t[:, None, None, None])


def with_detail(averages: Tensor, fine: Tensor) -> Tensor:
    """White noise (N, 3, S, S) whose means over 2×2 are `averages` (N, 3, S/2, S/2), halved.

    Both are white noise themselves. So a seed is one composition at both sizes: what a level of
    detail adds begins apart from it.
    """
    means = F.interpolate(averages / 2 - F.avg_pool2d(fine, 2), scale_factor=2)
    return fine + means


def shifted(t: Levels, shift: float) -> Levels:
    """Noise t whose ratio t/(1-t) of noise to picture is `shift` times as large; 1 leaves t.

    Esser et al. 2024, arXiv 2403.03206, eq. 23.
    """
    return shift * t / (1 + (shift - 1) * t)


def draw_noise_levels(count: int, schedule: Schedule, rng: torch.Generator) -> Tensor:
    """t (count,) on the CPU, of the sixteen or of all in (0, 1], each equally likely.

    «With a random level of intensity»; evenly spread over the batch behind one random start, which
    makes the loss less noisy and leaves each image's own chance as it was.
    """
    spread = (torch.arange(count) + torch.rand((), generator=rng)) / count
    spread = (spread + torch.rand((), generator=rng)) % 1.0
    if schedule == "sixteen":
        return 1 - (spread * INTENSITIES).floor().clamp_max(INTENSITIES - 1) / INTENSITIES
    return (1 - spread).clamp_min(MIN_NOISE)


def noise_levels(
    start: float, steps: int | None, schedule: Schedule, shift: float | None = None
) -> list[float]:
    """Noise levels that a sampler goes through, from `start` down to 0.

    `steps` is for the whole way from 1 (`SAMPLING_STEPS` where it is None); a part of it takes its
    share, rounded up. Evenly, then shifted (`SAMPLING_SHIFT` where it is None), so that there are
    more steps at strong noise, where the composition is decided. Of the sixteen intensities every
    step is a whole one: `ValueError` where others would be needed, and for any shift.
    """
    steps = steps or SAMPLING_STEPS[schedule]
    if schedule == "continuous":
        shift = SAMPLING_SHIFT if shift is None else shift
        first = shifted(start, 1 / shift)
        count = max(1, math.ceil(steps * first - 1e-9))  # less what rounding may have added
        even = np.linspace(first, 0, count + 1)
        return [start, *shifted(even[1:], shift).tolist()]
    if shift not in (None, 1):
        raise ValueError(f"shift: this model learnt {INTENSITIES} intensities; leave it out")
    count = max(1, math.ceil(steps * start))
    first = start * INTENSITIES
    if first != round(first):
        raise ValueError("intensity: this model learnt the whole ones from 0 to 15 alone")
    if steps > INTENSITIES:
        raise ValueError(f"steps: this model learnt {INTENSITIES} intensities, so no more steps")
    return (np.linspace(first, 0, count + 1).round() / INTENSITIES).tolist()


def sampler_levels(
    config: SketchDiffusionConfig,
    start: float = 1.0,
    steps: int | None = None,
    shift: float | None = None,
) -> list[float]:
    """`noise_levels` for a model of this config, with its own shift."""
    if config.detail_channels and shift is None:
        shift = DETAIL_SHIFT
    return noise_levels(start, steps, config.schedule, shift)
