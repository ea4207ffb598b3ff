"""A network of one size over a larger picture, by windows that overlap.

Every step's estimate is the mean of all windows' own, so that they agree where they meet:
MultiDiffusion (Bar-Tal, Yariv, Lipman, Dekel 2023, arXiv 2302.08113, eq. 5). The mean is weighted,
most in a window's middle, so that no edge shows.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def offsets(length: int, side: int) -> list[int]:
    """Offsets of windows of `side` pixels along `length` pixels, at most half a side apart.

    The first begins at 0 and the last ends at the end; between them they lie evenly. `length` is
    at least `side`.
    """
    count = math.ceil((length - side) / (side // 2))
    return [round(n * (length - side) / max(1, count)) for n in range(count + 1)]


def pyramid(side: int) -> Tensor:
    """Weights (S, S) of a window's pixels: over 0, falling from its middle to its edges."""
    ramp = torch.arange(1, side + 1, dtype=torch.float32)
    ramp = torch.minimum(ramp, ramp.flip(0))
    return ramp[:, None] * ramp


def over_windows(
    estimate: Callable[[Tensor], Tensor], picture: Tensor, side: int, at_once: int
) -> Tensor:
    """Estimate a picture (1, 3, H, W) window by window; H and W are at least `side`.

    `estimate` takes and returns (`at_once`, 3, side, side), always as many, the last ones padded
    by zeros. A picture of one window is that window's estimate.
    """
    height, width = picture.shape[2:]
    places = [(top, left) for top in offsets(height, side) for left in offsets(width, side)]
    cut = [picture[0, :, top : top + side, left : left + side] for top, left in places]
    cut += [torch.zeros_like(cut[0])] * (-len(cut) % at_once)
    found = torch.cat([estimate(part) for part in torch.stack(cut).split(at_once)])  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType, reportUnknownVariableType]
    if len(places) == 1:
        return found[:1]
    weights = pyramid(side).to(picture)
    total, weight = torch.zeros_like(picture), torch.zeros_like(picture[:, :1])
    for (top, left), window in zip(places, found, strict=False):
        here = (..., slice(top, top + side), slice(left, left + side))
        total[here] += weights * window
        weight[here] += weights
    return total / weight
