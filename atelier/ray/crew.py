"""The cluster's workers and what each of them does: every piece of work once, come what may.

Plain actors, not Ray Data's `map_batches`: that restarts lost work too, but gives results back in
blocks of its own making, takes no report from inside a batch, and cannot be stopped for one request
and used again for the next. Here a thread stands behind each worker. It hands out the oldest piece
of work, hears the worker until the answer comes, and where the worker is lost, puts the work back
and hires another. What is asked for ahead is bounded, so memory is.
"""

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from heapq import heappop, heappush
from itertools import count, islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, TypedDict

from components.common.credentials.places import PASSPHRASE, SERVICE_TOKEN
from interfaces.errors import RefusedError, UnavailableError
from interfaces.iedt import LOOK_AHEAD
from interfaces.igme import IGME
from interfaces.progress import Progress

if TYPE_CHECKING:
    import ray
    from ray.actor import ActorHandle

    from atelier.ray.worker import LogLine, Said, Work, Worker
    from interfaces.progress import ProgressEvent

_log = logging.getLogger("atelier")

TRIES = 5
"""Number of times that work is begun before it is blamed for killing the workers."""

_SECONDS_BETWEEN_REPORTS = 0.1

_PATIENCE_SECONDS = 10

_SECONDS_TO_START = 60
"""A worker that takes longer to start is mentioned: the cluster may have no room for it."""

_SECRETS = {PASSPHRASE, SERVICE_TOKEN, "ATELIER_TOKEN"}
"""Variables that a machine of the cluster must have itself: what Ray carries is not encrypted."""


class _Node(TypedDict):
    """A machine of the cluster, as Ray describes it."""

    Alive: bool
    Resources: dict[str, float]


class _Ray(Protocol):
    """The part of Ray that is used here, where its own types do not say what is taken or given."""

    def cluster_resources(self) -> Mapping[str, float]: ...

    def nodes(self) -> list[_Node]: ...

    def put(self, value: dict[str, bytes], /) -> "ray.ObjectRef[dict[str, bytes]]": ...

    def kill(self, actor: "ActorHandle[Worker]", /) -> None: ...

    def wait(
        self, ray_waitables: "list[ray.ObjectRef[None]]", /, *, timeout: float
    ) -> tuple[Sequence[object], Sequence[object]]: ...


def _ray() -> _Ray:
    import ray

    return ray


class Submission:
    """A piece of work on its way."""

    def __init__(self, work: "Work") -> None:
        self.work = work
        self.answer: Future[list[bytes]] = Future()
        self.said: SimpleQueue[ProgressEvent | LogLine] = SimpleQueue()
        self.worker: ActorHandle[Worker] | None = None
        self.tries = 0
        self.is_stopped = False

    def result(self, progress: Progress) -> list[bytes]:
        """Wait for the answer, passing on what is said. Raises what the work raised."""
        while not wait([self.answer], timeout=_SECONDS_BETWEEN_REPORTS).done:
            self._pass_on(progress)
        self._pass_on(progress)
        return self.answer.result()

    def _pass_on(self, progress: Progress) -> None:
        from atelier.ray.worker import LogLine

        with suppress(Empty):
            while True:
                said = self.said.get_nowait()
                if isinstance(said, LogLine):
                    _log.log(said.level, "%s", said.text)
                else:
                    progress(said)


