"""The index as a SQLite database beside the files."""

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from components.common.days import Days
from components.common.durable import exclusive, replacing
from components.results_store.columns import (
    ORDERS,
    Dialect,
    condition,
    kept_of,
    row_of,
)
from components.results_store.index import (
    DamagedIndexError,
    DamagedRow,
    Position,
    Row,
    Unlisted,
    Writer,
)
from components.results_store.journal import Kept
from components.results_store.writing import SqlWriter
from interfaces.errors import RefusedError, UnavailableError
from interfaces.iodt import ResultQuery

SCHEMA_VERSION = 5

# A search reads one of these alone, in its order where there is one: they are far smaller than the
# rows with their records. What none of them begins with is sought from the newest on, in the first.
_SEARCHING = """
CREATE INDEX results_search ON results (
    id, deleted_at, family, style, model_digest, seed, run, width, height, kept_at, enhancer,
    media_type, drift, originality
);
CREATE INDEX results_by_family ON results (family, id, style, drift, originality, deleted_at);
CREATE INDEX results_by_style ON results (
    style, id, width, height, drift, originality, deleted_at
);
CREATE INDEX results_by_run ON results (run, id, deleted_at);
CREATE INDEX results_by_drift ON results (drift IS NULL, drift, id DESC, deleted_at)
    WHERE deleted_at IS NULL;
CREATE INDEX results_by_originality
    ON results (originality IS NULL, originality, id DESC, deleted_at) WHERE deleted_at IS NULL;
CREATE INDEX results_deleted ON results (deleted_at) WHERE deleted_at IS NOT NULL;
"""

# What an index needs to follow a journal.
_FOLLOWING = """
CREATE TABLE position (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    store TEXT NOT NULL,
    generation INTEGER NOT NULL,
    offset INTEGER NOT NULL,        -- bytes of the journal that this index accounts for
    last INTEGER NOT NULL,          -- highest number given out
    days TEXT NOT NULL              -- JSON
) STRICT;
CREATE TABLE unlisted (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    run TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    kept TEXT NOT NULL,             -- JSON
    is_lost INTEGER NOT NULL,
    UNIQUE (run, sha256)
) STRICT;
"""

_SCHEMA = f"""
CREATE TABLE results (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,      -- inside the store's folder, with forward slashes
    sha256 TEXT NOT NULL,
    media_type TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    run TEXT NOT NULL,
    kept_at TEXT NOT NULL,          -- ISO 8601, UTC
    family TEXT,                    -- of a generated image; NULL for a person's own file
    model_digest TEXT,
    dataset_name TEXT,
    style TEXT,
    seed INTEGER,
    source_name TEXT,               -- of a person's own file; NULL for a generated image
    enhancer TEXT NOT NULL,
    scale INTEGER NOT NULL,
    record TEXT NOT NULL,           -- JSON
    drift REAL,                     -- levels of 255; NULL where it was not measured
    originality REAL,               -- NULL where the model did not know its training set
    deleted_at TEXT,                -- ISO 8601, UTC; NULL for what was not deleted
    deleted_day INTEGER,            -- day of use; NULL for what was not deleted
    size INTEGER,                   -- bytes; NULL where it is not known
    UNIQUE (run, sha256)
) STRICT;
CREATE INDEX results_by_seed ON results (seed);
CREATE INDEX results_by_model ON results (model_digest, seed);
{_SEARCHING}{_FOLLOWING}"""

# From one version to the next; what is new is read out of the records, which hold everything.
_UPGRADES = {
    1: """
ALTER TABLE results ADD COLUMN drift REAL;
ALTER TABLE results ADD COLUMN originality REAL;
UPDATE results SET drift = json_extract(record, '$.drift'),
    originality = json_extract(record, '$.origin.originality');
""",
    2: "ALTER TABLE results ADD COLUMN deleted_at TEXT;",
    3: f"""
ALTER TABLE results ADD COLUMN deleted_day INTEGER;
ALTER TABLE results ADD COLUMN size INTEGER;
UPDATE results SET deleted_day = 0 WHERE deleted_at IS NOT NULL;
{_FOLLOWING}""",
    4: f"""
DROP INDEX IF EXISTS results_search;
DROP INDEX IF EXISTS results_by_family;
{_SEARCHING}""",
}

_DIALECT = Dialect(
    among="id IN (SELECT value FROM json_each(:numbers))",
    longer_side="max(width, height)",
)

_FAILURES = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, or choose another --workspace",
    sqlite3.SQLITE_READONLY: "no permission to write; change it, or choose another --workspace",
    sqlite3.SQLITE_IOERR: "reading or writing failed; see whether the disk is full or damaged",
    sqlite3.SQLITE_BUSY: "another program holds it; close that one and try again",
    sqlite3.SQLITE_LOCKED: "another program holds it; close that one and try again",
    sqlite3.SQLITE_PERM: "no permission to read; change it, or choose another --workspace",
    sqlite3.SQLITE_NOMEM: "out of memory; close other programs and try again",
}

