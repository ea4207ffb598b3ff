"""Workers of a real cluster on this machine, really killed, with work that needs no network."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interfaces.errors import AtelierError, RefusedError, UnavailableError
from interfaces.iedt import LOOK_AHEAD
from interfaces.progress import ProgressEvent, silent
from tests.helpers import REPOSITORY

ray = pytest.importorskip("ray", reason="Ray is missing: pip install 'atelier[ray]'")

from atelier.ray.crew import TRIES, Crew, _connect, crew  # noqa: E402
from tests.atelier.ray.works import Counting, Killing, Refusing, Telling  # noqa: E402

pytestmark = pytest.mark.slow


def start_of_ray() -> dict[str, object]:
    """A cluster of two workers, as quick as others on a busy machine."""
    os.environ.update(RAY_worker_niceness="0")
    return {"address": "local", "num_cpus": 2, "include_dashboard": False, "log_to_driver": False}


@pytest.fixture(scope="module")
def workers() -> Iterator[Crew]:
    others = set(descendants(os.getpid()))
    ray.init(**start_of_ray())
    yield crew()
    started = set(descendants(os.getpid())) - others
    assert len(started) > 2
    ray.shutdown()
    eventually(lambda: not started & set(descendants(os.getpid())))


def descendants(pid: int) -> Iterator[int]:
    """All processes that a process started, and those that they did."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            for child in map(int, task.read_text().split()):
                yield child
                yield from descendants(child)


def counted(diary: Path, number: int, seconds: float = 0.0) -> list[list[Counting]]:
    return [[Counting(place, seconds, diary)] for place in range(number)]


def processes(diary: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in diary.iterdir()]


def eventually(found: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_each_answer_comes_once_and_in_order_while_workers_are_killed(
    workers: Crew, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill() -> None:
        for _ in range(3):
            eventually(lambda: bool(alive_of(tmp_path) - set(killed)))
            killed.append(max(alive_of(tmp_path) - set(killed)))
            os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answers = list(workers.in_order(counted(tmp_path, 40, 0.2), silent))
    killer.join()
    assert answers == [[str(number).encode()] for number in range(40)]
    assert len(set(killed)) == 3
    assert len(processes(tmp_path)) > 40  # what was lost was begun again


def alive_of(diary: Path) -> set[int]:
    return {pid for pid in processes(diary) if Path(f"/proc/{pid}").exists()}


def test_both_workers_are_busy(workers: Crew, tmp_path: Path) -> None:
    list(workers.in_order(counted(tmp_path, 20, 0.1), silent))
    found = processes(tmp_path)
    assert len(found) == 20
    assert sorted(map(found.count, set(found)))[0] >= 5


def test_work_that_kills_every_worker_is_given_up(workers: Crew, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=f"{TRIES} workers were lost"):
        list(workers.in_order([[Killing()]], silent))
    assert len(list(workers.in_order(counted(tmp_path, 3), silent))) == 3


def test_what_cannot_be_done_is_said_in_its_own_words(workers: Crew) -> None:
    with pytest.raises(RefusedError, match=r"^seven: no style\\n$"):
        list(workers.in_order([[Refusing("seven: no style\n")]], silent))


def test_reports_and_log_lines_come_back(workers: Crew, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[ProgressEvent] = []
    with caplog.at_level(logging.INFO, "atelier"):
        assert list(workers.in_order([[Telling(10)]], heard.append)) == [[]]
    assert [event.done for event in heard] == sorted(event.done for event in heard)
    assert len(heard) >= 2 and {event.stage for event in heard} == {"one picture"}
    assert ("atelier", logging.WARNING, "out of memory") in caplog.record_tuples


def test_closing_ends_what_is_under_way(workers: Crew, tmp_path: Path) -> None:
    under_way = workers.in_order(
        [[Counting(0, 0, tmp_path)], *([Counting(n, 600, tmp_path)] for n in range(1, 9))], silent
    )
    assert next(under_way) == [b"0"]
    eventually(lambda: len(processes(tmp_path)) >= 3)
    long_ones = set(processes(tmp_path))
    under_way.close()
    eventually(lambda: not long_ones & alive_of(tmp_path))
    assert list(workers.in_order([[Counting(9, 0, tmp_path)]], silent)) == [[b"9"]]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("8-")]


def test_who_watches_can_stop_it(workers: Crew, tmp_path: Path) -> None:
    def watch(event: ProgressEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(workers.in_order([[Telling(600), Counting(0, 600, tmp_path)]], watch))
    assert list(workers.in_order(counted(tmp_path, 1), silent)) == [[b"0"]]


def test_few_groups_are_taken_ahead(workers: Crew, tmp_path: Path) -> None:
    taken = 0

    def groups(size: int) -> Iterator[list[Counting]]:
        nonlocal taken
        for taken in range(1, 31):
            yield [Counting(taken, 0, tmp_path)] * size

    for size, most in ((1, 2 * workers.size + 1), (4, 2), (0, LOOK_AHEAD)):
        for given_back, _ in enumerate(workers.in_order(groups(size), silent)):
            assert taken - given_back <= most
        assert taken == 30


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:1", "nothing answers"), ("ray://head:1", "as head:6379"), ("head:x", "head:6379")],
)
def test_a_cluster_that_is_away_is_said_in_a_line(address: str, reason: str) -> None:
    with pytest.raises(AtelierError, match=reason) as raised:
        _connect(address)
    assert address in str(raised.value)


def test_no_cluster_is_looked_for_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses: list[str] = []
    monkeypatch.setattr(ray, "init", lambda **given: addresses.append(given["address"]))
    _connect(None)
    _connect("auto")
    assert addresses == ["local", "auto"]


def test_workers_end_with_the_program_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, ray\nfrom pathlib import Path\n"
        "from tests.atelier.ray.test_crew import counted, crew, silent, start_of_ray\n"
        "ray.init(**start_of_ray())\n"
        "list(crew().in_order(counted(Path(sys.argv[1]), 2, 600), silent))"
    )
    program = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY)
    eventually(lambda: len(alive_of(tmp_path)) == 2)
    program.kill()
    program.wait()
    eventually(lambda: not alive_of(tmp_path))
