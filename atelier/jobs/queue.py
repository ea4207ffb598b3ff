"""The queue: a SQLite database beside the results, so that neither page nor process owns a job.

Every change and the event that tells of it are one transaction. A job that was running when its
worker died goes back to the head; what it has kept is in the results store, and its run's folder
knows what is missing.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter

from atelier.discretion import without_places
from interfaces.errors import (
    AtelierError,
    DamagedError,
    JobStateError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from interfaces.jobs import ENDED, EventKind, Job, JobEvent, JobProgress, JobState, StopKind
from interfaces.orders import Lane, Order

SCHEMA_VERSION = 2

MAX_WAITING = 1000
"""Jobs in the queue before it says that it is busy."""

MAX_DEATHS = 3
"""Workers that may die on a job, one after another without an image kept, before it has failed."""

MAX_OUTCOME_BYTES = 2**20
"""Size of a job's outcome as JSON."""

_LISTED_OUTCOME_BYTES = 2**16
"""A larger outcome is left out of lists of jobs; `get` has it."""

_LISTED_BYTES = 4 * 2**20
"""Size of the orders and outcomes of one list; the next jobs are a list of their own."""

_EVENTS_KEPT = 200_000

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_UNWRITABLE = (*_NO_ROOM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)

_SCHEMA = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT UNIQUE,                -- a client's own, so that it may ask again
    orders TEXT NOT NULL,           -- JSON
    state TEXT NOT NULL,
    stop TEXT,
    place INTEGER NOT NULL,         -- the smallest of those that wait is next
    worker INTEGER,                 -- process that has it
    progress TEXT,                  -- JSON
    created_at TEXT NOT NULL,       -- ISO 8601, UTC
    started_at TEXT,
    ended_at TEXT,
    stop_at TEXT,                   -- when it was asked to stop
    error TEXT,
    run TEXT,
    outcome TEXT,                   -- JSON
    num_results INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    lane TEXT NOT NULL DEFAULT 'quick'
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, place);
CREATE TABLE results (
    job INTEGER NOT NULL,
    result INTEGER NOT NULL,
    PRIMARY KEY (job, result)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL              -- JSON
) STRICT;
CREATE INDEX events_by_job ON events (job, kind);
"""

_UPGRADE = """
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'quick';
UPDATE jobs SET lane = 'long' WHERE json_extract(orders, '$.kind') = 'train';
"""

_SELECT = """
SELECT jobs.*,
    CASE WHEN state = 'waiting' THEN (
        SELECT count(*) FROM jobs AS other
        WHERE other.state = 'waiting' AND other.lane = jobs.lane AND other.place <= jobs.place
    ) END AS position,
    (SELECT json_group_array(result) FROM (
        SELECT result FROM results WHERE job = jobs.id ORDER BY result DESC LIMIT 100
    )) AS newest
