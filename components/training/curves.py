"""The curves of a training: rows of numbers, a CSV, and pictures as paper 002's Figs. 3 and 4."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components.common.charts import new_figure
from components.common.durable import replacing
from components.families.port import Loss
from components.training.records import SCORES, TrainingFolder

if TYPE_CHECKING:  # the records of a training are read without torch
    from torch import Tensor

_Value = TypeVar("_Value")

IN_THOUSANDS = 10_000
"""Images from which a curve counts them in thousands."""


class Curves:
    """Means over every few steps, so that a long training stays a short table.

    A scalar may appear at any step; its mean is over the steps that reported it.
    """

    STEPS_PER_ROW = 20

    def __init__(self, losses: Sequence[Loss]) -> None:
        self.losses = losses
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._num_steps = 0

    def add(
        self, metrics: "Mapping[str, Tensor | float]", images_seen: int, seconds: float
    ) -> bool:
        """Take one step's scalars in (tensors are read only once a row); True when a row ends."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._num_steps += 1
        if self._num_steps < self.STEPS_PER_ROW:
            return False
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self.rows.append({"images_seen": images_seen, "seconds": round(seconds, 2)} | means)
        self._sums, self._counts, self._num_steps = {}, {}, 0
        return True

    def last(self) -> dict[str, float]:
        """The newest row's losses and scores; empty before the first row."""
        row = self.rows[-1] if self.rows else {}
        return {k: v for k, v in row.items() if k not in ("images_seen", "seconds")}

    def labelled(self, row: Mapping[str, float]) -> dict[str, float]:
        """The family's losses in a row by the names that a person reads: {'generator': 0.9}."""
        return {loss.label: row[loss.name] for loss in self.losses if loss.name in row}

    def state_dict(self) -> dict[str, object]:
        """Rows and the row begun, to go on exactly."""
        begun = {name: float(total) for name, total in self._sums.items()}
        counts = dict(self._counts)
        return {"rows": self.rows, "sums": begun, "counts": counts, "num_steps": self._num_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`, also one whose losses had their former names."""
        self._num_steps = state["num_steps"]
        # Version 0.2 counted no scalar by itself: each came with every step.
        counts = state.get("counts", dict.fromkeys(state["sums"], self._num_steps))
        self.rows = [self._renamed(row) for row in state["rows"]]
        self._sums, self._counts = self._renamed(state["sums"]), self._renamed(counts)

    def _renamed(self, values: Mapping[str, _Value]) -> dict[str, _Value]:
        names = {loss.formerly: loss.name for loss in self.losses if loss.formerly}
        return {names.get(name, name): value for name, value in values.items()}

    def write(self, folder: TrainingFolder) -> None:
        """Write `curves.csv` and `curves.png`, if there is a row yet."""
        if self.rows:
            folder.write_curves(self.rows)
            self._draw(folder.path / "curves.png")

    def _draw(self, path: Path) -> None:
        figure = new_figure(figsize=(11, 4), layout="constrained")
        seen, unit = [row["images_seen"] for row in self.rows], "images seen"
        if seen[-1] >= IN_THOUSANDS:
            seen, unit = [count / 1000 for count in seen], "images seen, thousands"
        # Fig. 3 and Fig. 4 of paper 002; a family without an opponent has no scores.
        panels = {
            "Losses": {loss.name: loss.label for loss in self.losses},
            "Scores": SCORES,
        }
        known = {title: self._lines(labels) for title, labels in panels.items()}
        drawn = {title: lines for title, lines in known.items() if lines}
        for axes, (title, lines) in zip(
            figure.subplots(1, max(1, len(drawn)), squeeze=False)[0], drawn.items(), strict=False
        ):
            for label, values in lines.items():
                axes.plot(seen, values, label=label, linewidth=1)
            axes.set(title=title, xlabel=unit)
            axes.grid(alpha=0.3)
            axes.legend()
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)

    def _lines(self, labels: Mapping[str, str]) -> dict[str, list[float]]:
        """The columns of scalars that were reported at all, by label; NaN where one was not."""
        return {
            label: [row.get(name, math.nan) for row in self.rows]
            for name, label in labels.items()
            if any(name in row for row in self.rows)
        }
