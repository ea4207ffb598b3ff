# pyright: standard
"""Samplers: steps from noise to a picture, by a network's estimates of it."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from components.families.sketch_diffusion.config import SamplerName

Estimate = tuple[Tensor, float]
"""An estimate of x0, and the noise level at which it was made."""


def ddim_step(x: Tensor, x0: Tensor, t: float, s: float, noise: Tensor | None = None) -> Tensor:
    """Step from noise t to noise s < t, given an estimate of x0.

    Song, Meng, Ermon 2020, arXiv 2010.02502, eq. 12, for α = 1-t and σ = t: without `noise` its
    η = 0 (DDIM), with it η = 1, which is ancestral sampling (DDPM).
    """
    predicted = (x - (1 - t) * x0) / t
    if noise is None or s == 0:
        return (1 - s) * x0 + s * predicted
    kept = s**2 * (1 - t) / (t * (1 - s))  # of the old noise; the new one fills its variance up
    return (1 - s) * x0 + kept * predicted + math.sqrt(s**2 - kept**2) * noise


def dpmpp_2m_step(x: Tensor, x0: Tensor, t: float, s: float, before: Estimate | None) -> Tensor:
    """DPM-Solver++(2M): Lu et al. 2022, arXiv 2211.01095, algorithm 2.

    `before` is the last step's estimate of x0 and its t. First order without it, and where the half
    log-SNR λ = log((1-t)/t) is infinite: after t = 1, and into s = 0.
    """
    if before is None or s == 0 or before[1] == 1:
        return ddim_step(x, x0, t, s)
    earlier, first = before
    half_log_snr = [math.log((1 - level) / level) for level in (first, t, s)]
    ratio = (half_log_snr[2] - half_log_snr[1]) / (half_log_snr[1] - half_log_snr[0]) / 2
    return s / t * x + ((1 - s) - (1 - t) * s / t) * (x0 + ratio * (x0 - earlier))


def run_sampler(
    name: SamplerName,
    denoise: Callable[[Tensor, float], Tensor],
    x: Tensor,
    levels: Sequence[float],
    draw: Callable[[], Tensor],
    tell: Callable[[int], None],
) -> Tensor:
    """Go from x at the first level to the last one, 0.

    `denoise(x, t)` estimates x0; `draw()` gives fresh noise of x's shape, for ddpm alone; `tell`
    is called with the steps done.
    """
    before: Estimate | None = None
    for step, (t, s) in enumerate(pairwise(levels), start=1):
        x0 = denoise(x, t)
        if name == "ddpm":
            x = ddim_step(x, x0, t, s, draw() if s > 0 else None)
        elif name == "dpmpp_2m":
            x = dpmpp_2m_step(x, x0, t, s, before)
        else:
            x = ddim_step(x, x0, t, s)
        before = x0, t
        tell(step)
    return x
