"""Distances between two sets of feature vectors, with 95 % intervals: FID's, KID's, and others.

All in float64, so that the figures do not depend on the machine's shortcuts, and in blocks, so that
memory does not grow with the product of the two sets.

The intervals of the Fréchet distance and of KID come from the delete-a-group jackknife (Kott 2001,
Journal of Official Statistics 17): the figure is computed anew without each tenth of the generated
images. They speak of the generated sample: how far the figure would move had the same generator
drawn as many others. The real images are taken as given, and a Fréchet distance's bias, which so
many images more or fewer would change, is not in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from components.common.tensors import eigenvalues, eigenvectors

NEIGHBOURS = 3
"""k of the k-nearest-neighbour manifolds, as in Kynkäänniemi et al. 2019."""

COVERAGE_NEIGHBOURS = 5
"""k of coverage, as in Naeem et al. 2020."""

MIN_IMAGES = NEIGHBOURS + 1
"""Fewest images of either set: one, and as many neighbours as are asked for."""

GROUPS = 10
"""Number of groups of generated images, each left out once for the jackknife."""

_TAIL = 0.975  # two tails of 2.5 %: a 95 % interval
_NORMAL = 1.959964  # the normal distribution's quantile there
_BLOCK = 2**22  # numbers of a block of pairs: 32 MiB in float64


@dataclass(frozen=True)
class Estimate:
    """A figure and the two ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gaussian:
    """Mean (F,) and covariance (F, F) of a set of feature vectors, float64."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Gaussian":
        """Mean and covariance of features (N, F), N at least 2; the covariance divided by N - 1."""
        features = features.double()
        return cls(features.mean(dim=0), torch.cov(features.T).reshape(2 * features.shape[1:]))

    @cached_property
    def root(self) -> Tensor:
        """The covariance's symmetric square root (F, F)."""
        values, vectors = eigenvectors(self.covariance)
        return vectors * values.clamp_min(0.0).sqrt() @ vectors.T


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^½): Heusel et al. 2017, arXiv 1706.08500, eq. 6.

    The trace of the root is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is
    symmetric: nothing imaginary appears, however few the images.
    """
    values = eigenvalues(first.root @ second.covariance @ first.root)
    root_trace = values.clamp_min(0.0).sqrt().sum()
    shift = (first.mean - second.mean).square().sum()
    distance = shift + first.covariance.trace() + second.covariance.trace() - 2 * root_trace
    return max(0.0, float(distance))


def frechet(generated: Tensor, real: Tensor) -> Estimate:
    """The Fréchet distance between features (M, F) and (N, F), at least four of each."""
    reference, whole = Gaussian.of(real), Gaussian.of(generated)
    rest = (_without(whole, generated, group) for group in groups(len(generated)))
    estimate = jackknife(
        frechet_distance(reference, whole), [frechet_distance(reference, part) for part in rest]
    )
    return Estimate(estimate.value, max(0.0, estimate.low), estimate.high)


def _without(whole: Gaussian, features: Tensor, group: Tensor) -> Gaussian:
    """Gaussian of all features but a group's, by sums over that group: ten times less to do."""
    count, remaining = len(features), len(features) - len(group)
    offsets = features[group].double() - whole.mean
    shift = offsets.sum(dim=0) / remaining
    scatter = (count - 1) * whole.covariance - offsets.T @ offsets
    scatter -= remaining * shift.outer(shift)
    return Gaussian(whole.mean - shift, scatter / (remaining - 1))


def kid(generated: Tensor, real: Tensor) -> Estimate:
    """KID: the unbiased squared maximum mean discrepancy with the kernel (x·y/F + 1)³.

    Bińkowski et al. 2018, arXiv 1801.01401, eq. 4 and section 4, over all pairs; it may be slightly
    negative. Features (M, F) and (N, F), at least four of each.
    """
    generated, real = generated.double(), real.double()
    parts = [generated[group] for group in groups(len(generated))]
    within = _float64([[_kernel_sum(one, two) for two in parts] for one in parts])
    sums = _KernelSums(
        sizes=_float64([len(part) for part in parts]),
        within=within - _float64([_diagonal_sum(part) for part in parts]).diag(),
        across=_float64([_kernel_sum(part, real) for part in parts]) / len(real),
        real=(_kernel_sum(real, real) - _diagonal_sum(real)) / (len(real) * (len(real) - 1)),
    )
    everybody = list(range(len(parts)))
    rest = [[*everybody[:place], *everybody[place + 1 :]] for place in everybody]
    return jackknife(sums.distance(everybody), [sums.distance(kept) for kept in rest])


