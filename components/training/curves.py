"""The curves of a training: rows of numbers, a CSV, and pictures as paper 002's Figs. 3 and 4."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.common.durable import replacing, write_text

SCORES = {"real_score": "real images", "fake_score": "generated images"}


def losses_of(row: Mapping[str, float]) -> dict[str, float]:
    """A family's losses under the names that a person reads: {'generator': 0.9}."""
    names = [name for name in row if name == "loss" or name.endswith("_loss")]
    return {name.removesuffix("_loss"): row[name] for name in names}


class Curves:
    """Means over every few steps, so that a long training stays a short table."""

    STEPS_PER_ROW = 20

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, Any] = {}
        self._num_steps = 0

    def add(self, metrics: Mapping[str, Any], images_seen: int, seconds: float) -> bool:
        """Take one step's scalars in (tensors are read only once a row); True when a row ends."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._num_steps += 1
        if self._num_steps < self.STEPS_PER_ROW:
            return False
        means = {name: float(total) / self._num_steps for name, total in self._sums.items()}
        self.rows.append({"images_seen": images_seen, "seconds": round(seconds, 2)} | means)
        self._sums, self._num_steps = {}, 0
        return True

    def last(self) -> dict[str, float]:
        """The newest row's losses and scores; empty before the first row."""
        row = self.rows[-1] if self.rows else {}
        return {k: v for k, v in row.items() if k not in ("images_seen", "seconds")}

    def state_dict(self) -> dict[str, object]:
        """Rows and the row begun, to go on exactly."""
        begun = {name: float(total) for name, total in self._sums.items()}
        return {"rows": self.rows, "sums": begun, "num_steps": self._num_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.rows = list(state["rows"])
        self._sums = dict(state["sums"])
        self._num_steps = state["num_steps"]

    def write(self, run: Path) -> None:
        """Write `curves.csv` and `curves.png` into the run's folder, if there is a row yet."""
        if not self.rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(run / "curves.csv", text.getvalue())
        self._draw(run / "curves.png")

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4), layout="constrained")
        kimg = [row["images_seen"] / 1000 for row in self.rows]
        # Fig. 3 and Fig. 4 of paper 002; a family without an opponent has no scores.
        panels = {
            "Losses": [losses_of(row) for row in self.rows],
            "Scores": [{SCORES[k]: row[k] for k in SCORES if k in row} for row in self.rows],
        }
        drawn = {title: rows for title, rows in panels.items() if rows[0]}
        for axes, (title, rows) in zip(
            figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True
        ):
            for label in rows[0]:
                axes.plot(kimg, [row[label] for row in rows], label=label, linewidth=1)
            axes.set(title=title, xlabel="images seen, thousands")
            axes.grid(alpha=0.3)
            axes.legend()
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)
