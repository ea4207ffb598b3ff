"""Files that a training leaves in its folder, written and read in one place. No torch."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from components.common.durable import write_text
from components.common.files import read_text
from components.training.verdict import Verdict
from interfaces.errors import DamagedError
from interfaces.measurement import Figures, Measurement, Metric

_Line = TypeVar("_Line", bound=BaseModel)

SCORES = {"real_score": "real images", "fake_score": "generated images"}
"""Names of the critic's mean scores on the curves, by their column."""


class Measured(BaseModel):
    """One line of `measurements.jsonl`."""

    images_seen: int
    seconds: float
    measurements: tuple[Measurement, ...]


class Intervention(BaseModel):
    """One line of `guardian.jsonl`."""

    images_seen: int
    seconds: float
    saw: str
    figures: dict[str, float | str] = {}
    """The figures that showed it; one that is not finite is text."""
    did: str


@dataclass(frozen=True)
class Distance:
    """A Fréchet distance, and when in a training it was measured."""

    images_seen: int
    seconds: float
    measurement: Measurement


def overall(measurements: Sequence[Measurement], metric: Metric) -> Measurement | None:
    """The figure of a metric for all styles together, where it is among them."""
    return Figures(overall=tuple(measurements), by_style=()).find(metric)


def frechet(measurements: Sequence[Measurement]) -> Measurement | None:
    """The Fréchet distance of all styles together, where it is among them."""
    return overall(measurements, "frechet")


@dataclass(frozen=True)
class TrainingFolder:
    """A training's folder: curves, measurements, interventions and sample grids.

    Reading gives nothing where a file is missing, and passes over a last line that a killed process
    left unfinished. Raises `AtelierError` for lines that no training writes.
    """

    path: Path

    def write_curves(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write `curves.csv`: a column for each scalar of any row, empty where a row has none."""
        text = io.StringIO()
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "curves.csv", text.getvalue())

    def curves(self) -> dict[str, list[float]]:
        """The columns of `curves.csv` by name, equally long; NaN where a row has none."""
        path = self.path / "curves.csv"
        if not path.exists():
            return {}
        rows = list(csv.DictReader(io.StringIO(read_text(path).replace("\0", ""))))
        columns = rows[0] if rows else {}
        return {name: [_number(row.get(name)) for row in rows] for name in columns}

    def write_measurements(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Write `measurements.jsonl`, each row as `Measured`."""
        write_text(self.path / "measurements.jsonl", _json_lines(rows))

    def measurements(self) -> list[Measured]:
        """Measurements made during the training, in order."""
        return _read_lines(self.path / "measurements.jsonl", Measured)

    def distances(self) -> list[Distance]:
        """The Fréchet distances among the measurements, in order."""
        found = ((line, frechet(line.measurements)) for line in self.measurements())
        return [Distance(line.images_seen, line.seconds, m) for line, m in found if m is not None]

    def write_interventions(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Write `guardian.jsonl`, each row as `Intervention`."""
        write_text(self.path / "guardian.jsonl", _json_lines(rows))

    def interventions(self) -> list[Intervention]:
        """The guardian's interventions, in order."""
        return _read_lines(self.path / "guardian.jsonl", Intervention)

    def write_verdict(self, verdict: Verdict) -> None:
        """Write `verdict.json`."""
        write_text(self.path / "verdict.json", verdict.model_dump_json(indent=2) + "\n")

    def verdict(self) -> Verdict | None:
        """Verdict on the training, as given when it last ended; None before.

        Raises `DamagedError`.
        """
        path = self.path / "verdict.json"
        try:
            return Verdict.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DamagedError(
                f"{path}: not what a training writes; train again in another folder"
            ) from error

    def grid(self, images_seen: int) -> Path:
        """The file of a sample grid."""
        return self.path / "samples" / f"{images_seen:09d}.png"

    def grids(self) -> list[int]:
        """Images seen at each sample grid, in order."""
        names = sorted(path.stem for path in (self.path / "samples").glob("*.png"))
        return [int(name) for name in names if name.isdecimal()]


def _json_lines(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _read_lines(path: Path, model: type[_Line]) -> list[_Line]:
    """The whole lines; what a killed process left of one is not JSON, and is passed over.

    Raises `DamagedError` for JSON that is no such line.
    """
    if not path.exists():
        return []
    # A character may be cut in two as well.
    text = path.read_text(encoding="utf-8", errors="replace")
    lines: list[_Line] = []
    for number, piece in enumerate(text.splitlines(), start=1):
        fields = _json_or_none(piece)
        if fields is None:
            continue
        try:
            lines.append(model.model_validate(fields))
        except ValidationError as error:
            raise DamagedError(
                f"{path}, line {number}: not what a training writes ({error.error_count()} fields "
                "at fault); train again in another folder"
            ) from error
    return lines


def _json_or_none(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
