"""Differentiable augmentation: what a discriminator sees real and generated images through.

Zhao et al. 2020, arXiv 2006.10738 (DiffAugment): the same random transforms on both, gradients
pass, so that a small set cannot be learnt by heart and the generator does not learn the transforms.
"""

import torch
from torch import Tensor

from components.families.draws import Draws

SHIFT_FRACTION = 1 / 8
CUTOUT_FRACTION = 1 / 2


def augment(images: Tensor, policy: str, draws: Draws) -> Tensor:
    """Transform each image (N, 3, S, S) in [-1, 1] at random, by `draws`.

    Policies: 'none'; 'flip' (mirrored left to right); 'light' (and shifted); 'full' (and
    brightness, saturation, contrast, and a square of S/2 cut out).
    """
    if policy == "none":
        return images
    if policy == "full":
        images = _colour(images, draws)
    images = _flip(images, draws)
    if policy != "flip":
        images = _shift(images, draws)
    return _cut_out(images, draws) if policy == "full" else images


def _uniform(images: Tensor, draws: Draws) -> Tensor:
    """One draw in [0, 1) an image: (N, 1, 1, 1) on the images' device."""
    return draws.uniform(len(images), 1, 1, 1).to(images.device, images.dtype)


def _colour(images: Tensor, draws: Draws) -> Tensor:
    images = images + (_uniform(images, draws) - 0.5)  # brightness, ±0.5
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (_uniform(images, draws) * 2) + grey  # saturation, ×0 to ×2
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - middle) * (_uniform(images, draws) + 0.5) + middle  # contrast, ×0.5 to ×1.5


def _flip(images: Tensor, draws: Draws) -> Tensor:
    return torch.where(_uniform(images, draws) < 0.5, images.flip(3), images)


def _shift(images: Tensor, draws: Draws) -> Tensor:
    """Move each image by whole pixels, filling in zeros."""
    count, _, height, width = images.shape
    reach = max(1, round(height * SHIFT_FRACTION))
    moves = draws.integers(-reach, reach + 1, 2, count, 1, axis=1).to(images.device)
    padded = torch.nn.functional.pad(images, [reach] * 4)
    rows = torch.arange(height, device=images.device) + reach + moves[0]
    columns = torch.arange(width, device=images.device) + reach + moves[1]
    which = torch.arange(count, device=images.device)[:, None, None]
    # Channels last while indexing, so that one gather moves whole pixels.
    moved = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cut_out(images: Tensor, draws: Draws) -> Tensor:
    """A square of S/2 set to grey, its centre anywhere in the image."""
    count, _, height, width = images.shape
    half = max(1, round(height * CUTOUT_FRACTION / 2))
    centres = draws.uniform(2, count, 1, axis=1).to(images.device)
    rows = (torch.arange(height, device=images.device) - centres[0] * height).abs() < half
    columns = (torch.arange(width, device=images.device) - centres[1] * width).abs() < half
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(hole, 0.0)
