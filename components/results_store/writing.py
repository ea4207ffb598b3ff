"""Changes to the index, as both databases make them."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from components.results_store.columns import Dialect, Values, columns_of
from components.results_store.index import Position
from components.results_store.journal import Deleted, Event, Kept, Purged, Restored
from interfaces.record import Record

Execute = Callable[[str, dict[str, Any]], Iterable[Values]]
"""Executes a statement whose parameters are marked `:name`; returns its rows."""


class SqlWriter:
    """Changes to a database, inside a transaction; the port is `index.Writer`."""

    def __init__(self, execute: Execute, dialect: Dialect) -> None:
        self._execute = execute
        self._among = dialect.among

    def apply(self, event: Event, record: Record | None = None) -> None:
        """Follow one line of the journal; see `Writer`."""
        match event:
            case Kept() if record is not None:
                self.list(event, record)
            case Kept():
                self._follow(event)
            case Deleted():
                self._mark(event.at.isoformat(), event.day, event.numbers)
            case Restored():
                self._mark(None, None, event.numbers)
            case Purged():
                numbers = {"numbers": json.dumps(event.numbers)}
                for table in ("results", "unlisted"):
                    self._execute(f"DELETE FROM {table} WHERE {self._among}", numbers)
            case _:
                pass  # days are part of the position

    def place(self, position: Position) -> None:
        """Note how far the journal has been followed."""
        self._execute(
            "INSERT INTO position VALUES (1, :store, :generation, :reached, :last, :days) "
            "ON CONFLICT (only_one) DO UPDATE SET store = excluded.store, "
            'generation = excluded.generation, "offset" = excluded."offset", '
            "last = excluded.last, days = excluded.days",
            {
                "store": position.store,
                "generation": position.generation,
                "reached": position.offset,
                "last": position.last,
                "days": position.days.model_dump_json(),
            },
        )

    def list(self, kept: Kept, record: Record, deleted: Deleted | None = None) -> None:
        """Insert a result, or change the one of its number."""
        columns = columns_of(kept, record, deleted)
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
        self._execute(
            f"INSERT INTO results ({names}) VALUES ({marks}) "
            f"ON CONFLICT (id) DO UPDATE SET {changes}",
            columns,
        )
        self._forget(kept)

    def remember(self, kept: Kept, is_lost: bool) -> None:
        """List a kept result that has no record here."""
        self._forget(kept)
        entry = {"path": kept.place, "kept": kept.model_dump_json(), "is_lost": is_lost}
        self._execute(
            "INSERT INTO unlisted VALUES (:id, :path, :run, :sha256, :kept, :is_lost)",
            {**_keys_of(kept), **entry},
        )

    def _forget(self, kept: Kept) -> None:
        """Remove a result from those without a record."""
        self._execute(
            "DELETE FROM unlisted WHERE id = :id OR run = :run AND sha256 = :sha256",
            _keys_of(kept),
        )

    def _follow(self, kept: Kept) -> None:
        """A line of the journal whose record is not at hand."""
        known = [
            row["id"]
            for row in self._execute(
                "SELECT id FROM results WHERE id = :id OR run = :run AND sha256 = :sha256",
                _keys_of(kept),
            )
        ]
        if not known:
            self.remember(kept, is_lost=False)
        elif kept.number in known:
            self._execute(
                "UPDATE results SET path = :path, deleted_at = NULL, deleted_day = NULL "
                "WHERE id = :id AND NOT EXISTS "
                "(SELECT 1 FROM results AS other WHERE other.path = :path AND other.id <> :id)",
                {"path": kept.place, "id": kept.number},
            )

    def _mark(self, at: str | None, day: int | None, numbers: Sequence[int]) -> None:
        self._execute(
            f"UPDATE results SET deleted_at = :at, deleted_day = :day WHERE {self._among}",
            {"at": at, "day": day, "numbers": json.dumps(numbers)},
        )


def _keys_of(kept: Kept) -> dict[str, Any]:
    return {"id": kept.number, "run": kept.run, "sha256": kept.sha256}