class Crew:
    """A worker for each GPU of the cluster, or where it has none, as many as its processors carry.

    A thread stands behind each until the program ends. Whatever goes wrong, it answers the work it
    has taken and goes on: who waits for an answer has nobody else to give it.
    """

    def __init__(self, threads: int) -> None:
        """Share the cluster out to workers that compute with this many threads each."""
        gpus = int(_ray().cluster_resources().get("GPU", 0))
        self._num_gpus = 1 if gpus else 0
        processors = _processors()
        self._num_cpus = 1 if gpus else processors_of_a_worker(threads, processors)
        self.size = gpus or sum(number // self._num_cpus for number in processors)
        self._connection = _connection()
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, Submission]] = []
        self._numbers = count()
        self._files: dict[str, ray.ObjectRef[dict[str, bytes]]] = {}
        for _ in range(self.size):
            threading.Thread(target=self._stand_behind_a_worker, daemon=True).start()
        _log.info("Ray: %d workers on %d machines", self.size, _num_machines())

    def files_of(self, model: IGME) -> "ray.ObjectRef[dict[str, bytes]] | None":
        """A model's files, for machines without its folder; None where there is but one machine."""
        from atelier.ray.worker import files_of

        if _num_machines() == 1:
            return None
        if model.digest not in self._files:
            self._files = {model.digest: _ray().put(files_of(model.directory))}
        return self._files[model.digest]

    def in_order(
        self, groups: Iterable[Sequence["Work"]], progress: Progress
    ) -> Generator[list[bytes]]:
        """The answers to each group of works, in order, computed ahead.

        Groups are taken until behind the first there are two works for each worker, or `LOOK_AHEAD`
        groups in all. What is under way ends at once when the generator is closed or fails.
        """
        ahead: deque[list[Submission]] = deque()
        try:
            for works in groups:
                ahead.append([self._submitted(work) for work in works])
                behind_first = sum(map(len, islice(ahead, 1, None)))
                if behind_first >= 2 * self.size or len(ahead) == LOOK_AHEAD:
                    yield _answers(ahead[0], progress)
                    ahead.popleft()
            while ahead:
                yield _answers(ahead[0], progress)
                ahead.popleft()
        finally:
            self._stop(submission for submissions in ahead for submission in submissions)

    def _submitted(self, work: "Work") -> Submission:
        submission = Submission(work)
        self._put(next(self._numbers), submission)
        return submission

    def _put(self, number: int, submission: Submission) -> None:
        with self._changed:
            heappush(self._waiting, (number, submission))
            # All of them, since the one that is woken may have to wait for a worker.
            self._changed.notify_all()

    def _stop(self, submissions: Iterable[Submission]) -> None:
        """Take back what has not begun; end the workers that are at the rest."""
        is_connected = self._connection == _connection()
        with self._changed:
            for submission in submissions:
                submission.is_stopped = True
                if submission.worker is not None and is_connected:
                    _ray().kill(submission.worker)

    def _stand_behind_a_worker(self) -> None:
        """Hand out work to one worker after another: the life of a thread."""
        worker: ActorHandle[Worker] | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            try:
                self._check_connected()
                # Work is taken by whoever has a worker, since one may be long in coming.
                worker = worker or self._hired()
            except Exception as error:
                self._give_up(error)
                continue
            if (taken := self._taken(worker)) and not self._is_done(*taken, worker):
                worker = None

    def _check_connected(self) -> None:
        """Raise where the cluster was left: Ray would start another by itself."""
        if self._connection != _connection():
            raise UnavailableError("this process has left the cluster")

    def _hired(self) -> "ActorHandle[Worker]":
        """A new worker; one that is lost while it starts is replaced a few times."""
        from ray.exceptions import RayActorError

        for _ in range(TRIES - 1):
            with suppress(RayActorError):
                return self._started()
        return self._started()

    def _started(self) -> "ActorHandle[Worker]":
        """A new worker, once the cluster has room for one."""
        import ray
        from ray.actor import ActorHandle

        from atelier.ray.worker import Worker

        options = ray.remote(num_cpus=self._num_cpus, num_gpus=self._num_gpus, max_restarts=0)
        worker = options(Worker).remote()
        assert isinstance(worker, ActorHandle)
        ready = worker.ready.remote()
        if not _ray().wait([ready], timeout=_SECONDS_TO_START)[0]:
            _log.warning("Ray: the cluster has no room for one more worker yet")
        ray.get(ready)
        return worker

    def _give_up(self, error: Exception) -> None:
        """Tell whoever waits that no worker can be had."""
        with self._changed:
            submissions, self._waiting = [submission for _, submission in self._waiting], []
        for submission in submissions:
            submission.answer.set_exception(UnavailableError(f"Ray: no worker starts ({error})"))

    def _taken(self, worker: "ActorHandle[Worker]") -> tuple[int, Submission] | None:
        """The oldest work that is still wanted, begun."""
        with self._changed:
            while self._waiting:
                number, submission = heappop(self._waiting)
                if not submission.is_stopped:
                    submission.worker = worker
                    submission.tries += 1
                    return number, submission
        return None

    def _is_done(self, number: int, submission: Submission, worker: "ActorHandle[Worker]") -> bool:
        """Whether the worker answered; where it was lost, the work waits for another."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            for said in _stream(worker, submission.work):
                self._hear(submission, ray.get(said))
        except RayTaskError as error:
            self._answer(submission, error.cause if isinstance(error.cause, Exception) else error)
        except RayError as error:
            with suppress(RayError):
                _ray().kill(worker)  # it may live, out of reach
            self._lost(number, submission, error)
            return False
        except Exception as error:  # the work cannot be sent, or its answer not be read
            self._answer(submission, error)
        return True

    def _hear(self, submission: Submission, said: "Said") -> None:
        if isinstance(said, list):
            self._answer(submission, said)
        else:
            submission.said.put(said)

    def _answer(self, submission: Submission, answer: list[bytes] | Exception) -> None:
        with self._changed:
            submission.worker = None
        if submission.answer.done():
            _log.warning("Ray: a worker failed after its answer (%s)", answer)
        elif isinstance(answer, Exception):
            submission.answer.set_exception(answer)
        else:
            submission.answer.set_result(answer)

    def _lost(self, number: int, submission: Submission, error: Exception) -> None:
        with self._changed:
            submission.worker = None
        if submission.is_stopped or submission.answer.done():
            return
        if submission.tries == TRIES:
            problem = f"Ray: {TRIES} workers were lost at the same pictures ({error})"
            submission.answer.set_exception(UnavailableError(f"{problem}; is there memory enough?"))
            return
        _log.warning("Ray: a worker was lost; what it was making is made again")
        self._put(number, submission)


def _num_machines() -> int:
    return sum(node["Alive"] for node in _ray().nodes())


def processors_of_a_worker(threads: int, processors: Sequence[int]) -> int:
    """Number of processors for a worker, at least 1, given each machine's number.

    Half as many as it has threads, since it does not compute all the time; none takes more than
    the smallest machine has.
    """
    return max(1, min(threads // 2, *processors))


def _processors() -> list[int]:
    """Number of processors that each machine gives to Ray; those that give none are left out."""
    nodes = [node for node in _ray().nodes() if node["Alive"]]
    found = [int(node["Resources"].get("CPU", 0)) for node in nodes]
    return [number for number in found if number] or [1]


def _answers(submissions: Iterable[Submission], progress: Progress) -> list[bytes]:
    return [message for submission in submissions for message in submission.result(progress)]


def _stream(worker: "ActorHandle[Worker]", work: "Work") -> "Iterator[ray.ObjectRef[Said]]":
    """Messages of the worker while it does the work, one by one as they come."""
    return worker.carry_out.remote(work, _environment())


def _environment() -> dict[str, str]:
    """The variables that say where a worker finds weights, cache and certificate, and how it waits.

    That is `OMP_WAIT_POLICY`, which torch reads when it is loaded.
    """
    names = (name for name in os.environ if name.startswith(("ATELIER_", "OMP_WAIT_POLICY")))
    return {name: os.environ[name] for name in names if name not in _SECRETS}


def crew() -> Crew:
    """The workers of the cluster that this process is connected to; it is connected first.

    That is the cluster of `RAY_ADDRESS` ('auto' is one that runs on this machine), else one that
    this process starts. Raises `RefusedError` for an address that is none, `UnavailableError` for a
    cluster that does not answer.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    if not ray.is_initialized():
        _connect(os.environ.get("RAY_ADDRESS"))
    return _crew_of(_connection())


