"""The average of a network's weights over its training: smoother pictures than its last state."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

RAMP_UP = 0.05
"""Largest half-life as a share of the images seen, unless another is asked for.

In the first images the average would mostly remember the first weights (Karras et al. 2022, arXiv
2206.00364, `ema_rampup_ratio`).
"""


class AveragedNetwork:
    """An exponential moving average, its half-life counted in images (not in steps)."""

    def __init__(
        self, network: nn.Module, halflife_images: float, ramp_up: float = RAMP_UP
    ) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.halflife_images = halflife_images
        self.ramp_up = ramp_up

    @torch.no_grad()
    def update(self, network: nn.Module, batch_size: int, images_seen: int) -> None:
        """Move towards the network: half the way in `halflife_images` images.

        Buffers (running statistics) are copied, never averaged: they are averages already.
        """
        halflife = min(self.halflife_images, images_seen * self.ramp_up)
        keep = 0.5 ** (batch_size / halflife) if halflife > 0 else 0.0
        for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1.0 - keep)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and the copied buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.network.load_state_dict(state)
