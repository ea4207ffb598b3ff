"""Random numbers of a training: those of the whole batch, of which each process takes its rows.

Every rank draws what one process would, from a generator in the same state, and uses its own rows:
so that the noise of an image is the same however many processes share the batch. What a draw costs
(a few nanoseconds a number) does not shrink with the ranks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from components.families.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Draws:
    """Draws on the CPU, so that a seed means the same on every device.

    Shapes are those of this rank's rows; `axis` says which of their sides counts the images.
    """

    rng: torch.Generator
    ranks: Ranks = ALONE

    def normal(self, *shape: int, axis: int = 0) -> Tensor:
        """Draw from Normal(0, 1)."""
        return self.ranks.rows(torch.randn(self._whole(shape, axis), generator=self.rng), axis)

    def uniform(self, *shape: int, axis: int = 0) -> Tensor:
        """Draw from [0, 1)."""
        return self.ranks.rows(torch.rand(self._whole(shape, axis), generator=self.rng), axis)

    def integers(self, low: int, high: int, *shape: int, axis: int = 0) -> Tensor:
        """Draw whole numbers from `low` up to, not including, `high`."""
        drawn = torch.randint(low, high, self._whole(shape, axis), generator=self.rng)
        return self.ranks.rows(drawn, axis)

    def _whole(self, shape: tuple[int, ...], axis: int) -> list[int]:
        sides = list(shape)
        sides[axis] *= self.ranks.count
        return sides