def check_cluster() -> None:
    """Raise as `crew` does where `RAY_ADDRESS` names a cluster that is away; connect to none."""
    address = os.environ.get("RAY_ADDRESS")
    if address is not None:
        _check_answers(address)


def _connect(address: str | None) -> None:
    import ray

    if address is not None:
        _check_answers(address)
    try:
        # Unless told, Ray would look for a cluster that was started here last, and wait for it
        # where it has died since.
        ray.init(  # pyright: ignore[reportUnknownMemberType]
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UnavailableError(f"Ray: cannot be started or reached ({reason})") from error


def _check_answers(address: str) -> None:
    """Ask the head for a sign of life, since Ray itself waits for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # 'auto' or 'local', which Ray knows
    if "/" in host or not port.isdecimal():
        raise RefusedError(f"RAY_ADDRESS={address}: name the head itself, as head:6379")
    try:
        socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
    except OSError as error:
        raise UnavailableError(
            f"RAY_ADDRESS={address}: nothing answers there ({error}); is the cluster up?"
        ) from error


def _connection() -> tuple[str, str] | None:
    """Node and job of this process in the cluster that it is connected to; None without one.

    No two connections are alike: each cluster counts its jobs anew, and its nodes' ids are random.
    """
    import ray

    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()


@cache
def _crew_of(connection: tuple[str, str] | None) -> Crew:
    """The crew of a connection, which has one of its own."""
    import torch

    return Crew(torch.get_num_threads())
