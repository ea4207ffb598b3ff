"""The worker: a process that takes jobs one by one and carries them out.

It looks five times in a second whether its job was asked to stop. Between two images a job stops
by `Stopped`; in the middle of one, and in a training, by the interrupt that Ctrl-C sends, upon
which the training saves its state. What does not answer to that is ended by the keeper.
"""

import _thread
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from pydantic import JsonValue

from atelier.jobs.queue import SQLiteJobQueue, outcome_text
from atelier.signals import on_polite_end
from components.common.durable import exclusive
from interfaces.errors import AtelierError
from interfaces.iodt import IODT, ResultQuery, ResultsStore, StoredResult, kept_seeds
from interfaces.jobs import Control, Execute, Job, JobProgress, Stopped
from interfaces.orders import Lane
from interfaces.progress import Pace, ProgressEvent
from interfaces.ui import Choices

_LOOK_SECONDS = 0.05
"""Seconds between an idle worker's looks for a job: the longest wait for its start."""

_WATCH_SECONDS = 0.2
"""Interval at which progress is written and a wish to stop is looked for."""

LOGS: Mapping[Lane, str] = {"quick": "worker.log", "long": "training.log"}
"""Name of the file in the workspace that each lane's worker writes to."""

_SAVE_SECONDS = 10.0
"""Time that a training has to save its state when the server is gone."""


def run_worker(
    queue: SQLiteJobQueue,
    execute: Execute,
    parent: BinaryIO | None = None,
    lane: Lane = "quick",
) -> None:
    """Carry out a lane's jobs until the process is asked to end. Must run in the main thread.

    Only one worker works on a lane; another one waits until the first has ended. Where `parent` is
    given (standard input, a pipe), the worker ends when its other end is closed.
    """
    life = _Life()
    life.listen()
    if parent is not None:
        threading.Thread(target=life.end_with_parent, args=(parent,), daemon=True).start()
    with exclusive(queue.worker_lock(lane)):
        life.holds_lock = True
        queue.reclaim(lane)
        while not life.is_over:
            job = queue.take(os.getpid(), lane)
            if job is None:
                time.sleep(_LOOK_SECONDS)
            else:
                _carry_out(queue, job, execute, life)
        if life.is_orphan:
            queue.close()
            sys.stderr.flush()
            os._exit(0)  # all is saved, and taking torch apart would take seconds


def _carry_out(queue: SQLiteJobQueue, job: Job, execute: Execute, life: "_Life") -> None:
    control = _JobControl(queue, job)
    attendant = threading.Thread(target=control.attend, args=(life,), daemon=True)
    attendant.start()
    try:
        try:
            life.is_interruptible = True
            execute(job, control)
        finally:
            life.is_interruptible = False
            control.is_over.set()
            attendant.join()
            life.forget_interrupt()
            control.flush()
    except (Stopped, KeyboardInterrupt) as reason:
        if isinstance(reason, KeyboardInterrupt) and not control.was_interrupted:
            life.is_over = True  # the server is gone, or Ctrl-C at the worker itself
        queue.put_back(job.id)
    except AtelierError as error:
        queue.fail(job.id, str(error))
    except OSError as error:
        traceback.print_exc()
        # Its name alone: other machines may read this.
        what = Path(error.filename).name if isinstance(error.filename, str) else "the workspace"
        queue.fail(job.id, f"{what}: {error.strerror or type(error).__name__}")
    except Exception as error:
        traceback.print_exc()  # the keeper has it in the worker's log
        kind = type(error).__name__
        log = LOGS[job.lane]
        queue.fail(job.id, f"an internal error ({kind}); see {log} in the workspace")
    else:
        queue.finish(job.id, control.outcome)


class _Life:
    """Life of a worker: what ends it, and when it may be interrupted."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_orphan = False
        self.holds_lock = False
        self.is_interruptible = False
        self.expects_interrupt = False

    def listen(self) -> None:
        """Take Ctrl-C and polite requests to end."""
        signal.signal(signal.SIGINT, self._interrupted)
        on_polite_end(self._terminated)

    def interrupt(self) -> None:
        """Interrupt the main thread from another one, as Ctrl-C does."""
        self.expects_interrupt = True
        if sys.platform == "win32":
            _thread.interrupt_main()
        else:
            ident = threading.main_thread().ident
            assert ident is not None
            signal.pthread_kill(ident, signal.SIGINT)  # also wakes it from a sleep

    def forget_interrupt(self) -> None:
        """What was meant for the job that is over has come by now; the next is a person's own."""
        self.expects_interrupt = False

    def end_with_parent(self, parent: BinaryIO) -> None:
        """Wait for the other end to close, then end: politely first, for a state to be saved."""
        # Below the buffer, whose lock a process that ends meanwhile would stumble over.
        while os.read(parent.fileno(), 1):
            pass
        self.is_over = self.is_orphan = True
        if not self.holds_lock:
            os._exit(0)  # it waits for its turn and has nothing to save
        if self.is_interruptible:
            self.interrupt()
        time.sleep(_SAVE_SECONDS)
        os._exit(1)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        was_expected, self.expects_interrupt = self.expects_interrupt, False
        if self.is_interruptible:
            raise KeyboardInterrupt
        if not was_expected:  # else it comes late: the job had ended by itself
            self._terminated(number, frame)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        if not self.holds_lock:
            raise SystemExit(0)
        self.is_over = True
        if self.is_interruptible:
            signal.raise_signal(signal.SIGINT)  # heard by the training where that listens


