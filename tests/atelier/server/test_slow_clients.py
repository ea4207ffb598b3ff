"""Clients that stall, trickle or hang up: each is given up in time, and holds up nobody else."""

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests

pytest.importorskip("fastapi", reason="needs the extra `ui`")

from atelier.handlers import ORDERS
from atelier.jobs import SQLiteJobQueue
from atelier.jobs import create as create_queue
from atelier.server import Safety, create_app
from tests.atelier.jobs.fake_painter import make_backend
from tests.helpers import make_iodt

ORDER = {"kind": "generate", "model": "0123456789abcdef"}
TOKEN = "correct horse"
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The API at a real port, as `serve` has it, with little patience."""
    import uvicorn

    from atelier.server.patience import PatientProtocol

    for name in ("HEAD_SECONDS", "BODY_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(f"atelier.server.patience.{name}", 0.6)
    backend = make_backend(tmp_path)
    backend = type(backend)(**vars(backend) | {"queue": create_queue(tmp_path, ORDERS, 0.4)})
    app = create_app(backend, Safety("127.0.0.1", TOKEN))
    config = uvicorn.Config(app, port=0, http=PatientProtocol, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end, "waited 30 s for the server to start"
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(30)


def _heard(connection: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionError):
        while piece := connection.recv(2**16):
            answer += piece
    return answer


def _head(line: str, length: int) -> bytes:
    fields = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}"
    return f"{line} HTTP/1.1\r\n{fields}\r\nContent-Type: application/json\r\n\r\n".encode()


HALF = [
    b"",
    b"GET /api/status HT",
    _head("GET /api/status", 0)[:-2],
    _head("GET /api/status", 0) + b"GET /",
]
"""Beginnings of a request's head that are sent; the last one follows a whole request."""


@pytest.mark.parametrize("sent", HALF)
def test_a_request_that_never_ends_is_hung_up_on(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        _heard(connection)  # returns when the server hangs up


@pytest.mark.parametrize("path", ["/api/jobs", "/api/uploads", "/login"])
@pytest.mark.parametrize("trickle", [False, True])
def test_a_body_that_stalls_or_trickles_is_refused(port: int, path: str, trickle: bool) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(_head(f"POST {path}", 1000) + b"x")
        with suppress(ConnectionError):
            for _ in range(10 if trickle else 0):
                time.sleep(0.1)
                connection.sendall(b"x")
        heard = _heard(connection)
        assert heard.startswith(b"HTTP/1.1 408") and b"application/problem+json" in heard


@pytest.mark.parametrize("is_read", [False, True])
def test_an_answer_that_nobody_reads_is_let_go(
    monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    import uvicorn
    from uvicorn.server import ServerState

    from atelier.server.patience import PatientProtocol

    monkeypatch.setattr("atelier.server.patience.UNREAD_SECONDS", 0.05)
    transport = Mock()
    transport.get_extra_info.return_value = None

    async def write() -> None:
        protocol = PatientProtocol(uvicorn.Config(lambda: None), ServerState(), {})
        protocol.connection_made(transport)
        protocol.pause_writing()
        if is_read:
            protocol.resume_writing()
        await asyncio.sleep(0.2)
        protocol.connection_lost(None)

    asyncio.run(write())
    assert transport.abort.called == (not is_read)


def _send_in_time(port: int, data: bytes) -> None:
    place, end = f"http://127.0.0.1:{port}/api/uploads", time.monotonic() + 20
    while requests.post(place, data, headers=ALLOWED, timeout=20).status_code != 201:
        assert time.monotonic() < end, "stalled uploads hold up another"


def test_stalled_uploads_make_room(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is given up when somebody else wants its place, well before its own time is over."""
    monkeypatch.setattr("atelier.server.patience.BODY_SECONDS", 60)
    monkeypatch.setattr("atelier.server.upload_routes._STALLED_SECONDS", 0.2)
    with ExitStack() as stack:
        for _ in range(16):
            place = ("127.0.0.1", port)
            stalled = stack.enter_context(socket.create_connection(place, timeout=20))
            stalled.sendall(_head("POST /api/uploads", 10**6) + b"PK\x03\x04")
        time.sleep(0.5)
        for seed in range(3):
            _send_in_time(port, make_iodt(seed).data)
    assert len(list((tmp_path / "uploads").glob("*.png"))) == 3
    end = time.monotonic() + 20
    while list((tmp_path / "uploads").glob(".*")):
        assert time.monotonic() < end, "what was broken off still lies there"
        time.sleep(0.05)


def test_reads_never_wait_for_a_writer(port: int, tmp_path: Path) -> None:
    """Another process holds the queue: what is asked is answered, what is ordered is put off."""
    place = f"http://127.0.0.1:{port}/api"
    job = requests.post(f"{place}/jobs", json=ORDER, headers=ALLOWED, timeout=20).json()["id"]
    other = sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writers = [
        threading.Thread(
            target=requests.post, args=(f"{place}/jobs",),
            kwargs={"json": ORDER, "headers": ALLOWED, "timeout": 20},
        )
        for _ in range(4)
    ]  # fmt: skip
    for writer in writers:
        writer.start()
    began = time.monotonic()
    for path in ("jobs", f"jobs/{job}", "status", f"jobs/{job}/results"):
        assert requests.get(f"{place}/{path}", headers=ALLOWED, timeout=20).status_code == 200
    assert time.monotonic() - began < 2
    answer = requests.post(f"{place}/jobs", json=ORDER, headers=ALLOWED, timeout=20)
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (503, 503, "about:blank")
    assert answer.headers["Retry-After"] and "queue" in problem["detail"] == problem["error"]
    for writer in writers:
        writer.join(20)
    other.execute("ROLLBACK")
    other.close()
    answer = requests.post(f"{place}/jobs", json=ORDER, headers=ALLOWED, timeout=20)
    assert answer.status_code == 201


def test_lists_of_jobs_are_bounded(tmp_path: Path) -> None:
    """Large outcomes are left out of lists; large orders make the list shorter. Nothing is lost."""
    queue: SQLiteJobQueue = create_queue(tmp_path, ORDERS)
    ids: list[int] = []
    for number in range(12):
        options = {"words": "x" * 900_000} if number % 2 else {}
        choices = {"generate": {"options": options}}
        ids.append(queue.submit(ORDERS.validate_python(ORDER | {"choices": choices})).id)
        assert queue.take(1) is not None
        queue.finish(ids[-1], {"lines": ["y" * 500_000]})
    seen, before, sizes = [], None, []
    while found := queue.find(before=before):
        seen += [job.id for job in found]
        before = found[-1].id
        sizes.append(sum(len(job.model_dump_json()) for job in found))
    assert seen == ids[::-1] and max(sizes) < 6 * 2**20 and len(sizes) == 2
    assert all(job.outcome is None for job in queue.find(limit=3))
    whole = queue.get(ids[0]).outcome
    assert whole == {"lines": ["y" * 500_000]}
