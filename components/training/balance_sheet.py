"""`balance.png`: groups, colours and lightness of what training showed and of what was made."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.common.charts import Axes, Chart, new_figure
from components.common.durable import replacing
from components.metrics.judging import evenly
from components.training.balance import Balance
from components.training.observer import Observer

NUM_EXAMPLES = 6
"""Pictures of a group on either side."""

_SHOWN, _MADE, _QUIET = "#3b5b92", "#c2661a", "#6b6b6b"

# The layout, in inches.
_WIDTH, _LEFT, _STRIP, _BARS = 11.0, 0.7, 3.66, 2.28
_HEAD, _ROW, _TILE = 0.95, 0.71, 0.61
_BARS_LEFT, _MADE_LEFT = _LEFT + _STRIP + 0.2, _LEFT + _STRIP + _BARS + 0.3
_RIGHT = _MADE_LEFT + _STRIP - 0.02
_GAP, _TAIL = 0.3, 2.55


@dataclass(frozen=True)
class _Sheet:
    """A figure whose parts are placed in inches from its upper left corner."""

    figure: Chart
    height: float

    def place(self, left: float, top: float, width: float, height: float) -> Axes:
        """Make axes without a frame or ticks."""
        bottom = self.height - top - height
        whole = (_WIDTH, self.height)
        axes = self.figure.add_axes(
            (left / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
        )
        axes.spines[:].set_visible(False)
        axes.set(xticks=(), yticks=())
        return axes

    def write(self, left: float, top: float, text: str, **options: str | float) -> None:
        """Write a text whose upper left corner is there, unless matplotlib's `options` differ."""
        written = self.figure.text(left / _WIDTH, 1 - top / self.height, text, va="top")
        written.set(**({"fontsize": 11} | options))


def draw_balance(path: Path, observer: Observer, balance: Balance, pixels: np.ndarray) -> None:
    """Draw a balance with examples; `pixels` are the pictures made, uint8 (M, S, S, 3)."""
    count = len(balance.data)
    height = _HEAD + count * _ROW + _TAIL
    sheet = _Sheet(new_figure(figsize=(_WIDTH, height)), height)
    _headings(sheet)
    for group in range(count):
        real = observer.shown[balance.data_groups == group]
        made = np.flatnonzero(balance.made_groups == group)
        top = _HEAD + group * _ROW
        sheet.write(_LEFT - 0.15, top + _TILE / 2, f"{group + 1}", va="center", ha="right")
        _strip(sheet.place(_LEFT, top, _STRIP, _TILE), observer.prepared.images()[_some(real)])
        _strip(sheet.place(_MADE_LEFT, top, _STRIP, _TILE), pixels[_some(made)])
        _bars(sheet.place(_BARS_LEFT, top, _BARS, _TILE), group, balance)
    below = _HEAD + count * _ROW + _GAP
    _palette(sheet, below, balance)
    _lightness(sheet, below + 0.75 + _GAP, balance)
    with replacing(path) as temporary:
        sheet.figure.savefig(temporary, dpi=110)


def _headings(sheet: _Sheet) -> None:
    title = "Pictures that look alike, in training and as made"
    sheet.write(_LEFT, 0.18, title, fontsize=14, weight="bold")
    sheet.write(_LEFT, 0.6, "shown in training", color=_SHOWN, weight="bold")
    sheet.write(_BARS_LEFT, 0.6, "share of the pictures")
    sheet.write(_MADE_LEFT, 0.6, "made", color=_MADE, weight="bold")


def _some(places: NDArray[np.int64]) -> NDArray[np.int64]:
    return evenly(places, min(len(places), NUM_EXAMPLES)) if len(places) else places


def _strip(axes: Axes, pixels: np.ndarray) -> None:
    """Pictures in a row, the rest of its places empty."""
    for place, tile in enumerate(pixels):
        axes.imshow(tile, extent=(place, place + 0.96, 0, 0.96), interpolation="nearest")
    axes.set(xlim=(0, NUM_EXAMPLES), ylim=(0, 1), aspect="auto")
    if not len(pixels):
        axes.text(0, 0.5, "none", va="center", color=_QUIET, fontsize=11)


def _bars(axes: Axes, group: int, balance: Balance) -> None:
    largest = max(balance.shown.max(), balance.made.max())
    for height, shares, colour in ((1, balance.shown, _SHOWN), (0, balance.made, _MADE)):
        share = shares[group]
        axes.barh(height, share, color=colour, height=0.72)
        axes.text(share + largest / 40, height, f"{100 * share:.0f} %", va="center", fontsize=9)
    axes.set(xlim=(0, 1.25 * largest), ylim=(-0.5, 1.5))


def _palette(sheet: _Sheet, top: float, balance: Balance) -> None:
    """The colours from dark to light, so that a shift of the whole is seen as one."""
    palette = balance.palette
    order = np.argsort(palette.colours @ np.array([0.2126, 0.7152, 0.0722]))  # ITU-R BT.709
    axes = _pair(sheet, top, "Colours, by area")
    for height, shares in ((1, palette.shown[order]), (0, palette.made[order])):
        starts = np.cumsum(shares) - shares
        axes.barh(height, shares, left=starts, color=palette.colours[order], height=0.86)
    axes.set(xlim=(0, 1), ylim=(-0.5, 1.5))


def _lightness(sheet: _Sheet, top: float, balance: Balance) -> None:
    """A band from the 10th to the 90th percentile and a dot at the median, over black to white."""
    axes = _pair(sheet, top, "Lightness: the dot is the median, the band 8 of 10 pictures")
    rows = ((1, balance.shown_lightness, _SHOWN), (0, balance.made_lightness, _MADE))
    for height, (low, middle, high), colour in rows:
        axes.barh(height, high - low, left=low, color=colour, alpha=0.35, height=0.5)
        axes.plot(middle, height, "o", color=colour, markersize=8)
    axes.set(xlim=(0, 100), ylim=(-0.5, 1.5))
    scale = sheet.place(_LEFT, top + 0.75, _RIGHT - _LEFT, 0.09)
    scale.spines[:].set(visible=True, color=_QUIET, linewidth=0.5)
    scale.imshow(np.linspace(0, 1, 256)[None], cmap="gray", aspect="auto")
    for place, word, side in ((_LEFT, "black", "left"), (_RIGHT, "white", "right")):
        sheet.write(place, top + 0.9, word, fontsize=9, color=_QUIET, ha=side)


def _pair(sheet: _Sheet, top: float, title: str) -> Axes:
    """Axes over the whole width, with a title, for one row of training and one of what was made."""
    sheet.write(_LEFT, top, title)
    axes = sheet.place(_LEFT, top + 0.25, _RIGHT - _LEFT, 0.47)
    for height, word, colour in ((1, "shown", _SHOWN), (0, "made", _MADE)):
        axes.text(
            -0.01,
            (height + 0.5) / 2,
            word,
            color=colour,
            fontsize=9,
            ha="right",
            va="center",
            transform=axes.transAxes,
        )
    return axes
