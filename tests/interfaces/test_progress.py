"""The time that a step still takes, by the progress reported so far."""

import pytest

from interfaces import progress
from interfaces.progress import Pace, ProgressEvent


def test_time_left_is_by_the_pace_in_each_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    pace = Pace()

    def left(done: float, total: float, unit: str) -> float | None:
        return pace.seconds_left(ProgressEvent(stage="train", done=done, total=total, unit=unit))

    assert left(0, 100, "seconds") is None
    now = 10.0
    assert left(10, 100, "seconds") == 90
    assert left(500, 1000, "images") is None  # nothing is known of this unit's pace yet
    now = 20.0
    assert left(750, 1000, "images") == 10
    assert left(100, 1000, "images") is None  # the next picture: begun again
