"""What a training leaves in its folder, read back: curves, measurements, interventions."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from interfaces.errors import AtelierError
from interfaces.measurement import Measurement

_Line = TypeVar("_Line", bound=BaseModel)


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
    did: str


@dataclass(frozen=True)
class Distance:
    """A Fréchet distance, and when in a training it was measured."""

    images_seen: int
    seconds: float
    measurement: Measurement


def frechet(measurements: Sequence[Measurement]) -> Measurement | None:
    """The Fréchet distance of all styles together, where it is among them."""
    return next((m for m in measurements if m.metric == "frechet" and m.style is None), None)


def read_distances(run: Path) -> list[Distance]:
    """The Fréchet distances measured during a training, in order; none where there is no file."""
    distances: list[Distance] = []
    for line in _read_lines(run / "measurements.jsonl", Measured):
        found = frechet(line.measurements)
        if found is not None:
            distances.append(Distance(line.images_seen, line.seconds, found))
    return distances


def read_interventions(run: Path) -> list[Intervention]:
    """What the guardian of a training did, in order; nothing where there is no file."""
    return _read_lines(run / "guardian.jsonl", Intervention)


def read_curves(run: Path) -> dict[str, list[float]]:
    """The columns of `curves.csv` by name, equally long; nothing where there is no file."""
    path = run / "curves.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = rows[0] if rows else {}
    return {name: [_number(row.get(name)) for row in rows] for name in columns}


def _number(text: str | None) -> float:
    return float(text) if text else math.nan


def _read_lines(path: Path, model: type[_Line]) -> list[_Line]:
    """Each whole line; what a killed process left of one is not JSON, and is passed over."""
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
            raise AtelierError(
                f"{path}, line {number}: not what a training writes ({error.error_count()} fields "
                "at fault); train again in another folder"
            ) from error
    return lines


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
