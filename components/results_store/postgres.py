"""The index as tables of a PostgreSQL database, for several machines that write to one store.

The files and the journal stay the truth. They lie on a file system that the machines share, and
whoever writes holds the store's lock there; reading waits for nobody.
"""

import re
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.common.days import Days
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

if TYPE_CHECKING:
    import psycopg

    _Connection = psycopg.Connection[dict[str, Any]]

# Text is compared by its bytes, as SQLite does, whatever the database's own order.
_FIRST = """
CREATE TABLE results (
    id BIGINT PRIMARY KEY,
    path TEXT COLLATE "C" NOT NULL UNIQUE,
    sha256 TEXT COLLATE "C" NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    run TEXT COLLATE "C" NOT NULL,
    kept_at TEXT COLLATE "C" NOT NULL,      -- ISO 8601, UTC
    family TEXT COLLATE "C",
    model_digest TEXT COLLATE "C",
    dataset_name TEXT,
    style TEXT COLLATE "C",
    seed BIGINT,
    source_name TEXT,
    enhancer TEXT COLLATE "C" NOT NULL,
    scale INTEGER NOT NULL,
    record TEXT NOT NULL,                   -- JSON in ASCII; JSONB takes no lone surrogates
    drift DOUBLE PRECISION,
    originality DOUBLE PRECISION,
    deleted_at TEXT COLLATE "C",            -- ISO 8601, UTC; NULL for what was not deleted
    deleted_day BIGINT,
    size BIGINT,
    UNIQUE (run, sha256)
);
CREATE INDEX results_by_seed ON results (seed);
CREATE INDEX results_by_model ON results (model_digest, seed);
CREATE INDEX results_by_family ON results (family, style, id) WHERE deleted_at IS NULL;
CREATE INDEX results_by_style ON results (style, id) WHERE deleted_at IS NULL;
CREATE INDEX results_by_run ON results (run, id) WHERE deleted_at IS NULL;
CREATE INDEX results_by_drift ON results ((drift IS NULL), drift, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX results_by_originality ON results ((originality IS NULL), originality, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX results_deleted ON results (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE TABLE position (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    store TEXT NOT NULL,
    generation BIGINT NOT NULL,
    "offset" BIGINT NOT NULL,               -- bytes of the journal that this index accounts for
    last BIGINT NOT NULL,                   -- highest number given out
    days TEXT NOT NULL                      -- JSON
);
CREATE TABLE unlisted (
    id BIGINT PRIMARY KEY,
    path TEXT COLLATE "C" NOT NULL,
    run TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    kept TEXT NOT NULL,                     -- JSON
    is_lost BOOLEAN NOT NULL,
    UNIQUE (run, sha256)
);
CREATE INDEX unlisted_by_path ON unlisted (path);
"""

_MIGRATIONS = (_FIRST,)
"""Statements from each version of the tables to the next; an empty database has version 0."""

SCHEMA_VERSION = len(_MIGRATIONS)

_OUR_COLUMNS = {
    "results": {"model_digest", "enhancer", "record", "deleted_day"},
    "position": {"only_one", "store", "generation"},
    "unlisted": {"sha256", "kept", "is_lost"},
}
"""Some columns of each table, by which it is known as ours, whatever its version."""

_DIALECT = Dialect(
    among="id IN (SELECT value::bigint FROM json_array_elements_text(:numbers::json) AS a (value))",
    longer_side="greatest(width, height)",
)

_MARK = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")
_LOCK = 4_715_226_081
"""Number of the advisory lock under which the tables are brought up to date."""

_MAX_IDLE = 8
_REMEDY = "`results doctor` makes it anew from the pictures"


