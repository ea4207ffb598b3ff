"""The average of a network's weights over its training: smoother pictures than its last state."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AveragedNetwork:
    """An exponential moving average, its half-life counted in images (not in steps).

    In the first images it would mostly remember the first weights, so its half-life is never more
    than a share of the images seen, `ramp_up` (Karras et al. 2022, arXiv 2206.00364).
    """

    def __init__(self, network: nn.Module, halflife_images: float, ramp_up: float = 0.05) -> None:
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
