"""Groups of pictures that look alike, found by their features: k-means."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from torch import Tensor

from components.common.tensors import tensor_of
from components.metrics.distances import nearest
from components.metrics.judging import evenly

MOST = 8
"""Groups at most: as many as a person can compare at a glance."""

MIN_PICTURES = 8
"""Pictures of a group on average; fewer pictures make fewer groups."""

_FITTED = 5_000
"""Pictures among which the centres are sought."""

_PASSES = 50


@dataclass(frozen=True)
class Clusters:
    """The centres of groups of pictures, the largest group first."""

    centres: Tensor
    """(K, F), float32."""

    @classmethod
    def of(cls, features: Tensor) -> "Clusters":
        """Fit to features (N, F), N at least 1: Lloyd's k-means from k-means++ centres.

        K is N / 8, at most 8 and at least 1. Equal features give equal groups. Source: Arthur and
        Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
        """
        fitted = features[evenly(np.arange(len(features)), min(len(features), _FITTED))].numpy()
        # More centres than different pictures could not be placed.
        fewest = min(len(features) // MIN_PICTURES, len(np.unique(fitted, axis=0)))
        count = min(MOST, max(1, fewest))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty group: left out below
            centres, _ = kmeans2(fitted, _apart(fitted, count), iter=_PASSES, minit="matrix")
        found = cls(tensor_of(centres))
        sizes = np.bincount(found.assign(features), minlength=count)
        order = np.argsort(-sizes, kind="stable")
        return cls(found.centres[order[sizes[order] > 0]])

    def assign(self, features: Tensor) -> NDArray[np.int64]:
        """The group of each picture, by the nearest centre: features (N, F) => (N,)."""
        return nearest(features, self.centres, 1)[1][:, 0].numpy()


def _apart(points: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The first centres: `count` of the points (N, F), drawn by their squared distance."""
    draw = np.random.default_rng(0)
    chosen = [int(draw.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(draw.choice(len(points), p=distance / distance.sum())))
    return points[chosen]
