"""The threads behind the workers, without a cluster: whoever waits is answered, whatever fails."""

import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.errors import UnavailableError

ray = pytest.importorskip("ray", reason="Ray is missing: pip install 'atelier[ray]'")

from ray.exceptions import ActorDiedError, RayError, RayTaskError  # noqa: E402

import atelier.ray.crew  # noqa: E402
from atelier.ray.crew import TRIES, Crew, processors_of_a_worker  # noqa: E402

SECONDS = 20

ANSWER = [b"made"]


class Pretended:
    """A cluster whose workers start, and carry out work, as a test says."""

    def __init__(self) -> None:
        self.start: Callable[[], object] = object
        self.stream: Callable[[object, object], Iterator[object]] = lambda *_: iter([ANSWER])
        self.connection = ("node", "job")

    def crew(self, size: int = 1) -> Crew:
        """Workers of two threads each on machines of one processor."""
        self.processors = [1] * size
        return Crew(threads=2)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pretended]:
    pretended = Pretended()
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(ray, "get", lambda said: said)
    monkeypatch.setattr(ray, "kill", lambda worker: None)
    monkeypatch.setattr(ray, "nodes", list)
    monkeypatch.setattr(Crew, "_started", lambda _: pretended.start())
    for name, function in {
        "_stream": lambda worker, work: pretended.stream(worker, work),
        "_connection": lambda: pretended.connection,
        "_processors": lambda: pretended.processors,
    }.items():
        monkeypatch.setattr(atelier.ray.crew, name, function)
    yield pretended


def answer(crew: Crew) -> list[bytes]:
    return crew._submitted(object()).answer.result(timeout=SECONDS)


def raising(errors: Iterator[Exception | None]) -> Callable[..., object]:
    """A function that raises one after another, and returns where the next is none."""

    def function(*_: object) -> object:
        if (error := next(errors)) is not None:
            raise error
        return object()

    return function


@pytest.mark.parametrize("error", [RayError("gone"), ValueError("no such resource")])
def test_where_no_worker_starts_whoever_waits_is_told_each_time(
    cluster: Pretended, error: Exception
) -> None:
    cluster.start = raising(chain([error] * 2, repeat(None)))
    crew = cluster.crew()
    for _ in range(2):
        with pytest.raises(UnavailableError, match=f"no worker starts.*{error}"):
            answer(crew)
    assert answer(crew) == ANSWER


def test_a_worker_that_is_lost_while_it_starts_is_replaced(cluster: Pretended) -> None:
    lost = [ActorDiedError()] * (TRIES - 1)
    cluster.start = raising(chain(lost, [None], [ActorDiedError()] * TRIES))
    assert answer(cluster.crew()) == ANSWER
    with pytest.raises(UnavailableError, match="no worker starts"):
        answer(cluster.crew())


def test_work_that_cannot_be_sent_is_answered_and_the_next_is_done(cluster: Pretended) -> None:
    crew = cluster.crew()
    cluster.stream = raising(iter([TypeError("cannot pickle")]))
    with pytest.raises(TypeError, match="cannot pickle"):
        answer(crew)
    cluster.stream = lambda *_: iter([ANSWER])
    assert answer(crew) == ANSWER


def test_what_fails_after_the_answer_changes_nothing(cluster: Pretended) -> None:
    def stream(*_: object) -> Iterator[object]:
        yield ANSWER
        raise RayTaskError("carry_out", "", ValueError("late"))

    cluster.stream = stream
    crew = cluster.crew()
    assert [answer(crew) for _ in range(2)] == [ANSWER] * 2


def test_a_cluster_that_was_left_is_not_joined_anew(cluster: Pretended) -> None:
    crew = cluster.crew()
    assert answer(crew) == ANSWER
    cluster.connection = ("node", "another job")
    with pytest.raises(UnavailableError, match="has left the cluster"):
        answer(crew)


def test_who_waits_for_a_worker_holds_up_nobody(cluster: Pretended) -> None:
    released = threading.Event()
    starts = iter([released.wait, object])
    cluster.start = lambda: next(starts)()
    try:
        assert answer(cluster.crew(size=2)) == ANSWER
    finally:
        released.set()


@given(st.integers(1, 256), st.lists(st.integers(1, 256), min_size=1))
def test_a_worker_fits_on_every_machine(threads: int, processors: list[int]) -> None:
    taken = processors_of_a_worker(threads, processors)
    assert 1 <= taken <= min(processors)
    assert taken <= max(1, threads // 2)


def test_one_thread_takes_one_processor_and_a_machine_s_worth_is_shared_by_two() -> None:
    assert processors_of_a_worker(1, [8, 2]) == 1
    assert processors_of_a_worker(2, [2]) == 1
    assert processors_of_a_worker(32, [64]) == 16
