# pyright: standard
"""Sampling from seeds, or from a picture, for families whose network takes latents."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from components.families.latent import LatentOptions

# Pictures are always computed in batches of this size (the rest padded): a convolution's last bits
# depend on the batch's size, and a picture must not.
SAMPLING_BATCH = 8


def draw_latents(seeds: Sequence[int], latent_dim: int, options: LatentOptions) -> Tensor:
    """Normal latents (n, latent_dim) on the CPU, each from its seed alone, as the options ask."""
    latents = torch.stack([_latent(seed, latent_dim) for seed in seeds])
    if options.towards_seed is not None:
        latents = slerp(latents, _latent(options.towards_seed, latent_dim), options.blend)
    # The latents' mean is 0, so moving towards it by ψ is a product (StyleGAN, appendix B).
    return latents * options.truncation


def _latent(seed: int, latent_dim: int) -> Tensor:
    return torch.randn(latent_dim, generator=torch.Generator().manual_seed(seed))


def slerp(start: Tensor, end: Tensor, blend: float) -> Tensor:
    """Spherical interpolation from start to end (…, D): Shoemake 1985; White 2016, 1609.04468.

    A straight line would pass where normal latents never lie, and pictures there are dull. The
    lengths are blended apart; 0 gives start and 1 gives end, exactly.
    """
    if blend in (0.0, 1.0):
        return end.expand_as(start) if blend else start
    end = end.expand_as(start)
    angle = functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1).acos()[..., None]
    lengths = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    turned = ((1 - blend) * angle).sin() * start / lengths[0]
    turned = turned + (blend * angle).sin() * end / lengths[1]
    turned = turned / angle.sin() * torch.lerp(*lengths, blend)
    # Nothing to turn through where both are one seed's, or one is 0; each row for itself.
    is_straight = (angle.sin() < 1e-4) | (lengths[0] == 0) | (lengths[1] == 0)
    return torch.where(is_straight, torch.lerp(start, end, blend), turned)


def square(source: Tensor, side: int) -> Tensor:
    """The middle of a picture (3, H, W), as training pictures were cut: (1, 3, side, side)."""
    height, width = source.shape[1:]
    cut = min(height, width)
    top, left = (height - cut) // 2, (width - cut) // 2
    middle = source[None, :, top : top + cut, left : left + cut].cpu().float()
    if cut == side:
        return middle
    resized = functional.interpolate(middle, (side, side), mode="bicubic", antialias=True)
    return resized.clamp(-1.0, 1.0)


@torch.no_grad()
def in_fixed_batches(
    network: Callable[..., Tensor], inputs: Sequence[Tensor], device: torch.device
) -> Tensor:
    """Run a network on rows of its inputs (n, …), always as many at a time.

    Returns pictures (n, 3, S, S) float32 in [-1, 1] on the CPU.
    """
    count = len(inputs[0])
    missing = -count % SAMPLING_BATCH
    if missing:
        inputs = [torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) for rows in inputs]
    parts = zip(*(rows.to(device).split(SAMPLING_BATCH) for rows in inputs), strict=True)
    made = torch.cat([network(*part).float().cpu() for part in parts])
    return made[:count].clamp_(-1.0, 1.0).contiguous()
