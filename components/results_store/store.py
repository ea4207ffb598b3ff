"""Files in folders by run, and a SQLite database that indexes them.

The order of writing is the promise: first the file, whole, under its final name; then its row. A
kill between the two leaves a file that the next `keep` of the same image adopts.
"""

import hashlib
import json
import math
import os
import re
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pathvalidate import sanitize_filename

from components.common.durable import exclusive, sha256_of, write_bytes
from interfaces.errors import AtelierError
from interfaces.iodt import IODT, NoSuchResultError, ResultPage, ResultQuery, StoredResult
from interfaces.record import FileOrigin, GeneratedOrigin, Origin, Record

SCHEMA_VERSION = 3
DATABASE = "results.sqlite"

# A search reads this index alone, which is far smaller than the rows with their records.
_SEARCH_INDEX = """
CREATE INDEX IF NOT EXISTS results_search ON results (
    deleted_at, family, style, model_digest, seed, run, width, height, kept_at, enhancer,
    media_type, drift, originality
);
"""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS results (
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
    UNIQUE (run, sha256)
) STRICT;
CREATE INDEX IF NOT EXISTS results_by_seed ON results (seed);
CREATE INDEX IF NOT EXISTS results_by_model ON results (model_digest, seed);
CREATE INDEX IF NOT EXISTS results_by_family ON results (family, style);
{_SEARCH_INDEX}"""

# From one version to the next; what is new is read out of the records, which hold everything.
_UPGRADES = {
    1: """
ALTER TABLE results ADD COLUMN drift REAL;
ALTER TABLE results ADD COLUMN originality REAL;
UPDATE results SET drift = json_extract(record, '$.drift'),
    originality = json_extract(record, '$.origin.originality');
""",
    2: f"""
