"""The curves of a training: rows of numbers, a CSV, and pictures as paper 002's Figs. 3 and 4."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.durable import replacing, write_text

# Fig. 3 and Fig. 4 of paper 002: title, and the columns drawn with their names.
FIGURES = (
    ("Losses", {"generator_loss": "generator", "discriminator_loss": "discriminator"}),
    ("Scores", {"real_score": "real images", "fake_score": "generated images"}),
)


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
        for axes, (title, columns) in zip(figure.subplots(1, 2), FIGURES, strict=True):
            for column, label in columns.items():
                if column in self.rows[0]:
                    axes.plot(kimg, [row[column] for row in self.rows], label=label, linewidth=1)
            axes.set(title=title, xlabel="images seen, thousands")
            axes.grid(alpha=0.3)
            axes.legend()
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)
