# pyright: standard
"""A critic that tells cleaned pictures from paintings by a classifier's features.

Squared error makes the network give the mean of all that may lie under the noise, which is
smoother than any of it. Where noise is weak, the last step's estimate is the picture; there a
critic wants it to look like a painting (adversarial diffusion distillation: Sauer et al. 2023,
arXiv 2311.17042). It sees the frozen features of each stage (projected GANs: Sauer et al. 2021,
arXiv 2111.01007), which a few thousand images teach it to use.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 64
"""Channels of each of its layers."""
MIN_SIDE = 128
"""Smaller pictures are enlarged to this side, pixels, so that the features see their touch."""
SLOPE = 0.2
WARM_UP = 40
"""Steps that it learns alone."""


class BoundedConvolution(nn.Conv2d):
    """A convolution whose weights, as a matrix, have a largest singular value of about 1.

    Miyato et al. 2018, arXiv 1802.05957, algorithm 1: one power iteration for each `refine`.
    """

    direction: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, rng: torch.Generator) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        nn.init.normal_(self.weight, 0.0, 1 / math.sqrt(self.weight[0].numel()), generator=rng)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        drawn = torch.randn(outputs, generator=rng)
        self.register_buffer("direction", F.normalize(drawn, dim=0))
        for _ in range(15):
            self.refine()

    @torch.no_grad()
    def refine(self) -> None:
        """Come nearer to the direction of the largest singular value."""
        matrix = self.weight.flatten(1)
        towards = F.normalize(matrix.T @ self.direction, dim=0)
        self.direction.copy_(F.normalize(matrix @ towards, dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs, H, W) => (N, outputs, H, W)."""
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            towards = F.normalize(matrix.T @ self.direction, dim=0)
        # Not as a product of matrices, which autocast would round.
        largest = ((matrix * towards).sum(dim=1) * self.direction).sum()
        return F.conv2d(input, self.weight / largest, self.bias, padding=self.padding)


class Head(nn.Module):
    """One stage's features (N, C, H, W) and styles (N, WIDTH) => scores (N, 1, H, W)."""

    scale: Tensor

    def __init__(self, channels: int, rng: torch.Generator) -> None:
        super().__init__()
        self.first = BoundedConvolution(channels, WIDTH, 3, rng)
        self.second = BoundedConvolution(WIDTH, WIDTH, 3, rng)
        self.last = BoundedConvolution(WIDTH, 1, 1, rng)
        self.register_buffer("scale", torch.ones(channels))
        """Divisor of the features, one a channel (C,)."""

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Score by projection, as R3GAN's discriminator: a score of its own plus the style's."""
        features = features / self.scale[:, None, None].to(features.dtype)
        features = F.leaky_relu(self.first(features), SLOPE)
        features = F.leaky_relu(self.second(features), SLOPE)
        asked = (features * style[:, :, None, None]).mean(dim=1, keepdim=True)
        return self.last(features) + asked / 2


class Critic(nn.Module):
    """Pictures' features, stage by stage, and styles (N, K) => scores, positive for real ones."""

    steps: Tensor

    def __init__(self, channels: Sequence[int], num_styles: int, rng: torch.Generator) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(count, rng) for count in channels)
        self.style = nn.Linear(num_styles, len(channels) * WIDTH, bias=False)
        nn.init.zeros_(self.style.weight)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Sequence[Tensor], styles: Tensor) -> list[Tensor]:
        """One map of scores a stage: (N, 1, H, W) each."""
        asked = self.style(styles).split(WIDTH, dim=1)
        return [head(*seen) for head, *seen in zip(self._heads(), features, asked, strict=True)]

    @torch.no_grad()
    def set_scales(self, squares: Sequence[Tensor]) -> None:
        """Divide features by the roots of these mean squares from now on."""
        for head, square in zip(self._heads(), squares, strict=True):
            head.scale.copy_(square.sqrt().clamp_min(1e-3))

    def _heads(self) -> list[Head]:
        return [head for head in self.heads if isinstance(head, Head)]

    def refine(self) -> None:
        """Bound every layer anew; once a step, however many parts its batch has."""
        for module in self.modules():
            if isinstance(module, BoundedConvolution):
                module.refine()
        self.steps += 1

    @property
    def is_ready(self) -> bool:
        """Whether it has learnt enough to be listened to."""
        return int(self.steps) > WARM_UP


def mean_squares(features: Sequence[Tensor]) -> list[Tensor]:
    """Mean squares of each stage's channels, (C,)."""
    return [stage.float().square().mean(dim=(0, 2, 3)) for stage in features]


def enlarged(images: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) as the critic's features see them."""
    if images.shape[-1] >= MIN_SIDE:
        return images
    return F.interpolate(images, (MIN_SIDE, MIN_SIDE), mode="bilinear", align_corners=False)


def critic_loss(scores: Sequence[Tensor]) -> Tensor:
    """Hinge loss, one a row (N,): scores of N generated pictures, then of N real ones.

    Lim, Ye 2017, arXiv 1705.02894: generated ones under -1, real ones over 1.
    """
    rows = torch.stack([_hinge(stage.float()) for stage in scores])
    return rows.mean(dim=0)


def _hinge(stage: Tensor) -> Tensor:
    generated, real = stage.flatten(1).chunk(2)
    return F.relu(1 + generated).mean(dim=1) + F.relu(1 - real).mean(dim=1)


def fooling_loss(scores: Sequence[Tensor]) -> Tensor:
    """Loss of the network that wants high scores for its pictures, one a row (N,)."""
    return -torch.stack([stage.float().flatten(1).mean(dim=1) for stage in scores]).mean(dim=0)
