"""Honest clients beside the worst requests: how long they wait, and what memory the server keeps.

`python -m benchmarks.clients [60] [60]`: so many clients for so many seconds ask for jobs, results,
thumbnails and the server's state, once alone and once while others send half of a request, stall or
trickle uploads, send a PNG of a million empty parts, a zip of 60 000 empty files, endless bodies,
and wrong tokens, order with infinite numbers, leave answers unread, and hold the queue's database.
"""

import io
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import requests

from atelier.handlers import ORDERS
from atelier.jobs import create as create_queue
from components.results_store import create as create_store
from tests.atelier.jobs.fake_painter import COMMAND
from tests.atelier.jobs.test_bounds import png_of_parts
from tests.helpers import make_iodt

ORDER = {"kind": "generate", "model": "0123456789abcdef"}
_NUM_LARGE = 8


def main(num_clients: int, seconds: float) -> None:
    """Start a server, let clients ask alone and beside the worst, and print what they met."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        numbers = fill(workspace)
        server = subprocess.Popen([*COMMAND, "serve", folder], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            crowd = Crowd(address, numbers)
            crowd.ask(2, 2.0)
            print(f"server: {memory(server.pid):.0f} MiB before")
            print(f"alone:  {crowd.ask(num_clients, seconds)}")
            is_over = threading.Event()
            attack(address, workspace, is_over)
            print(f"beside: {crowd.ask(num_clients, seconds)}")
            is_over.set()
            time.sleep(5)
            print(f"server: {memory(server.pid):.0f} MiB after")
        finally:
            server.terminate()
            server.communicate(timeout=60)


def fill(workspace: Path) -> list[int]:
    """Results, and ended jobs whose outcomes are large => the results' numbers."""
    store, queue = create_store(workspace), create_queue(workspace, ORDERS)
    for _ in range(_NUM_LARGE):
        job = queue.submit(ORDERS.validate_python(ORDER))
        queue.take(1)
        queue.finish(job.id, {"lines": ["x" * 1000] * 1000})
    queue.close()
    return [store.keep(make_iodt(seed), "run").id for seed in range(20)]


class Crowd:
    """Clients that ask, each for one thing after the other, as pages and programs do."""

    def __init__(self, address: str, numbers: list[int]) -> None:
        self._address = address
        self._paths = ["jobs", "status", "results?limit=20", "collections", "models"]
        self._paths += [f"results/{number}/thumbnail" for number in numbers]
        self._paths += [f"results/{number}" for number in numbers]

    def ask(self, num_clients: int, seconds: float) -> str:
        """Ask for so long; how long answers took, and which statuses there were."""
        took: list[float] = []
        statuses: dict[int, int] = {}
        threads = [
            threading.Thread(target=self._client, args=(seed, seconds, took, statuses))
            for seed in range(num_clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cut = statistics.quantiles(took, n=100)
        return (
            f"{len(took)} answers, p50 {cut[49] * 1000:.0f} ms, p99 {cut[98] * 1000:.0f} ms, "
            f"longest {max(took) * 1000:.0f} ms, statuses {dict(sorted(statuses.items()))}"
        )

    def _client(
        self, seed: int, seconds: float, took: list[float], statuses: dict[int, int]
    ) -> None:
        rng, end = random.Random(seed), time.monotonic() + seconds
        with requests.Session() as session:
            while time.monotonic() < end:
                began = time.monotonic()
                place = f"{self._address}/api/{rng.choice(self._paths)}"
                status = session.get(place, timeout=60).status_code
                took.append(time.monotonic() - began)
                statuses[status] = statuses.get(status, 0) + 1
                time.sleep(rng.uniform(0.1, 0.5))


def attack(address: str, workspace: Path, is_over: threading.Event) -> None:
    """Let each of the worst go on, in a thread of its own, until it is over."""
    place = urlsplit(address)
    assert place.hostname is not None and place.port is not None
    target = place.hostname, place.port
    uploads, jobs = f"{address}/api/uploads", f"{address}/api/jobs"
    bomb, empty = png_of_parts(1_000_000), _empty_zip(60_000)
    wrong = {"Authorization": "Bearer wrong"}
    infinite = '{"kind":"train","collection":"embedded","settings":{"train":{"seed":Infinity}}}'
    json_body = {"Content-Type": "application/json"}
    worst: list[Callable[[], object]] = [
        *[lambda: _hang(target, b"GET /api/status HTTP/1.1\r\nHos", is_over)] * 10,
        *[lambda: _hang(target, _upload(10**6) + b"PK\x03\x04", is_over)] * 20,
        lambda: _trickle(target, is_over),
        lambda: _hang(target, _unread() * 500, is_over),
        lambda: requests.post(uploads, bomb, timeout=60),
        lambda: requests.post(uploads, empty, timeout=60),
        lambda: requests.post(uploads, _endless(is_over), timeout=60),
        lambda: requests.get(f"{address}/api/status", headers=wrong, timeout=60),
        lambda: requests.post(jobs, infinite, headers=json_body, timeout=60),
        lambda: _hold(workspace / "jobs.sqlite", is_over),
    ]
    for one in worst:
        threading.Thread(target=_again, args=(one, is_over), daemon=True).start()


def _again(one: Callable[[], object], is_over: threading.Event) -> None:
    while not is_over.is_set():
        with suppress(OSError, requests.RequestException, sqlite3.Error):
            one()
        is_over.wait(0.2)


def _hang(target: tuple[str, int], sent: bytes, is_over: threading.Event) -> None:
    with socket.create_connection(target, timeout=60) as connection:
        connection.sendall(sent)
        connection.settimeout(1)
        while not is_over.wait(1):
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return


def _trickle(target: tuple[str, int], is_over: threading.Event) -> None:
    with socket.create_connection(target, timeout=60) as connection:
        connection.sendall(_upload(10**6))
        while not is_over.wait(0.5):
            connection.sendall(b"x")


def _hold(database: Path, is_over: threading.Event) -> None:
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    is_over.wait(10)
    connection.close()


def _endless(is_over: threading.Event) -> object:
    while not is_over.is_set():
        yield b"x" * 2**16


def _upload(length: int) -> bytes:
    return (
        f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _unread() -> bytes:
    return b"GET /api/settings/schema HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def _empty_zip(number: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for place in range(number):
            archive.writestr(f"style/{place}.png", b"")
    return stream.getvalue()


def memory(process: int) -> float:
    """Resident memory of a process, MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no such process")


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    main(int(given[0]) if given else 60, given[1] if len(given) > 1 else 60.0)
