"""The verdict on a training, from its measurements. No torch.

It rests on precision, the share of the pictures made that lie among the real ones (Kynkäänniemi et
al. 2019, arXiv 1904.06991), beside what real pictures reach in their place. A Fréchet distance does
not serve: it falls with variety too, and a model of many blurs has a smaller one than a model of
few paintings. How `GOOD` was found: docs/training.md.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from components.training.records import Intervention, Measured, overall
from components.training.verdict import COLLAPSED, Verdict
from interfaces.measurement import Figures, Measurement

GOOD = 1.1
"""Times real pictures' precision from which pictures are called good."""
FARTHEST = 20.0
"""Multiple of the time spent beyond which no time is predicted."""


def judge(
    measured: Sequence[Measured],
    floor: Figures | None,
    log: Sequence[Intervention],
    is_oversensitive: Callable[[], bool],
) -> Verdict:
    """Judge a training by its measurements, in order, and by what real pictures reach.

    `is_oversensitive` is asked about the features where the pictures are not good by them: whether
    real ones would not be either.
    """
    is_over_fitting = bool(log) and log[-1].saw == "over-fitting"
    history = [
        (row.seconds, found)
        for row in measured
        if (found := overall(row.measurements, "precision"))
    ]
    real = floor.find("precision") if floor is not None else None
    if not history or real is None:
        return Verdict(grade="unknown", is_over_fitting=is_over_fitting)
    newest, goal = history[-1][1], min(1.0, GOOD * real.value)
    if newest.features == "embedded":
        return Verdict(grade="unknown", is_blind=True, is_over_fitting=is_over_fitting)
    recall = overall(measured[-1].measurements, "recall")
    real_recall = floor.find("recall") if floor is not None else None
    is_typical = newest.value >= goal
    # Blurs may all count as typical; where hardly a real picture has one near it, none is like the
    # works.
    is_collapsed = recall is not None and recall.value < COLLAPSED
    is_good = is_typical and not is_collapsed
    if not is_good and is_oversensitive():
        return Verdict(grade="unknown", is_oversensitive=True, is_over_fitting=is_over_fitting)
    return Verdict(
        grade="good" if is_good else "not yet",
        typical=newest.value,
        typical_of_real=real.value,
        varied=recall.value if recall else None,
        varied_of_real=real_recall.value if real_recall else None,
        minutes_more=None if is_typical else _minutes_more(history, goal),
        is_standing_still=len(history) > 1 and not _has_improved(history),
        is_over_fitting=is_over_fitting,
    )


def _has_improved(history: Sequence[tuple[float, Measurement]]) -> bool:
    """Whether the newest beats the best before by more than half of its own interval."""
    newest = history[-1][1]
    slack = (newest.high - newest.low) / 2
    return newest.value > max(one.value for _, one in history[:-1]) + slack


def _minutes_more(history: Sequence[tuple[float, Measurement]], goal: float) -> float | None:
    """Minutes until precision reaches the goal, if its log-odds go on along the log of time."""
    if len(history) < 2 or not _has_improved(history):
        return None
    seconds = np.array([max(1.0, at) for at, _ in history])
    slope, start = np.polyfit(np.log(seconds), [_log_odds(one) for _, one in history], 1)
    if slope <= 0:
        return None
    needed = (math.log(goal / (1 - goal)) - start) / slope if goal < 1 else math.inf
    if needed > math.log(FARTHEST * seconds[-1]):
        return None
    return max(1.0, (math.exp(needed) - seconds[-1]) / 60)


def _log_odds(one: Measurement) -> float:
    """Log-odds of a share of that many pictures, kept from 0 and 1 by half a picture (Haldane)."""
    hits = one.value * one.num_generated
    return math.log((hits + 0.5) / (one.num_generated - hits + 0.5))
