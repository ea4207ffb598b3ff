"""The queue, and real workers: killed, racing, hanging, stopped in three ways."""

import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atelier.handlers import HANDLERS, ORDERS, GenerateOrder, InspectOrder, Places, TrainOrder
from atelier.jobs import (
    AnnouncedStore,
    LocalUploads,
    SQLiteJobQueue,
    WorkerKeeper,
    WorkspaceCatalogue,
    create,
)
from atelier.jobs.model_notes import ModelNotes
from atelier.jobs.queue import MAX_WAITING
from atelier.jobs.worker import _JobControl
from atelier.workspace import Workspace
from components.common.durable import sha256_of, write_text
from components.common.shipped import SHIPPED_MODELS
from components.results_store import create as create_store
from components.training_store import create as create_training_store
from interfaces.errors import (
    AtelierError,
    JobStateError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from interfaces.igme import IGME
from interfaces.iodt import ResultQuery, StoredResult
from interfaces.itdt import CollectionChoices, CollectionSettings, PictureChoice
from interfaces.jobs import Job, JobProgress
from interfaces.orders import Order
from interfaces.progress import ProgressEvent, silent
from interfaces.ui import Choices
from tests.atelier.jobs.fake_painter import COMMAND, ENVIRONMENT, keeper
from tests.helpers import REPOSITORY, Clock, make_iodt

MODEL = "0123456789abcdef"


def order(count: int = 1, **options: Any) -> GenerateOrder:
    generate = {"count": count, "options": {k.replace("_", " "): v for k, v in options.items()}}
    choices = Choices.model_validate({"generate": generate})
    return GenerateOrder(kind="generate", model=MODEL, choices=choices)


@pytest.fixture
def queue(tmp_path: Path) -> SQLiteJobQueue:
    return create(tmp_path, ORDERS)


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 120.0) -> float:
    """Wait until it holds => how long that took, seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.01)
    return time.monotonic() - began


# ---------------------------------------------------------------- the queue


def test_jobs_are_taken_in_the_order_they_came(queue: SQLiteJobQueue) -> None:
    jobs = [queue.submit(order(n)) for n in (1, 2, 3)]
    assert [job.position for job in jobs] == [1, 2, 3]
    taken = [queue.take(1) for _ in jobs]
    assert [job.id for job in taken if job] == [job.id for job in jobs]
    assert queue.take(1) is None


def test_another_opening_sees_the_same(queue: SQLiteJobQueue, tmp_path: Path) -> None:
    job = queue.submit(TrainOrder(kind="train", collection="embedded", settings={"train": {}}))
    other = create(tmp_path, ORDERS)
    assert other.get(job.id) == job
    other.stop(job.id, "pause")
    assert queue.get(job.id).state == "paused"
    assert [e.data["state"] for e in queue.events()] == ["waiting", "paused"]


def test_moving_a_job_is_moving_it_in_a_list(queue: SQLiteJobQueue) -> None:
    ids = [queue.submit(order()).id for _ in range(6)]

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 5), st.integers(1, 9))
    def agrees(which: int, position: int) -> None:
        job_id = sorted(ids)[which]
        ids.remove(job_id)
        ids.insert(position - 1, job_id)
        assert queue.move(job_id, position).position == ids.index(job_id) + 1
        waiting = sorted(queue.find(["waiting"]), key=lambda job: job.position or 0)
        assert [job.id for job in waiting] == ids

    agrees()
    assert [job.id for _ in range(6) if (job := queue.take(1)) is not None] == ids


def test_moving_a_job_by_places_counts_from_where_it_stands_now(queue: SQLiteJobQueue) -> None:
    ids = [queue.submit(order()).id for _ in range(4)]
    assert queue.take(1)  # each of the others has come one place nearer
    assert queue.move_by(ids[2], -1).position == 1
    assert queue.move_by(ids[2], -1).position == 1
    assert queue.move_by(ids[2], 1).position == 2
    assert queue.move_by(ids[2], 9).position == 3


STATES = {
    "waiting": [],
    "running": ["take"],
    "paused": ["pause"],
    "cancelled": ["now"],
    "done": ["take", "finish"],
    "failed": ["take", "fail"],
    "stopping": ["take", "now"],
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "asked,becomes",
    [
        ("now", {"waiting": "cancelled", "running": "stopping", "paused": "cancelled",
                 "cancelled": "cancelled", "stopping": "stopping"}),
        ("after-image", {"waiting": "cancelled", "running": "stopping", "paused": "cancelled",
                         "cancelled": "cancelled", "stopping": "stopping"}),
        ("pause", {"waiting": "paused", "running": "stopping", "paused": "paused",
                   "stopping": "stopping"}),
        ("resume", {"paused": "waiting", "cancelled": "waiting", "failed": "waiting"}),
        ("move", {"waiting": "waiting"}),
    ],
)  # fmt: skip
def test_what_may_be_asked_of_a_job_in_which_state(
    queue: SQLiteJobQueue, state: str, asked: str, becomes: dict[str, str]
) -> None:
    job_id = queue.submit(order()).id

    def ask(what: str) -> Any:
        return {
            "take": lambda: queue.take(1),
            "finish": lambda: queue.finish(job_id, None),
            "fail": lambda: queue.fail(job_id, "no"),
            "resume": lambda: queue.resume(job_id),
            "move": lambda: queue.move(job_id, 1),
        }.get(what, lambda: queue.stop(job_id, what))()  # type: ignore[arg-type]

    for step in STATES[state]:
        ask(step)
    assert queue.get(job_id).state == state
    if state in becomes:
        assert ask(asked).state == becomes[state]
    else:
        with pytest.raises(JobStateError):
            ask(asked)
        assert queue.get(job_id).state == state


def test_a_pause_can_be_taken_back_and_now_cannot(queue: SQLiteJobQueue) -> None:
    job = queue.submit(order())
    queue.take(1)
    queue.stop(job.id, "pause")
    assert queue.resume(job.id).state == "running"
    assert queue.kept(job.id, 1) is None
    queue.stop(job.id, "now")
    assert queue.stop(job.id, "pause").stop == "now"
    assert queue.put_back(job.id).state == "cancelled"


def test_a_paused_job_goes_on_before_the_others(queue: SQLiteJobQueue) -> None:
    first, second = queue.submit(order()), queue.submit(order())
    queue.stop(second.id, "pause")
    assert queue.resume(second.id).position == 1
    assert queue.get(first.id).position == 2


def test_what_a_dead_worker_had_is_next(queue: SQLiteJobQueue) -> None:
    first, second = queue.submit(order()), queue.submit(order())
    queue.take(1)
    queue.reclaim()
    again = queue.take(2)
    assert again is not None and again.id == first.id
    queue.stop(first.id, "pause")
    queue.reclaim()
    assert queue.get(first.id).state == "paused"
    assert queue.get(second.id).position == 1


def test_three_deaths_without_an_image_fail_a_job(queue: SQLiteJobQueue) -> None:
    job = queue.submit(order())
    for death in (1, 2):
        queue.take(death)
        assert queue.bury(death, "signal 9") == death
        assert queue.get(job.id).state == "waiting"
    queue.take(3)
    queue.kept(job.id, 1)  # it goes forward after all
    for number, death in enumerate((3, 4, 5), start=1):
        assert queue.bury(death, "signal 9") == number
        queue.take(death + 1)
    assert queue.bury(6, "signal 9") == 0  # which was at nothing
    failed = queue.get(job.id)
    assert failed.state == "failed"
    assert failed.error is not None and "3 times" in failed.error and "\n" not in failed.error
    assert queue.resume(job.id).deaths == 0


def test_the_same_key_gives_the_same_job(queue: SQLiteJobQueue) -> None:
    job = queue.submit(order(), key="a")
    assert queue.submit(order(), key="a") == job
    assert queue.submit(order(), key="b").id != job.id
    assert queue.submit(order()).id != job.id
    with pytest.raises(JobStateError):
        queue.submit(order(2), key="a")


def test_a_full_queue_says_that_it_is_busy(
    queue: SQLiteJobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_WAITING >= 100
    monkeypatch.setattr("atelier.jobs.queue.MAX_WAITING", 3)
    for _ in range(3):
        queue.submit(order())
    with pytest.raises(UnavailableError, match="busy: 3 jobs"):
        queue.submit(order())
    queue.take(1)
    assert queue.submit(order()).position == 3


@pytest.mark.parametrize("number", [0, -1, 2, 2**63, 10**40])
def test_there_is_no_such_job(queue: SQLiteJobQueue, number: int) -> None:
    queue.submit(order())
    for ask in (queue.get, queue.results, queue.resume, lambda n: queue.stop(n, "now")):
        with pytest.raises(NotFoundError):
            ask(number)


def test_events_tell_the_whole_story_in_order(queue: SQLiteJobQueue) -> None:
    job = queue.submit(order(2))
    queue.take(1)
    for done in range(50):
        queue.report(job.id, JobProgress(stage="make images", done=done))
    queue.kept(job.id, 7)
    queue.kept(job.id, 7)
    queue.remark(job.id, "warned", f"{queue.path.parent}/weights: \n odd")
    queue.finish(job.id, {"loss": float("nan")})
    events = queue.events()
    assert [e.kind for e in events] == ["submitted", "state", "progress", "kept", "warned", "state"]
    assert [e.id for e in events] == sorted(e.id for e in events)
    assert events[-1].id == queue.last_event() > 50
    assert events[2].data["done"] == 49
    assert events[4].data == {"line": "weights: odd"}
    assert queue.events(after=events[2].id) == events[3:]
    done = queue.get(job.id)
    assert (done.num_results, done.results, done.outcome) == (1, (7,), {"loss": None})
    json.loads(done.model_dump_json(), parse_constant=lambda name: pytest.fail(name))


def test_a_list_of_jobs_has_pages_and_states(queue: SQLiteJobQueue) -> None:
    ids = [queue.submit(order()).id for _ in range(5)]
    queue.take(1)
    assert [job.id for job in queue.find(limit=2)] == ids[:2:-1]
    assert [job.id for job in queue.find(before=ids[3], limit=2)] == [ids[2], ids[1]]
    assert [job.id for job in queue.find(["running"])] == ids[:1]
    assert queue.num_waiting() == 4


def test_what_json_cannot_hold_is_refused(queue: SQLiteJobQueue) -> None:
    with pytest.raises(AtelierError, match="JSON"):
        queue.submit(order(odd="\ud800"))
    assert queue.find() == []


class Interrupted:
    """A database connection that an interrupt follows one statement of."""

    def __init__(self, database: sqlite3.Connection, after: str) -> None:
        self._database, self._after = database, after

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        cursor = self._database.execute(statement, *values)
        if statement.startswith(self._after):
            raise KeyboardInterrupt
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@pytest.mark.parametrize("statement,num_kept", [("BEGIN", 0), ("INSERT", 0), ("COMMIT", 1)])
def test_an_interrupt_at_any_statement_leaves_the_queue_usable(
    queue: SQLiteJobQueue, statement: str, num_kept: int
) -> None:
    job, database = queue.submit(order()), queue._database
    queue.take(1)
    queue._database = Interrupted(database, statement)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        queue.kept(job.id, 7)
    queue._database = database
    back = queue.put_back(job.id)
    assert (back.state, back.num_results, back.error) == ("waiting", num_kept, None)


def test_a_queue_of_another_version_or_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(AtelierError, match="update Atelier"):
        create(tmp_path, ORDERS)
    (tmp_path / "jobs.sqlite").write_bytes(b"not a database, but long enough to look at" * 99)
    with pytest.raises(AtelierError, match="move the file away"):
        create(tmp_path, ORDERS)


# ---------------------------------------------------------------- real workers

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.fixture(scope="module")
def studio(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[SQLiteJobQueue, WorkerKeeper]]:
    """A queue with a kept worker, which the tests below share: it takes a second to start."""
    workspace = tmp_path_factory.mktemp("studio")
    with keeper(workspace) as kept:
        yield create(workspace, ORDERS), kept


Studio = tuple[SQLiteJobQueue, WorkerKeeper]


def _until(queue: SQLiteJobQueue, job: Job, state: str, seconds: float = 120.0) -> float:
    what = f"job {job.id} to be {state}"
    try:
        return wait_for(what, lambda: queue.get(job.id).state == state, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {queue.get(job.id)!r}") from None


def _results(queue: SQLiteJobQueue, job: Job) -> list[StoredResult]:
    run = queue.get(job.id).run
    return create_store(queue.path.parent).find(ResultQuery(run=run, limit=1000))


def _check_complete(queue: SQLiteJobQueue, job: Job, count: int) -> None:
    """Every image is there, once, whole, and as an undisturbed job makes it."""
    results = _results(queue, job)
    assert sorted(r.record.origin.seed for r in results) == list(range(count))  # type: ignore[union-attr]
    for result in results:
        assert result.path.read_bytes() == make_iodt(result.record.origin.seed).data  # type: ignore[union-attr]
    assert queue.results(job.id) == sorted(result.id for result in results)
    assert queue.get(job.id).num_results == count


@posix
def test_a_worker_carries_a_job_out(studio: Studio) -> None:
    queue, _ = studio
    job = queue.submit(order(5))
    _until(queue, job, "done")
    _check_complete(queue, job, 5)
    done = queue.get(job.id)
    assert done.progress is not None and done.progress.total == 5
    assert done.started_at is not None and done.ended_at is not None
    inspected = queue.submit(InspectOrder(kind="inspect", collection="embedded"))
    assert _until(queue, inspected, "done") < 2
    assert queue.get(inspected.id).outcome == {"lines": ["10 images"], "odd": None}
    (line,) = [e.data["line"] for e in queue.events(job_id=inspected.id) if e.kind == "said"]
    assert line == "looked at embedded"


@posix
@pytest.mark.parametrize("how,becomes", [("pause", "paused"), ("after-image", "cancelled")])
def test_a_job_stops_after_an_image_and_goes_on_at_the_next(
    studio: Studio, how: Any, becomes: str
) -> None:
    queue, kept = studio
    job = queue.submit(order(8, seconds=0.1))
    wait_for("two images", lambda: queue.get(job.id).num_results >= 2)
    pid = kept.pid
    queue.stop(job.id, how)
    _until(queue, job, becomes)
    made = queue.get(job.id).num_results
    assert 2 <= made < 8
    time.sleep(0.3)
    assert queue.get(job.id).num_results == made  # it really stopped
    queue.resume(job.id)
    _until(queue, job, "done")
    _check_complete(queue, job, 8)
    assert kept.pid == pid  # what it has loaded stays loaded


@posix
def test_a_job_stops_in_the_middle_of_an_image(studio: Studio) -> None:
    queue, kept = studio
    job, pid = queue.submit(order(3, seconds=30)), kept.pid
    _until(queue, job, "running")
    time.sleep(0.3)
    queue.stop(job.id, "now")
    assert _until(queue, job, "cancelled") < 2
    assert kept.pid == pid


@posix
def test_a_worker_that_does_not_answer_is_replaced(studio: Studio) -> None:
    queue, kept = studio
    job, after = queue.submit(order(3, hang_at=1)), queue.submit(order(2))
    wait_for("the first image", lambda: queue.get(job.id).num_results == 1)
    pid = kept.pid
    queue.stop(job.id, "now")
    assert _until(queue, job, "cancelled") < 4
    _until(queue, after, "done")
    assert kept.pid != pid
    assert len(_results(queue, job)) == 1


@posix
@pytest.mark.parametrize("how,becomes", [("pause", "paused"), ("now", "cancelled")])
def test_a_training_saves_its_state_before_it_stops(
    queue: SQLiteJobQueue, how: Any, becomes: str
) -> None:
    job = queue.submit(TrainOrder(kind="train", collection="embedded"))
    with keeper(queue.path.parent, "long"):
        wait_for("progress", lambda: queue.get(job.id).progress is not None)
        queue.stop(job.id, how)
        _until(queue, job, becomes)
    assert (queue.path.parent / f"state-{job.id}.txt").read_text() == "saved 1"


def test_quick_work_does_not_wait_behind_a_training(queue: SQLiteJobQueue) -> None:
    training = [queue.submit(TrainOrder(kind="train", collection="embedded")) for _ in range(2)]
    quick = [queue.submit(order(n)) for n in (1, 2)]
    assert [job.position for job in (*training, *quick)] == [1, 2, 1, 2]
    assert queue.move(quick[1].id, 1).position == 1
    assert [queue.get(job.id).position for job in training] == [1, 2]
    first, second = queue.take(1, "long"), queue.take(2, "quick")
    assert first is not None and second is not None
    assert (first.id, second.id) == (training[0].id, quick[1].id)
    queue.reclaim("quick")  # its worker died; the training's did not
    assert queue.get(first.id).state == "running"
    assert queue.get(second.id).state == "waiting"


def test_a_queue_of_before_there_were_two_is_taken_over(tmp_path: Path) -> None:
    queue = create(tmp_path, ORDERS)
    jobs = [queue.submit(TrainOrder(kind="train", collection="embedded")), queue.submit(order(1))]
    queue.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("ALTER TABLE jobs DROP COLUMN lane")
        database.execute("PRAGMA user_version = 1")
    taken = [create(tmp_path, ORDERS).take(1, lane) for lane in ("long", "quick")]
    assert [job.id for job in taken if job] == [job.id for job in jobs]


@posix
def test_faults_are_one_line_and_the_next_job_runs(studio: Studio) -> None:
    queue, kept = studio
    expected = queue.submit(order(3, fail_at=1))
    _until(queue, expected, "failed")
    pid = kept.pid
    unexpected, after = queue.submit(order(3, break_at=0)), queue.submit(order(1))
    _until(queue, after, "done")
    assert queue.get(expected.id).error == r"models: \n gone"
    assert queue.get(expected.id).num_results == 1
    fault = queue.get(unexpected.id).error
    assert fault is not None and "ValueError" in fault and "secret" not in fault
    assert "secret" in (queue.path.parent / "worker.log").read_text()
    assert kept.pid == pid


@posix
def test_a_job_that_kills_its_worker_fails_and_the_others_run(studio: Studio) -> None:
    queue, _ = studio
    job, after = queue.submit(order(3, die_at=1)), queue.submit(order(1))
    _until(queue, after, "done")
    failed = queue.get(job.id)
    assert failed.state == "failed" and failed.error is not None
    assert "died on this job 3 times" in failed.error
    assert failed.num_results == 1


@contextmanager
def _running(what: str, workspace: Path, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker, or a server with its worker; killed on leaving, however one leaves."""
    process = subprocess.Popen(
        [*COMMAND, what, str(workspace), *more],
        env=os.environ | ENVIRONMENT,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        # No pipe that a process left over could keep open, for somebody to wait at for ever.
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        _kill(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


@posix
@pytest.mark.parametrize("lane", ["quick", "long"])
def test_ctrl_c_ends_a_worker_that_has_stopped_a_job(
    lane: str, queue: SQLiteJobQueue, tmp_path: Path
) -> None:
    """Also a training, which hears the interrupt of its stop by a handler of its own."""
    is_long = lane == "long"
    job = queue.submit(
        TrainOrder(kind="train", collection="embedded") if is_long else order(3, seconds=30)
    )
    with _running("worker", tmp_path, lane) as worker:
        wait_for("progress", lambda: queue.get(job.id).progress is not None)
        queue.stop(job.id, "now")
        _until(queue, job, "cancelled")
        time.sleep(0.5)  # it looks for the next one
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _killed_at_random(workspace: Path, count: int, kills: int, seconds: float) -> Job:
    """A job whose worker is killed so often in its middle => the job, done."""
    rng, queue = random.Random(0), create(workspace, ORDERS)
    with keeper(workspace) as kept:
        job = queue.submit(order(count, seconds=seconds))
        for _ in range(kills):
            before = queue.get(job.id).num_results
            wait_for("an image", lambda before=before: queue.get(job.id).num_results > before)
            time.sleep(rng.uniform(0, 3 * seconds))
            assert queue.get(job.id).state == "running"  # the test bites
            assert kept.pid is not None
            _kill(kept.pid)
        _until(queue, job, "done")
        assert kept.num_restarts >= kills
    _check_complete(queue, job, count)
    return job


def test_an_image_that_a_killed_worker_kept_and_did_not_tell_of_is_the_jobs(
    queue: SQLiteJobQueue, tmp_path: Path
) -> None:
    job = queue.submit(order(2))
    queue.take(1)
    plain = create_store(tmp_path)
    kept = [plain.keep(make_iodt(seed), "0001-run") for seed in range(3)]
    plain.keep(make_iodt(9), "another run")
    queue.kept(job.id, kept[1].id)
    announced = AnnouncedStore(plain, _JobControl(queue, job))
    assert announced.find(ResultQuery(run="0001-run")) == kept[::-1]
    assert queue.results(job.id) == [result.id for result in kept]
    assert queue.get(job.id).num_results == 3
    announced.find(ResultQuery())
    assert queue.get(job.id).num_results == 3


def test_steps_of_the_next_picture_are_timed_by_themselves(
    queue: SQLiteJobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("atelier.jobs.worker.time.monotonic", lambda: now[0])
    job = queue.submit(order(2))
    control, left = _JobControl(queue, job), []
    for done in (1, 2, 3, 1, 2, 3):
        control.report(ProgressEvent(stage="one picture", done=done, total=4, unit="steps"))
        control.flush()
        progress = queue.get(job.id).progress
        assert progress is not None
        left.append(progress.seconds_left)
        now[0] += 10
    assert left == [None, 20.0, 10.0] * 2


@posix
def test_a_worker_killed_again_and_again_leaves_nothing_out(tmp_path: Path) -> None:
    _killed_at_random(tmp_path, count=30, kills=3, seconds=0.03)


@posix
@pytest.mark.slow
def test_a_worker_killed_twenty_times_leaves_nothing_out(tmp_path: Path) -> None:
    _killed_at_random(tmp_path, count=100, kills=20, seconds=0.02)


@posix
@pytest.mark.slow
def test_a_server_killed_with_its_worker_again_and_again_leaves_nothing_out(
    tmp_path: Path,
) -> None:
    """Twenty times the server, its worker, or both at once; the pictures are an undisturbed job's.

    A worker left alone ends by itself; the next server's waits for it.
    """
    rng, queue = random.Random(0), create(tmp_path / "killed", ORDERS)
    began, count, kills = time.monotonic(), 100, Counter[str]()
    log = tmp_path / "killed" / "began.txt"
    job = queue.submit(order(count, seconds=0.1))

    def num_begun() -> int:
        return len(log.read_text().splitlines()) if log.exists() else 0

    for _ in range(20):
        begun = num_begun()
        with _running("serve", tmp_path / "killed"):
            wait_for("a worker", lambda n=begun: num_begun() > n)
            before = queue.get(job.id).num_results
            wait_for("an image", lambda n=before: queue.get(job.id).num_results > n)
            time.sleep(rng.uniform(0, 0.15))
            assert queue.get(job.id).state == "running"  # the test bites
            what = rng.choice(("server", "worker", "both"))
            if what != "server":
                begun = num_begun()
                _kill(int(log.read_text().split()[-1]))
            if what == "worker":
                wait_for("the keeper's next worker", lambda n=begun: num_begun() > n)
        kills[what] += 1
    last = queue.get(job.id)
    assert last.error is None and last.num_results < count
    with _running("serve", tmp_path / "killed"):
        _until(queue, job, "done")
    _check_complete(queue, job, count)

    undisturbed = create(tmp_path / "undisturbed", ORDERS)
    with _running("serve", tmp_path / "undisturbed"):
        other = undisturbed.submit(order(count, seconds=0.0))
        _until(undisturbed, other, "done")
    assert _pictures(queue, job) == _pictures(undisturbed, other)
    print(
        f"killed {dict(kills)}, {last.num_results} of {count} images before the last start; all "
        f"there, each once, as an undisturbed job's; {time.monotonic() - began:.1f} s"
    )


def _pictures(queue: SQLiteJobQueue, job: Job) -> dict[int, str]:
    """Digests of what lies on the disk, by seed."""
    return {
        result.record.origin.seed: sha256_of(result.path)  # type: ignore[union-attr]
        for result in _results(queue, job)
    }


def test_a_worker_that_cannot_start_is_tried_less_and_less_often(
    queue: SQLiteJobQueue, tmp_path: Path
) -> None:
    job = queue.submit(order())
    began = time.monotonic()
    command = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    with WorkerKeeper(queue, command, tmp_path / "log") as kept:
        wait_for("three restarts", lambda: kept.num_restarts >= 3)
        assert time.monotonic() - began > 0.25 + 0.5
        wait_for("the trouble to be told", lambda: kept.trouble is not None)
        assert kept.trouble == "exit status 3"
    assert queue.get(job.id).state == "waiting"  # no fault of the job's


@posix
def test_of_two_workers_one_works_and_the_other_takes_over(tmp_path: Path) -> None:
    queue = create(tmp_path, ORDERS)
    jobs = [queue.submit(order(2, seconds=0.02)) for _ in range(8)]
    with _running("worker", tmp_path) as one, _running("worker", tmp_path) as other:
        workers = (one, other)
        log = tmp_path / "began.txt"
        wait_for("three jobs", lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
        _kill(int(log.read_text().split()[1]))
        for job in jobs:
            _until(queue, job, "done")
            _check_complete(queue, job, 2)
        began = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
        assert {pid for _, pid in began} == {worker.pid for worker in workers}
        # Only what the killed one was at was begun twice.
        assert len(began) in (len(jobs), len(jobs) + 1)
        assert {job_id for job_id, _ in began} == {job.id for job in jobs}
        for worker in workers:
            worker.communicate(timeout=60)  # closes its input: it ends by itself
        assert sorted(worker.returncode for worker in workers) == [-9, 0]


@posix
def test_a_worker_ends_with_its_server_and_the_job_goes_on_with_the_next(tmp_path: Path) -> None:
    queue = create(tmp_path, ORDERS)
    job = queue.submit(order(10, seconds=0.1))
    with _running("serve", tmp_path):
        wait_for("two images", lambda: queue.get(job.id).num_results >= 2)
        worker = int((tmp_path / "began.txt").read_text().split()[1])
    _until(queue, job, "waiting")
    wait_for("the worker's end", lambda: not _is_alive(worker))
    assert queue.get(job.id).deaths == 0
    with keeper(tmp_path):
        _until(queue, job, "done")
    _check_complete(queue, job, 10)


@posix
def test_a_keeper_outlives_a_queue_that_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, failures = create(tmp_path, ORDERS), iter(range(3))

    def locked(self: SQLiteJobQueue, worker: int) -> None:
        if next(failures, None) is not None:
            raise AtelierError("the queue cannot be read or written (database is locked)")

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteJobQueue, "overdue", locked)
        with keeper(tmp_path) as kept:
            wait_for("three failures", lambda: next(failures, None) is None)
            job = queue.submit(order(2))
            _until(queue, job, "done")
            wait_for("a worker to kill", lambda: kept.pid is not None)
            assert kept.pid is not None
            _kill(kept.pid)
            after = queue.submit(order(2))
            _until(queue, after, "done")  # by a worker that the keeper started


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# ---------------------------------------------------------------- uploads


@pytest.fixture
def uploads(tmp_path: Path) -> LocalUploads:
    return LocalUploads(tmp_path / "uploads")


def encoded(image_format: str, side: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(stream, image_format)
    return stream.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_content_decides_what_an_upload_is(uploads: LocalUploads, image_format: str) -> None:
    data = encoded(image_format)
    upload = uploads.add([data[:5], b"", data[5:]], "../../evil.exe")
    assert (upload.kind, upload.name, upload.width) == ("picture", "evil.exe", 8)
    assert uploads.path(upload.id).read_bytes() == data
    assert uploads.get(upload.id) == upload
    with Image.open(uploads.path(upload.id)) as image:
        assert image.size == (8, 8)


def test_an_archive_is_a_collection(uploads: LocalUploads, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("style/a.png", encoded("PNG"))
    upload = uploads.add([stream.getvalue()], "paintings.zip")
    assert upload.kind == "collection"
    catalogue = WorkspaceCatalogue(Workspace(tmp_path), uploads)
    assert [offer.name for offer in catalogue.collections()] == ["embedded", "paintings.zip"]
    assert catalogue.collection_data(upload.id) == str(uploads.path(upload.id))
    with pytest.raises(AtelierError, match="archive"):
        _check(
            Places(Workspace(tmp_path), uploads, catalogue),
            {"kind": "enhance", "uploads": [upload.id]},
        )


def _bomb() -> bytes:
    """A small PNG that says that it has 30 000 x 30 000 pixels."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + chunk + end


@pytest.mark.parametrize(
    "data,why",
    [
        (b"", "empty"),
        (b"<script>alert(1)</script>", "neither"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "neither"),
        (b"PK\x03\x04 not really", "neither"),
        (b"\x1f\x8b\x08 not really", "neither"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "neither"),
        (encoded("PNG")[:-20], "neither"),
        (_bomb(), "pixels"),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(
    uploads: LocalUploads, tmp_path: Path, data: bytes, why: str
) -> None:
    with pytest.raises(AtelierError, match=why) as refusal:
        uploads.add([data], "a.png")
    assert "\n" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_an_endless_upload_is_cut_short(
    uploads: LocalUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atelier.jobs.uploads.MAX_PICTURE_BYTES", 2**20)
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 2**16

    with pytest.raises(AtelierError, match="1 MiB"):
        uploads.add(endless(), "a.png")
    assert taken == 17
    assert list((tmp_path / "uploads").iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60) | st.sampled_from(["../../etc/passwd", "..", "/", "C:\\a\\..", "\0"]))
def test_no_name_and_no_id_becomes_a_path(name: str) -> None:
    import tempfile

    root = Path(tempfile.mkdtemp())
    uploads = LocalUploads(root / "uploads")
    upload = uploads.add([encoded("PNG")], name)
    assert "/" not in upload.name and "\\" not in upload.name and upload.name.isprintable()
    assert {path.name for path in root.rglob("*")} == {
        "uploads", f"{upload.id}.png", f"{upload.id}.json"
    }  # fmt: skip
    for strange in (name, f"../uploads/{upload.id}", upload.id.upper() + "x"):
        with pytest.raises(NotFoundError):
            uploads.path(strange)


# ---------------------------------------------------------------- the catalogue


def test_a_collection_is_gathered_whole_or_not_at_all(
    catalogue: WorkspaceCatalogue, uploads: LocalUploads, tmp_path: Path
) -> None:
    picture = uploads.add([encoded("PNG")], "a.png")
    with pytest.raises(NotFoundError):
        catalogue.gather("mine", [(picture.id, "Prints"), ("0" * 32, "")])
    assert list((tmp_path / "gathered").glob("[!.]*")) == []
    named_twice = [(picture.id, "Prints"), (picture.id, "Prints"), (picture.id, "")]
    offers = [catalogue.gather("mine", named_twice) for _ in range(2)]
    assert [offer.name for offer in offers] == ["mine", "mine 2"]
    files = [path for path in (tmp_path / "gathered" / "mine").rglob("*") if path.is_file()]
    assert sorted(path.parent.name for path in files) == ["Prints", "mine"]


@pytest.mark.parametrize("name", [".art", "...", "__MACOSX", "my.atelier.json", ". ."])
def test_no_name_hides_what_is_gathered(
    catalogue: WorkspaceCatalogue, uploads: LocalUploads, tmp_path: Path, name: str
) -> None:
    sent = [
        (uploads.add([encoded("PNG", 33)], ".hidden.png").id, ""),
        (uploads.add([encoded("PNG", 34)], "a.png").id, name),
    ]
    offer = catalogue.gather(name, sent)
    assert offer.id in {one.id for one in catalogue.collections()}
    settings = CollectionSettings(data=catalogue.collection_data(offer.id))
    assert create_training_store(tmp_path).collect(settings, silent).num_images == 2


def test_a_change_of_choices_leaves_those_for_other_pictures(
    catalogue: WorkspaceCatalogue, uploads: LocalUploads, tmp_path: Path
) -> None:
    sent = [uploads.add([encoded("PNG", side)], f"{side}.png") for side in (33, 34, 35)]
    offer = catalogue.gather("mine", [(one.id, "") for one in sent])
    data = catalogue.collection_data(offer.id)
    store = create_training_store(tmp_path)
    names = [one.name for one in store.collect(CollectionSettings(data=data), silent).images()]
    for name in names[:2]:
        catalogue.change_choices(
            offer.id, CollectionChoices(pictures={name: PictureChoice(is_excluded=True)})
        )
    assert set(catalogue.choices(offer.id).pictures) == set(names[:2])
    back = CollectionChoices(pictures={names[0]: PictureChoice()})
    assert set(catalogue.change_choices(offer.id, back).pictures) == {names[1]}
    stranger = CollectionChoices(pictures={"nobody's.png": PictureChoice()})
    with pytest.raises(NotFoundError):
        catalogue.change_choices(offer.id, stranger)


@pytest.mark.parametrize(
    "sent,shown",
    [
        ("J.M.W. Turner.zip", "J.M.W. Turner.zip"),
        ("old.TAR.GZ", "old.zip"),
        ("St. Ives", "St. Ives.zip"),
    ],
)
def test_an_archive_keeps_its_name(
    catalogue: WorkspaceCatalogue, uploads: LocalUploads, sent: str, shown: str
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", encoded("PNG"))
    assert catalogue.gather_archive(uploads.add([packed.getvalue()], sent).id, None).name == shown


def test_a_lost_archive_hides_no_other_collection(
    catalogue: WorkspaceCatalogue, uploads: LocalUploads
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", encoded("PNG"))
    upload = uploads.add([packed.getvalue()], "J.M.W. Turner.zip")
    assert upload.id in {offer.id for offer in catalogue.collections()}
    uploads.path(upload.id).unlink()
    assert [offer.id for offer in catalogue.collections()] == ["embedded"]


def _order(fields: dict[str, Any]) -> Order:
    return ORDERS.validate_python(fields)


def _check(places: Places, fields: dict[str, Any]) -> None:
    order = _order(fields)
    HANDLERS[type(order)].check(order, places)


@pytest.fixture
def places(tmp_path: Path, uploads: LocalUploads, catalogue: WorkspaceCatalogue) -> Places:
    return Places(Workspace(tmp_path), uploads, catalogue)


@pytest.fixture
def catalogue(tmp_path: Path, uploads: LocalUploads) -> WorkspaceCatalogue:
    return WorkspaceCatalogue(Workspace(tmp_path), uploads)


def taken_by_default(catalogue: WorkspaceCatalogue) -> list[str]:
    return [offer.name for offer in catalogue.models() if offer.is_default]


def test_the_projects_own_models_are_offered(catalogue: WorkspaceCatalogue) -> None:
    offers = catalogue.models()
    assert [offer.name for offer in offers] == list(SHIPPED_MODELS)
    assert taken_by_default(catalogue) == ["shipped-sketch"]
    for offer in offers:
        assert (catalogue.model(offer.id).directory / "model.json").exists()
    with pytest.raises(NotFoundError):
        catalogue.model("f" * 16)


def test_a_trained_model_is_taken_only_where_chosen_and_a_damaged_one_not_listed(
    catalogue: WorkspaceCatalogue, tmp_path: Path
) -> None:
    shipped = catalogue.models()[0]
    manifest = json.loads((catalogue.model(shipped.id).directory / "model.json").read_text())
    manifest["dataset_name"] = "embedded"  # a trial of the project, no model of one's own
    for number, changed in ((1, {"weights_sha256": "a" * 64}), (2, {"resolution": "?"})):
        folder = tmp_path / "runs" / f"000{number}-r3gan-mine" / "training" / "model"
        write_text(folder / "model.json", json.dumps(manifest | changed))
    offers = catalogue.models()
    assert [offer.name for offer in offers] == ["0001-r3gan-mine", *SHIPPED_MODELS]
    assert taken_by_default(catalogue) == ["shipped-sketch"]
    trained = tmp_path / "runs" / "0001-r3gan-mine" / "training" / "model"
    assert catalogue.model(offers[0].id).directory == trained
    place = Workspace(tmp_path)
    assert next(place.default_folders())[0] == "shipped-sketch"
    place.set_default("0001")
    assert taken_by_default(catalogue) == ["0001-r3gan-mine"]
    with pytest.raises(NotFoundError):
        place.set_default("no such model")
    place.set_default(None)
    assert taken_by_default(catalogue) == ["shipped-sketch"]


def test_a_deleted_model_is_listed_apart_until_it_is_restored(
    catalogue: WorkspaceCatalogue, tmp_path: Path
) -> None:
    shipped = catalogue.models()[0]
    manifest = json.loads((catalogue.model(shipped.id).directory / "model.json").read_text())
    mine = tmp_path / "models" / "mine" / "model.json"
    write_text(mine, json.dumps(manifest | {"weights_sha256": "a" * 64}))
    (offer,) = (one for one in catalogue.models() if one.name == "mine")
    assert catalogue.deleted_models() == []
    catalogue.delete_model(offer.id)
    assert [one.id for one in catalogue.deleted_models()] == [offer.id]
    assert offer.id not in {one.id for one in catalogue.models()}
    catalogue.restore_model(offer.id)
    assert catalogue.deleted_models() == []
    assert offer.id in {one.id for one in catalogue.models()}


def test_every_copy_of_a_deleted_model_is_purged(
    catalogue: WorkspaceCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = catalogue.model(catalogue.models()[0].id)
    manifest = json.loads((shipped.directory / "model.json").read_text())
    copies = [tmp_path / "models" / name for name in ("mine", "mine again")]
    for copy in copies:
        write_text(copy / "model.json", json.dumps(manifest | {"weights_sha256": "a" * 64}))
    (offer,) = (one for one in catalogue.models() if one.name == "mine")
    with pytest.raises(NotFoundError):
        catalogue.delete_model(offer.id[:4])
    catalogue.delete_model(offer.id)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", _refuse_removal)
        assert catalogue.purge_models(timedelta(0)) == 0
    assert [one.id for one in catalogue.deleted_models()] == [offer.id]
    assert catalogue.purge_models(timedelta(0)) == 1
    assert not any(copy.exists() for copy in copies)
    assert offer.id not in {one.id for one in catalogue.models() + catalogue.deleted_models()}


DELETED = "d" * 64
WEEK = timedelta(days=7)


def a_deleted_model(folder: Path) -> tuple[ModelNotes, dict[str, list[Path]]]:
    """The notes on it, and its folders by digest, as `purge` takes them."""
    model = folder / "runs" / "0001-x" / "training" / "model"
    write_text(model / "weights.safetensors", "x")
    notes = ModelNotes(folder / "model-notes.json")
    notes.mark(DELETED, is_deleted=True)
    return notes, {DELETED: [model]}


def test_a_clock_set_ahead_purges_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "atelier.jobs.model_notes")
    notes, folders = a_deleted_model(tmp_path)
    for days in (400, 400, 0, 400, 0, 3650):
        clock.ahead = timedelta(days=days)
        assert notes.purge(folders, WEEK) == 0
    assert folders[DELETED][0].exists() and notes.deleted() == {DELETED}


@pytest.mark.parametrize("is_of_before_days_were_counted", [False, True])
def test_a_model_deleted_a_week_of_use_ago_is_purged(
    is_of_before_days_were_counted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "atelier.jobs.model_notes")
    notes, folders = a_deleted_model(tmp_path)
    if is_of_before_days_were_counted:
        told = json.loads((tmp_path / "model-notes.json").read_text())
        (tmp_path / "model-notes.json").write_text(json.dumps({"deleted": told["deleted"]}))
    purged_on = []
    for day in range(10):
        clock.ahead = timedelta(days=day, minutes=1)
        if notes.purge(folders, WEEK):
            purged_on.append(day)
    assert purged_on == [7]
    assert not folders[DELETED][0].exists()


def test_a_deleted_model_whose_disk_is_away_stays_deleted(
    catalogue: WorkspaceCatalogue, tmp_path: Path
) -> None:
    shipped = catalogue.model(catalogue.models()[0].id)
    manifest = json.loads((shipped.directory / "model.json").read_text())
    mine, away = tmp_path / "models" / "mine", tmp_path / "away"
    write_text(mine / "model.json", json.dumps(manifest | {"weights_sha256": "a" * 64}))
    (offer,) = (one for one in catalogue.models() if one.name == "mine")
    catalogue.delete_model(offer.id)
    mine.rename(away)
    assert catalogue.purge_models(timedelta(0)) == 0
    away.rename(mine)
    assert [one.id for one in catalogue.deleted_models()] == [offer.id]
    assert catalogue.purge_models(timedelta(0)) == 1
    assert not mine.exists()


def _refuse_removal(folder: Path) -> None:
    raise PermissionError(f"{folder}: in use")


def test_a_copy_of_a_shipped_model_is_not_deleted(
    catalogue: WorkspaceCatalogue, tmp_path: Path
) -> None:
    shipped = catalogue.model(catalogue.models()[0].id)
    shutil.copytree(shipped.directory, tmp_path / "models" / "copy")
    assert catalogue.models()[0].name == "copy"
    with pytest.raises(RefusedError, match="comes with Atelier"):
        catalogue.delete_model(catalogue.models()[0].id)
    assert catalogue.purge_models(timedelta(0)) == 0
    assert shipped.weights_path.exists()


@pytest.mark.parametrize(
    "change,why",
    [
        ({"choices": {"generate": {"style": "Nobody's"}}}, "style"),
        ({"choices": {"generate": {"options": {"nothing": 1}}}}, "options"),
        ({"sketch": "0" * 32}, "sketch"),
        ({"source": "0" * 32}, "source"),
        ({"model": "f" * 16}, "model"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused(
    places: Places, change: dict[str, Any], why: str
) -> None:
    models = {offer.name: offer.id for offer in places.catalogue.models()}
    good = {"kind": "generate", "model": models["shipped"]}
    _check(places, good)
    with pytest.raises(AtelierError, match=why):
        _check(places, good | change)


def test_a_request_names_no_file_of_this_machine(places: Places, tmp_path: Path) -> None:
    config = {"pipeline": "nowhere", "files_sha256": "a" * 64}
    model = IGME(
        directory=tmp_path / "models" / "sd",
        family="stable_diffusion",
        config=config,
        weights_sha256="b" * 64,
        resolution=64,
        styles=("all",),
        dataset_name="none",
        dataset_digest=None,
        images_seen=0,
    )
    write_text(model.directory / "model.json", model.manifest())
    choices = {"generate": {"prompt": "a cat", "options": {"lora": "/etc/hostname"}}}
    order = {"kind": "generate", "model": model.digest[:16], "choices": choices}
    with pytest.raises(AtelierError, match=r"options\.lora: names a file"):
        _check(places, order)


def test_collections_that_were_offered_or_used_are_known_by_ids(
    tmp_path: Path, uploads: LocalUploads
) -> None:
    mine = tmp_path / "my paintings"
    mine.mkdir()
    catalogue = WorkspaceCatalogue(Workspace(tmp_path), uploads, [mine])
    embedded, offer = catalogue.collections()
    assert (embedded.id, offer.name) == ("embedded", "my paintings")
    assert str(mine) not in offer.model_dump_json()
    assert catalogue.collection_data(offer.id) == str(mine)
    for strange in ("0" * 16, "0" * 32, "/etc", ".."):
        with pytest.raises(NotFoundError):
            catalogue.collection_data(strange)


def test_a_collection_is_known_by_the_name_that_it_was_inspected_under_last(
    tmp_path: Path, uploads: LocalUploads
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "a.png").write_bytes(encoded("PNG", side=32))
    catalogue = WorkspaceCatalogue(Workspace(tmp_path / "ws"), uploads)
    store = create_training_store(tmp_path / "ws")
    for place in (first, second):
        if place is second:
            first.rename(second)
        offer = catalogue.name_collection(f"{place}/../{place.name}")
        assert offer.name == place.name and offer.num_images is None
        store.collect(CollectionSettings(data=str(place)), silent)
        assert catalogue.inspected(offer.id).source == str(place)


def test_a_trainings_curves_are_columns(catalogue: WorkspaceCatalogue, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "0001-a" / "training"
    assert catalogue.training("0001-a").curves == {}
    rows = "".join(f"{n},{n / 2}\n" for n in range(5001))
    write_text(folder / "curves.csv", f"images_seen,loss\n{rows}9999,nan\n")
    seen = {"images_seen": 64, "seconds": 1.5, "saw": "collapse", "did": "back to 0 images"}
    write_text(folder / "guardian.jsonl", json.dumps(seen | {"figures": {"loss": "nan"}}) + "\n")
    write_text(folder / "samples" / "000000064.png", "png")
    view = catalogue.training("0001-a")
    assert len(view.curves["loss"]) == len(view.curves["images_seen"]) <= 2002
    assert view.curves["images_seen"][-1] == 9999 and view.curves["loss"][-1] is None
    assert view.guardian == [seen | {"figures": {"loss": "nan"}}]
    assert view.grids == [64]
    assert catalogue.grid("0001-a", 64) == b"png"
    for strange in ("../runs/0001-a", "..", "", "/etc"):
        with pytest.raises(NotFoundError):
            catalogue.training(strange)
