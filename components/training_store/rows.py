"""Rows: the pictures of files that hold many, listed once, in the order of a folder of them.

The list is a SQLite file in the workspace, so that a million rows are sorted, told apart and read
again without being in memory.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.common.durable import replacing
from components.common.names import printable
from components.training_store.containers import Entry, archive_name, put_aside, stamp_at
from components.training_store.layouts import Candidate
from interfaces.itdt import QuarantinedFile
from interfaces.places import Url

ROWS_VERSION = 3
"""Part of a list's name: raise it when the same files would be listed otherwise."""

_SCHEMA = """
CREATE TABLE rows (
    place TEXT PRIMARY KEY,         -- the name, a folder's before those that begin like it
    file INTEGER NOT NULL,          -- which of the files holds the bytes
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    style TEXT,                     -- NULL: that of the whole collection
    reason TEXT,                    -- NULL: nothing is wrong so far
    detail TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
_DIVIDER = "\x01"  # sorts before every character of a printable name
_BATCH_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One picture, or the fault found in its place."""

    name: str
    """Its name in the collection."""
    shard: str
    """Prefix for its name where another row has the same one."""
    style: str | None = None
    file: int = 0
    """Index, in the list of files, of the one that holds the bytes."""
    offset: int = 0
    length: int = 0
    reason: Literal["corrupt", "truncated", "unsupported"] | None = None
    detail: str = ""


def name_in_style(given: object, style: str | None, spare: str) -> str:
    """The name of a picture by what its data set calls it: 'waves/one.png' for 'one.png'.

    A folder of the same styles gives the same names, so that both are one collection.
    """
    if not isinstance(given, str) or not given.strip():
        return spare
    name = archive_name(given)
    if given.startswith("/") or "/" not in name:  # an absolute path is of another machine
        name = name.rpartition("/")[2]
        name = f"{printable(style)}/{name}" if style else name
    return name or spare


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """List rows under `path`, which appears when the list is whole."""
    with replacing(path) as temporary, closing(sqlite3.connect(temporary)) as database:
        database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
        database.execute("BEGIN")
        for row in rows:
            if not _insert(database, row, row.name):
                _insert(database, row, f"{row.shard}/{row.name}")
        database.execute("COMMIT")


def _insert(database: sqlite3.Connection, row: Row, name: str) -> bool:
    values = (row.file, row.offset, row.length, row.style, row.reason, row.detail)
    cursor = database.execute(
        "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name.replace("/", _DIVIDER), *values),
    )
    return cursor.rowcount == 1


def listed_rows(
    path: Path, files: Sequence[Path | Url], otherwise: Callable[[str], str]
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The pictures of a list, as often as needed; `otherwise` gives the style of a name."""

    def candidates() -> Iterator[Candidate | QuarantinedFile]:
        stamps = [stamp_at(file) for file in files]
        with closing(sqlite3.connect(path)) as database:
            # Rows are fetched in batches of their own, so that a slow reader holds no lock.
            after = ""
            while rows := database.execute(
                "SELECT * FROM rows WHERE place > ? ORDER BY place LIMIT ?", (after, _BATCH_ROWS)
            ).fetchall():
                for place, file, offset, length, style, reason, detail in rows:
                    name, at = place.replace(_DIVIDER, "/"), int(file)
                    if reason is not None:
                        yield put_aside(name, reason, detail)
                        continue
                    entry = Entry(name, files[at], offset, length, length, stamp=stamps[at])
                    yield Candidate(entry, style or otherwise(name))
                after = rows[-1][0]

    return candidates
