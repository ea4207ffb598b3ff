"""The port of the index: what the store asks of whatever database finds its results."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from components.common.days import Days
from components.results_store.journal import Deleted, Event, Kept
from interfaces.errors import DamagedError, RefusedError
from interfaces.iodt import ResultQuery
from interfaces.record import Record


class DamagedIndexError(DamagedError):
    """The index is missing, damaged or of another store: it has to be made from the files."""


@dataclass(frozen=True)
class Position:
    """Position of an index in the journal."""

    store: str
    generation: int
    offset: int
    """Bytes of the journal that the index accounts for."""
    last: int
    """Highest number given out."""
    days: Days


@dataclass(frozen=True)
class Row:
    """Entry of the index for one result."""

    kept: Kept
    record: Record
    deleted: Deleted | None = None

    @property
    def number(self) -> int:
        """Number of the result."""
        return self.kept.number

    @property
    def drift(self) -> float | None:
        """Change of the picture by enlargement, in levels of 255; None: not measured."""
        return self.record.drift

    @property
    def originality(self) -> float | None:
        """Distance to the nearest training image; None for a person's own file."""
        origin = self.record.origin
        return origin.originality if origin.kind == "generated" else None


@dataclass(frozen=True)
class DamagedRow:
    """A result of which the index has lost the record, or anything else."""

    number: int
    drift: float | None = None
    originality: float | None = None


@dataclass(frozen=True)
class Unlisted:
    """A result that was kept, but of which the index has no record."""

    kept: Kept
    is_lost: bool
    """True where `results doctor` looked for its file in vain."""


class Writer(Protocol):
    """Changes to an index, all of which take effect at once, or none."""

    def apply(self, event: Event, record: Record | None = None) -> None:
        """Follow one line of the journal; what was kept is listed where its record is given."""
        ...

    def place(self, position: Position) -> None:
        """Note how far the journal has been followed."""
        ...


class Index(Protocol):
    """Database of results. Every call raises `DamagedIndexError` where `rebuild` must come first.

    A database that a newer version wrote raises `RefusedError`; one that cannot be read or written
    for a reason that `rebuild` does not mend raises `UnavailableError`. Reading waits for nobody.
    """

    name: str
    """Name for messages: its path, or its URL."""

    def exists(self) -> bool:
        """Whether there is anything but an empty file, damaged or not."""
        ...

    def create(self) -> None:
        """Create an empty index if there is none."""
        ...

    def position(self) -> Position | None:
        """Position of the index in the journal; None: it never knew one."""
        ...

    def writing(self) -> AbstractContextManager[Writer]:
        """Begin to change the index; the changes are durable when the block ends well."""
        ...

    def rebuild(
        self, rows: Iterable[Row], unlisted: Iterable[Unlisted], position: Position
    ) -> str | None:
        """Recreate the index; returns where a damaged one was moved, if there was one."""
        ...

    def find(self, query: ResultQuery, cursor: str | None, limit: int) -> list[Row | DamagedRow]:
        """The results that fit, in the query's order, after the cursor."""
        ...

    def count(self, query: ResultQuery) -> int:
        """Number of results that fit, whatever the limit."""
        ...

    def numbers(self, query: ResultQuery) -> list[int]:
        """Numbers of all results that fit, whatever the limit, in the query's order."""
        ...

    def get(self, number: int) -> Row | DamagedRow | None:
        """One result, a deleted one too."""
        ...

    def holding(self, run: str, sha256: str) -> Row | DamagedRow | Unlisted | None:
        """The result of a run that has these bytes, listed or not."""
        ...

    def at(self, places: Sequence[str]) -> dict[str, Row | DamagedRow | Unlisted]:
        """The results, listed or not, that are kept at these places, by place."""
        ...

    def seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> list[tuple[int, Kept]]:
        """Results (seed, kept) of a run and model with these seeds, oldest first; deleted too."""
        ...

    def marked(self, numbers: Sequence[int], is_deleted: bool) -> list[int]:
        """The numbers among these whose result is deleted, or is not."""
        ...

    def expired(self, before: datetime, day: int) -> list[Kept]:
        """Results that were deleted by a time and by a day of use."""
        ...

    def rows(self) -> Iterator[Row | DamagedRow]:
        """Every result, deleted ones too, by number."""
        ...

    def unlisted(self) -> list[Unlisted]:
        """Results that were kept, but have no record here."""
        ...


def cursor_at(query: ResultQuery, row: Row | DamagedRow) -> str:
    """Cursor of the page after a row: the row's number, and the figure that was sorted by."""
    if query.sort_by == "newest":
        return str(row.number)
    figure = row.drift if query.sort_by == "drift" else row.originality
    return f"{'' if figure is None else repr(figure)}:{row.number}"


def read_cursor(query: ResultQuery, cursor: str) -> tuple[float | None, int]:
    """Figure and number of the result that a page begins after."""
    text, colon, number = cursor.rpartition(":")
    try:
        figure = float(text) if text else None
        is_sound = math.isfinite(figure or 0.0) and re.fullmatch(r"[0-9]{1,18}", number)
        if is_sound and bool(colon) == (query.sort_by != "newest"):
            return figure, int(number)
    except ValueError:
        pass
    raise RefusedError("cursor: give back what the page before named as next, with the same order")
