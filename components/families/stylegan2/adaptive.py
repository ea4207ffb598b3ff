"""Adaptive augmentation: Karras et al. 2020, "Training GANs with limited data", arXiv 2006.06676.

Each transform is applied with a probability p, which follows the over-fitting that is seen. Taken
from its appendix B: pixel moves, geometry and colour, in that order. What is ours: geometry is
resampled bilinearly in one go (the paper filters with wavelets against aliasing).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from components.families.draws import Draws

SCALE_DEVIATION = 0.2
SHIFT = 0.125
BRIGHTNESS_DEVIATION = 0.2
CONTRAST_DEVIATION = 0.5
SATURATION_DEVIATION = 1.0


def adjusted(p: float, mean_sign: float, target: float, images: int, full_images: int) -> float:
    """p after `images` more: up where E[sign D(x)] is over its target, else down (eq. 1, sec. 3.1).

    Going from 0 to 1 takes `full_images`; p stays in [0, 1].
    """
    step = math.copysign(images / full_images, mean_sign - target) if mean_sign != target else 0.0
    return min(1.0, max(0.0, p + step))


def augment(images: Tensor, p: float, draws: Draws) -> Tensor:
    """Images (N, 3, S, S) float32, each transformed with probability p, by `draws`.

    p = 0 gives the images themselves. Gradients pass once (not twice) through the geometry.
    """
    if p == 0:
        return images
    with torch.autocast(images.device.type, enabled=False):  # places need float32
        return _augment(images, p, draws)


def _augment(images: Tensor, p: float, draws: Draws) -> Tensor:
    moves, colours = _geometry(images, p, draws), _colour(len(images), p, draws)
    is_moved = (moves != torch.eye(3)).flatten(1).any(dim=1)
    theta = moves[:, :2].to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    images = torch.where(is_moved.to(images.device)[:, None, None, None], moved, images)
    colours = colours.to(images.device)
    mixed = torch.einsum("nij,njhw->nihw", colours[:, :3, :3], images)
    is_tinted = (colours != torch.eye(4, device=images.device)).flatten(1).any(dim=1)
    tinted = mixed + colours[:, :3, 3, None, None]
    return torch.where(is_tinted[:, None, None, None], tinted, images)


class _Sometimes:
    """Draws for N images, each replaced by its neutral value with probability 1 - p."""

    def __init__(self, count: int, p: float, draws: Draws) -> None:
        self.count, self.p, self.draws = count, p, draws

    def _sometimes(self, values: Tensor, neutral: float, p: float | None) -> Tensor:
        chosen = self.draws.uniform(self.count) < (self.p if p is None else p)
        return torch.where(chosen, values, torch.tensor(neutral))

    def uniform(self, low: float, high: float, neutral: float, p: float | None = None) -> Tensor:
        values = self.draws.uniform(self.count) * (high - low) + low
        return self._sometimes(values, neutral, p)

    def normal(self, deviation: float) -> Tensor:
        return self._sometimes(self.draws.normal(self.count) * deviation, 0.0, None)

    def both(self, draw: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
        """Across and down: both or neither."""
        chosen = self.draws.uniform(self.count) < self.p
        across, down = (torch.where(chosen, draw(self.count), torch.tensor(0.0)) for _ in range(2))
        return across, down

    def whole(self, below: int) -> Tensor:
        values = self.draws.integers(0, below, self.count).float()
        return self._sometimes(values, 0.0, None)


def _geometry(images: Tensor, p: float, draws: Draws) -> Tensor:
    """Matrices (N, 3, 3) from each picture's points to where they are taken; sides are [-1, 1]."""
    some = _Sometimes(len(images), p, draws)
    pixels = images.shape[-1]
    # Pixel moves. The draws are as likely as their inverses, so no matrix needs inverting.
    matrix = _scaling(1 - 2 * some.whole(2), torch.ones(len(images)))
    matrix = matrix @ _rotation(some.whole(4) * (math.pi / 2))
    shifts = some.both(lambda count: draws.uniform(count) * 2 * SHIFT - SHIFT)
    matrix = matrix @ _translation(*((shift * pixels).round() / pixels for shift in shifts))
    # Geometry. Two rotations: each by the root, so that p is the chance of any.
    once = 1 - math.sqrt(1 - p)
    scale = some.normal(SCALE_DEVIATION).exp2()
    matrix = matrix @ _scaling(scale, scale)
    matrix = matrix @ _rotation(some.uniform(-math.pi, math.pi, 0.0, once))
    stretch = some.normal(SCALE_DEVIATION).exp2()
    matrix = matrix @ _scaling(stretch, 1 / stretch)
    matrix = matrix @ _rotation(some.uniform(-math.pi, math.pi, 0.0, once))
    shifts = some.both(lambda count: draws.normal(count) * SHIFT)
    return matrix @ _translation(*shifts)


def _colour(count: int, p: float, draws: Draws) -> Tensor:
    """Matrices (N, 4, 4) that change colours (R, G, B, 1)."""
    some = _Sometimes(count, p, draws)
    brightness = some.normal(BRIGHTNESS_DEVIATION)
    contrast = some.normal(CONTRAST_DEVIATION).exp2()
    is_flipped = some.whole(2)
    hue = some.uniform(-math.pi, math.pi, 0.0)
    saturation = some.normal(SATURATION_DEVIATION).exp2()

    grey = torch.full((3, 3), 1 / 3)  # onto the axis v = (1, 1, 1)/√3: v vᵀ
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    colour = torch.eye(3) - grey
    turned = hue.cos()[:, None, None] * colour + hue.sin()[:, None, None] * cross  # Rodrigues
    linear = (1 - 2 * is_flipped)[:, None, None] * grey + saturation[:, None, None] * turned
    linear = torch.where(
        ((is_flipped == 0) & (hue == 0) & (saturation == 1))[:, None, None], torch.eye(3), linear
    )
    linear = contrast[:, None, None] * linear
    matrix = torch.eye(4).repeat(count, 1, 1)
    matrix[:, :3, :3] = linear
    matrix[:, :3, 3] = linear @ torch.ones(3) * brightness[:, None]
    return matrix


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _rotation(angle: Tensor) -> Tensor:
    matrix = torch.eye(3).repeat(len(angle), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
    matrix[:, 1, 0] = angle.sin()
    matrix[:, 0, 1] = -angle.sin()
    return matrix


def _translation(x: Tensor, y: Tensor) -> Tensor:
    """Matrices (N, 3, 3) of translations by shares of the side; a side is 2 long."""
    matrix = torch.eye(3).repeat(len(x), 1, 1)
    matrix[:, 0, 2], matrix[:, 1, 2] = 2 * x, 2 * y
    return matrix