FROM jobs
"""

_LISTED = _SELECT.replace(
    "jobs.*",
    "jobs.id, orders, state, stop, progress, created_at, started_at, ended_at, error, run, "
    f"CASE WHEN length(outcome) <= {_LISTED_OUTCOME_BYTES} THEN outcome END AS outcome, "
    "num_results, deaths",
)

_PLAIN = ("id", "state", "stop", "position", "created_at", "started_at", "ended_at", "error", "run")

_ENDS: dict[StopKind, JobState] = {
    "pause": "paused",
    "now": "cancelled",
    "after-image": "cancelled",
}


class SQLiteJobQueue:
    """The port `interfaces.jobs.JobQueue`, with the methods of the worker and its keeper.

    May be used by several threads, and several processes may have the same database open.
    """

    def __init__(self, path: Path, orders: TypeAdapter[Order], patience: float = 30.0) -> None:
        """The queue in the database `path`; `orders` reads what was stored.

        A change waits at most `patience` seconds for those of other threads, and as long for those
        of other processes; then it raises `UnavailableError`.
        """
        self.path = path
        self._orders = orders
        self._patience = patience
        # A change may wait for another process: a connection of their own keeps readers from that.
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database, self._reader = self._connect(), self._connect()
            # Readers and the writer do not wait for each other; FULL: what was taken in survives
            # a power cut.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise _explained(path, error) from error

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self.path, timeout=self._patience, isolation_level=None, check_same_thread=False
        )
        database.row_factory = sqlite3.Row
        return database

    def worker_lock(self, lane: Lane) -> Path:
        """The lock file of the one worker of a lane."""
        return self.path.with_name(f".{self.path.stem}-{lane}-worker.lock")

    def close(self) -> None:
        """Let go of the database."""
        with self._write_lock, self._read_lock:
            self._database.close()
            self._reader.close()

    # ------------------------------------------------------------ the port

    def submit(self, order: Order, key: str | None = None) -> Job:
        """Put an order at the end of the queue; see the port."""
        text = self._storable(order)
        with self._writing() as database:
            if key is not None:
                row = database.execute("SELECT id, orders FROM jobs WHERE key = ?", (key,))
                if (known := row.fetchone()) is not None:
                    if known["orders"] != text:
                        raise JobStateError("this key was given to another order before")
                    return self._get(known["id"])
            (waiting, last) = database.execute(
                "SELECT count(*), max(place) FROM jobs WHERE state = 'waiting'"
            ).fetchone()
            if waiting >= MAX_WAITING:
                raise UnavailableError(f"busy: {waiting} jobs wait already; try again later")
            job_id = database.execute(
                "INSERT INTO jobs (key, orders, state, place, created_at, lane) "
                "VALUES (?, ?, 'waiting', ?, ?, ?)",
                (key, text, (last or 0) + 1, _now(), order.lane),
            ).lastrowid
            assert job_id is not None
            self._tell(job_id, "submitted", {"state": "waiting", "kind": order.verb})
            return self._get(job_id)

    def get(self, job_id: int) -> Job:
        """One job by its number."""
        with self._reading() as database:
            row = _row_of(database, job_id)
        return self._job(row)

    def find(
        self, states: Iterable[JobState] = (), before: int | None = None, limit: int = 100
    ) -> list[Job]:
        """Jobs in these states, newest first; see the port."""
        wanted = json.dumps(list(states))
        with self._reading() as database:
            found = database.execute(
                _LISTED + "WHERE (? = '[]' OR state IN (SELECT value FROM json_each(?))) "
                "AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
                (wanted, wanted, before, before, limit),
            )
            rows = list(_within(_LISTED_BYTES, found))
        return [self._job(row) for row in rows]

    def results(self, job_id: int, after: int = 0, limit: int = 1000) -> list[int]:
        """Numbers of the results that it kept, in growing order."""
        with self._reading() as database:
            _row_of(database, job_id)
            rows = database.execute(
                "SELECT result FROM results WHERE job = ? AND result > ? ORDER BY result LIMIT ?",
                (job_id, after, limit),
            ).fetchall()
        return [row["result"] for row in rows]

    def move(self, job_id: int, position: int) -> Job:
        """Give a waiting job another place."""
        return self._move(job_id, lambda _: position - 1)

    def move_by(self, job_id: int, places: int) -> Job:
        """Give a waiting job a place that is counted from its present one."""
        return self._move(job_id, lambda index: max(0, index + places))

    def _move(self, job_id: int, new_index: Callable[[int], int]) -> Job:
        with self._writing() as database:
            job = self._get(job_id)
            if job.state != "waiting":
                raise JobStateError(f"job {job_id}: does not wait, so it has no place to change")
            rows = database.execute(
                "SELECT id FROM jobs WHERE state = 'waiting' AND lane = ? ORDER BY place",
                (job.lane,),
            ).fetchall()
            waiting = [row["id"] for row in rows]
            index = waiting.index(job_id)
            waiting.insert(new_index(index), waiting.pop(index))
            database.executemany(
                "UPDATE jobs SET place = ? WHERE id = ?",
                [(place, waiting_id) for place, waiting_id in enumerate(waiting, start=1)],
            )
            moved = self._get(job_id)
            self._tell(job_id, "moved", {"position": moved.position})
            return moved

    def stop(self, job_id: int, how: StopKind) -> Job:
        """Ask a job to stop; this may be repeated, and the harder stop wins."""
        with self._writing():
            job = self._get(job_id)
            ends = _ENDS[how]
            if job.state == ends:
                return job
            if job.state in ENDED:
                raise JobStateError(f"job {job_id}: has ended already ({job.state})")
            if job.state in ("waiting", "paused"):
                return self._change(job_id, ends)
            if job.stop == "now":
                return job
            return self._change(job_id, "stopping", stop=how, stop_at=_now())

    def resume(self, job_id: int) -> Job:
        """Let a job go on: a paused one is next, another waits its turn."""
        with self._writing() as database:
            job = self._get(job_id)
            if job.state == "stopping" and job.stop == "pause":
                return self._change(job_id, "running", stop=None)
            if job.state not in ("paused", "cancelled", "failed"):
                raise JobStateError(f"job {job_id}: is {job.state}, there is nothing to resume")
            first, last = database.execute(
                "SELECT min(place), max(place) FROM jobs WHERE state = 'waiting'"
            ).fetchone()
            place = (first or 0) - 1 if job.state == "paused" else (last or 0) + 1
            fresh = {"stop": None, "error": None, "ended_at": None, "deaths": 0, "place": place}
            return self._change(job_id, "waiting", **fresh)

    def events(
        self, after: int = 0, job_id: int | None = None, limit: int = 1000
    ) -> list[JobEvent]:
        """Events since event `after`, oldest first."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT * FROM events WHERE id > ? AND (? IS NULL OR job = ?) ORDER BY id LIMIT ?",
                (after, job_id, job_id, limit),
            ).fetchall()
        return [JobEvent(**dict(row) | {"data": json.loads(row["data"])}) for row in rows]

    def last_event(self) -> int:
        """Number of the newest event; 0 where there is none."""
        with self._reading() as database:
            (last,) = database.execute("SELECT max(id) FROM events").fetchone()
        return last or 0

    def num_waiting(self) -> int:
        """Number of jobs that wait."""
        with self._reading() as database:
            row = database.execute("SELECT count(*) FROM jobs WHERE state = 'waiting'").fetchone()
        return int(row[0])

    # ------------------------------------------------------------ for the worker

    def take(self, worker: int, lane: Lane = "quick") -> Job | None:
        """The next job of a lane, now running in the process `worker`; None where none waits."""
        if not self._waits(lane):  # looking is cheaper than taking
            return None
        with self._writing() as database:
            row = database.execute(
                "SELECT id FROM jobs WHERE state = 'waiting' AND lane = ? ORDER BY place LIMIT 1",
                (lane,),
            ).fetchone()
            if row is None:
                return None
            job = self._get(row["id"])
            begun = {"started_at": _text(job.started_at) or _now(), "worker": worker}
            return self._change(job.id, "running", **begun)

    def _waits(self, lane: Lane) -> bool:
        with self._reading() as database:
            row = database.execute(
                "SELECT 1 FROM jobs WHERE state = 'waiting' AND lane = ? LIMIT 1", (lane,)
            ).fetchone()
        return row is not None

    def reclaim(self, lane: Lane = "quick") -> None:
        """Put an ended worker's jobs back or end them. Called by the holder of the lock."""
        with self._writing() as database:
            rows = database.execute(
                "SELECT id FROM jobs WHERE state IN ('running', 'stopping') AND lane = ?", (lane,)
            ).fetchall()
            for row in rows:
                self._put_back(row["id"])
            database.execute(
                "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (_EVENTS_KEPT,)
            )

    def put_back(self, job_id: int) -> Job:
        """A job was broken off: it is paused or cancelled where it was asked to, else next."""
        with self._writing():
            return self._put_back(job_id)

    def bury(self, worker: int, why: str) -> int:
        """The process `worker` died by itself: what it was at goes back, or has failed by now.

        How many died on that job since it last got on; 0 where the worker was at none.
        """
        with self._writing() as database:
            row = database.execute(
                "SELECT id, deaths, stop FROM jobs WHERE state IN ('running', 'stopping') "
                "AND worker = ?",
                (worker,),
            ).fetchone()
            if row is None:
                return 0
            deaths: int = row["deaths"] + 1
            if row["stop"] is None and deaths >= MAX_DEATHS:
                error = (
                    f"the worker died on this job {deaths} times ({why}); ask for less at once "
                    "(a smaller size or batch) and resume it"
                )
                self._change(row["id"], "failed", error=error, deaths=deaths, ended_at=_now())
            else:
                database.execute("UPDATE jobs SET deaths = ? WHERE id = ?", (deaths, row["id"]))
                self._put_back(row["id"])
            return deaths

    def finish(self, job_id: int, outcome: dict[str, JsonValue] | None) -> Job:
        """The job is done."""
        text = outcome_text(outcome) if outcome is not None else None
        with self._writing():
            return self._change(job_id, "done", outcome=text, ended_at=_now(), stop=None)

    def fail(self, job_id: int, error: str) -> Job:
        """The job has failed: one line for the person."""
        line = self._without_place(error)
        with self._writing():
            return self._change(job_id, "failed", error=line, ended_at=_now(), stop=None)

    def began(self, job_id: int, run: str) -> None:
        """The job's run has a folder."""
        with self._writing() as database:
            database.execute("UPDATE jobs SET run = ? WHERE id = ?", (run, job_id))
            self._tell(job_id, "state", {"state": "running", "run": run})

    def kept(self, job_id: int, *result_ids: int) -> StopKind | None:
        """More results; how the job was asked to stop meanwhile."""
        with self._writing() as database:
            num_new = 0
            for result_id in result_ids:
                is_new = database.execute(
                    "INSERT OR IGNORE INTO results (job, result) VALUES (?, ?)",
                    (job_id, result_id),
                ).rowcount
                if is_new:
                    num_new += 1
                    self._tell(job_id, "kept", {"result": result_id})
            if num_new:
                database.execute(
                    "UPDATE jobs SET deaths = 0, num_results = num_results + ? WHERE id = ?",
                    (num_new, job_id),
                )
            return _stop_of(database, job_id)

    def report(self, job_id: int, progress: JobProgress) -> None:
        """Record the job's progress, in place of its previous report."""
        text = progress.model_dump_json()
        with self._writing() as database:
            database.execute("UPDATE jobs SET progress = ? WHERE id = ?", (text, job_id))
            database.execute("DELETE FROM events WHERE job = ? AND kind = 'progress'", (job_id,))
            self._tell(job_id, "progress", json.loads(text))

    def remark(self, job_id: int, kind: EventKind, line: str) -> None:
        """A line for the person: 'said' or 'warned'."""
        with self._writing():
            self._tell(job_id, kind, {"line": self._without_place(line)})

    def stop_of(self, job_id: int) -> StopKind | None:
        """Kind of stop that a job was asked for; None where there was none."""
        with self._reading() as database:
            return _stop_of(database, job_id)

    def overdue(self, worker: int) -> tuple[Job, float] | None:
        """The job of this process that was asked to stop now, and how many seconds ago."""
        with self._reading() as database:
            row = database.execute(
                _SELECT + "WHERE state = 'stopping' AND stop = 'now' AND worker = ?", (worker,)
            ).fetchone()
        if row is None:
            return None
        waited = datetime.now(UTC) - datetime.fromisoformat(row["stop_at"])
        return self._job(row), waited.total_seconds()

    # ------------------------------------------------------------ inside a transaction

    def _get(self, job_id: int) -> Job:
        return self._job(_row_of(self._database, job_id))

    def _storable(self, order: Order) -> str:
        """An order as JSON that reads back as the same order; NaN and infinity do not."""
        unlike = "the order holds numbers (NaN, infinity) or letters that JSON cannot carry"
        try:
            text = json.dumps(order.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
            text.encode("utf-8")
        except ValueError as error:
            raise RefusedError(unlike) from error
        if self._orders.validate_json(text) != order:
            raise RefusedError(unlike)
        return text

    def _job(self, row: sqlite3.Row) -> Job:
        columns = {name: row[name] for name in _PLAIN}
        return Job(
            order=self._orders.validate_json(row["orders"]),
            progress=JobProgress.model_validate_json(row["progress"]) if row["progress"] else None,
            outcome=json.loads(row["outcome"]) if row["outcome"] else None,
            num_results=row["num_results"],
            results=tuple(sorted(json.loads(row["newest"]))),
            deaths=row["deaths"],
            **columns,
        )

    def _change(self, job_id: int, state: JobState, **columns: Any) -> Job:
        """Set a job's state, and `columns` with it, and announce it."""
        if state in ("paused", "cancelled"):
            columns = {"stop": None, "ended_at": _now() if state == "cancelled" else None} | columns
        columns["state"] = state
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        self._database.execute(
            f"UPDATE jobs SET {changes} WHERE id = :id", columns | {"id": job_id}
        )
        job = self._get(job_id)
        told = {"state": state, "stop": job.stop, "error": job.error, "position": job.position}
        self._tell(job_id, "state", {k: v for k, v in told.items() if v is not None})
        return job

    def _put_back(self, job_id: int) -> Job:
        job = self._get(job_id)
        if job.state not in ("running", "stopping"):
            return job  # it ended just now
        if job.stop is not None:
            return self._change(job_id, _ENDS[job.stop])
        (first,) = self._database.execute(
            "SELECT min(place) FROM jobs WHERE state = 'waiting'"
        ).fetchone()
        return self._change(job_id, "waiting", place=(first or 0) - 1)

    def _without_place(self, line: str) -> str:
        """One line without the workspace's path, since other machines may read it."""
        return without_places(" ".join(line.split()), [self.path.parent])

    def _tell(self, job_id: int, kind: EventKind, data: dict[str, Any]) -> None:
        self._database.execute(
            "INSERT INTO events (job, at, kind, data) VALUES (?, ?, ?, ?)",
            (job_id, _now(), kind, json.dumps(data)),
        )

    # ------------------------------------------------------------ the database

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """Connection that reads what was committed last; never waits for a change."""
        with self._read_lock:
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise _explained(self.path, error) from error

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        if not self._write_lock.acquire(timeout=self._patience):
            raise UnavailableError(
                f"{self.path}: the queue is busy with other changes; try again later"
            )
        try:
            with self._transaction() as database:
                yield database
        except sqlite3.Error as error:
            raise _explained(self.path, error) from error
        finally:
            self._write_lock.release()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        finally:
            # Not so where it went well, where a full disk ended it, or where an interrupt came
            # just before or after it.
            if database.in_transaction:
                database.execute("ROLLBACK")

    def _prepare(self) -> None:
        if _version_of(self._reader) == SCHEMA_VERSION:
            return  # nothing to write, so no other writer to wait for
        with self._writing() as database:
            version = _version_of(database)
            if version == 0:
                for statement in filter(str.strip, _SCHEMA.split(";\n")):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version == 1:
                for statement in filter(str.strip, _UPGRADE.split(";\n")):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise RefusedError(
                    f"{self.path}: written by another version of Atelier (schema {version}, this "
                    f"one knows {SCHEMA_VERSION}); update Atelier"
                )


def _version_of(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _row_of(database: sqlite3.Connection, job_id: int) -> sqlite3.Row:
    row = None
    if abs(job_id) < 2**63:  # what SQLite can ask for
        row = database.execute(_SELECT + "WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFoundError(f"job {job_id}: there is none")
    return row


def _stop_of(database: sqlite3.Connection, job_id: int) -> StopKind | None:
    row = database.execute("SELECT stop FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row["stop"] if row is not None else None


def _within(most_bytes: int, rows: Iterable[sqlite3.Row]) -> Iterator[sqlite3.Row]:
    """The first rows, as many as hold so little text together; at least one."""
    size = 0
    for row in rows:
        size += len(row["orders"]) + len(row["outcome"] or "")
        yield row
        if size > most_bytes:
            return


def outcome_text(outcome: dict[str, JsonValue]) -> str:
    """An outcome as JSON, which knows neither NaN nor infinity: they become null.

    Raises `RefusedError` where it is over a megabyte.
    """
    finite = json.loads(json.dumps(outcome), parse_constant=lambda _: None)
    text = json.dumps(finite)
    if len(text) > MAX_OUTCOME_BYTES:
        raise RefusedError(f"what it found is {len(text) / 2**20:.1f} MiB; at most 1 MiB is kept")
    return text


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _explained(path: Path, error: sqlite3.Error) -> AtelierError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds in detail
    if code in _BUSY:
        return UnavailableError(f"{path}: another process holds the queue; try again later")
    if code in _UNWRITABLE:
        return UnavailableError(
            f"{path}: the queue cannot be read or written ({error}); see that the disk is not full "
            "and the folder may be written to"
        )
    return DamagedError(
        f"{path}: the queue is damaged ({error}); move the file away to begin an empty queue"
    )
