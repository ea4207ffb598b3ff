"""Signals that end a process, heard only where whoever started it did not have them ignored."""

import signal
from collections.abc import Callable
from types import FrameType

Hear = Callable[[int, FrameType | None], None]


def is_ignored(number: int) -> bool:
    """Whether a signal is to do nothing, as nohup and a shell's `&` arrange for some."""
    return signal.getsignal(number) is signal.SIG_IGN


def on_polite_end(hear: Hear) -> None:
    """Hear a request to end, and a terminal that closes, where the system tells of them."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and not is_ignored(number):
            signal.signal(number, hear)


def interrupted(number: int, frame: FrameType | None) -> None:
    """End as at Ctrl-C, also where that is ignored: this request is another one."""
    at_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(at_ctrl_c):
        raise KeyboardInterrupt
    at_ctrl_c(number, frame)  # a training's, perhaps, which finishes its step
