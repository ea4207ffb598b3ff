# pyright: standard
"""Strokes of a drawing as the network is shown them: a mask of noise, or two channels of hints.

Reference: paper 004, whose sentences are quoted where a piece follows them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from components.families.draws import Draws

WARP_CELLS = 4
"""Cells along a side between which lines are displaced independently."""


def masked(noisy: Tensor, mask: Tensor, constant: Tensor) -> Tensor:
    """«First a background of … constant noise, on it a mask of random noise».

    `noisy` (N, 3, S, S) where `mask` (N, 1, S, S) is 1, the constant noise (3, S, S) elsewhere. The
    paper is silent on what lies under the random noise; we lay it over the picture, by the
    intensity, since otherwise its «varying intensity» would have no meaning. Outside, nothing of
    the picture can be known, and the network gives its mean: «if the radius is small, the result
    is less detailed».
    """
    return torch.where(mask > 0, noisy, constant)


def mask_within(distances: Tensor, radius: Tensor) -> Tensor:
    """«Around every pixel of the input picture within the radius»: 1 there, (N, 1, S, S)."""
    return (distances <= radius[:, None, None, None]).float()


def hints_of(distances: Tensor, radius: Tensor) -> Tensor:
    """Distances (N, 1, S, S) from drawn pixels and radii (N,) => what the network is shown.

    (N, 2, S, S) in [0, 1]: the lines themselves, with soft edges, and how near they are, which
    falls to 0 just beyond the radius: the paper's mask with a soft edge, and by its slope the
    radius.
    """
    lines = (1.5 - distances).clamp(0, 1)
    near = (1 - distances / (radius[:, None, None, None] + 1)).clamp(0, 1)
    return torch.cat([lines, near], dim=1)


def displaced(distances: Tensor, radius: Tensor, draws: Draws) -> Tensor:
    """Lines moved smoothly, at no place farther than the radius, by `draws`.

    A person's line is not where the picture's is. So the network learns that pictures' lines lie
    within the radius of those shown: a small one keeps them, a large one takes them as a wish.
    """
    count, _, side, _ = distances.shape
    drawn = draws.normal(count, 2, WARP_CELLS + 1, WARP_CELLS + 1) * 0.6
    moves = F.interpolate(drawn, (side, side), mode="bicubic", align_corners=True)
    moves = moves / moves.norm(dim=1, keepdim=True).clamp_min(1)
    moves = moves.permute(0, 2, 3, 1) * radius[:, None, None, None] * (2 / side)
    grid = F.affine_grid(torch.eye(2, 3).expand(count, -1, -1), [count, 1, side, side], False)
    return F.grid_sample(distances, grid + moves, padding_mode="border", align_corners=False)
