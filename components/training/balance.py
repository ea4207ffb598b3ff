"""The bias of what a training learnt from, beside that of what its model makes.

Pictures are sorted into groups that look alike, by the embedded encoder's features; each group's
share of the pictures made is compared with its share of those shown in training. Colours and
lightness are compared likewise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from components.common.tensors import tensor_of
from components.metrics.clusters import Clusters
from components.metrics.colours import from_oklab, to_oklab
from components.metrics.judging import evenly
from components.training.observer import Observer

NUM_SEEN = 2_000
"""Pictures learnt from whose colours are looked at."""

UNEVEN = 3.0
"""Times as many pictures as the smallest group's from which on a collection counts as uneven."""

_SIDE = 8
"""Pixels a side that are looked at for a picture's colours."""

_EMPHASIS = np.array([1, 2, 2], np.float32)
"""Weights of lightness and the two hues in a palette: hues vary less, and are seen first."""

_DRAWS = 200


@dataclass(frozen=True)
class Palette:
    """The main colours of the pictures learnt from, the most frequent first."""

    colours: NDArray[np.float32]
    """(P, 3), sRGB, 0 to 1."""
    shown: NDArray[np.float64]
    """(P,), shares of the area of the pictures shown in training."""
    made: NDArray[np.float64]
    """(P,), shares of the area of the pictures made."""


@dataclass(frozen=True)
class Balance:
    """Shares of groups, colours and lightness: of the data, of what was shown, of what was made."""

    data: NDArray[np.float64]
    """(K,), shares of the pictures learnt from, the largest group first; they sum to 1."""
    shown: NDArray[np.float64]
    """(K,), shares of what was shown: the same, unless training was balanced."""
    made: NDArray[np.float64]
    """(K,), shares of the pictures made."""
    by_chance: float
    """`distance` of as many pictures drawn at random from `shown`, on average."""
    data_groups: NDArray[np.int64]
    """(N,), the group of each picture learnt from."""
    made_groups: NDArray[np.int64]
    """(M,), the group of each picture made."""
    palette: Palette
    shown_lightness: NDArray[np.float64]
    """(3,), the 10th, 50th and 90th percentile of the pictures' lightness, 0 to 100 (white)."""
    made_lightness: NDArray[np.float64]
    """(3,), likewise of the pictures made."""

    @property
    def distance(self) -> float:
        """Total variation, 0 to 1: the share of the made pictures that is in the wrong group."""
        return float(np.abs(self.made - self.shown).sum() / 2)

    @property
    def unevenness(self) -> float:
        """Ratio of the largest group's number of pictures to the smallest's."""
        return float(self.data.max() / self.data.min())


def balance_of(observer: Observer, pixels: np.ndarray, encoded: Tensor) -> Balance:
    """Compare pictures made with those learnt from.

    `pixels` are uint8 (M, S, S, 3), `encoded` their features by the embedded encoder (M, F).
    """
    data_groups = observer.clusters.assign(observer.encoded[observer.shown])
    made_groups = observer.clusters.assign(encoded)
    weights, count = shown_weights(observer), len(observer.clusters.centres)
    shown = _shares(data_groups, count, weights)
    seen = evenly(np.arange(len(observer.shown)), min(len(observer.shown), NUM_SEEN))
    real = _reduced(observer.prepared.images()[observer.shown[seen]])
    reduced = _reduced(pixels)
    return Balance(
        data=_shares(data_groups, count),
        shown=shown,
        made=_shares(made_groups, count),
        by_chance=_by_chance(shown, len(made_groups)),
        data_groups=data_groups,
        made_groups=made_groups,
        palette=_palette(real, reduced, weights[seen]),
        shown_lightness=_lightness(real, weights[seen]),
        made_lightness=_lightness(reduced, np.ones(len(reduced))),
    )


def shown_weights(observer: Observer) -> NDArray[np.float64]:
    """Frequency (N,) with which training shows each of the pictures learnt from; sums to 1.

    Pictures made of a family that knows styles are asked for in the styles' own proportions, so
    balancing changes the weights within a style alone.
    """
    weights = np.ones(len(observer.shown))
    settings = observer.settings
    if settings.style_balanced or settings.cluster_balanced:
        groups = observer.groups[np.isin(observer.training, observer.shown)]
        weights = 1 / np.bincount(groups)[groups]
    if observer.family.is_conditional:
        labels = observer.labels[observer.shown]
        weights = weights / np.bincount(labels, weights)[labels] * np.bincount(labels)[labels]
    return weights / weights.sum()