_REMEDY = "`results doctor` makes it anew from the pictures beside it"


class SqliteIndex:
    """The port `components.results_store.index.Index` on one file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def exists(self) -> bool:
        """Whether there is a file, damaged or not, that is not empty."""
        return self._path.exists() and not (self._path.is_file() and not self._path.stat().st_size)

    def create(self) -> None:
        """Create an empty database if there is none, or an empty file."""
        with self._explained(), closing(sqlite3.connect(self._path, timeout=60)) as database:
            database.executescript(_script(_SCHEMA, SCHEMA_VERSION))

    def position(self) -> Position | None:
        """Position of the index in the journal; None: it never knew one."""
        with self._reading() as database:
            row = database.execute("SELECT * FROM position").fetchone()
        if row is None:
            return None
        days = Days.model_validate_json(row["days"])
        return Position(row["store"], row["generation"], row["offset"], row["last"], days)

    @contextmanager
    def writing(self) -> Generator[Writer]:
        """Change the database, all or nothing; waits up to a minute for another program."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            with database:
                yield SqlWriter(database.execute, _DIALECT)

    def rebuild(
        self, rows: Iterable[Row], unlisted: Iterable[Unlisted], position: Position
    ) -> str | None:
        """Write another database and put it in the place of this one; see the port."""
        with self._explained(), replacing(self._path) as temporary:
            with closing(sqlite3.connect(temporary)) as database:
                database.executescript(_script(_SCHEMA, SCHEMA_VERSION))
                with database:
                    writer = SqlWriter(database.execute, _DIALECT)
                    for row in rows:
                        writer.list(row.kept, row.record, row.deleted)
                    for entry in unlisted:
                        writer.remember(entry.kept, entry.is_lost)
                    writer.place(position)
            return self._make_way()

    def find(self, query: ResultQuery, cursor: str | None, limit: int) -> list[Row | DamagedRow]:
        """The results that fit; first their numbers, which an index has, then these rows alone."""
        where, values = condition(query, cursor, _DIALECT)
        sought = f"SELECT id FROM results WHERE {where} ORDER BY {ORDERS[query.sort_by]}"
        with self._reading() as database:
            found = database.execute(f"{sought} LIMIT :limit", values | {"limit": limit})
            ids = [row["id"] for row in found]
            rows = database.execute(
                "SELECT * FROM results WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            )
            by_id = {row["id"]: row_of(row) for row in rows}
        # One may have been purged since its number was read.
        return [by_id[number] for number in ids if number in by_id]

    def count(self, query: ResultQuery) -> int:
        """Number of results that fit, whatever the limit."""
        where, values = condition(query, None, _DIALECT)
        with self._reading() as database:
            found = database.execute(f"SELECT count(*) FROM results WHERE {where}", values)
            return int(found.fetchone()[0])

    def numbers(self, query: ResultQuery) -> list[int]:
        """Numbers of all results that fit, whatever the limit, in the query's order."""
        where, values = condition(query, None, _DIALECT)
        sought = f"SELECT id FROM results WHERE {where} ORDER BY {ORDERS[query.sort_by]}"
        with self._reading() as database:
            return [row["id"] for row in database.execute(sought, values)]

    def get(self, number: int) -> Row | DamagedRow | None:
        """One result, a deleted one too."""
        is_number = abs(number) < 2**63  # what SQLite can be asked for
        return self._one("id = ?", number) if is_number else None

    def holding(self, run: str, sha256: str) -> Row | DamagedRow | Unlisted | None:
        """The result of a run that has these bytes, listed or not."""
        found = self._one("run = ? AND sha256 = ?", run, sha256)
        return found or self._unlisted("run = ? AND sha256 = ?", run, sha256)

    def at(self, places: Sequence[str]) -> dict[str, Row | DamagedRow | Unlisted]:
        """The results, listed or not, that are kept at these places, by place."""
        asked = (json.dumps(list(places)),)
        with self._reading() as database:
            rows, entries = (
                database.execute(
                    f"SELECT * FROM {table} WHERE path IN (SELECT value FROM json_each(?))", asked
                ).fetchall()
                for table in ("results", "unlisted")
            )
        unlisted = {row["path"]: self._entry(row) for row in entries}
        return unlisted | {row["path"]: row_of(row) for row in rows}

    def seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> list[tuple[int, Kept]]:
        """Results (seed, kept) of a run and model with these seeds, oldest first; deleted too."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT * FROM results WHERE run = ? AND model_digest = ? "
                "AND seed IN (SELECT value FROM json_each(?)) ORDER BY id",
                (run, model_digest, json.dumps(list(seeds))),
            )
            return [(row["seed"], kept) for row in rows if (kept := kept_of(row)) is not None]

    def marked(self, numbers: Sequence[int], is_deleted: bool) -> list[int]:
        """The numbers among these whose result is deleted, or is not."""
        asked = json.dumps([number for number in numbers if abs(number) < 2**63])
        with self._reading() as database:
            rows = database.execute(
                "SELECT id FROM results WHERE id IN (SELECT value FROM json_each(?)) "
                "AND (deleted_at IS NOT NULL) = ? ORDER BY id",
                (asked, is_deleted),
            )
            return [row["id"] for row in rows]

    def expired(self, before: datetime, day: int) -> list[Kept]:
        """Results that were deleted by a time and by a day of use."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT * FROM results WHERE deleted_at <= ? AND deleted_day <= ? ORDER BY id",
                (before.isoformat(), day),
            )
            return [kept for row in rows if (kept := kept_of(row)) is not None]

    def rows(self) -> Iterator[Row | DamagedRow]:
        """Every result, deleted ones too, by number; the whole database is checked first."""
        with self._reading() as database:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedIndexError(f"{self._path}: damaged ({verdict}); {_REMEDY}")
            yield from map(row_of, database.execute("SELECT * FROM results ORDER BY id"))

    def unlisted(self) -> list[Unlisted]:
        """Results that were kept, but have no record here."""
        with self._reading() as database:
            rows = database.execute("SELECT kept, is_lost FROM unlisted ORDER BY id").fetchall()
        return [self._entry(row) for row in rows]

    def _entry(self, row: sqlite3.Row) -> Unlisted:
        try:
            return Unlisted(Kept.model_validate_json(row["kept"]), bool(row["is_lost"]))
        except ValueError as error:
            raise DamagedIndexError(f"{self._path}: damaged; {_REMEDY}") from error

    def _unlisted(self, where: str, *values: Any) -> Unlisted | None:
        with self._reading() as database:
            row = database.execute(
                f"SELECT kept, is_lost FROM unlisted WHERE {where}", values
            ).fetchone()
        return None if row is None else self._entry(row)

    def _one(self, where: str, *values: Any) -> Row | DamagedRow | None:
        with self._reading() as database:
            row = database.execute(f"SELECT * FROM results WHERE {where}", values).fetchone()
        return None if row is None else row_of(row)

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """A connection to a database that is there, sound as far as one sees, and up to date."""
        if not self._path.exists():
            raise DamagedIndexError(f"{self._path}: is missing; {_REMEDY}")
        # Without this mode SQLite would make an empty database where none is.
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with self._explained(), closing(sqlite3.connect(address, timeout=60, uri=True)) as database:
            database.row_factory = sqlite3.Row
            # A committed row survives a power cut. FULL could lose the newest: it does not
            # wait for the folder to forget the journal, which then would undo the commit.
            database.execute("PRAGMA synchronous = EXTRA")
            self._check_version(database)
            yield database

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the other bits are details
            if kind == sqlite3.SQLITE_CANTOPEN and self._path.is_file():
                raise UnavailableError(
                    f"{self._path}: cannot be opened; see whether you may write to its folder"
                ) from error
            if kind in _FAILURES:
                raise UnavailableError(f"{self._path}: {_FAILURES[kind]}") from error
            raise DamagedIndexError(
                f"{self._path}: not a readable database ({error}); {_REMEDY}"
            ) from error

    def _check_version(self, database: sqlite3.Connection) -> None:
        version = _version_of(database)
        if version == SCHEMA_VERSION:
            return
        if version in _UPGRADES:
            self._upgrade(database)
        elif version > SCHEMA_VERSION:
            raise RefusedError(
                f"{self._path}: written by a newer version of Atelier (schema {version}, this "
                f"one knows {SCHEMA_VERSION}); update Atelier"
            )
        else:
            what = "is empty" if self._path.stat().st_size == 0 else "holds no index of results"
            raise DamagedIndexError(f"{self._path}: {what}; {_REMEDY}")

    def _upgrade(self, database: sqlite3.Connection) -> None:
        """Bring an older database up to this version: all of it, or none where it is killed."""
        with exclusive(self._path.with_name(".upgrade-lock")):
            # Whoever waited here for another process finds its work done.
            for old in range(_version_of(database), SCHEMA_VERSION):
                database.executescript(_script(_UPGRADES[old], old + 1))

    def _make_way(self) -> str | None:
        """Move a damaged database out of the way of the new one; returns its new name."""
        try:
            next(self.rows(), None)  # checks the whole
        except DamagedIndexError:
            # An interrupted change to the damaged one must not be undone in the new one.
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
            return self._set_aside() if self.exists() else None
        return None

    def _set_aside(self) -> str:
        name = f"{self._path.name}.damaged"
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        places = (self._path.with_name(name) for name in names)
        place = next(place for place in places if not place.exists())
        self._path.replace(place)
        return place.name


def _script(statements: str, version: int) -> str:
    return f"BEGIN IMMEDIATE;{statements}PRAGMA user_version = {version};COMMIT;"


def _version_of(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
