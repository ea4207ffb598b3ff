"""Work in other processes: ordered, bounded, ended at once by Ctrl-C, survived when one crashes.

Used where Pillow decodes thousands of files. Three things that the standard pools do not give:

- A script that imports a component needs no `if __name__ == "__main__"` guard: a worker starts
  from this module and never runs the caller's own file again.
- A worker lives on its parent's pipe. When the parent is killed, even with -9, its workers end.
- A worker that dies (a decoder that crashes, a picture that takes all memory) is replaced, and
  only the call that killed it fails, with `WorkerDiedError`.
"""

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, BinaryIO, Self, TypeVar

A = TypeVar("A")
R = TypeVar("R")

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from components.common.parallel import serve; serve()"
)


class WorkerDiedError(Exception):
    """The process that ran a call ended before it answered."""


def available_cpus() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ProcessPool:
    """A few worker processes, used as a context manager; leaving it kills them.

    `num_workers` is the number of processors by default. A worker starts when it is first needed.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self._num_workers = num_workers or available_cpus()
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers = [_Worker() for _ in range(self._num_workers)]
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(self._num_workers, thread_name_prefix="worker")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()  # wakes the threads that wait for an answer
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.reap()

    def call(self, function: Callable[[A], R], argument: A) -> R:
        """`function(argument)` in a worker; both must pickle. Raises what the function raises.

        Raises `WorkerDiedError` where the process ended without an answer.
        """
        worker = self._idle.get()
        try:
            return worker.call(function, argument)
        finally:
            self._idle.put(worker)

    def ordered(self, task: Callable[[A], R], arguments: Iterable[A]) -> Iterator[R]:
        """`task(argument)` for each, in order; `task` runs in a thread and may use `call`.

        Takes arguments only as far ahead as the workers need, so memory stays bounded.
        """
        ahead: deque[Future[R]] = deque()
        for argument in arguments:
            ahead.append(self._threads.submit(task, argument))
            if len(ahead) > 2 * self._num_workers:
                yield _await(ahead.popleft())
        while ahead:
            yield _await(ahead.popleft())


def _await(future: Future[R]) -> R:
    # On Windows a wait without a limit hides Ctrl-C until it is over.
    while not wait([future], timeout=0.5).done:
        pass
    return future.result()


class _Worker:
    """One process that answers calls over its standard input and output."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def call(self, function: Callable[[Any], R], argument: Any) -> R:
        if self._is_closed:
            raise WorkerDiedError("the pool is closed")
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump((function, argument), process.stdin)
            process.stdin.flush()
            is_result, value, where = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.reap()
            raise WorkerDiedError(
                f"a worker ended with exit status {process.returncode}"
            ) from error
        if is_result:
            return value
        value.add_note(where)
        raise value

    def close(self) -> None:
        """Take no further call and end the one that runs."""
        self._is_closed = True
        if self._process is not None:
            self._process.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def reap(self) -> None:
        """End the process, wait for it, and let go of its pipes."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with suppress(OSError):  # what was not sent is of no use to a process that is gone
                stream.close()


def serve() -> None:
    """Answer calls until the parent closes its end. The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Decoders written in C print warnings; they must neither mix with answers nor reach a person.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        while True:
            _answer(requests, answers)
    except (EOFError, OSError):
        os._exit(0)  # the parent is gone; there is nobody to report to


def _answer(requests: BinaryIO, answers: BinaryIO) -> None:
    function, argument = pickle.load(requests)
    try:
        answer = pickle.dumps((True, function(argument), ""))
    except Exception as error:
        where = "in a worker:\n" + traceback.format_exc()
        answer = pickle.dumps((False, _portable(error), where))
    answers.write(answer)
    answers.flush()


def _portable(error: Exception) -> Exception:
    """The error itself if it can be pickled, else one with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))
    return error