def balance_lines(observer: Observer, balance: Balance) -> Iterator[str]:
    """The report's section in Markdown, for `balance.png` beside it."""
    yield "The pictures learnt from, sorted into groups that look alike to the embedded encoder."
    yield "`balance.png` shows pictures of each, learnt from and made."
    yield ""
    is_balanced = not np.allclose(balance.data, balance.shown)
    yield f"| group | learnt from |{' shown |' if is_balanced else ''} made |"
    yield f"|---|---|{'---|' if is_balanced else ''}---|"
    for place, (data, shown, made) in enumerate(
        zip(balance.data, balance.shown, balance.made, strict=True), start=1
    ):
        between = f" {_percent(shown)} |" if is_balanced else ""
        yield f"| {place} | {_percent(data)} |{between} {_percent(made)} |"
    yield ""
    yield from _uneven(observer, balance)
    yield from _moved(balance)
    yield from _seen(balance)


def _uneven(observer: Observer, balance: Balance) -> Iterator[str]:
    counts = np.bincount(observer.labels[observer.shown])
    counts = counts[counts > 0]
    if len(counts) > 1 and counts.max() >= UNEVEN * counts.min():
        yield (
            f"- The richest style has {counts.max() / counts.min():.0f} times as many pictures as "
            "the poorest; `--style-balanced` shows all styles equally often."
        )
    if balance.unevenness >= UNEVEN:
        yield (
            f"- The largest group has {balance.unevenness:.0f} times as many pictures as the "
            "smallest; `--cluster-balanced` shows all groups equally often."
        )


def _moved(balance: Balance) -> Iterator[str]:
    yield (
        f"- {_percent(balance.distance)} of the pictures made would have to be of another group "
        f"for its share to be that of training; {_percent(balance.by_chance)} by chance alone."
    )
    if balance.distance > 2 * balance.by_chance:
        change = balance.made - balance.shown
        least, most = int(change.argmin()), int(change.argmax())
        yield (
            f"- Made too seldom: group {least + 1} ({_percent(balance.made[least])} for "
            f"{_percent(balance.shown[least])}); too often: group {most + 1} "
            f"({_percent(balance.made[most])} for {_percent(balance.shown[most])})."
        )


def _seen(balance: Balance) -> Iterator[str]:
    shown = balance.shown_lightness.round().astype(int)
    made = balance.made_lightness.round().astype(int)
    yield (
        f"- Lightness, 0 black to 100 white: {shown[1]} in the middle ({shown[0]} to {shown[2]} in "
        f"8 of 10 pictures) in training, {made[1]} ({made[0]} to {made[2]}) in those made."
    )
    palette = balance.palette
    moved = float(np.abs(palette.made - palette.shown).sum() / 2)
    yield f"- {_percent(moved)} of the area made would have to change its colour group likewise."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _shares(
    groups: NDArray[np.int64], count: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Shares of the groups, (count,), of the weights (N,), or of the members."""
    totals = np.bincount(groups, weights, count).astype(np.float64)
    return totals / totals.sum()


def _by_chance(shown: NDArray[np.float64], count: int) -> float:
    """Mean total variation of `count` pictures drawn at random from these shares."""
    drawn = np.random.default_rng(0).multinomial(count, shown, _DRAWS) / count
    return float(np.abs(drawn - shown).sum(axis=1).mean() / 2)


def _reduced(pixels: np.ndarray) -> NDArray[np.float32]:
    """uint8 (N, S, S, 3) => the pixels on an even grid of each, OKLab (N, P, 3).

    Pixels and not their means, since mixed colours are duller than any that is there.
    """
    step = max(1, pixels.shape[1] // _SIDE)
    grid = pixels[:, step // 2 :: step, step // 2 :: step]
    return to_oklab(grid.reshape(len(pixels), -1, 3) / 255)


def _palette(
    real: NDArray[np.float32], made: NDArray[np.float32], weights: NDArray[np.float64]
) -> Palette:
    colours = tensor_of(real.reshape(-1, 3) * _EMPHASIS)
    groups = Clusters.of(colours)
    count, area = len(groups.centres), np.repeat(weights, real.shape[1])
    found = groups.assign(tensor_of(made.reshape(-1, 3) * _EMPHASIS))
    return Palette(
        colours=from_oklab(groups.centres.numpy() / _EMPHASIS),
        shown=_shares(groups.assign(colours), count, area),
        made=_shares(found, count),
    )


def _lightness(reduced: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted percentiles of the pictures' mean lightness."""
    means = 100 * reduced[..., 0].mean(axis=1).astype(np.float64)
    order = np.argsort(means)
    reached = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(reached, [0.1, 0.5, 0.9]).clip(max=len(means) - 1)
    return means[order][places]
