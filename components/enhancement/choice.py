"""Choice of networks for a request that names none: the best that it can wait for.

A request of few pictures is enlarged by `BEST` throughout. Where that would take longer than
`PATIENCE`, `QUICK` takes over: first the second pass of ×16, which costs sixteen times the first
and adds the least to see, then both.
"""

from collections.abc import Callable
from dataclasses import dataclass

from components.enhancement.official import EMBEDDED, X4PLUS

BEST = X4PLUS
QUICK = EMBEDDED

PATIENCE = 120.0
"""Seconds that a request may take before a quicker network takes over."""

SLOWEST = 1000.0
"""Seconds for a million input pixels that `BEST` takes on one core of 36 GFLOP/s: about the slowest
that anyone would use. What fits even so is not measured beforehand."""

PASSES = {4: 1, 16: 2}
"""Number of passes of a picture through a ×4 network, by `IES.scale`."""

Speed = Callable[[str], float]
"""A network's name => seconds for a million input pixels on the device at hand."""


@dataclass(frozen=True)
class Choice:
    """The networks of a request, and what they were weighed by."""

    networks: tuple[str, ...]  # one for each pass
    seconds: float  # what they take, about
    seconds_of_best: float  # what `BEST` throughout would take

    @property
    def saved(self) -> float:
        """Seconds saved against `BEST` throughout."""
        return self.seconds_of_best - self.seconds


def weigh(scale: int, pixels: int, speed: Speed) -> Choice:
    """The best networks that enlarge `pixels` input pixels in all within `PATIENCE`.

    Where none does, the quickest. `speed` is asked only where it may make a difference.
    """
    passes = PASSES[scale]
    most = _cost((BEST,) * passes, pixels, lambda _: SLOWEST)
    if most <= PATIENCE:
        return Choice((BEST,) * passes, most, most)
    best = _cost((BEST,) * passes, pixels, speed)
    if best <= PATIENCE:
        return Choice((BEST,) * passes, best, best)
    quicker = [(BEST,) * left + (QUICK,) * (passes - left) for left in reversed(range(passes))]
    costs = [_cost(networks, pixels, speed) for networks in quicker]
    place = next((n for n, cost in enumerate(costs) if cost <= PATIENCE), len(costs) - 1)
    return Choice(quicker[place], costs[place], best)


def _cost(networks: tuple[str, ...], pixels: int, speed: Speed) -> float:
    """Seconds: each pass has sixteen times the pixels of the one before."""
    return sum(speed(name) * pixels / 1e6 * 16**place for place, name in enumerate(networks))
