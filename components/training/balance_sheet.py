"""`balance.png`: groups, colours and lightness of what was learnt from and of what was made."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.common.charts import new_figure
from components.common.durable import replacing
from components.metrics.judging import evenly
from components.training.balance import Balance
from components.training.watch import Watch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_EXAMPLES = 6
"""Pictures of a group on either side."""

_SHOWN, _MADE = "#3b5b92", "#d1782b"


def draw_balance(path: Path, watch: Watch, balance: Balance, pixels: np.ndarray) -> None:
    """Draw a balance with examples; `pixels` are the pictures made, uint8 (M, S, S, 3)."""
    count = len(balance.data)
    figure = new_figure(figsize=(11, 0.75 * count + 2.6), layout="constrained")
    grid = figure.add_gridspec(
        count + 2, 3, width_ratios=[5, 3, 5], height_ratios=[*[1] * count, 1.1, 1.4]
    )
    largest = max(balance.shown.max(), balance.made.max())
    for place in range(count):
        real = watch.shown[balance.data_groups == place]
        made = np.flatnonzero(balance.made_groups == place)
        left, bars, right = (figure.add_subplot(grid[place, column]) for column in range(3))
        _strip(left, watch.prepared.images()[_some(real)])
        _strip(right, pixels[_some(made)])
        _bars(bars, place, balance, largest)
        if place == 0:
            for axes, title in ((left, "learnt from"), (bars, "share"), (right, "made")):
                axes.set_title(title, fontsize=12)
        left.text(-0.03, 0.5, f"{place + 1}", transform=left.transAxes, va="center", ha="right")
    _palette(figure.add_subplot(grid[count, :]), balance)
    _lightness(figure.add_subplot(grid[count + 1, :]), balance)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _some(places: NDArray[np.int64]) -> NDArray[np.int64]:
    return evenly(places, min(len(places), NUM_EXAMPLES)) if len(places) else places


def _strip(axes: "Axes", pixels: np.ndarray) -> None:
    """Pictures in a row, the rest of its places empty."""
    side = pixels.shape[1]
    row = np.full((side, NUM_EXAMPLES * side, 3), 255, np.uint8)
    for place, tile in enumerate(pixels):
        row[:, place * side : (place + 1) * side] = tile
    axes.imshow(row, interpolation="nearest")
    axes.set_axis_off()


def _bars(axes: "Axes", place: int, balance: Balance, largest: float) -> None:
    shares = (balance.made[place], balance.shown[place])
    axes.barh((0, 1), shares, color=(_MADE, _SHOWN), height=0.8)
    for height, share in enumerate(shares):
        axes.text(share + largest / 50, height, f"{100 * share:.0f} %", va="center", fontsize=9)
    axes.set_yticks((0, 1), ("made", "shown"), fontsize=9)
    axes.set(xlim=(0, 1.2 * largest), ylim=(-0.6, 1.6), xticks=())
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _palette(axes: "Axes", balance: Balance) -> None:
    for height, shares in enumerate((balance.palette.made, balance.palette.shown)):
        starts = np.cumsum(shares) - shares
        axes.barh([height] * len(shares), shares, left=starts, color=balance.palette.colours)
    axes.set_yticks((0, 1), ("made", "shown"), fontsize=9)
    axes.set(xlim=(0, 1), xticks=(), title="colours, by area")
    axes.spines[:].set_visible(False)


def _lightness(axes: "Axes", balance: Balance) -> None:
    rows = ((balance.made_lightness, _MADE), (balance.shown_lightness, _SHOWN))
    for height, ((low, middle, high), colour) in enumerate(rows):
        axes.plot((low, high), (height, height), color=colour, linewidth=8, alpha=0.35)
        axes.plot(middle, height, "o", color=colour, markersize=8)
    axes.set_yticks((0, 1), ("made", "shown"), fontsize=9)
    axes.set(xlim=(0, 100), ylim=(-0.6, 1.6), title="lightness: the middle, and 8 of 10 pictures")
    axes.set_xlabel("black to white", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
