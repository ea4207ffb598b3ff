"""Pictures of the set as sources, for a family that makes nothing from a seed alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.common.images import pixels_to_float
from components.common.tensors import tensor_of
from components.families.port import FamilySampler, Inputs, Request
from interfaces.ipdt import IPDT


class FromTheSet:
    """A sampler of seeds over one that needs a source: each seed draws a picture of the set.

    Of another style than the one asked for, where there is one: what a family turns shows there.
    """

    def __init__(self, sampler: FamilySampler[Any], prepared: IPDT, places: np.ndarray) -> None:
        self.sampler = sampler
        self.images = prepared.images()
        self.labels = prepared.labels()[places]
        self.places = places

    def sample(self, request: Request[Any]) -> Tensor:
        """Make the set's picture of each seed again, (n, 3, S, S)."""
        sources = self.sources(request.seeds, request.styles)
        made = [
            self.sampler.sample(Request([seed], row[None], request.options, Inputs(source=source)))
            for seed, row, source in zip(request.seeds, request.styles, sources, strict=True)
        ]
        return torch.cat(made)

    def sources(self, seeds: Sequence[int], styles: Tensor) -> Tensor:
        """Pictures that `sample` starts from, (n, 3, S, S) in [-1, 1]."""
        drawn = [self._drawn(*pair) for pair in zip(seeds, styles.argmax(dim=1), strict=True)]
        return tensor_of(pixels_to_float(self.images[drawn]))

    def _drawn(self, seed: int, label: Tensor) -> int:
        others = self.places[self.labels != int(label)]
        return int(np.random.default_rng(seed).choice(others if len(others) else self.places))
