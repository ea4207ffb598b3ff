"""The way that sampled pictures' features have to go until they are spread as paintings' are.

A critic looks at one picture at a time and cannot tell what a thousand of them lack. The Fréchet
distance can (Heusel et al. 2017, arXiv 1706.08500, eq. 6): it is the squared Wasserstein distance
between normal distributions of two sets' means and covariances. As a loss (Mathiasen, Hvilshøj
2020, arXiv 2009.14075) it would want thousands of pictures a step; but its gradient at one
picture's features f is f - T(f), up to a constant, where T is the optimal map between the two
distributions, and T changes slowly. So T is kept from step to step, found from many steps'
pictures, and each batch goes its way.
"""

import torch
from torch import Tensor, nn

from components.common.tensors import eigenvectors

SPREAD_WINDOW = 1536
"""Sampled pictures whose covariance is remembered, about."""
MEAN_WINDOW = 128
"""Those whose mean is remembered: an old mean steers a training to and fro (docs/studies)."""
DIMENSIONS = 256
"""Directions in which the spread is compared, those in which paintings differ most."""
READY = 1024
"""Pictures of either kind to be seen before the map is trusted."""
SOLVE_EVERY = 10
"""Steps from which one map serves."""


class Moments(nn.Module):
    """Mean (F,) and covariance (F, F) of features that come a few at a time."""

    count: Tensor
    mean: Tensor
    covariance: Tensor

    def __init__(self, size: int, window: float = float("inf")) -> None:
        """Of all that came; of more than `window`, of the later ones (half-life 0.7 windows)."""
        super().__init__()
        self.window = window
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.zeros(size, size))

    @torch.no_grad()
    def add(self, features: Tensor) -> None:
        """Take features (n, F) in, n at least 1, as a mixture of both distributions."""
        self.count += len(features)
        share = _share(len(features), int(self.count), self.window)
        mean = features.mean(dim=0)
        centred = features - mean
        shift = mean - self.mean
        covariance = centred.T @ centred / len(features) + (1 - share) * torch.outer(shift, shift)
        self.covariance.lerp_(covariance, share)
        self.mean.lerp_(mean, share)


class Transport(nn.Module):
    """The optimal map from sampled pictures' features (N, F) to paintings'."""

    recent: Tensor
    basis: Tensor
    stretch: Tensor
    steps: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.real = Moments(size)
        self.sampled = Moments(size, SPREAD_WINDOW)
        self.register_buffer("recent", torch.zeros(size))
        dimensions = min(DIMENSIONS, size)
        self.register_buffer("basis", torch.zeros(size, dimensions))
        self.register_buffer("stretch", torch.eye(dimensions))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def add(self, sampled: Tensor, real: Tensor) -> None:
        """Take one step's features in, and find the map anew where it is time to."""
        self.sampled.add(sampled)
        share = _share(len(sampled), int(self.sampled.count), MEAN_WINDOW)
        self.recent.lerp_(sampled.mean(dim=0), share)
        self.real.add(real)
        if self.is_ready and int(self.steps) % SOLVE_EVERY == 0:
            self.solve()
        self.steps += self.is_ready

    @property
    def is_ready(self) -> bool:
        """Whether enough was seen of both kinds."""
        return min(int(self.sampled.count), int(self.real.count)) >= READY

    @torch.no_grad()
    def solve(self) -> None:
        """Find the map between the two as they are now.

        Along the paintings' first principal axes, where their covariance is R, diagonal, and the
        sampled pictures' S, it stretches by R^½ (R^½ S R^½)^-½ R^½ (Peyré, Cuturi 2019, arXiv
        1803.00567, eq. 2.40).
        """
        size = self.basis.shape[1]
        # On the CPU, since not every device computes in float64.
        values, vectors = eigenvectors(self.real.covariance.cpu().double())
        basis, root = vectors[:, -size:], values[-size:].clamp_min(0).sqrt()
        spread = basis.T @ self.sampled.covariance.cpu().double() @ basis
        values, vectors = eigenvectors(root[:, None] * spread * root)
        least = max(1e-9 * float(values[-1]), torch.finfo(values.dtype).tiny)
        inverse_root = values.clamp_min(least).rsqrt()
        inner = (vectors * inverse_root) @ vectors.T
        self.stretch.copy_(root[:, None] * inner * root)
        self.basis.copy_(basis)

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """(N, F) => (N, F): moved as the means are, and stretched along the axes compared."""
        along = (features - self.recent) @ self.basis
        stretched = (along @ self.stretch - along) @ self.basis.T
        return features + (self.real.mean - self.recent) + stretched


def _share(new: int, count: int, window: float) -> float:
    """Weight of `new` features among `count` with them, of which a window is remembered."""
    return min(1.0, new / min(count, window))


def transport_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """Squared way to go, one a row (N,): its gradient is twice the way itself."""
    return (features - wanted).square().sum(dim=1)
