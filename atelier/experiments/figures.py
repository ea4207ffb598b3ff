"""The pictures of an experiment. Drawn on a Figure of their own: no window, no global state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.common.charts import Axes, Chart, new_figure
from components.common.durable import replacing
from components.training import Distance
from interfaces.errors import AtelierError
from interfaces.measurement import Measurement

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito 2008: distinguishable by colour-blind readers too."""

PANELS_IN_A_ROW = 3


@dataclass(frozen=True)
class Panel:
    """Data of one training, to be drawn."""

    name: str
    curves: Mapping[str, Sequence[float]]
    distances: Sequence[Distance]
    collapses: Sequence[int]
    """Images seen when the guardian saw mode collapse."""


def draw_curves(
    path: Path, title: str, columns: Mapping[str, str], panels: Sequence[Panel]
) -> None:
    """Columns of the curves over images seen, one panel for each training (Figs. 3 and 4)."""
    num_rows = -(-len(panels) // PANELS_IN_A_ROW)
    num_columns = min(len(panels), PANELS_IN_A_ROW)
    figure = _figure(5.2 * num_columns, 3.6 * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, columns, panel)
    figure.suptitle(title)
    _save(figure, path)


def _draw_panel(axes: Axes, columns: Mapping[str, str], panel: Panel) -> None:
    axes.set(title=panel.name, xlabel="images seen, thousands")
    axes.grid(alpha=0.25)
    kimg = np.asarray(panel.curves.get("images_seen", ())) / 1000
    drawn = {column: label for column, label in columns.items() if column in panel.curves}
    if not drawn:
        axes.text(0.5, 0.5, "no curve was written", ha="center", transform=axes.transAxes)
        return
    for (column, label), colour in zip(drawn.items(), COLOURS, strict=False):
        values = np.asarray(panel.curves[column])
        axes.plot(kimg, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(kimg, _smooth(values), color=colour, linewidth=1.6, label=label)
    for place, images_seen in enumerate(panel.collapses):
        label = "mode collapse" if place == 0 else None
        axes.axvline(images_seen / 1000, color="0.3", linestyle=":", linewidth=1, label=label)
    axes.legend(fontsize="small")


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over a fortieth of the curve; at the ends, over the part that there is."""
    width = max(1, len(values) // 40)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def draw_distances(path: Path, panels: Sequence[Panel]) -> None:
    """Fréchet distance over images seen and over time, a line for each training.

    Lines measured otherwise than the first are dashed and say so.
    """
    measured = [panel for panel in panels if panel.distances]
    figure = _figure(11, 4.2)
    over_images, over_time = figure.subplots(1, 2, sharey=True)
    for place, panel in enumerate(measured):
        first = measured[0].distances[-1].measurement
        is_alike = _is_alike(first, panel)
        style = {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": "-" if is_alike else "--",
            "label": panel.name + ("" if is_alike else " (measured otherwise)"),
        }
        found = [distance.measurement for distance in panel.distances]
        kimg = [distance.images_seen / 1000 for distance in panel.distances]
        minutes = [distance.seconds / 60 for distance in panel.distances]
        for axes, x in ((over_images, kimg), (over_time, minutes)):
            axes.plot(x, [m.value for m in found], marker="o", markersize=3, **style)
            low, high = [m.low for m in found], [m.high for m in found]
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    over_images.set(xlabel="images seen, thousands", ylabel="Fréchet distance (lower is better)")
    over_time.set(xlabel="training time, minutes")
    for axes in (over_images, over_time):
        axes.grid(alpha=0.25)
        if not measured:
            axes.text(0.5, 0.5, "nothing was measured", ha="center", transform=axes.transAxes)
    if measured:
        over_time.legend(fontsize="small")
    figure.suptitle("Fréchet distance during training, with 95 % intervals")
    _save(figure, path)


def _is_alike(first: Measurement, panel: Panel) -> bool:
    try:
        first.check_comparable(panel.distances[-1].measurement)
    except AtelierError:
        return False
    return True


def draw_importances(path: Path, importances: Mapping[str, float]) -> None:
    """A bar for each hyper-parameter, the weightiest on top."""
    names = sorted(importances, key=lambda name: importances[name])
    figure = _figure(8, 1.2 + 0.32 * len(names))
    axes = figure.subplots()
    bars = axes.barh(names, [importances[name] for name in names], color=COLOURS[0])
    axes.bar_label(bars, fmt="{:.0%}", padding=3, fontsize="small")
    axes.set(xlabel="share of the differences between trials", title="What mattered")
    axes.margins(x=0.1, y=0.02)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    _save(figure, path)


@dataclass(frozen=True)
class Tried:
    """A trial as the history shows it."""

    number: int
    value: float
    """Its distance; of one that was given up, the last."""
    is_complete: bool


def draw_history(path: Path, tried: Sequence[Tried]) -> None:
    """Distance of each trial in turn, and the best so far."""
    figure = _figure(8, 4.2)
    axes = figure.subplots()
    complete = [trial for trial in tried if trial.is_complete]
    given_up = [trial for trial in tried if not trial.is_complete]
    if given_up:
        numbers, values = [t.number for t in given_up], [t.value for t in given_up]
        axes.plot(numbers, values, "x", color="0.55", label="given up early")
    if complete:
        numbers, values = [t.number for t in complete], [t.value for t in complete]
        axes.plot(numbers, values, "o", color=COLOURS[0], label="complete")
        best = np.minimum.accumulate(values)
        axes.step(numbers, best, where="post", color=COLOURS[1], label="best so far")
    if tried:
        axes.legend(fontsize="small")
        if min(trial.value for trial in tried) > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel="trial", ylabel="Fréchet distance (lower is better)", title="The search")
    axes.grid(alpha=0.25, which="both")
    _save(figure, path)


def _figure(width: float, height: float) -> Chart:

    return new_figure(figsize=(width, height), layout="constrained")


def _save(figure: Chart, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
