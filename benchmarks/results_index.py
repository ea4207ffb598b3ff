"""The results store's index in SQLite and in PostgreSQL: writers at once, searches in a million.

`python -m benchmarks.results_index writers 8 20000`, or `searches 1000000`: the same work on both,
one after the other. The PostgreSQL server is started here, with fsync on.
"""

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from components.common.days import Days
from components.results_store import VARIABLE, create
from components.results_store.index import Position, Row
from components.results_store.journal import Kept
from components.results_store.postgres import PostgresIndex
from components.results_store.sqlite import SqliteIndex
from interfaces.iodt import ResultQuery
from tests.helpers import make_iodt, make_record
from tests.postgres import fresh_schema, postgres_server

_STYLES = ("waves", "night sky", "лес", "julia")
_ROUNDS = 100

QUERIES: dict[str, Callable[[int], ResultQuery]] = {
    "newest 60": lambda place: ResultQuery(limit=60),
    "a style": lambda place: ResultQuery(limit=60, style=_STYLES[place % 4]),
    "a run": lambda place: ResultQuery(limit=60, run=f"{place % 1000:04d}-run"),
    "a seed range": lambda place: ResultQuery(
        limit=60, first_seed=1000 * place, last_seed=1000 * place + 99
    ),
    "least drift": lambda place: ResultQuery(limit=60, sort_by="drift"),
    "a side and a style": lambda place: ResultQuery(limit=60, least_side=512, style=_STYLES[0]),
}


def main(what: str, *numbers: str) -> None:
    """Measure `writers PROCESSES RESULTS` or `searches ROWS`."""
    with postgres_server(fsync=True) as server, tempfile.TemporaryDirectory() as folder:
        print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
        for name, url in (("sqlite", ""), ("postgres", fresh_schema(server))):
            workspace = Path(folder, name)
            workspace.mkdir()
            if what == "writers":
                _write(name, url, workspace, *map(int, numbers))
            else:
                index = PostgresIndex(url) if url else SqliteIndex(workspace / "index.sqlite")
                _search(name, index, *map(int, numbers))


def _write(name: str, url: str, workspace: Path, num_writers: int, num_results: int) -> None:
    """Let processes keep results at once; then see that each has a number of its own."""
    environment = os.environ | ({VARIABLE: url} if url else {})
    each = num_results // num_writers
    began = time.perf_counter()
    writers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                __spec__.name,
                "keep",
                str(workspace),
                f"{number * each}",
                f"{each}",
            ],
            env=environment,
        )
        for number in range(num_writers)
    ]
    assert all(writer.wait() == 0 for writer in writers)
    seconds = time.perf_counter() - began
    os.environ |= {VARIABLE: url}
    results = create(workspace).find(ResultQuery(limit=1_000_000))
    numbers = sorted(result.id for result in results)
    assert numbers == list(range(1, each * num_writers + 1)), "a number was lost or given out twice"
    assert len({result.sha256 for result in results}) == len(numbers)
    print(
        f"{name}: {num_writers} writers kept {len(numbers)} results in {seconds:.0f} s, "
        f"{len(numbers) / seconds:.0f} a second; numbers 1 to {numbers[-1]}, each once",
        flush=True,
    )


def _keep(workspace: str, first: str, count: str) -> None:
    """Keep `count` results from seed `first` on, as one of several writers."""
    store = create(Path(workspace))
    for seed in range(int(first), int(first) + int(count)):
        store.keep(make_iodt(seed), f"{seed % 16:04d}-run")


def _row() -> Row:
    """The one result that is multiplied."""
    kept = Kept(
        number=1,
        place="run/1.png",
        sha256=f"{1:064x}",
        size=1000,
        media_type="image/png",
        width=256,
        height=256,
        run="0001-run",
        kept_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Row(kept, make_record(0))


_MULTIPLY = """
INSERT INTO results (id, path, sha256, media_type, width, height, run, kept_at, family,
    model_digest, dataset_name, style, seed, enhancer, scale, record, drift, originality, size)
SELECT n, 'run/' || n || '.png', {digest}, media_type, 256 * (1 + n % 2), 256,
    {digits} || '-run', kept_at, family, model_digest, dataset_name,
    CASE n % 4 WHEN 0 THEN 'waves' WHEN 1 THEN 'night sky' WHEN 2 THEN 'лес' ELSE 'julia' END,
    n, enhancer, scale, record, n * 7919 % 1000003 / 100000.0, originality, size
FROM results, {numbers} WHERE id = 1
"""
"""A thousand runs, four styles, two sizes; 7919 is prime, so that drifts are spread evenly."""


def _fill(index: SqliteIndex | PostgresIndex, number: int) -> None:
    """List this many results, multiplied in the database: of one record, without files."""
    index.create()
    index.rebuild([_row()], [], Position("store", 0, 0, number, Days()))
    if isinstance(index, SqliteIndex):
        series = (
            f"(WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < {number}) "
            "SELECT n FROM s)"
        )
        with closing(sqlite3.connect(index.name)) as database, database:
            database.execute(
                _MULTIPLY.format(
                    digest="printf('%064x', n)", digits="printf('%04d', n % 1000)", numbers=series
                )
            )
        return
    with psycopg.connect(index.url, autocommit=True) as database:
        statement = _MULTIPLY.format(
            digest="lpad(to_hex(n), 64, '0')",
            digits="lpad((n % 1000)::text, 4, '0')",
            numbers=f"generate_series(2, {number}::bigint) AS s (n)",
        )
        database.execute(statement.encode())
        database.execute("VACUUM ANALYZE results")


def _search(name: str, index: SqliteIndex | PostgresIndex, number: int) -> None:
    began = time.perf_counter()
    _fill(index, number)
    print(f"{name}: {number} rows listed in {time.perf_counter() - began:.0f} s", flush=True)
    assert index.count(ResultQuery()) == number
    for what, query in QUERIES.items():
        times: list[float] = []
        for place in range(_ROUNDS):
            began = time.perf_counter()
            index.find(query(place), None, 60)
            times.append(1000 * (time.perf_counter() - began))
        times.sort()
        print(
            f"{name}: {what:<20} p50 {statistics.median(times):7.2f} ms"
            f"  p99 {times[int(0.99 * len(times))]:7.2f} ms",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        _keep(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
