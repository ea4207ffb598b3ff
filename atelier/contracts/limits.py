"""Time limits: what never ends is interrupted."""

import signal
import threading
from _thread import interrupt_main
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_AGAIN_SECONDS = 1.0
"""Between two interruptions, for code that catches the first."""


class OverdueError(BaseException):
    """The time is over. No `Exception`: a component's own handlers must not catch it."""


@contextmanager
def limited(seconds: float) -> Generator[None]:
    """Raise `OverdueError` in the block where it takes longer. For the main thread only.

    Without SIGALRM (Windows), a wait inside a library ends first.
    """
    number = getattr(signal, "SIGALRM", signal.SIGINT)
    before = signal.signal(number, _raise_overdue)
    cancel = _begin_alarm(seconds) if hasattr(signal, "SIGALRM") else _begin_timer(seconds)
    try:
        yield
    finally:
        cancel()
        signal.signal(number, before)


def _raise_overdue(number: int, frame: FrameType | None) -> None:
    raise OverdueError


def _begin_alarm(seconds: float) -> Callable[[], object]:
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    return lambda: signal.setitimer(signal.ITIMER_REAL, 0)


def _begin_timer(seconds: float) -> Callable[[], object]:
    timer = threading.Timer(seconds, interrupt_main)
    timer.daemon = True
    timer.start()
    return timer.cancel
