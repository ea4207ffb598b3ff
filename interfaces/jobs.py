"""Jobs: what became of an order, and the queue that keeps it."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field, JsonValue, SerializeAsAny, computed_field

from interfaces.contract import Message
from interfaces.orders import Lane, Order
from interfaces.progress import ProgressEvent


class Stopped(Exception):  # noqa: N818  # no error: a person asked for it
    """Raised between two images where a person asked the job to stop there."""


JobState = Literal["waiting", "running", "stopping", "paused", "done", "failed", "cancelled"]

ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})

StopKind = Literal["now", "after-image", "pause"]
"""Three ways to stop: at once; after the image that is being made; the same, to go on later."""

JobId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class JobProgress(Message):
    """Progress of a job."""

    stage: str = Field(description="What is being done, as a person would say it.")
    done: float = Field(ge=0, description="How much is done, in `unit`.")
    total: float | None = Field(default=None, ge=0, description="How much there is; None: unknown.")
    unit: str = Field(default="images", description="What `done` and `total` count.")
    note: str = Field(default="", description="A short remark: the latest loss, a file's name.")
    seconds_left: float | None = Field(
        default=None, ge=0, description="How long the stage still takes; None: not known yet."
    )


class Job(Message):
    """One order and what became of it so far."""

    id: JobId = Field(description="Number of the job, in the order of submitting.")
    order: SerializeAsAny[Order] = Field(description="What was asked for.")
    state: JobState = Field(description="Where it stands.")
    stop: StopKind | None = Field(default=None, description="How it was asked to stop.")
    position: int | None = Field(
        default=None, ge=1, description="Place in the queue, 1 is next; None where not waiting."
    )
    progress: JobProgress | None = Field(default=None, description="The latest report.")
    created_at: datetime = Field(description="When it was submitted, UTC.")
    started_at: datetime | None = Field(default=None, description="When it first ran, UTC.")
    ended_at: datetime | None = Field(default=None, description="When it ended, UTC.")
    error: str | None = Field(default=None, description="One line: what went wrong, what to do.")
    run: str | None = Field(default=None, description="Name of the run's folder, once it has one.")
    num_results: int = Field(default=0, ge=0, description="How many results it has kept.")
    results: tuple[int, ...] = Field(
        default=(), description="The newest 100 of them, by number, in the order of keeping."
    )
    outcome: dict[str, JsonValue] | None = Field(
        default=None, description="What else it gave: a report's lines, a model's id."
    )
    deaths: int = Field(
        default=0, ge=0, description="Workers that died on it since it last kept an image."
    )

    @computed_field
    @property
    def lane(self) -> Lane:
        """The one of the two queues that it waits in; `position` is its place there."""
        return self.order.lane

    @computed_field
    @property
    def kind(self) -> str:
        """Kind of work, such as 'generate' or 'train'."""
        return self.order.verb


EventKind = Literal["submitted", "state", "moved", "progress", "kept", "said", "warned"]


class JobEvent(Message):
    """Something that happened to a job; numbers only grow, so that all readers see one story.

    Of a job's `progress` only the newest stays; everything else is kept.
    """

    id: int = Field(ge=1, description="Number of the event.")
    job: JobId = Field(description="Which job.")
    at: datetime = Field(description="When, UTC.")
    kind: EventKind = Field(description="What sort of thing happened.")
    data: dict[str, JsonValue] = Field(description="By kind: the state, progress, result, line.")


@runtime_checkable
class JobQueue(Protocol):
    """Queue of jobs for the page and the API. Every change is on disk when the call returns.

    Raises `NotFoundError` where there is no such job.
    """

    def submit(self, order: Order, key: str | None = None) -> Job:
        """Put an order at the end of the queue.

        The same `key` again gives the job that it gave before, so that a client may try again.
        Raises `UnavailableError` where the queue is full.
        """
        ...

    def get(self, job_id: int) -> Job:
        """One job by its number."""
        ...

    def find(
        self, states: Iterable[JobState] = (), before: int | None = None, limit: int = 100
    ) -> list[Job]:
        """Jobs in these states (all where none is named), newest first, with numbers < `before`.

        Where orders and outcomes are large the list is shorter than `limit`, though never empty
        while there is one; an outcome of over 64 kB is left out of it, and `get` has it.
        """
        ...

    def results(self, job_id: int, after: int = 0, limit: int = 1000) -> list[int]:
        """Numbers of the results that it kept, in growing order, those > `after`."""
        ...

    def move(self, job_id: int, position: int) -> Job:
        """Give a waiting job another place, 1 is next. Raises `JobStateError` where it is not."""
        ...

    def move_by(self, job_id: int, places: int) -> Job:
        """Move a waiting job back by this many places from where it is now; negative: forward."""
        ...

    def stop(self, job_id: int, how: StopKind) -> Job:
        """Ask a job to stop; what it has kept stays. Raises `JobStateError` where it has ended."""
        ...

    def resume(self, job_id: int) -> Job:
        """Let a paused, cancelled or failed job go on at what is missing.

        Raises `JobStateError` where it is none of these.
        """
        ...

    def events(
        self, after: int = 0, job_id: int | None = None, limit: int = 1000
    ) -> list[JobEvent]:
        """Events since event `after`, oldest first, of one job or of all."""
        ...

    def last_event(self) -> int:
        """Number of the newest event; 0 where there is none."""
        ...

    def num_waiting(self) -> int:
        """Number of waiting jobs."""
        ...


@runtime_checkable
class Control(Protocol):
    """Connection of whoever carries out a job to the worker."""

    def report(self, event: ProgressEvent) -> None:
        """Report progress; cheap, may be called as often as is convenient."""
        ...

    def began(self, run: str) -> None:
        """Report that the run's folder is there: a worker that resumes the job finds `job.run`."""
        ...

    def kept(self, result_id: int) -> None:
        """Report one more result in the store. Raises `Stopped` where the job is to stop here."""
        ...

    def recall(self, result_ids: Iterable[int]) -> None:
        """Report results of the job that were in the store already.

        A worker may have been killed after it kept one and before it said so.
        """
        ...

    def is_to_conclude(self) -> bool:
        """Whether the person wished the job to end with what it has by now."""
        ...

    def say(self, line: str) -> None:
        """Tell the person something that went well."""
        ...

    def warn(self, line: str) -> None:
        """Tell the person something they should know before they trust the result."""
        ...

    def conclude(self, outcome: dict[str, JsonValue]) -> None:
        """Record what the job gave besides results."""
        ...


Execute = Callable[[Job, Control], None]
"""Carries out one job; handed to the worker by the desk, `atelier/desk.py`."""