class PostgresIndex:
    """The port `components.results_store.index.Index` on a database of its own, or a schema of one.

    `url` is libpq's: postgresql://host/database. The password comes from PGPASSWORD or ~/.pgpass.
    """

    def __init__(self, url: str) -> None:
        """Take a URL. Raises `RefusedError` where psycopg is missing or the URL has a password."""
        if urlsplit(url).password is not None:
            raise RefusedError(
                "the index's URL holds a password; leave it out, and set PGPASSWORD or ~/.pgpass"
            )
        _psycopg()
        self.name = url.partition("?")[0]
        self.url = url
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def exists(self) -> bool:
        """Whether the database holds an index, damaged or not."""
        with self._connected() as database:
            return _version_of(database) > 0

    def create(self) -> None:
        """Create the tables if there are none."""
        with self._connected() as database:
            self._migrate(database)

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
        """Change the database, all or nothing."""
        with self._reading() as database:
            yield _writer(database)

    def rebuild(
        self, rows: Iterable[Row], unlisted: Iterable[Unlisted], position: Position
    ) -> str | None:
        """Replace all rows in one transaction; see the port. Nothing is moved: None.

        Raises `RefusedError` where the database holds the index of another store.
        """
        known = self._position_left()
        if known is not None and known.store != position.store:
            raise RefusedError(
                f"{self.name}: holds the index of another store; name another database or schema"
            )
        with self._reading() as database:
            database.execute("DELETE FROM results")
            database.execute("DELETE FROM unlisted")
            writer = _writer(database)
            for row in rows:
                writer.list(row.kept, row.record, row.deleted)
            for entry in unlisted:
                writer.remember(entry.kept, entry.is_lost)
            writer.place(position)
        return None

    def _position_left(self) -> Position | None:
        """The position, with whole tables: damaged ones are dropped, missing ones made."""
        try:
            self._all("SELECT 1 FROM results UNION ALL SELECT 1 FROM unlisted LIMIT 1", {})
            return self.position()
        except DamagedIndexError:
            with self._connected() as database:
                if not _are_ours(_columns_of(database)):
                    raise RefusedError(
                        f"{self.name}: holds tables of another program; name another database or "
                        "schema"
                    ) from None
                database.execute("DROP TABLE IF EXISTS results, position, unlisted, schema_version")
            self.create()
            return None

    def find(self, query: ResultQuery, cursor: str | None, limit: int) -> list[Row | DamagedRow]:
        """The results that fit, in the query's order, after the cursor."""
        where, values = condition(query, cursor, _DIALECT)
        order = ORDERS[query.sort_by]
        rows = self._all(
            f"SELECT * FROM results WHERE {where} ORDER BY {order} LIMIT :limit",
            values | {"limit": limit},
        )
        return [row_of(row) for row in rows]

    def count(self, query: ResultQuery) -> int:
        """Number of results that fit, whatever the limit."""
        where, values = condition(query, None, _DIALECT)
        return self._all(f"SELECT count(*) AS number FROM results WHERE {where}", values)[0][
            "number"
        ]

    def numbers(self, query: ResultQuery) -> list[int]:
        """Numbers of all results that fit, whatever the limit, in the query's order."""
        where, values = condition(query, None, _DIALECT)
        order = ORDERS[query.sort_by]
        rows = self._all(f"SELECT id FROM results WHERE {where} ORDER BY {order}", values)
        return [row["id"] for row in rows]

    def get(self, number: int) -> Row | DamagedRow | None:
        """One result, a deleted one too."""
        if abs(number) >= 2**63:
            return None
        return self._one("id = :number", {"number": number})

    def holding(self, run: str, sha256: str) -> Row | DamagedRow | Unlisted | None:
        """The result of a run that has these bytes, listed or not."""
        same = {"run": run, "sha256": sha256}
        found = self._one("run = :run AND sha256 = :sha256", same)
        if found is not None:
            return found
        rows = self._all("SELECT * FROM unlisted WHERE run = :run AND sha256 = :sha256", same)
        return self._entry(rows[0]) if rows else None

    def at(self, places: Sequence[str]) -> dict[str, Row | DamagedRow | Unlisted]:
        """The results, listed or not, that are kept at these places, by place."""
        asked = {"places": list(places)}
        rows, entries = (
            self._all(f"SELECT * FROM {table} WHERE path = ANY(:places)", asked)
            for table in ("results", "unlisted")
        )
        unlisted = {row["path"]: self._entry(row) for row in entries}
        return unlisted | {row["path"]: row_of(row) for row in rows}

    def seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> list[tuple[int, Kept]]:
        """Results (seed, kept) of a run and model with these seeds, oldest first; deleted too."""
        rows = self._all(
            "SELECT * FROM results WHERE run = :run AND model_digest = :model "
            "AND seed = ANY(:seeds) ORDER BY id",
            {"run": run, "model": model_digest, "seeds": list(seeds)},
        )
        return [(row["seed"], kept) for row in rows if (kept := kept_of(row)) is not None]

    def marked(self, numbers: Sequence[int], is_deleted: bool) -> list[int]:
        """The numbers among these whose result is deleted, or is not."""
        asked = [number for number in numbers if abs(number) < 2**63]
        rows = self._all(
            "SELECT id FROM results WHERE id = ANY(:asked) "
            "AND (deleted_at IS NOT NULL) = :is_deleted ORDER BY id",
            {"asked": asked, "is_deleted": is_deleted},
        )
        return [row["id"] for row in rows]

    def expired(self, before: datetime, day: int) -> list[Kept]:
        """Results that were deleted by a time and by a day of use."""
        rows = self._all(
            "SELECT * FROM results WHERE deleted_at <= :before AND deleted_day <= :day ORDER BY id",
            {"before": before.isoformat(), "day": day},
        )
        return [kept for row in rows if (kept := kept_of(row)) is not None]

    def rows(self) -> Iterator[Row | DamagedRow]:
        """Every result, deleted ones too, by number; fetched a thousand at a time."""
        with self._reading() as database, database.cursor(name="every_result") as cursor:
            cursor.itersize = 1000
            for row in cursor.execute("SELECT * FROM results ORDER BY id"):
                yield row_of(row)

    def unlisted(self) -> list[Unlisted]:
        """Results that were kept, but have no record here."""
        return [self._entry(row) for row in self._all("SELECT * FROM unlisted ORDER BY id", {})]

    def _entry(self, row: dict[str, Any]) -> Unlisted:
        try:
            return Unlisted(Kept.model_validate_json(row["kept"]), row["is_lost"])
        except ValueError as error:
            raise DamagedIndexError(f"{self.name}: damaged; {_REMEDY}") from error

    def _one(self, where: str, values: dict[str, Any]) -> Row | DamagedRow | None:
        rows = self._all(f"SELECT * FROM results WHERE {where}", values)
        return row_of(rows[0]) if rows else None

    def _all(self, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        with self._reading() as database:
            return database.execute(_marked(statement), _storable_values(values)).fetchall()

    # ------------------------------------------------------------ the database

    @contextmanager
    def _reading(self) -> "Generator[_Connection]":
        """A transaction on a database whose tables are there and up to date."""
        with self._connected() as database:
            version = _version_of(database)
            if version == 0:
                raise DamagedIndexError(f"{self.name}: holds no index of results; {_REMEDY}")
            if version < SCHEMA_VERSION:
                self._migrate(database)
            if version > SCHEMA_VERSION:
                raise RefusedError(
                    f"{self.name}: written by a newer version of Atelier (schema {version}, this "
                    f"one knows {SCHEMA_VERSION}); update Atelier"
                )
            yield database

    def _migrate(self, database: "_Connection") -> None:
        """Migrate the tables to this version, in order; a second process finds it done."""
        database.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for version in range(_version_of(database), SCHEMA_VERSION):
            database.execute(_MIGRATIONS[version])
            if version == 0:
                database.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
                database.execute("INSERT INTO schema_version VALUES (0)")
            database.execute("UPDATE schema_version SET version = %s", (version + 1,))

    @contextmanager
    def _connected(self) -> "Generator[_Connection]":
        """One transaction on a connection, which is kept for the next where it stays sound."""
        psycopg = _psycopg()
        try:
            database = self._take()
            try:
                with database.transaction():
                    yield database
            finally:
                self._give_back(database)
        except psycopg.Error as error:
            if error.sqlstate is None and isinstance(error, psycopg.ProgrammingError):
                raise  # a defect of the statement, which no server has seen
            raise self._explained(error) from error

    def _take(self) -> "_Connection":
        with self._lock:
            while self._idle:
                database = self._idle.pop()
                if not database.closed:
                    return database
        psycopg = _psycopg()
        return psycopg.connect(
            self.url,
            autocommit=True,  # the transactions are `_connected`'s own
            row_factory=psycopg.rows.dict_row,
            connect_timeout=10,
            application_name="atelier",
        )

    def _give_back(self, database: "_Connection") -> None:
        with self._lock:
            if not database.closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(database)
                return
        database.close()

    def _explained(self, error: "psycopg.Error") -> Exception:
        psycopg = _psycopg()
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        damage = (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError)
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return UnavailableError(f"{self.name}: no permission ({said}); grant it to the user")
        if isinstance(error, damage):
            return DamagedIndexError(f"{self.name}: not a readable index ({said}); {_REMEDY}")
        return UnavailableError(
            f"{self.name}: cannot be reached ({said}); see that the server runs and try again"
        )


def _writer(database: "_Connection") -> SqlWriter:
    return SqlWriter(
        lambda statement, values: database.execute(_marked(statement), _storable_values(values)),
        _DIALECT,
    )


def _marked(statement: str) -> Any:
    """`:name` => `%(name)s`, as psycopg marks parameters."""
    return _MARK.sub(r"%(\1)s", statement)


def _storable(text: str) -> str:
    """Text without NUL, which PostgreSQL cannot hold; the record, in JSON, keeps it escaped."""
    return text.replace("\0", "␀")


def _storable_values(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _storable(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _version_of(database: "_Connection") -> int:
    """Version of the tables; 0 where there are none."""
    known = database.execute("SELECT to_regclass('schema_version') IS NOT NULL AS is_there")
    row = known.fetchone()
    if row is None or not row["is_there"]:
        return 0
    version = database.execute("SELECT version FROM schema_version").fetchone()
    return version["version"] if version else 0


def _columns_of(database: "_Connection") -> dict[str, set[str]]:
    """The columns of each table that bears one of our names."""
    names = [*_OUR_COLUMNS, "schema_version"]
    rows = database.execute(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = ANY(%s)",
        (names,),
    ).fetchall()
    tables: dict[str, set[str]] = {}
    for row in rows:
        tables.setdefault(row["table_name"], set()).add(row["column_name"])
    return tables


def _are_ours(tables: dict[str, set[str]]) -> bool:
    """Whether tables were made here; a version's alone is told by the others."""
    version = tables.get("schema_version")
    others = tables.keys() - {"schema_version"}
    if version is not None and (version != {"version"} or not others):
        return False
    return all(_OUR_COLUMNS[name] <= tables[name] for name in others)


def _psycopg() -> Any:
    try:
        import_module("psycopg.rows")
    except ImportError as error:
        raise UnavailableError(
            "an index in PostgreSQL needs psycopg, which is not installed: pip install "
            "'atelier[postgres]'"
        ) from error
    return import_module("psycopg")