ALTER TABLE results ADD COLUMN deleted_at TEXT;
{_SEARCH_INDEX}""",
}

_COLUMNS_OF_A_RESULT = ("id", "sha256", "media_type", "width", "height", "run", "kept_at")

# One for each field of a query that may be given.
_CONDITIONS = {
    "run": "run = :run",
    "family": "family = :family",
    "style": "style = :style",
    # The digits go up to f, so this is every digest that begins so, and an index serves it.
    "model_digest": "model_digest BETWEEN :model_digest AND :model_digest || 'g'",
    "first_seed": "seed >= :first_seed",
    "last_seed": "seed <= :last_seed",
    "most_drift": "drift <= :most_drift",
    "least_originality": "originality >= :least_originality",
    "least_side": "max(width, height) >= :least_side",
    "most_side": "max(width, height) <= :most_side",
    "kept_after": "kept_at >= :kept_after",
    "kept_before": "kept_at < :kept_before",
    "enhancer": "enhancer = :enhancer",
    "media_type": "media_type = :media_type",
}

_DELETED = {None: "deleted_at IS NULL", "only": "deleted_at IS NOT NULL", "too": "TRUE"}

_ORDERS = {
    "newest": "id DESC",
    "drift": "drift IS NULL, drift, id DESC",
    "originality": "originality IS NULL, originality, id DESC",
}

_LARGEST_FILE = 2**30
"""Bytes; a larger file in the place of a result is not read to see that it is another."""

_FAILURES = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, or choose another --workspace",
    sqlite3.SQLITE_READONLY: "no permission to write; change it, or choose another --workspace",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; it must be a file, in a folder one may write to",
    sqlite3.SQLITE_IOERR: "reading or writing failed; see whether the disk is full or damaged",
    sqlite3.SQLITE_BUSY: "another program holds it; close that one and try again",
}

# The names that `replacing` writes under.
_PARTIAL = re.compile(r"\..+\.\d+\.partial\.(png|jpg|webp|avif|tif)", re.DOTALL)


class LocalResultsStore:
    """Results of this machine. The port is `interfaces.iodt.ResultsStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = folder / DATABASE
        self._is_swept = False

    def keep(self, image: IODT, run: str) -> StoredResult:
        """Keep one image for good; the same bytes for the same run are kept once.

        Several processes may keep at the same time. No file of another's is ever written over: a
        result that somebody edited is kept anew beside it. Raises `AtelierError` where the database
        is damaged, newer than this version or cannot be written.
        """
        run = _storable(run)
        with exclusive(self._folder / ".lock"), self._connect() as database:
            self._sweep()
            row = _one(database, "run = ? AND sha256 = ?", (run, image.sha256))
            if row is not None and self._can_hold(row["path"], image):
                place = row["path"]
            else:
                place = self._free_place(database, image, run)
            if not (self._folder / place).exists():
                write_bytes(self._folder / place, image.data)
            if row is None:
                _insert(database, image, run, place)
            elif place != row["path"] or row["deleted_at"] is not None:
                database.execute(
                    "UPDATE results SET path = ?, deleted_at = NULL WHERE id = ?",
                    (place, row["id"]),
                )
            row = _one(database, "run = ? AND sha256 = ?", (run, image.sha256))
            assert row is not None, "it was there or has just been written"
            return self._result(row)

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """The results that fit, as they are to be sorted; where a figure is not known, last.

        A file that was deleted on disk is still listed.
        """
        return self._found(query, None, query.limit)

    def page(self, query: ResultQuery, cursor: str | None = None) -> ResultPage:
        """At most `query.limit` results, those after the cursor; see `ResultsGallery`."""
        found = self._found(query, cursor, query.limit + 1)
        results = tuple(found[: query.limit])
        return ResultPage(
            results=results,
            next=_cursor_at(query, results[-1]) if len(found) > query.limit else None,
        )

    def count(self, query: ResultQuery) -> int:
        """How many results fit, whatever the limit."""
        if not self._database.exists():
            return 0
        where, values = _where(query, None)
        with self._connect() as database:
            (number,) = database.execute(
                f"SELECT count(*) FROM results WHERE {where}", values
            ).fetchone()
        return int(number)

    def _found(self, query: ResultQuery, cursor: str | None, limit: int) -> list[StoredResult]:
        where, values = _where(query, cursor)
        if not self._database.exists():
            return []
        # First the numbers, which an index has, then the rows of these alone.
        numbers = f"SELECT id FROM results WHERE {where} ORDER BY {_ORDERS[query.sort_by]}"
        with self._connect() as database:
            ids = [
                row["id"]
                for row in database.execute(f"{numbers} LIMIT :limit", values | {"limit": limit})
            ]
            rows = database.execute(
                "SELECT * FROM results WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            )
            by_id = {row["id"]: row for row in rows}
        return [self._result(by_id[number]) for number in ids]

    def get(self, result_id: int) -> StoredResult:
        """One result by its number. Raises `NoSuchResultError` where there is none."""
        if self._database.exists() and abs(result_id) < 2**63:  # what SQLite can ask for
            with self._connect() as database:
                row = _one(database, "id = ?", (result_id,))
            if row is not None:
                return self._result(row)
        raise NoSuchResultError(
            f"result {result_id}: there is none; `results list` shows what there is"
        )

    def read(self, result_id: int) -> bytes:
        """The file, byte for byte as it was kept; nothing else that lies in its place is given.

        Raises `NoSuchResultError` where it is gone or was changed.
        """
        result = self.get(result_id)
        if not result.path.is_file():
            raise NoSuchResultError(f"result {result_id}: its file was removed from the disk")
        if result.path.stat().st_size <= _LARGEST_FILE:
            data = result.path.read_bytes()
            if hashlib.sha256(data).hexdigest() == result.sha256:
                return data
        raise NoSuchResultError(f"result {result_id}: its file was changed on the disk")

    def delete(self, result_ids: Sequence[int]) -> int:
        """Hide these results until they are restored or purged; see `ResultsGallery`."""
        return self._mark(result_ids, "deleted_at IS NULL", datetime.now(UTC).isoformat())

    def restore(self, result_ids: Sequence[int]) -> int:
        """Undo `delete`. How many came back."""
        return self._mark(result_ids, "deleted_at IS NOT NULL", None)

    def _mark(self, result_ids: Sequence[int], where: str, deleted_at: str | None) -> int:
        if not self._database.exists():
            return 0
        numbers = json.dumps([number for number in result_ids if abs(number) < 2**63])
        with exclusive(self._folder / ".lock"), self._connect() as database:
            return database.execute(
                f"UPDATE results SET deleted_at = ? WHERE {where} "
                "AND id IN (SELECT value FROM json_each(?))",
                (deleted_at, numbers),
            ).rowcount

    def purge(self, older_than: timedelta) -> int:
        """Remove for good what was deleted so long ago. A file that somebody changed stays."""
        if not self._database.exists():
            return 0
        before = (datetime.now(UTC) - older_than).isoformat()
        with exclusive(self._folder / ".lock"), self._connect() as database:
            rows = database.execute(
                "SELECT id, path, sha256 FROM results WHERE deleted_at <= ?", (before,)
            ).fetchall()
            for row in rows:
                path = self._folder / row["path"]
                with suppress(OSError):  # what cannot be removed is no result any more
                    if path.is_file() and sha256_of(path) == row["sha256"]:
                        path.unlink()
                # The newest row keeps its number taken, which is never given to another result.
                database.execute(
                    "DELETE FROM results WHERE id = ? AND id < (SELECT max(id) FROM results)",
                    (row["id"],),
                )
        return len(rows)

    def _sweep(self) -> None:
        """Remove what killed processes were writing: under the lock, nobody else writes now."""
        if not self._is_swept:
            for hidden in self._folder.glob("*/.*"):
                if _PARTIAL.fullmatch(hidden.name):
                    hidden.unlink(missing_ok=True)
            self._is_swept = True

    @contextmanager
    def _connect(self) -> Generator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._database, timeout=60)) as database:
                database.row_factory = sqlite3.Row
                # A committed row survives a power cut. FULL could lose the newest: it does not
                # wait for the folder to forget the journal, which then would undo the commit.
                database.execute("PRAGMA synchronous = EXTRA")
                self._check_version(database)
                with database:
                    yield database
        except sqlite3.DatabaseError as error:
            raise AtelierError(f"{self._database}: {_explain(error)}") from error

    def _check_version(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            # Whoever waited here for another process finds its work done, and does nothing.
            script = f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
            database.executescript(script)
        elif version in _UPGRADES:
            self._upgrade(database)
        elif version != SCHEMA_VERSION:
            raise AtelierError(
                f"{self._database}: written by a newer version of Atelier (schema {version}, this "
                f"one knows {SCHEMA_VERSION}); update Atelier"
            )

    def _upgrade(self, database: sqlite3.Connection) -> None:
        """Bring an older database up to this version: all of it, or none where it is killed."""
        with exclusive(self._folder / ".upgrade-lock"):
            # Whoever waited here for another process finds its work done.
            (version,) = database.execute("PRAGMA user_version").fetchone()
            for old in range(version, SCHEMA_VERSION):
                script = f"BEGIN IMMEDIATE;{_UPGRADES[old]}PRAGMA user_version = {old + 1};COMMIT;"
                database.executescript(script)

    def _free_place(self, database: sqlite3.Connection, image: IODT, run: str) -> str:
        """Where the image goes: its seed or name; a digest and a number keep others apart.

        A file that lies there without a row and has the image's digest is the image itself, from
        a process that was killed before it wrote the row.
        """
        folder = PurePosixPath(_safe(run, otherwise="loose"))
        if folder.name.casefold().startswith(DATABASE):
            folder = PurePosixPath(f"run-{folder.name}")
        for place in _places(folder, _stem(image.record.origin, run), image):
            taken = _one(database, "path = ?", (place,)) is not None
            if not taken and self._can_hold(place, image):
                return place
        raise AssertionError("unreachable: the places never end")

    def _can_hold(self, place: str, image: IODT) -> bool:
        """Whether nothing lies there, not even a link to nowhere, or the image itself does."""
        path = self._folder / place
        if not os.path.lexists(path):
            return True
        return path.is_file() and sha256_of(path) == image.sha256

    def _result(self, row: sqlite3.Row) -> StoredResult:
        fields = {name: row[name] for name in _COLUMNS_OF_A_RESULT}
        try:
            record = Record.model_validate(json.loads(row["record"]))
            return StoredResult(path=self._folder / row["path"], record=record, **fields)
        except ValueError as error:
            raise AtelierError(
                f"{self._database}: row {row['id']} is damaged; the pictures in {self._folder} "
                "carry their records"
            ) from error


def _explain(error: sqlite3.DatabaseError) -> str:
    """What is wrong with the database, and what to do."""
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of the bits are details
    return _FAILURES.get(kind) or (
        f"not a readable database ({error}); move it away, the pictures beside it are whole and "
        "carry their records"
    )


def _where(query: ResultQuery, cursor: str | None) -> tuple[str, dict[str, Any]]:
    """The condition for all that a query asks, and what it is to be filled with."""
    values = query.model_dump(include=set(_CONDITIONS), exclude_none=True)
    conditions = [_CONDITIONS[name] for name in values]
    for name in ("kept_after", "kept_before"):
        if name in values:
            moment: datetime = values[name]
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            try:
                values[name] = zoned.astimezone(UTC).isoformat()
            except OverflowError as error:
                raise AtelierError(f"{name}: {moment} lies outside the years 1 to 9999") from error
    if cursor is not None:
        figure, number = _read_cursor(query, cursor)
        column = query.sort_by
        values |= {"after_id": number, "after": figure}
        if column == "newest":
            conditions.append("id < :after_id")
        elif figure is None:
            conditions.append(f"{column} IS NULL AND id < :after_id")
        else:
            conditions.append(
                f"({column} IS NULL OR {column} > :after OR {column} = :after AND id < :after_id)"
            )
    return " AND ".join([_DELETED[query.deleted], *conditions]), values


def _cursor_at(query: ResultQuery, last: StoredResult) -> str:
    """Where the page after this result begins: its number, and the figure that was sorted by."""
    if query.sort_by == "newest":
        return str(last.id)
    figure = last.record.drift
    if query.sort_by == "originality":
        origin = last.record.origin
        figure = origin.originality if isinstance(origin, GeneratedOrigin) else None
    return f"{'' if figure is None else repr(figure)}:{last.id}"


def _read_cursor(query: ResultQuery, cursor: str) -> tuple[float | None, int]:
    text, colon, number = cursor.rpartition(":")
    try:
        figure = float(text) if text else None
        is_sound = math.isfinite(figure or 0.0) and re.fullmatch(r"[0-9]{1,18}", number)
        if is_sound and bool(colon) == (query.sort_by != "newest"):
            return figure, int(number)
    except ValueError:
        pass
    raise AtelierError("cursor: give back what the page before named as next, with the same order")


def _one(database: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> sqlite3.Row | None:
    row: sqlite3.Row | None = database.execute(
        f"SELECT * FROM results WHERE {where}", values
    ).fetchone()
    return row


def _insert(database: sqlite3.Connection, image: IODT, run: str, place: str) -> None:
    origin = image.record.origin
    generated = origin if isinstance(origin, GeneratedOrigin) else None
    columns = {
        "path": place,
        "sha256": image.sha256,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "run": run,
        "kept_at": datetime.now(UTC).isoformat(),
        "family": generated and generated.family,
        "model_digest": generated and generated.model_digest,
        "dataset_name": generated and generated.dataset_name,
        "style": generated and generated.style,
        "seed": generated and generated.seed,
        "source_name": origin.name if isinstance(origin, FileOrigin) else None,
        "enhancer": image.record.enhancement.enhancer,
        "scale": image.record.enhancement.scale,
        # In ASCII, which also holds what UTF-8 cannot: lone surrogates.
        "record": json.dumps(image.record.model_dump(mode="json")),
        "drift": image.record.drift,
        "originality": generated and generated.originality,
    }
    names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    database.execute(f"INSERT INTO results ({names}) VALUES ({marks})", columns)


def _stem(origin: Origin, run: str) -> str:
    """A run's pictures are told apart by their seeds; others are called as the person's file."""
    if isinstance(origin, FileOrigin):
        name = origin.name
    else:
        name = next((given.name for given in origin.inputs if given.role == "source"), None)
        if run or name is None:
            return f"{origin.seed:06d}"
    return _safe(Path(name).stem, otherwise="picture")


def _places(folder: PurePosixPath, stem: str, image: IODT) -> Generator[str]:
    suffix = image.suffix
    yield str(folder / f"{stem}{suffix}")
    yield str(folder / f"{stem}-{image.sha256[:8]}{suffix}")
    for number in count(2):
        yield str(folder / f"{stem}-{image.sha256[:8]}-{number}{suffix}")


def _storable(text: str) -> str:
    """A text from outside => one that UTF-8 can hold; what it cannot is written out as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _safe(name: str, otherwise: str) -> str:
    """A name from outside => one that is a plain file name on every system."""
    cleaned = name
    for _ in range(2):  # once more, since what is stripped or cut may leave a reserved name
        # Windows takes "AUX .txt" for the device AUX too.
        base, dot, rest = cleaned.strip(". ").partition(".")
        cleaned = base.rstrip() + dot + rest
        # In bytes of UTF-8, of the 255 that file systems give: leaves room for digest and suffix.
        cleaned = sanitize_filename(cleaned, platform="universal", max_len=100)
    cleaned = cleaned.strip(". ") or otherwise
    # Such as "AUX .0": Windows passes over the space, pathvalidate does not.
    return f"_{cleaned}" if PureWindowsPath(cleaned).is_reserved() else cleaned
