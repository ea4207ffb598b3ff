"""Finding a picture in w: Karras et al. 2019, arXiv 1912.04958, appendix D.

As there: Adam over one w, noise on w that fades, a learning rate that rises and falls. Ours: the
model's own noise stays as it is, the start is the caller's, and the distance too: by default the
mean square difference at every size of the picture, so that no network has to be downloaded.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from components.families.stylegan2.networks import Generator

LEARNING_RATE = 0.1
RAMP_UP, RAMP_DOWN = 0.05, 0.25
NOISE, NOISE_UNTIL = 0.05, 0.75
NUM_MEASURED = 1000
"""Latents from which the deviation of w is measured."""

Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches (N, 3, S, S) in [-1, 1] => how far apart, (N,), differentiable."""

Progress = Callable[[int, float], None]
"""Called with the steps done and the distance reached."""


def pyramid_distance(images: Tensor, others: Tensor) -> Tensor:
    """Mean square difference at the full size and each halving down to 4×4, averaged: (N,)."""
    total, count = images.new_zeros(len(images)), 0
    while True:
        total = total + (images - others).square().mean(dim=(1, 2, 3))
        count += 1
        if images.shape[-1] <= 4:
            return total / count
        images, others = F.avg_pool2d(images, 2), F.avg_pool2d(others, 2)


@torch.enable_grad()
def project(
    network: Generator,
    target: Tensor,
    steps: int,
    progress: Progress | None = None,
    *,
    start: Tensor | None = None,
    styles: Tensor | None = None,
    distance: Distance = pyramid_distance,
    seed: int = 0,
) -> tuple[Tensor, list[float]]:
    """Look for a picture (3, S, S) in [-1, 1]: w (w_dim,) and the distance before each step.

    `start` (w_dim,) is the first w, the average where it is None. `styles` (K,) says of which style
    w's deviation is measured, evenly of all where it is None. `seed` fixes the noise. Raises
    `ValueError` where the picture has another shape than the network's.
    """
    device = network.w_avg.device
    noises = network.synthesis.constant_noise()
    _check_shape(target, noises[-1].shape[-1])
    rng = torch.Generator().manual_seed(seed)
    deviation = _deviation(network, styles, rng)
    first = network.w_avg if start is None else start.to(device)
    w = first.detach().clone()[None].requires_grad_()
    wanted = target.to(device)[None]
    optimiser = torch.optim.Adam([w], betas=(0.9, 0.999))
    losses: list[float] = []
    for step in range(steps):
        done = step / steps
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * _ramp(done)
        spread = deviation * NOISE * max(0.0, 1 - done / NOISE_UNTIL) ** 2
        shaken = w + torch.randn(w.shape, generator=rng).to(device) * spread
        images = network.synthesis(network.spread(shaken), noises)
        loss = distance(images, wanted).sum()
        (w.grad,) = torch.autograd.grad(loss, [w])  # the network's own gradients stay untouched
        optimiser.step()  # pyright: ignore[reportUnknownMemberType]
        losses.append(loss.item())
        if progress is not None:
            progress(step + 1, losses[-1])
    return w.detach()[0], losses


def _check_shape(target: Tensor, side: int) -> None:
    if tuple(target.shape) != (3, side, side):
        raise ValueError(
            f"source: {tuple(target.shape)}; this model needs a picture of (3, {side}, {side})"
        )


def _ramp(done: float) -> float:
    """The learning rate's share: up in the first twentieth, down a cosine in the last quarter."""
    down = min(1.0, (1 - done) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, max(done, 1e-3) / RAMP_UP)


@torch.no_grad()
def _deviation(network: Generator, styles: Tensor | None, rng: torch.Generator) -> float:
    """Root of the mean square distance of w from the average."""
    mapping = network.mapping
    z = torch.randn(NUM_MEASURED, mapping.latent_dim, generator=rng)
    if styles is None:
        every = torch.eye(max(1, mapping.num_styles))
        rows = every[torch.arange(NUM_MEASURED) % len(every)]
    else:
        rows = styles.expand(NUM_MEASURED, -1)
    device = network.w_avg.device
    w = mapping(z.to(device), rows.to(device))
    return (w - network.w_avg).square().sum(dim=1).mean().sqrt().item()