@dataclass(frozen=True)
class _KernelSums:
    """Sums of the kernel by groups of the generated images, from which KID of any of them comes."""

    sizes: Tensor  # (G,), images of each group
    within: Tensor  # (G, G), sums over pairs of generated images, none with itself
    across: Tensor  # (G,), sums over a group's images of the mean over the real ones
    real: float  # mean over pairs of real images

    def distance(self, kept: Sequence[int]) -> float:
        count = self.sizes[kept].sum()
        within = self.within[kept][:, kept].sum() / (count * (count - 1))
        return float(within + self.real - 2 * self.across[kept].sum() / count)


def _float64(numbers: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _kernel_sum(first: Tensor, second: Tensor) -> float:
    """The sum of (x·y/F + 1)³ over all pairs, block by block."""
    width = first.shape[1]
    return sum(
        float((part @ second.T / width + 1.0).pow(3).sum()) for part in _blocks(first, second)
    )


def _diagonal_sum(features: Tensor) -> float:
    return float((features.square().sum(dim=1) / features.shape[1] + 1.0).pow(3).sum())


def precision(generated: Tensor, real: Tensor) -> Estimate:
    """The share of generated images that lie among the real ones.

    Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1 and 2: a set's manifold is the union of
    balls around its points, each reaching to the point's third neighbour. Features (M, F), (N, F),
    at least four of each. The interval is the binomial one over the M judged images.
    """
    return _share_inside(generated, real)


def recall(generated: Tensor, real: Tensor) -> Estimate:
    """The share of real images that lie among the generated ones: `precision` the other way."""
    return _share_inside(real, generated)


def coverage(generated: Tensor, real: Tensor) -> Estimate:
    """The share of real images that have a generated one in their neighbourhood.

    Naeem et al. 2020, arXiv 2002.09797, section 3: a real image's neighbourhood is the ball to its
    fifth neighbour among the real ones. Unlike recall's, the balls do not grow with generated
    images that lie far from everything. Features (M, F), (N, F), N at least six. The interval is
    the binomial one over the N real images.
    """
    radii = nearest(real, real, COVERAGE_NEIGHBOURS + 1)[0][:, -1]  # itself is the first
    inside = nearest(real, generated, 1)[0][:, 0] <= radii
    return wilson(int(inside.sum()), len(real))


def _share_inside(points: Tensor, manifold: Tensor) -> Estimate:
    radii = nearest(manifold, manifold, NEIGHBOURS + 1)[0][:, -1]  # itself is the first
    points, manifold = points.double(), manifold.double()
    inside = sum(
        int((torch.cdist(part, manifold) <= radii).any(dim=1).sum())
        for part in _blocks(points, manifold)
    )
    return wilson(inside, len(points))


def nearest(points: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances and places of the `count` others (N, F) nearest to each point (M, F), in order.

    Distances are (M, count), float64; places among the others are (M, count).
    """
    points, others = points.double(), others.double()
    found = [
        torch.cdist(part, others).topk(count, largest=False) for part in _blocks(points, others)
    ]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def spread(features: Tensor) -> float:
    """Spread of a set's pictures: the mean squared distance between two of them.

    It equals twice the trace of the covariance; features (N, F), N at least 2.
    """
    return float(2 * features.double().var(dim=0).sum())


def groups(count: int) -> tuple[Tensor, ...]:
    """Ten groups of the places 0 to count - 1 (fewer of fewer places), equal except for one.

    They are drawn, always the same way, since images often come ordered by style or in turn.
    """
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return shuffled.tensor_split(min(GROUPS, count))


def jackknife(value: float, left_out: Sequence[float]) -> Estimate:
    """The figure of all and those without each of G groups => the 95 % interval around it.

    The variance is (G - 1)/G Σ(θ₍ⱼ₎ - θ̄)², the quantile Student's with G - 1 degrees of freedom.
    """
    figures = _float64(left_out)
    freedom = len(figures) - 1
    error = (freedom * figures.var(correction=0)).sqrt()
    reach = float(stdtrit(freedom, _TAIL)) * float(error)
    return Estimate(value, value - reach, value + reach)


def wilson(inside: int, count: int) -> Estimate:
    """A share and its 95 % interval: Wilson 1927, Journal of the American Statistical Association.

    It stays in [0, 1] and does not shrink to nothing at either end.
    """
    share, square = inside / count, _NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    reach = (share * (1 - share) / count + square / (4 * count**2)) ** 0.5 * _NORMAL
    reach /= 1 + square / count
    # Rounding must not leave the share outside its own interval.
    return Estimate(
        share, max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))
    )


def _blocks(points: Tensor, others: Tensor) -> tuple[Tensor, ...]:
    """The points in so small parts that a part's pairs with all others fit in little memory."""
    return torch.split(points, max(1, _BLOCK // len(others)))
