"""A thousand requests, over every route of the API, that no honest client sends."""

import io
import json
import logging
import re
import socket
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="needs the extra `ui`")

from starlette.testclient import TestClient

from atelier.server import Safety, create_app
from components.common.durable import sha256_of
from components.results_store import create as create_store
from tests.atelier.jobs.fake_painter import make_backend
from tests.helpers import make_iodt

HERE = "http://127.0.0.1"
ORDER = {"kind": "generate", "model": "0123456789abcdef", "choices": {"generate": {"count": 2}}}


def _archive(name: str) -> bytes:
    """A zip that would unpack beside its folder."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, make_iodt(0).data)
    return stream.getvalue()


PICTURE = make_iodt(0).data
LINKED = "../around/secret.txt"
SECRET = b"do not read me"
places = st.sampled_from(
    [
        "..", ".", "../../around/secret.txt", "..\\..\\around", "%2e%2e%2f", "..%2f..%2fetc%2f",
        "%252e%252e%252f", "%00", "%c0%ae%c0%ae%2f", "..;", "etc/passwd", "/etc/passwd", "C:\\",
        "..%5c..%5cresults.sqlite", "results.sqlite", "file:///etc/passwd", "%", "%zz", "AUX",
        "\u2024\u2024", "__proto__", "'; DROP TABLE results;--", "${7*7}", "{}", "a" * 5000,
        "%0d%0aSet-Cookie:x=1",
    ]
)  # fmt: skip
numbers = st.one_of(
    st.integers(-3, 12).map(str),
    st.sampled_from(["9" * 30, str(2**63 - 1), "-0", "1e3", "1.5", "NaN", "0x1", "١", "", " 1"]),
)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
anything = st.one_of(places, numbers, words)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | anything,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = ("generate", "train", "enhance", "inspect", "interpolate")
FIELDS = (
    "kind", "model", "choices", "uploads", "results", "settings", "collection", "collect",
    "between", "frames", "preset", "start_from", "sketch", "source", "mask", "enhance", "convert",
)  # fmt: skip
CHOICES = ("count", "seed", "seeds", "style", "options", "source", "sketch", "mask", "device")
orders = st.one_of(
    json_values,
    st.builds(
        lambda kind, more: {"collection": "embedded", "between": "1,2"} | ORDER | more | kind,
        st.sampled_from([{"kind": kind} for kind in KINDS]),
        st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3),
    ),
    st.builds(
        lambda table: ORDER | {"choices": {"generate": table}},
        st.dictionaries(st.sampled_from(CHOICES), json_values, max_size=3),
    ),
    st.builds(lambda value: {"position": value}, json_values),
)
ODD_JSON = (
    b"", b"{", b"[" * 20_000, b'{"kind":' * 5000, b"NaN", b"9" * 6000, b'"\\ud800"', b"null",
    b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b'{"kind":"generate","kind":"train"}', b"\0" * 99,
    b"--x\r\n\r\n--x--",
)  # fmt: skip
bodies = st.one_of(
    orders.map(lambda order: json.dumps(order).encode()),
    st.sampled_from(ODD_JSON),
    st.sampled_from(
        [PICTURE, PICTURE[:-9], PICTURE + b"x" * 99, _archive(LINKED), b"x" * (2**16 + 1)]
    ),
    st.builds(
        lambda whole, place, damage: whole[:place] + damage + whole[place + len(damage) :],
        st.sampled_from([PICTURE, _archive("a.png")]),
        st.integers(0, 80),
        st.binary(max_size=9),
    ),
    st.binary(max_size=60),
)
CONTENT_TYPES = (
    "application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data",
    "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "image/png", "", "*/*",
    "application/xml", "application/json, text/html", "a/" + "b" * 900, "\x7f\xe9",
)  # fmt: skip
HEADERS = (
    "Idempotency-Key", "Last-Event-ID", "If-None-Match", "Range", "Cookie", "Accept",
    "Authorization", "X-HTTP-Method-Override", "X-Forwarded-Host", "Sec-Fetch-Site",
)  # fmt: skip
METHODS = ("PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "GET")
header_values = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)


@dataclass(frozen=True)
class Call:
    """One request, of any kind."""

    method: str
    parts: list[str]
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    missing: int
    """So many bytes of the body are said to come and never do."""


TOO_LARGE = Call("POST", [], [], {"Content-Type": "application/json"}, b"", 2**17)
"""Refused by its head alone; after a body that nobody reads the answer may be lost."""


def _calls(method: str, params: list[str]) -> st.SearchStrategy[Call]:
    names = [*params, "limit", "cursor", "..", "format", "%00"]
    headers = st.dictionaries(st.sampled_from(HEADERS), header_values | places, max_size=2)
    return st.builds(
        Call,
        st.sampled_from((method,) * 30 + METHODS),
        st.lists(st.one_of(st.just("1"), anything), min_size=2, max_size=2),
        st.lists(st.tuples(st.sampled_from(names), anything), max_size=3),
        st.builds(
            lambda more, kind: {"Content-Type": kind} | more,
            headers,
            st.sampled_from(("application/json",) * 9 + CONTENT_TYPES),
        ),
        bodies,
        st.sampled_from([0] * 15 + [1000]),
    )  # fmt: skip


INSIDE = re.compile(
    rb"Traceback|File \"|site-packages|\.py\b|sqlite3|pydantic|starlette|uvicorn|0x[0-9a-f]{8}"
)


class Attacker:
    """Sends what no client would send, byte for byte, and looks at every answer."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port, self._folder = port, folder
        self.statuses: Counter[int] = Counter()
        self.num_sent = 0

    def attack(self, path: str, calls: st.SearchStrategy[Call], examples: int) -> None:
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(calls)
        def each(call: Call) -> None:
            self.send(path, call)

        each()

    def send(self, path: str, call: Call) -> int:
        parts = iter(call.parts)
        path = re.sub(r"\{\w+\}", lambda _: self._written(next(parts)), path)
        if call.query:
            path += "?" + "&".join(f"{self._written(k)}={self._written(v)}" for k, v in call.query)
        head = {"Host": "127.0.0.1", "Content-Length": str(len(call.body) + call.missing)}
        lines = [f"{call.method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (head | call.headers).items()]
        message = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace")
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
            with suppress(ConnectionError):  # it may have heard enough before the end
                connection.sendall(message + call.body)
            if call.missing:
                with suppress(OSError):  # and may have hung up by now
                    connection.shutdown(socket.SHUT_WR)
            answer = self._heard(connection)
        self.num_sent += 1
        return self._judge(call, path, answer)

    def _written(self, text: str) -> str:
        """The text as part of an address, quoted so that it starts no query or new line."""
        return quote(text, safe="/%.;\\:'${}*-")

    def _heard(self, connection: socket.socket) -> bytes:
        answer = b""
        with suppress(ConnectionError):
            while piece := connection.recv(2**16):
                answer += piece
                if b"text/event-stream" in answer:  # it never ends; its head will do
                    break
        return answer

    def _judge(self, call: Call, path: str, answer: bytes) -> int:
        what = f"{call.method} {path[:200]} {call.headers} {call.body[:200]!r}: {answer[:500]!r}"
        if not answer:
            # Who hangs up is not answered; who still sends may lose the answer with the connection.
            assert call.missing or call.body, what
            return 0
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        self.statuses[status] += 1
        assert status < 500, what
        assert SECRET not in body and str(self._folder).encode() not in answer, what
        assert b"Set-Cookie:x" not in head
        if status >= 400 and call.method != "HEAD" and head.startswith(b"HTTP/1.1"):
            # What is no HTTP at all is refused by the server below, before any route.
            if b"application/problem+json" in head:
                problem = json.loads(body)
                assert list(problem) == ["type", "title", "status", "detail", "error"], what
                line = problem["detail"]
                assert problem["status"] == status and line == problem["error"], what
                assert line and "\n" not in line, what
            else:
                assert body == b"Invalid HTTP request received.", what
            assert not INSIDE.search(body), what
        return status


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[TestClient, int]]:
    """The API and the page at a real port, without a worker to carry anything out."""
    import uvicorn

    from components.ui import mount_page

    app = create_app(make_backend(tmp_path / "workspace"), Safety())
    mount_page(app)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end, "waited 30 s for the server to start"
        time.sleep(0.01)
    yield TestClient(app, HERE), server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server did not end within 30 s"


