"""Reports of a long step to its watcher: what it does, how far it is, how long it still takes."""

import time
from collections.abc import Callable

from pydantic import Field

from interfaces.contract import Message


class ProgressEvent(Message):
    """One report of a long step. Sent by any component, shown by the UI."""

    stage: str = Field(description="What is being done, as a person would say it: 'train'.")
    done: float = Field(ge=0, description="How much is done, in `unit`.")
    total: float | None = Field(
        default=None, ge=0, description="How much there is, in `unit`; None where it is unknown."
    )
    unit: str = Field(default="images", description="What `done` and `total` count.")
    note: str = Field(default="", description="A short remark: the latest loss, a file's name.")


Progress = Callable[[ProgressEvent], None]
"""A function type is port enough: whoever watches passes one of these in."""


def silent(event: ProgressEvent) -> None:
    """Watch nothing: the default wherever a component takes a `Progress`."""


def as_part(progress: Progress, part: str) -> Progress:
    """Tells `progress` of a part of something larger, whose name stands behind its stages."""

    def watch(event: ProgressEvent) -> None:
        progress(event.model_copy(update={"stage": f"{event.stage} {part}"}))

    return watch


def within(progress: Progress, before: int, total: int) -> Progress:
    """Tell a part's progress as that of a whole of `total`, of which `before` are done already."""

    def tell(event: ProgressEvent) -> None:
        progress(event.model_copy(update={"done": before + event.done, "total": total}))

    return tell


class Pace:
    """Estimates how long each step still takes from the progress reported so far."""

    def __init__(self) -> None:
        self._began: dict[tuple[str, str], tuple[float, float]] = {}

    def seconds_left(self, event: ProgressEvent) -> float | None:
        """Until the step is over; None where that cannot be known, as at its first report."""
        now = time.monotonic()
        # A resumed step begins in the middle: what was done before says nothing of the speed. One
        # that every picture takes begins again.
        counted = event.stage, event.unit
        began, before = self._began.get(counted, (now, event.done))
        if event.done <= before:
            self._began[counted] = now, event.done
        elif event.total is not None and event.done <= event.total:
            return (now - began) * (event.total - event.done) / (event.done - before)
        return None
