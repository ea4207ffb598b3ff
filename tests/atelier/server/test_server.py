"""The API: what it answers, what it refuses, and that nobody gets past its guard."""

import asyncio
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra `ui`")

from httpx2 import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from atelier.handlers import ORDERS, GenerateOrder
from atelier.jobs import create as create_queue
from atelier.server import Backend, Safety, Thumbnails, create_app
from atelier.server import safety as guarding
from benchmarks.page import crowd
from components.results_store import LocalResultsStore
from components.results_store import create as create_store
from interfaces.errors import AtelierError
from tests.atelier.jobs.fake_painter import COMMAND, ENVIRONMENT, make_backend
from tests.helpers import REPOSITORY, make_iodt

MODEL = "0123456789abcdef"
ORDER = {"kind": "generate", "model": MODEL, "choices": {"generate": {"count": 2}}}
HERE = "http://127.0.0.1"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return make_backend(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LocalResultsStore:
    return create_store(tmp_path)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with TestClient(create_app(backend, Safety()), HERE, raise_server_exceptions=False) as client:
        yield client


def _error(answer: Any, status: int) -> str:
    """The one line that every error answers."""
    assert answer.status_code == status, answer.text
    line = answer.json()["detail"]
    assert answer.json()["status"] == status and line and "\n" not in line
    assert "Traceback" not in line and "/tmp" not in line
    return line


# ---------------------------------------------------------------- jobs


def test_a_job_from_order_to_end(client: TestClient) -> None:
    job = client.post("/api/jobs", json=ORDER)
    assert job.status_code == 201
    assert (job.json()["state"], job.json()["position"], job.json()["kind"]) == (
        "waiting", 1, "generate"
    )  # fmt: skip
    place = f"/api/jobs/{job.json()['id']}"
    assert client.get(place).json() == job.json()
    assert client.get("/api/jobs", params={"state": ["waiting", "running"]}).json() == [job.json()]
    assert client.get("/api/jobs", params={"state": "done"}).json() == []
    assert client.post(f"{place}/pause").json()["state"] == "paused"
    assert client.post(f"{place}/resume").json()["state"] == "waiting"
    assert client.post(f"{place}/finish-image").json()["state"] == "cancelled"
    assert client.post(f"{place}/cancel").json()["state"] == "cancelled"
    _error(client.post(f"{place}/pause"), 409)
    assert client.get(f"{place}/results").json() == []
    assert client.get(f"{place}/training").json()["curves"] == {}
    _error(client.get(f"{place}/grids/64"), 404)


def test_jobs_can_be_reordered(client: TestClient) -> None:
    ids = [client.post("/api/jobs", json=ORDER).json()["id"] for _ in range(3)]
    assert client.post(f"/api/jobs/{ids[2]}/move", json={"position": 1}).json()["position"] == 1
    assert client.get(f"/api/jobs/{ids[0]}").json()["position"] == 2
    assert client.post(f"/api/jobs/{ids[2]}/move", json={"by": 1}).json()["position"] == 2
    _error(client.post(f"/api/jobs/{ids[2]}/move", json={"position": 0}), 422)
    _error(client.post(f"/api/jobs/{ids[2]}/move", json={}), 422)
    _error(client.post(f"/api/jobs/{ids[2]}/move", json={"position": 1, "by": 1}), 422)


def test_a_lost_answer_makes_no_second_job(client: TestClient) -> None:
    headers = {"Idempotency-Key": "mine"}
    first = client.post("/api/jobs", json=ORDER, headers=headers).json()
    assert client.post("/api/jobs", json=ORDER, headers=headers).json() == first
    _error(client.post("/api/jobs", json=ORDER | {"model": "f" * 16}, headers=headers), 409)


def test_a_full_queue_says_when_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atelier.jobs.queue.MAX_WAITING", 0)
    answer = client.post("/api/jobs", json=ORDER)
    assert "busy" in _error(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("number", ["99", "0", "-1", str(2**63), "9" * 60])
def test_unknown_numbers_are_404(client: TestClient, number: str) -> None:
    for path in (f"jobs/{number}", f"jobs/{number}/events", f"results/{number}",
                 f"results/{number}/file", f"results/{number}/thumbnail"):  # fmt: skip
        _error(client.get(f"/api/{path}"), 404)
    _error(client.post(f"/api/jobs/{number}/cancel"), 404)
    _error(client.delete(f"/api/results/{number}"), 404)


@pytest.mark.parametrize(
    "path",
    ["jobs/", "models/abc/styles", "uploads/abc", "uploads/..%2f..%2fetc", "nothing", "../secret"],
)
def test_unknown_names_are_404(client: TestClient, path: str) -> None:
    _error(client.get(f"/api/{path}"), 404)


def test_an_order_with_a_path_is_refused_in_one_line(client: TestClient) -> None:
    bad = ORDER | {"choices": {"generate": {"sketch": "/etc/passwd"}}}
    assert "uploads" in _error(client.post("/api/jobs", json=bad), 422)
    _error(
        client.post("/api/jobs", content=b"{", headers={"Content-Type": "application/json"}), 422
    )


def test_a_fault_of_ours_shows_nothing_of_itself(backend: Backend) -> None:
    def check(order: Any) -> None:
        raise ValueError("a secret")

    broken = Backend(**(vars(backend) | {"check": check}))
    with TestClient(create_app(broken, Safety()), HERE, raise_server_exceptions=False) as client:
        line = _error(client.post("/api/jobs", json=ORDER), 500)
        assert "secret" not in line and "ValueError" not in line


def test_no_answer_says_where_the_workspace_lies(backend: Backend, tmp_path: Path) -> None:
    def check(order: Any) -> None:
        raise AtelierError(f"{tmp_path}/results/results.sqlite: damaged")

    broken = Backend(**(vars(backend) | {"check": check}))
    with TestClient(create_app(broken, Safety()), HERE) as client:
        answer = client.post("/api/jobs", json=ORDER)
        assert _error(answer, 422) == "results/results.sqlite: damaged"


def test_settings_are_described_by_the_contracts_themselves(client: TestClient) -> None:
    schema = client.get("/api/settings/schema").json()
    fields = schema["sections"]["generate"]["properties"]
    assert fields["count"]["maximum"] == 1_000_000 and fields["count"]["description"]
    assert schema["families"]["r3gan"]["options"]["type"] == "object"
    assert schema["enhancers"] == ["auto", "lanczos"]
    assert schema["absent_enhancers"] == ["lanczos"]
    assert schema["presets"]["default"]["train"]["total_seconds"] == 150
    models = client.get("/api/models").json()
    assert client.get(f"/api/models/{models[0]['id']}/styles").json() == models[0]["styles"]
    assert client.get("/api/collections").json()[0]["id"] == "embedded"
    assert client.get("/api/status").json()["worker"] == "running"


def test_a_training_is_told_what_it_would_be_set_to(client: TestClient) -> None:
    def ask(**order: Any) -> dict[str, Any]:
        whole = {"kind": "train", "collection": "embedded", **order}
        answer = client.post("/api/settings/training", json=whole)
        assert answer.status_code == 200, answer.text
        return answer.json()

    told = ask()  # the defaults, over what the shipped model is adapted with
    assert told["train"]["family"] == "sketch_diffusion"
    assert told["train"]["options"]["batch_size"] == 8 and told["preprocess"]["resolution"] == 64
    assert not {"data", "styles_csv"} & told["collect"].keys()
    assert "start_from" not in told["train"]
    longer = ask(settings={"train": {"total_images": 5000, "options": {"batch_size": 16}}})
    assert longer["train"]["total_seconds"] is None and longer["train"]["measure_count"] == 1000
    assert longer["train"]["options"]["batch_size"] == 16
    assert ask(preset="r3gan_64", start_from="none")["train"]["family"] == "r3gan"
    assert client.get("/api/jobs").json() == []
    wrong = {"kind": "train", "collection": "embedded", "settings": {"train": {"family": "x"}}}
    assert "'x'" in _error(client.post("/api/settings/training", json=wrong), 422)


def test_the_api_describes_itself_and_loads_nothing_from_outside(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()
    assert {f"/api/v1/{name}" for name in ("jobs", "results", "uploads", "events")} <= set(
        described["paths"]
    )
    identifiers = re.findall(r'"operationId": "(.+?)"', json.dumps(described))
    assert len(set(identifiers)) == len(identifiers) > 20
    for page in ("/docs", "/redoc"):
        assert client.get(page).status_code == 404
    policy = client.get("/api/status").headers["content-security-policy"]
    assert "http" not in policy and "default-src 'self'" in policy


# ---------------------------------------------------------------- results


def test_results_come_in_pages(client: TestClient, store: LocalResultsStore) -> None:
    kept = [store.keep(make_iodt(seed), "run") for seed in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        params = {"limit": 2, "first_seed": 0} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/results", params=params).json()
        seen += [info["result"]["id"] for info in page["results"]]
        cursor = page["next"]
    assert cursor is None and seen == [result.id for result in reversed(kept)]
    assert client.get("/api/results/count", params={"last_seed": 1}).json() == 2
    for params in ({"cursor": "x"}, {"limit": 501}, {"prompt": "cat"}, {"deleted": "yes"}):
        _error(client.get("/api/results", params=params), 422)


def test_a_result_answers_the_choices_that_make_it_again(
    client: TestClient, store: LocalResultsStore
) -> None:
    made = store.keep(make_iodt(7), "run")
    choices = client.get(f"/api/results/{made.id}").json()["choices"]
    assert choices["generate"]["seeds"] == "7" and choices["generate"]["style"] == "waves"
    assert choices["generate"]["options"] == {"truncation": 1.0}
    assert client.post("/api/jobs", json=ORDER | {"choices": choices}).status_code == 201
    shown = make_iodt(8)
    told = shown.model_copy(update={"record": shown.record.published()})
    published = store.keep(told, "run")
    assert client.get(f"/api/results/{published.id}").json()["choices"] is None


def test_a_result_its_file_and_its_thumbnail(
    client: TestClient, store: LocalResultsStore, tmp_path: Path
) -> None:
    kept = store.keep(make_iodt(3), "run")
    info = client.get(f"/api/results/{kept.id}").json()
    assert info["name"] == "000003.png" and not info["is_missing"]
    assert info["result"]["record"]["origin"]["seed"] == 3
    assert str(tmp_path) not in json.dumps(info)
    answer = client.get(info["file"])
    assert (answer.content, answer.headers["content-type"]) == (make_iodt(3).data, "image/png")
    download = client.get(info["file"], params={"format": "jpeg", "download": "true"})
    assert download.headers["content-type"] == "image/jpeg"
    assert download.headers["content-disposition"] == "attachment; filename*=UTF-8''000003.jpg"
    for side in (128, 256):
        small = client.get(info["thumbnail"], params={"side": side})
        with Image.open(io.BytesIO(small.content)) as image:
            assert (image.format, image.size) == ("WEBP", (16, 16))
    # Another workspace has another picture at this address: nothing is shown unasked.
    assert small.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": small.headers["etag"]}
    assert client.get(info["thumbnail"], params={"side": 256}, headers=known).status_code == 304
    assert client.get(info["thumbnail"], params={"side": 128}, headers=known).status_code == 200
    _error(client.get(info["thumbnail"], params={"side": 9999}), 422)


@pytest.mark.parametrize("strange", ["deleted", "changed", "link to a secret", "folder"])
def test_what_happens_on_disk_breaks_nothing_and_shows_nothing(
    client: TestClient, store: LocalResultsStore, tmp_path: Path, strange: str
) -> None:
    gone, there = store.keep(make_iodt(0), "run"), store.keep(make_iodt(1), "run")
    secret = tmp_path / "secret.png"
    secret.write_bytes(make_iodt(5).data)
    (tmp_path / "results" / "run" / "foreign.txt").write_text("not ours")
    gone.path.unlink()
    if strange == "changed":
        gone.path.write_bytes(make_iodt(5).data)
    elif strange == "link to a secret":
        gone.path.symlink_to(secret)
    elif strange == "folder":
        gone.path.mkdir()
    page = client.get("/api/results").json()["results"]
    assert [info["result"]["id"] for info in page] == [there.id, gone.id]
    for info in page:
        for path in (info["file"], info["thumbnail"]):
            answer = client.get(path)
            if info["result"]["id"] == gone.id:
                _error(answer, 404)
            else:
                assert answer.status_code == 200


def test_deleting_can_be_undone(client: TestClient, store: LocalResultsStore) -> None:
    kept = store.keep(make_iodt(0), "run")
    place = f"/api/results/{kept.id}"
    assert client.delete(place).json() == {"changed": 1}
    assert client.delete(place).json() == {"changed": 0}
    assert client.get("/api/results").json()["results"] == []
    assert len(client.get("/api/results", params={"deleted": "only"}).json()["results"]) == 1
    assert client.get("/api/results/deleted").json() == [kept.id]
    assert client.post(f"{place}/restore").json() == {"changed": 1}
    assert client.get("/api/results/count").json() == 1
    assert client.get("/api/results/deleted").json() == []
    assert kept.path.exists()


def test_thumbnails_stay_within_bounds(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path / "small", most_bytes=3000)
    size = len(thumbnails.make(make_iodt(0).data, "00" * 32, 128))
    for number in range(1, 60):
        thumbnails.make(make_iodt(0).data, f"{number:02d}" * 32, 128)
        held = sum(path.stat().st_size for path in (tmp_path / "small").rglob("*.webp"))
        assert held <= 3000
    assert held > 3000 - 5 * size
    assert thumbnails.cached("59" * 32, 128) and thumbnails.cached("00" * 32, 128) is None
    with pytest.raises(AtelierError, match="not an image"):
        thumbnails.make(b"no picture", "a" * 64, 128)


# ---------------------------------------------------------------- uploads


def test_an_upload_is_judged_by_its_content(client: TestClient, tmp_path: Path) -> None:
    sent = client.post("/api/uploads?name=../../my.exe", content=make_iodt(0).data)
    assert sent.status_code == 201
    assert (sent.json()["name"], sent.json()["media_type"]) == ("my.exe", "image/png")
    assert client.get(f"/api/uploads/{sent.json()['id']}").json() == sent.json()
    for data in (b"", b"<html>", b"PK\x03\x04broken", make_iodt(0).data[:-9]):
        _error(client.post("/api/uploads", content=data), 422)
    assert len(list((tmp_path / "uploads").iterdir())) == 2


def test_bodies_have_limits(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _error(client.post("/api/jobs", content=b" " * (2**20 + 1)), 413)
    _error(client.post("/api/collections", content=b" " * (2**23 + 1)), 413)
    picture = {"upload": "0" * 32, "style": "a style of the usual length"}
    many = {"pictures": [picture] * 20_000}
    assert _error(client.post("/api/collections", json=many), 404)  # read whole: none is uploaded
    monkeypatch.setattr("atelier.server.safety.MAX_UPLOAD_BYTES", 2**16)
    _error(client.post("/api/uploads", content=b"x" * (2**16 + 1)), 413)

    def endless() -> Iterator[bytes]:  # sent in chunks, without a length
        for _ in range(40):
            yield b"x" * 2**12

    _error(client.post("/api/uploads", content=endless()), 422)


def test_an_upload_can_be_removed_when_no_job_needs_it(client: TestClient, tmp_path: Path) -> None:
    upload = client.post("/api/uploads", content=make_iodt(0).data).json()["id"]
    job = client.post("/api/jobs", json={"kind": "enhance", "uploads": [upload]}).json()["id"]
    assert str(job) in _error(client.delete(f"/api/uploads/{upload}"), 409)
    client.post(f"/api/jobs/{job}/cancel")
    assert client.delete(f"/api/uploads/{upload}").status_code == 204
    assert list((tmp_path / "uploads").iterdir()) == []
    for _ in range(2):
        _error(client.delete(f"/api/uploads/{upload}"), 404)


@pytest.mark.parametrize("damage", ["", "{", "[" * 90_000, '{"id": 1}', "null"])
def test_one_damaged_upload_hides_no_other(client: TestClient, tmp_path: Path, damage: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("style/a.png", make_iodt(0).data)
    ids = [client.post("/api/uploads", content=stream.getvalue()).json()["id"] for _ in range(2)]
    (tmp_path / "uploads" / f"{ids[0]}.json").write_text(damage)
    offered = [one["id"] for one in client.get("/api/collections").json()]
    assert ids[0] not in offered and ids[1] in offered
    _error(client.get(f"/api/uploads/{ids[0]}"), 422)
    assert client.delete(f"/api/uploads/{ids[0]}").status_code == 204
    _error(client.get(f"/api/uploads/{ids[0]}"), 404)


def test_a_full_disk_is_told_apart_from_a_wrong_request(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(chunks: Any, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("atelier.jobs.uploads._receive", full)
    answer = client.post("/api/uploads", content=b"x")
    assert "disk" in _error(answer, 503) and answer.headers["Retry-After"]


# ---------------------------------------------------------------- the guard


@pytest.mark.parametrize(
    "host,allowed",
    [
        ("127.0.0.1", True), ("127.0.0.1:7860", True), ("localhost:1", True), ("[::1]:7860", True),
        ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil", False),
        ("192.168.0.7", False), ("", False), ("[::1", False), ("a@evil.example", False),
    ],
)  # fmt: skip
def test_another_name_for_this_machine_is_refused(
    client: TestClient, host: str, allowed: bool
) -> None:
    answer = client.get("/api/status", headers={"Host": host})
    assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    "headers,allowed",
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1"}, True),
        ({"Origin": "http://127.0.0.1:81"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[", "Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
    ],
)
def test_another_page_changes_nothing(
    client: TestClient, headers: dict[str, str], allowed: bool
) -> None:
    answer = client.post("/api/jobs", json=ORDER, headers=headers)
    assert answer.status_code == (201 if allowed else 403)
    assert len(client.get("/api/jobs").json()) == allowed


def test_other_machines_need_a_token() -> None:
    for host in ("0.0.0.0", "192.168.0.7", "::", "my.host"):
        with pytest.raises(AtelierError, match="--token"):
            Safety(host)
        Safety(host, "long enough")
    with pytest.raises(AtelierError, match="at least"):
        Safety(token="short")
    for host in ("127.0.0.1", "localhost", "::1"):
        Safety(host)


@pytest.fixture
def guarded(backend: Backend) -> Iterator[TestClient]:
    app = create_app(backend, Safety("0.0.0.0", "correct horse", ["studio.example"]))
    with TestClient(app, "http://192.168.0.7", follow_redirects=False) as client:
        yield client


def test_programs_bring_the_token(guarded: TestClient) -> None:
    _error(guarded.get("/api/status"), 401)
    for wrong in ("Bearer wrong", "Bearer ", "Basic correct horse", "Bearer correct horse2"):
        _error(guarded.get("/api/status", headers={"Authorization": wrong}), 401)
    right = {"Authorization": "Bearer correct horse"}
    assert guarded.get("/api/status", headers=right).status_code == 200
    for host, status in (("studio.example", 200), ("evil.example", 403)):
        answer = guarded.get("/api/status", headers=right | {"Host": host})
        assert answer.status_code == status


def test_people_log_in_and_hold_a_cookie(guarded: TestClient) -> None:
    page = guarded.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert 'type="password"' in guarded.get("/login").text
    assert guarded.post("/login", data={"password": "wrong"}).status_code == 401
    elsewhere = {"Origin": "http://evil.example"}
    assert (
        guarded.post("/login", data={"password": "correct horse"}, headers=elsewhere).status_code
        == 403
    )
    _error(guarded.get("/api/status"), 401)
    entered = guarded.post("/login", data={"password": "correct horse"})
    assert entered.status_code == 303
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "correct" not in cookie
    assert guarded.get("/api/status").status_code == 200


@pytest.mark.parametrize(
    "forge", ["{end}1.{sign}", "99999999999.{sign}", "{end}.", "x.y", ".", "{end}.é"]
)
def test_a_forged_cookie_opens_nothing(forge: str) -> None:
    safety = Safety("0.0.0.0", "correct horse")
    end, _, sign = safety.new_session().partition(".")
    assert safety.is_session(f"{end}.{sign}")
    assert not safety.is_session(forge.format(end=end, sign=sign))
    assert not Safety("0.0.0.0", "another token").is_session(f"{end}.{sign}")


def test_whoever_guesses_waits_and_whoever_knows_is_let_in(
    guarded: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atelier.server.safety._TURN_SECONDS", 0.05)
    wrong = {"Authorization": "Bearer wrong"}
    right = {"Authorization": "Bearer correct horse"}
    statuses = [guarded.get("/api/status", headers=wrong).status_code for _ in range(20)]
    assert statuses == [401] * 20
    began = time.monotonic()
    statuses = [guarded.get("/api/status", headers=wrong).status_code for _ in range(5)]
    assert statuses == [429] * 5 and time.monotonic() - began >= 5 * 0.05
    assert guarded.get("/api/status", headers=right).status_code == 200
    assert guarded.post("/login", data={"password": "wrong"}).status_code == 429
    assert guarded.post("/login", data={"password": "correct horse"}).status_code == 303


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await guarding.answer(send, 200, b"hello", [])


def test_guesses_from_one_address_take_turns_and_the_right_token_gets_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As behind one proxy: whoever has the token waits for the guesses before it, and no more."""
    monkeypatch.setattr(guarding, "_TURN_SECONDS", 0.02)
    guard = guarding.Guard(_hello, Safety("0.0.0.0", "correct horse"))

    async def asks(token: str, address: str = "10.0.0.5") -> int:
        transport = ASGITransport(guard, client=(address, 1))
        async with AsyncClient(transport=transport, base_url="http://192.168.0.7") as client:
            headers = {"Authorization": f"Bearer {token}"}
            return (await client.get("/api/status", headers=headers)).status_code

    async def flood() -> tuple[list[int], list[int], int, float]:
        first = [await asks(f"wrong {n}") for n in range(20)]
        began = time.monotonic()
        guesses = [asyncio.create_task(asks(f"wrong {n}")) for n in range(100)]
        await asyncio.sleep(0.01)
        right = asyncio.create_task(asks("correct horse"))
        neighbour = await asks("wrong", "10.0.0.6")
        assert not right.done()
        later = await asyncio.gather(*guesses)
        spent = time.monotonic() - began
        assert await right == 200
        return first, later, neighbour, spent

    first, later, neighbour, spent = asyncio.run(flood())
    assert (first, later, neighbour) == ([401] * 20, [429] * 100, 401)
    assert spent >= 100 * 0.02


def test_a_guess_takes_its_turn_also_where_nobody_hears_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarding, "_TURN_SECONDS", 0.05)
    safety = Safety("0.0.0.0", "correct horse")

    async def guess_and_leave() -> float:
        for _ in range(20):
            await safety.try_token("10.0.0.5", "wrong")
        began = time.monotonic()
        await asyncio.gather(*(safety.try_token("10.0.0.5", "wrong") for _ in range(10)))
        return time.monotonic() - began

    assert asyncio.run(guess_and_leave()) >= 10 * 0.05


# ---------------------------------------------------------------- a real server


class Server:
    """A server with its worker, as processes of their own."""

    def __init__(self, workspace: Path, prefix: Sequence[str] = ()) -> None:
        self.workspace = workspace
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, *COMMAND, "serve", str(workspace)],
            env=os.environ | ENVIRONMENT,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.seconds_to_start = time.monotonic() - began

    def url(self, path: str) -> str:
        return f"{self.address}/api/{path}"

    def events(self, path: str, until: Any = lambda event: False, **params: Any) -> list[Any]:
        """Events of a stream, until one holds or the stream ends."""
        found = []
        with requests.get(self.url(path), params=params, stream=True, timeout=60) as lines:
            for line in lines.iter_lines(chunk_size=None):
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
                    if until(found[-1]):
                        break
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.process.terminate()
    server.process.communicate(timeout=30)


posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@posix
def test_a_server_in_the_background_is_not_ended_by_ctrl_c(tmp_path: Path) -> None:
    server = Server(tmp_path, ["sh", "-c", 'trap "" INT; exec "$@"', "-"])
    server.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(2)
    server.process.terminate()
    server.process.communicate(timeout=30)


@posix
def test_events_come_in_order_to_every_listener(server: Server) -> None:
    heard: list[list[Any]] = [[], []]
    job_id = requests.post(server.url("jobs"), json=ORDER, timeout=30).json()["id"]

    def listen(place: int) -> None:
        heard[place] = server.events(f"jobs/{job_id}/events")

    threads = [threading.Thread(target=listen, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for events in heard:
        numbers = [event["id"] for event in events]
        assert numbers == sorted(set(numbers))
        kinds = [event["kind"] for event in events if event["kind"] != "progress"]
        assert kinds == ["submitted", "state", "state", "kept", "kept", "state"]
        assert events[-1]["data"]["state"] == "done"
    again = server.events(f"jobs/{job_id}/events", after=heard[0][-3]["id"])
    assert again == heard[0][-2:]
    last = [event for event in heard[0] if event["kind"] == "kept"][-1]
    headers = {"Last-Event-ID": str(last["id"])}
    with requests.get(server.url(f"jobs/{job_id}/events"), headers=headers, timeout=30) as answer:
        assert answer.text.count("event: kept") == 0 and "event: state" in answer.text


@posix
def test_listeners_learn_what_others_keep_and_delete(server: Server) -> None:
    store = create_store(server.workspace)  # as the command line has one, in another process
    held: list[dict[str, int]] = []

    def hears(event: dict[str, int]) -> bool:
        if "newest" in event:
            held.append(event)
            if len(held) == 1:
                kept.append(store.keep(make_iodt(700), "by hand").id)
            elif len(held) == 2:
                requests.delete(server.url(f"results/{kept[0]}"), timeout=30)
        return len(held) == 3

    kept: list[int] = []
    server.events("events", until=hears)
    before, with_one, without = held
    assert with_one["newest"] == without["newest"] == kept[0] > before["newest"]
    assert with_one["count"] == before["count"] + 1 == without["count"] + 1
    assert without["deleted"] == before["deleted"] + 1


@posix
@pytest.mark.parametrize("clients,seconds", [(20, 2), pytest.param(50, 20, marks=pytest.mark.slow)])
def test_many_clients_at_once_lose_nothing(server: Server, clients: int, seconds: float) -> None:
    found = crowd(server.address, MODEL, clients, seconds)
    print(found)
    assert found.faults == []
    assert found.num_submitted >= clients and found.num_polls >= found.num_submitted
    jobs = create_queue(server.workspace, ORDERS).find(limit=1_000_000)
    by_id = {job.id: job for job in jobs}
    assert len(found.jobs) == found.num_submitted
    for job_id, seed in found.jobs.items():
        order, results = by_id[job_id].order, by_id[job_id].results
        assert isinstance(order, GenerateOrder) and order.choices.generate.seed == seed
        assert (by_id[job_id].state, len(results)) in {
            ("done", 1),
            ("cancelled", 0),
            ("cancelled", 1),
        }


@posix
def test_the_clients_example_runs(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "docs" / "examples" / "client.py"), server.address]
    done = subprocess.run(
        [*command, "--count", "3", "--folder", str(tmp_path / "pictures")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "done: 3 pictures" in done.stdout
    pictures = {path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert pictures == {make_iodt(seed).data for seed in (7, 8, 9)}


@posix
def test_a_taken_port_is_one_clear_line(server: Server, backend: Backend) -> None:
    from atelier.server import serve

    port = int(server.address.rpartition(":")[2])
    with pytest.raises(AtelierError, match="choose another --port"):
        serve(create_app(backend, Safety()), "127.0.0.1", port, lambda address: None)


def test_the_schema_tells_a_generated_client_everything(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()
    schemes = described["components"]["securitySchemes"]
    assert schemes["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in described["paths"].items():
        assert path.startswith("/api/v1/")
        for method in methods.values():
            assert method["security"] == [{"HTTPBearer": []}], path
            assert "application/problem+json" in method["responses"]["4XX"]["content"], path
    results = described["components"]["schemas"]["ResultInfo"]["properties"]["result"]
    assert results["$ref"].endswith("KeptResult")
    order = described["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]
    for example in order["application/json"]["examples"].values():
        ORDERS.validate_python(example["value"])


def test_errors_are_problems(client: TestClient) -> None:
    bad = client.post("/api/v1/jobs", content=b"[[", headers=JSON)
    assert "not JSON from character 2 on" in _error(bad, 422)
    for answer in (client.get("/api/v1/jobs/99"), client.get("/api/v1/results?limit=x")):
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code and problem["detail"] == problem["error"]
        assert problem["title"] in ("Not Found", "Unprocessable Entity", "Unprocessable Content")


def test_head_is_answered_as_get_is_but_for_the_body(
    client: TestClient, store: LocalResultsStore
) -> None:
    place = f"results/{store.keep(make_iodt(3), 'heads').id}"
    for path in (place, f"{place}/file", f"{place}/thumbnail", "jobs", "status", "jobs/99", "star"):
        whole, head = client.get(f"/api/v1/{path}"), client.head(f"/api/v1/{path}")
        assert whole.content and not head.content
        assert (head.status_code, head.headers) == (whole.status_code, whole.headers), path


@posix
def test_head_of_a_stream_of_events_ends(server: Server) -> None:
    with requests.Session() as session:
        for _ in range(2):  # over one connection
            head = session.head(server.url("events"), timeout=10)
            assert head.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    "query",
    [
        "jobs?limit=5&limit=6",
        "jobs?limt=5",
        "results?limit=1&limit=1",
        "results/count?txt=waves",
        "results/1/thumbnail?side=128&side=256",
        "models?since=1",
    ],
)
def test_no_parameter_is_passed_over(client: TestClient, query: str) -> None:
    name = query.partition("?")[2].partition("=")[0]
    for prefix in ("/api", "/api/v1"):
        assert name in _error(client.get(f"{prefix}/{query}"), 422)


@pytest.mark.parametrize("name", ["a\0b", "\u202egnp.exe", "two\nlines", " ", "x" * 101])
def test_what_a_person_names_can_be_seen(
    client: TestClient, store: LocalResultsStore, name: str
) -> None:
    number = store.keep(make_iodt(3), "names").id
    _error(client.post("/api/v1/results/board", json={"results": [number], "board": name}), 422)
    _error(client.patch("/api/v1/models/0", json={"title": name}), 422)
    _error(client.post("/api/v1/collections", json={"upload": "0" * 32, "name": name}), 422)


def test_nothing_is_noted_of_a_result_that_is_not_there(
    client: TestClient, store: LocalResultsStore
) -> None:
    wanted = {"results": [store.keep(make_iodt(3), "marks").id, 7]}
    for path, mark in (("star", {"is_starred": True}), ("board", {"board": "Sea"})):
        line = _error(client.post(f"/api/v1/results/{path}", json=wanted | mark), 404)
        assert line == "result 7: there is none"


def test_a_file_is_sent_in_parts_and_not_twice(
    client: TestClient, store: LocalResultsStore
) -> None:
    kept = store.keep(make_iodt(3), "parts")
    place = f"/api/v1/results/{kept.id}/file"
    whole = client.get(place)
    part = client.get(place, headers={"Range": "bytes=2-9"})
    assert part.status_code == 206 and part.content == whole.content[2:10]
    beyond = client.get(place, headers={"Range": "bytes=-0"})
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole.content)}"
    assert "none of those asked for" in _error(beyond, 416)
    same = client.get(place, headers={"If-None-Match": whole.headers["etag"]})
    assert same.status_code == 304 and not same.content