class _JobControl:
    """The port `interfaces.jobs.Control` of one job in one worker."""

    def __init__(self, queue: SQLiteJobQueue, job: Job) -> None:
        self.outcome: dict[str, JsonValue] | None = None
        self.is_over = threading.Event()
        self.was_interrupted = False
        self._queue = queue
        self._job = job
        self._lock = threading.Lock()
        self._newest: JobProgress | None = None
        self._pace = Pace()

    def report(self, event: ProgressEvent) -> None:
        with self._lock:
            left = self._pace.seconds_left(event)
            self._newest = JobProgress(**event.model_dump(), seconds_left=left)

    def began(self, run: str) -> None:
        self._queue.began(self._job.id, run)

    def kept(self, result_id: int) -> None:
        if self._queue.kept(self._job.id, result_id) is not None:
            raise Stopped

    def recall(self, result_ids: Iterable[int]) -> None:
        if ids := list(result_ids):
            self._queue.kept(self._job.id, *ids)

    def is_to_conclude(self) -> bool:
        return self._queue.stop_of(self._job.id) == "after-image"

    def say(self, line: str) -> None:
        self._queue.remark(self._job.id, "said", line)

    def warn(self, line: str) -> None:
        self._queue.remark(self._job.id, "warned", line)

    def conclude(self, outcome: dict[str, JsonValue]) -> None:
        outcome_text(outcome)  # one that is too large is the job's fault, not the queue's
        self.outcome = outcome

    def flush(self) -> None:
        """Write the newest report, if it is not written yet."""
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None:
            self._queue.report(self._job.id, newest)

    def attend(self, life: _Life) -> None:
        """Write progress and look for a wish to stop, until the job is over."""
        while not self.is_over.wait(_WATCH_SECONDS):
            with suppress(AtelierError):  # a queue that is locked for once is asked again
                self.flush()
                stop = self._queue.stop_of(self._job.id)
                at_once = stop == "now" or (stop is not None and not self._job.order.makes_images)
                # Once only: at the second a training would end without saving its state.
                if at_once and not self.was_interrupted:
                    self.was_interrupted = True
                    life.interrupt()


class JobInterface:
    """The port `interfaces.ui.UserInterface` for a job: the order was the answer."""

    def __init__(self, control: Control, worded: Callable[[str], str] = str) -> None:
        """`worded` turns a line into one that may be shown."""
        self._control = control
        self._worded = worded

    def ask(self, proposed: Choices) -> Choices:
        """The proposed choices, since what was ordered is what the person chose."""
        return proposed

    def watch(self, event: ProgressEvent) -> None:
        """Report it."""
        self._control.report(event)

    def say(self, line: str) -> None:
        """Tell it."""
        self._control.say(self._worded(line))

    def warn(self, line: str) -> None:
        """Tell it as a warning."""
        self._control.warn(self._worded(line))

    def close(self) -> None:
        """Nothing is held."""


class AnnouncedStore:
    """A results store that tells a job's control of each image it keeps, or finds of its run.

    It has the port's methods and `kept_seeds`, which is what carrying out a job needs.
    """

    def __init__(self, store: ResultsStore, control: Control) -> None:
        self._store = store
        self._control = control

    def keep(self, image: IODT, run: str) -> StoredResult:
        """Keep it, then tell; raises `Stopped` where the job is to stop here."""
        result = self._store.keep(image, run)
        self._control.kept(result.id)
        return result

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """As the store itself; results that a run has already are noted as the job's."""
        found = self._store.find(query)
        if query.run:
            self._control.recall(result.id for result in found)
        return found

    def kept_seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> dict[int, int]:
        """As the store itself; results that a run has already are noted as the job's."""
        found = kept_seeds(self._store, run, model_digest, seeds)
        self._control.recall(found.values())
        return found

    def get(self, result_id: int) -> StoredResult:
        """As the store itself."""
        return self._store.get(result_id)
