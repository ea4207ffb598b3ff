"""Pieces of work for workers of a cluster, none of which needs a network."""

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from atelier.ray.worker import Shop
from interfaces.errors import RefusedError
from interfaces.progress import Progress, ProgressEvent


@dataclass(frozen=True)
class Counting:
    """Takes some time; its answer is its number."""

    number: int
    seconds: float
    diary: Path
    """Folder in which each process that begins the work leaves a file."""

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        (self.diary / f"{self.number}-{os.getpid()}").touch()
        time.sleep(self.seconds)
        return [str(self.number).encode()]


@dataclass(frozen=True)
class Killing:
    """Ends its own process, as one that takes all memory."""

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


@dataclass(frozen=True)
class Refusing:
    """Cannot be done."""

    reason: str

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        raise RefusedError(self.reason)


@dataclass(frozen=True)
class Telling:
    """Reports how far it is, and logs a line."""

    steps: int

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        logging.getLogger("atelier").warning("out of %s", "memory")
        for done in range(self.steps):
            progress(ProgressEvent(stage="one picture", done=done, total=self.steps))
            time.sleep(0.1)
        return []
