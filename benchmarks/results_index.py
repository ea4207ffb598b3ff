"""The results store's index in SQLite and in PostgreSQL: writers at once, searches in a million.

`python -m benchmarks.results_index writers 8 20000`, or `searches 1000000`: the same work on both,
one after the other. The PostgreSQL server is started here, with fsync on.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.results_store import VARIABLE, create
from components.results_store.index import Index, Position, Row
from components.results_store.journal import Days, Kept
from components.results_store.postgres import PostgresIndex
from components.results_store.sqlite import SqliteIndex
from interfaces.iodt import ResultQuery
from tests.helpers import make_iodt, make_record
from tests.postgres import fresh_schema, postgres_server

_STYLES = ("waves", "night sky", "лес", "julia")
_ROUNDS = 200

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
    """One writer."""
    store = create(Path(workspace))
    for seed in range(int(first), int(first) + int(count)):
        store.keep(make_iodt(seed), f"{seed % 16:04d}-run")


def _rows(number: int) -> Iterable[Row]:
    """Results of a thousand runs, in four styles and two sizes, without files."""
    record, began = make_record(0), datetime(2026, 1, 1, tzinfo=UTC)
    for place in range(1, number + 1):
        origin = record.origin.model_construct(
            **(dict(record.origin) | {"seed": place, "style": _STYLES[place % 4]})
        )
        changed = {"origin": origin, "drift": place * 7919 % 1_000_003 / 1e5}
        yield Row(
            Kept.model_construct(
                number=place,
                place=f"run/{place}.png",
                sha256=f"{place:064x}",
                size=1000,
                media_type="image/png",
                width=256 << place % 2,
                height=256,
                run=f"{place % 1000:04d}-run",
                kept_at=began + timedelta(seconds=place),
            ),
            record.model_construct(**(dict(record) | changed)),
        )


def _search(name: str, index: Index, number: int) -> None:
    index.create()
    began = time.perf_counter()
    index.rebuild(_rows(number), [], Position("store", 0, 0, number, Days()))
    print(f"{name}: {number} rows listed in {time.perf_counter() - began:.0f} s", flush=True)
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
