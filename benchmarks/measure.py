"""Two ways to do one thing, in turn, so that a machine's moods fall on both alike."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """Ratios of the reference's times to ours, pair by pair."""

    name: str
    reference_seconds: float
    our_seconds: float
    ratios: tuple[float, ...]

    def __str__(self) -> str:
        low, middle, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        return (
            f"{self.name:<58} {self.reference_seconds:8.3f} s {self.our_seconds:8.3f} s "
            f"{middle:6.2f} ({low:.2f} to {high:.2f})"
        )


def compare(
    name: str, reference: Callable[[], object], ours: Callable[[], object], rounds: int = 5
) -> Ratio:
    """Time both, after one warm-up each, in `rounds` pairs: medians of times, ratios of pairs."""
    reference()
    ours()
    pairs = [(_seconds(reference), _seconds(ours)) for _ in range(rounds)]
    return Ratio(
        name,
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        tuple(theirs / mine for theirs, mine in pairs),
    )


def _seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Watched:
    """One call of something, with its result and what it took."""

    result: Any
    seconds: float
    cpu_seconds: float
    """Processor time of all threads, which a busy machine disturbs less."""
    mebibytes: float
    """Peak of the process above what it held before; 0 where that is not told (not Linux)."""


def watched(action: Callable[[], object]) -> Watched:
    """Run it once."""
    before = _resident("VmRSS")
    _forget_peak()
    begun = time.perf_counter(), time.process_time()
    result = action()
    seconds, cpu_seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return Watched(result, seconds, cpu_seconds, (_resident("VmHWM") - before) / 1024)


def _resident(field: str) -> int:
    """KiB, on Linux; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)


def _forget_peak() -> None:
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