def _listing(folder: Path, but: str) -> dict[str, str]:
    """Everything there, with digests, but one folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if place.parts[0] != but:
            what = f"-> {path.readlink()}" if path.is_symlink() else "folder"
            found[str(place)] = sha256_of(path) if path.is_file() else what
    return found


@pytest.mark.parametrize("requests_sent", [1000, pytest.param(6000, marks=pytest.mark.slow)])
def test_no_request_breaks_it_or_gets_out(
    listening: tuple[TestClient, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    requests_sent: int,
) -> None:
    """Every route that the API describes, and the page's, is asked for what it should not give."""
    client, port = listening
    monkeypatch.setattr("atelier.jobs.uploads.MAX_PICTURE_BYTES", 2**16)
    monkeypatch.setattr("atelier.server.safety.MAX_BODY_BYTES", 2**16)
    around = tmp_path / "around"
    around.mkdir()
    (around / "secret.txt").write_bytes(SECRET)
    (around / "link").symlink_to(around / "secret.txt")
    store = create_store(tmp_path / "workspace")
    kept = [store.keep(make_iodt(seed), "run") for seed in range(3)]
    client.post("/api/jobs", json=ORDER)
    before = _listing(tmp_path, but="workspace")
    described = client.get("/api/openapi.json").json()["paths"]
    routes = [
        (method.upper(), path, [one["name"] for one in operation.get("parameters", ())])
        for path, operations in described.items()
        for method, operation in operations.items()
    ]
    routes += [
        ("GET", path, []) for path in ("/assets/{name}", "/{name}", "/api/{a}/{b}", "/login")
    ]
    attacker = Attacker(port, tmp_path)
    each = -(-requests_sent // len(routes))
    for method, path, params in routes:
        attacker.attack(path, _calls(method, params), each)
    print(f"{attacker.num_sent} requests over {len(routes)} routes: {dict(attacker.statuses)}")
    assert attacker.num_sent >= requests_sent
    assert {200, 404, 405, 422} <= set(attacker.statuses)
    assert attacker.send("/api/jobs", TOO_LARGE) == 413
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert _listing(tmp_path, but="workspace") == before
    assert not list((tmp_path / "workspace" / "uploads").glob(".*"))
    for seed, result in enumerate(kept):
        assert result.path.read_bytes() == make_iodt(seed).data
    assert client.get("/api/status").status_code == 200  # it is as well as before
