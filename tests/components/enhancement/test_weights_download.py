"""Downloading weights, from a server in this process that fails in every way a real one does."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from components.common import download as download_module
from components.common.download import DownloadError, PublishedFile, fetch, weights_cache
from components.enhancement import OFFICIAL, RealESRGANEnhancer
from components.enhancement import sources as sources_module
from interfaces.errors import AtelierError
from interfaces.ies import IES
from interfaces.progress import ProgressEvent, silent
from tests.helpers import make_igdt

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Server:
    """Server's content, its failures, and the requests that it was sent."""

    url: str = ""
    content: bytes = CONTENT
    dies_after: list[int] = field(default_factory=list)  # bytes sent before each connection dies
    knows_ranges: bool = True
    status: int = 200
    ranges: list[str | None] = field(default_factory=list)  # Range header of each request

    def weights(self, content: bytes = CONTENT) -> PublishedFile:
        return PublishedFile("test", self.url, hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(asked[len("bytes=") : -1]) if asked and state.knows_ranges else 0
            size = len(state.content)
            if start >= size:
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            limit = state.dies_after.pop(0) if state.dies_after else len(body)
            self.wfile.write(body[:limit])

        def log_message(self, *_: Any) -> None: ...

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http_server.server_port}/releases/test.pth"
    thread = threading.Thread(target=http_server.serve_forever)
    thread.start()
    yield state
    http_server.shutdown()
    http_server.server_close()
    thread.join()


def test_a_file_is_downloaded_once_with_progress(server: Server, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    path = fetch(server.weights(), tmp_path / "new" / "cache", events.append)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.glob("[!.]*")] == ["test.pth"]
    assert {(event.stage, event.unit, event.total) for event in events} == {
        ("download", "bytes", len(CONTENT))
    }
    done = [event.done for event in events]
    assert done == sorted(done) and done[-1] == len(CONTENT) and len(done) > 2
    assert fetch(server.weights(), path.parent, silent) == path
    assert len(server.ranges) == 1


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    paths: list[Path] = []
    weights = server.weights()
    fetching = [
        threading.Thread(target=lambda: paths.append(fetch(weights, tmp_path, silent)))
        for _ in range(4)
    ]
    for thread in fetching:
        thread.start()
    for thread in fetching:
        thread.join()
    assert paths == [tmp_path / "test.pth"] * 4
    assert paths[0].read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_connection_that_dies_is_continued(server: Server, tmp_path: Path) -> None:
    server.dies_after = [262_144, 330_000]
    events: list[ProgressEvent] = []
    assert fetch(server.weights(), tmp_path, events.append).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=262144-", "bytes=589824-"]  # whole pieces stay
    assert events[-1].done == events[-1].total == len(CONTENT)


def test_what_was_left_by_an_earlier_run_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test.pth.partial").write_bytes(CONTENT[:123_456])
    assert fetch(server.weights(), tmp_path, silent).read_bytes() == CONTENT
    assert server.ranges == ["bytes=123456-"]


def test_a_partial_file_that_is_whole_needs_no_byte(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test.pth.partial").write_bytes(CONTENT)
    assert fetch(server.weights(), tmp_path, silent).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "test.pth.partial").write_bytes(b"x" * 1000)
    assert fetch(server.weights(), tmp_path, silent).read_bytes() == CONTENT


def test_a_wrong_digest_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="SHA-256") as refusal:
        fetch(server.weights(b"what was published"), tmp_path, silent)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.glob("[!.]*")) == []


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test.pth").write_bytes(CONTENT[:-1])
    assert fetch(server.weights(), tmp_path, silent).read_bytes() == CONTENT


def test_a_cached_file_is_hashed_once_while_it_stays(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test.pth").write_bytes(CONTENT)
    hashed: list[Path] = []

    def sha256_of(path: Path) -> str:
        hashed.append(path)
        return real(path)

    real = download_module.sha256_of
    monkeypatch.setattr(download_module, "sha256_of", sha256_of)
    for _ in range(3):
        fetch(server.weights(), tmp_path, silent)
    assert hashed == [tmp_path / "test.pth"]
    (tmp_path / "test.pth").write_bytes(CONTENT + b"x")
    assert fetch(server.weights(), tmp_path, silent).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_connection_that_keeps_dying_ends_and_keeps_what_came(
    server: Server, tmp_path: Path
) -> None:
    server.dies_after = [65_536] * 10
    with pytest.raises(DownloadError, match="test: cannot download"):
        fetch(server.weights(), tmp_path, silent)
    assert (tmp_path / "test.pth.partial").stat().st_size == 4 * 65_536
    assert not (tmp_path / "test.pth").exists()


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refusal_is_one_line(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=str(status)) as refusal:
        fetch(server.weights(), tmp_path, silent)
    assert "\n" not in str(refusal.value)


def test_no_internet_is_one_line_at_once(tmp_path: Path) -> None:
    nobody = PublishedFile("test", "http://127.0.0.1:9/test.pth", "0" * 64)
    with pytest.raises(DownloadError, match="no connection") as refusal:
        fetch(nobody, tmp_path, silent)
    assert "\n" not in str(refusal.value)


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    monkeypatch.setattr(download_module, "_TIMEOUT", (1, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/test.pth"
        with pytest.raises(DownloadError, match="no answer in time"):
            fetch(PublishedFile("test", url, "0" * 64), tmp_path, silent)


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="ATELIER_CACHE"):
        fetch(OFFICIAL["realesrgan-x4plus"], tmp_path / "file" / "cache", silent)


def test_the_environment_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path))
    assert weights_cache() == tmp_path / "weights"
    monkeypatch.delenv("ATELIER_CACHE")
    assert "atelier" in weights_cache().parts


def test_the_enhancer_downloads_by_name_and_reports_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.enhancement.shim import network_classes

    network = network_classes()[1](num_feat=4, num_conv=1, upscale=4)
    torch.save({"params": network.state_dict()}, tmp_path / "w.pth")
    server.content = (tmp_path / "w.pth").read_bytes()
    weights = server.weights(server.content)
    monkeypatch.setitem(OFFICIAL, "realesrgan-x4plus", weights)
    monkeypatch.setattr(sources_module, "_PACKAGE", "is_not_installed")
    events: list[ProgressEvent] = []
    enhancer = RealESRGANEnhancer()
    (result,) = enhancer.enhance([make_igdt(1, 8)], IES(device="cpu"), events.append)
    assert result.enhancement.weights_sha256 == weights.sha256
    assert result.enhancement.weights_from == "release test.pth"
    assert events[-1].done == len(server.content)
    assert (enhancer.cache / "test.pth").exists()
    server.status = 404
    (enhancer.cache / "test.pth").unlink()
    with pytest.raises(AtelierError, match="404"):
        enhancer.enhance([], IES(device="cpu", enhancer="realesrgan-x4plus"))
