"""The keeper: starts the worker's process, starts it again when it dies, ends it when it hangs."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from atelier.jobs.queue import SQLiteJobQueue
from interfaces.errors import AtelierError
from interfaces.jobs import Job

_LOOK_SECONDS = 0.1
_SLOWEST_RESTART = 30.0
_LONG_LIFE = 60.0
"""A worker that ran for this many seconds, or advanced its job, is restarted at once."""
_MAX_LOG_BYTES = 2**20

_SAVE_SECONDS = 15.0
"""Time that a training has to save its state when it is to stop now."""
_ANSWER_SECONDS = 1.0
"""The same for a job that makes images, none of which is lost."""


class WorkerKeeper:
    """Keeps one worker alive, used as a context manager; leaving it ends the worker.

    `command` starts the worker with a pipe as standard input; it is to end when that is closed. Its
    output goes to the file `log`, which stays below two megabytes.
    """

    def __init__(
        self,
        queue: SQLiteJobQueue,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._queue = queue
        self._command = list(command)
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker keeper", daemon=True)
        self.num_restarts = 0
        self.trouble: str | None = None
        """Reason why no worker is running; None while one is."""

    @property
    def pid(self) -> int | None:
        """The worker's process; None while none is running."""
        process = self._process
        return process.pid if process is not None else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closing.set()
        self._thread.join()

    def _keep(self) -> None:
        delay = 0.0
        while not self._is_closing.wait(delay):
            started = time.monotonic()
            try:
                self._process = process = self._start()
            except OSError as error:
                self.trouble = f"the worker cannot be started: {error.strerror}"
                delay = _SLOWEST_RESTART
                continue
            self.trouble = None
            was_ended = self._await_end(process)
            self._process = None
            if self._is_closing.is_set():
                return
            self.num_restarts += 1
            if was_ended:
                delay = 0.0
                continue
            self.trouble = _how_it_ended(process.returncode)
            deaths = 0
            with suppress(AtelierError):  # the next worker finds what this one was at
                deaths = self._queue.bury(process.pid, self.trouble)
            # One that got on is no worker that dies at every start.
            is_useful = deaths == 1 or time.monotonic() - started > _LONG_LIFE
            delay = 0.0 if is_useful else min(_SLOWEST_RESTART, max(0.25, 2 * delay))

    def _start(self) -> "subprocess.Popen[bytes]":
        self._log.parent.mkdir(parents=True, exist_ok=True)
        is_long = self._log.exists() and self._log.stat().st_size > _MAX_LOG_BYTES
        with self._log.open("wb" if is_long else "ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=None if self._environment is None else os.environ | self._environment,
                # Ctrl-C in the terminal is for the server, which then ends the worker.
                start_new_session=True,
            )

    def _await_end(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait for the worker's end; True where it was we who ended it."""
        while process.poll() is None:
            if self._is_closing.wait(_LOOK_SECONDS):
                _end(process, politely_for=_SAVE_SECONDS)
                return True
            overdue = self._overdue(process.pid)
            if overdue is not None and overdue[1] > _patience(overdue[0]):
                _end(process, politely_for=0)
                with suppress(AtelierError):
                    self._queue.put_back(overdue[0].id)
                return True
        return False

    def _overdue(self, worker: int) -> tuple[Job, float] | None:
        """Overdue job, and the seconds since it was asked to stop; None where there is none.

        A queue that cannot be read just now does not end the keeper.
        """
        try:
            return self._queue.overdue(worker)
        except AtelierError:
            return None


def _patience(job: Job) -> float:
    return _ANSWER_SECONDS if job.order.makes_images else _SAVE_SECONDS


def _end(process: "subprocess.Popen[bytes]", politely_for: float) -> None:
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()  # it reads this as: end
    with suppress(subprocess.TimeoutExpired):
        process.wait(politely_for)
    process.kill()
    process.wait()


def _how_it_ended(code: int) -> str:
    if code == -9:
        return "it was killed, as happens when memory runs out"
    return f"signal {-code}" if code < 0 else f"exit status {code}"
