"""Files in folders by run, and a SQLite database that indexes them.

The order of writing is the promise: first the file, whole, under its final name; then its row. A
kill between the two leaves a file that the next `keep` of the same image adopts.
"""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from pathvalidate import sanitize_filename

from components.durable import exclusive, sha256_of, write_bytes
from interfaces.errors import AtelierError
from interfaces.iodt import IODT, ResultQuery, StoredResult
from interfaces.record import FileOrigin, GeneratedOrigin, Record

SCHEMA_VERSION = 1

SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/tiff": ".tif",
}

_SCHEMA = """
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
    UNIQUE (run, sha256)
) STRICT;
CREATE INDEX IF NOT EXISTS results_by_seed ON results (seed);
CREATE INDEX IF NOT EXISTS results_by_model ON results (model_digest, seed);
CREATE INDEX IF NOT EXISTS results_by_family ON results (family, style);
"""


class LocalResultsStore:
    """Results of this machine. The port is `interfaces.iodt.ResultsStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = folder / "results.sqlite"
        self._swept: set[Path] = set()

    def keep(self, image: IODT, run: str) -> StoredResult:
        """Keep one image for good; the same bytes for the same run are kept once.

        Several processes may keep at the same time. Raises `AtelierError` where the database is
        damaged or newer than this version.
        """
        with exclusive(self._folder / ".lock"), self._connect() as database:
            row = _one(database, "run = ? AND sha256 = ?", (run, image.sha256))
            place = row["path"] if row else self._free_place(database, image, run)
            path = self._folder / place
            self._sweep(path.parent)
            if not path.exists():
                write_bytes(path, image.data)
            if row is None:
                _insert(database, image, run, place)
                row = _one(database, "run = ? AND sha256 = ?", (run, image.sha256))
            assert row is not None
            return self._result(row)

    def _sweep(self, folder: Path) -> None:
        """Remove what killed processes were writing: under the lock, nobody else writes now."""
        if folder not in self._swept:
            for partial in folder.glob(".*.partial.*"):
                partial.unlink(missing_ok=True)
            self._swept.add(folder)

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """The results that fit, newest first. A file that was deleted on disk is still listed."""
        if not self._database.exists():
            return []
        conditions = {
            "run = ?": query.run,
            "family = ?": query.family,
            "style = ?": query.style,
            "substr(model_digest, 1, length(?1)) = ?1": query.model_digest,
            "seed >= ?": query.first_seed,
            "seed <= ?": query.last_seed,
        }
        return self._select(conditions, query.limit)

    def get(self, result_id: int) -> StoredResult:
        """One result by its number. Raises `AtelierError` where there is none."""
        if self._database.exists() and abs(result_id) < 2**63:  # what SQLite can ask for
            with self._connect() as database:
                row = _one(database, "id = ?", (result_id,))
            if row is not None:
                return self._result(row)
        raise AtelierError(f"result {result_id}: there is none; `results list` shows what there is")

    def _select(self, conditions: dict[str, Any], limit: int) -> list[StoredResult]:
        given = {text: value for text, value in conditions.items() if value is not None}
        names = [f":v{number}" for number in range(len(given))]
        where = " AND ".join(
            text.replace("?1", name).replace("?", name)
            for text, name in zip(given, names, strict=True)
        )
        values = {name[1:]: value for name, value in zip(names, given.values(), strict=True)}
        statement = f"SELECT * FROM results WHERE {where or '1'} ORDER BY id DESC LIMIT :limit"
        with self._connect() as database:
            rows = database.execute(statement, values | {"limit": limit}).fetchall()
        return [self._result(row) for row in rows]

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
        except sqlite3.OperationalError:
            raise  # a full disk, no permission: not the database's fault
        except sqlite3.DatabaseError as error:
            raise AtelierError(
                f"{self._database}: not a readable database ({error}); move it away, the pictures "
                "beside it are whole and carry their records"
            ) from error

    def _check_version(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            # Whoever waited here for another process finds its work done, and does nothing.
            script = f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
            database.executescript(script)
        elif version != SCHEMA_VERSION:
            raise AtelierError(
                f"{self._database}: written by a newer version of Atelier (schema {version}, this "
                f"one knows {SCHEMA_VERSION}); update Atelier"
            )

    def _free_place(self, database: sqlite3.Connection, image: IODT, run: str) -> str:
        """Where the image goes: its seed or name; a digest and a number keep others apart.

        A file that lies there without a row and has the image's digest is the image itself, from
        a process that was killed before it wrote the row.
        """
        folder = PurePosixPath(_safe(run, otherwise="loose"))
        for place in _places(folder, image):
            path = self._folder / place
            taken = _one(database, "path = ?", (place,)) is not None
            if not taken and (not path.exists() or sha256_of(path) == image.sha256):
                return place
        raise AssertionError("unreachable: the places never end")

    def _result(self, row: sqlite3.Row) -> StoredResult:
        fields = {name: row[name] for name in StoredResult.model_fields if name in row.keys()}  # noqa: SIM118
        parsed = Record.model_validate_json(row["record"])
        return StoredResult.model_validate(
            fields | {"path": self._folder / row["path"], "record": parsed}
        )


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
        "record": image.record.model_dump_json(),
    }
    names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    database.execute(f"INSERT INTO results ({names}) VALUES ({marks})", columns)


def _places(folder: PurePosixPath, image: IODT) -> Generator[str]:
    origin, suffix = image.record.origin, SUFFIXES[image.media_type]
    if isinstance(origin, GeneratedOrigin):
        stem = f"{origin.seed:06d}"
    else:
        stem = _safe(Path(origin.name).stem, otherwise="picture")
    yield str(folder / f"{stem}{suffix}")
    yield str(folder / f"{stem}-{image.sha256[:8]}{suffix}")
    for number in count(2):
        yield str(folder / f"{stem}-{image.sha256[:8]}-{number}{suffix}")


def _safe(name: str, otherwise: str) -> str:
    """A name from outside => one that is a plain file name on every system."""
    # In bytes of UTF-8, of the 255 that file systems give: leaves room for digest and suffix.
    cleaned = sanitize_filename(name, platform="universal", max_len=100)
    return cleaned.strip(". ") or otherwise
