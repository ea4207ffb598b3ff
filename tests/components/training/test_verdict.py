"""The verdict on a training: its grade, the time foretold, its words."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training import Measured, TrainingFolder, Verdict
from components.training.judgement import GOOD, judge
from components.training.records import Intervention
from interfaces.measurement import Figures, Measurement, Metric

REAL = 0.6
GOAL = GOOD * REAL


def figure(metric: Metric, value: float, count: int = 100_000) -> Measurement:
    error = 1.96 * math.sqrt(max(value * (1 - value), 1e-9) / count)
    return Measurement(
        metric=metric,
        value=value,
        low=max(0.0, value - error),
        high=min(1.0, value + error),
        num_generated=count,
        num_real=count,
        against="training",
        dataset_digest="0" * 64,
        features="imagenet",
        features_sha256="1" * 64,
        resizer="none",
        precision="float32, float64",
    )


FLOOR = Figures(overall=(figure("precision", REAL), figure("recall", 0.5)), by_style=())


def row(seconds: float, precision: float, recall: float = 0.4, count: int = 100_000) -> Measured:
    return Measured(
        images_seen=int(seconds),
        seconds=seconds,
        measurements=(figure("precision", precision, count), figure("recall", recall, count)),
    )


def judged(
    rows: Sequence[Measured],
    floor: Figures | None,
    log: Sequence[Intervention],
    *,
    is_oversensitive: bool = False,
) -> Verdict:
    return judge(rows, floor, log, lambda: is_oversensitive)


def said(rows: Sequence[Measured], log: Sequence[Intervention] = ()) -> str:
    return " ".join(judged(rows, FLOOR, log).sentences())


def test_pictures_a_tenth_more_like_the_collection_than_real_ones_are_good() -> None:
    assert judged([row(60, GOAL + 0.01)], FLOOR, ()).grade == "good"
    assert judged([row(60, GOAL - 0.01)], FLOOR, ()).grade == "not yet"
    blurs = judged([row(60, 0.97, recall=0.0)], FLOOR, ())  # all alike, and like none of the works
    assert (blurs.grade, blurs.minutes_more) == ("not yet", None)


@given(
    slope=st.floats(0.2, 2.0),
    first=st.floats(60.0, 300.0),
    factor=st.floats(1.5, 4.0),
    needed=st.floats(1.3, 15.0),
)
def test_the_time_foretold_is_when_the_log_odds_reach_the_goal(
    slope: float, first: float, factor: float, needed: float
) -> None:
    last = factor * first
    goal_at = needed * last  # seconds
    start = math.log(GOAL / (1 - GOAL)) - slope * math.log(goal_at)
    rows = [row(at, 1 / (1 + math.exp(-start - slope * math.log(at)))) for at in (first, last)]
    found = judged(rows, FLOOR, ())
    assert found.grade == "not yet"
    assert found.minutes_more == pytest.approx(max(1.0, (goal_at - last) / 60), rel=0.02)


def test_no_time_is_foretold_by_one_measurement_nor_where_none_was_won() -> None:
    assert judged([row(60, 0.2)], FLOOR, ()).minutes_more is None
    still = judged([row(60, 0.2, count=64), row(120, 0.22, count=64)], FLOOR, ())
    assert (still.minutes_more, still.is_standing_still) == (None, True)
    assert "hardly gets better" in " ".join(still.sentences())


def test_a_fall_after_the_best_is_no_improvement() -> None:
    found = judged([row(60, 0.1), row(120, 0.4), row(180, 0.2)], FLOOR, ())
    assert (found.minutes_more, found.is_standing_still) == (None, True)


def test_a_time_too_far_to_foretell_is_not_told() -> None:
    rows = [row(1000, 0.100), row(2000, 0.104)]
    found = judged(rows, FLOOR, ())
    assert (found.minutes_more, found.is_standing_still) == (None, False)
    assert "Train it longer" in " ".join(found.sentences())


def test_few_pictures_are_not_judged() -> None:
    assert judged([], FLOOR, ()).grade == "unknown"
    assert judged([row(60, 0.5)], None, ()).grade == "unknown"


def test_the_embedded_features_are_no_judge() -> None:
    one = row(60, 0.9)
    blind = one.model_copy(
        update={
            "measurements": tuple(
                measurement.model_copy(update={"features": "embedded"})
                for measurement in one.measurements
            )
        }
    )
    verdict = judged([blind], FLOOR, ())
    assert (verdict.grade, verdict.is_blind) == ("unknown", True)
    assert verdict.sentences() == [
        "These features cannot tell how good it is: look at the samples."
    ]


def test_features_that_see_what_nobody_does_are_no_judge_of_pictures_that_they_refuse() -> None:
    refused = judged([row(60, 0.0, recall=0.01)], FLOOR, (), is_oversensitive=True)
    assert (refused.grade, refused.typical) == ("unknown", None)
    (sentence,) = refused.sentences()
    assert "cannot be measured with such pictures" in sentence
    assert judged([row(60, GOAL + 0.01)], FLOOR, (), is_oversensitive=True).grade == "good"
    collapsed = judged([row(60, 0.97, recall=0.0)], FLOOR, (), is_oversensitive=True)
    assert collapsed.grade == "unknown"  # recall rests on the same features
    log = [
        Intervention(images_seen=1, seconds=1.0, saw="over-fitting", did="stronger augmentation")
    ]
    (sentence,) = judged([row(60, 0.0)], FLOOR, log, is_oversensitive=True).sentences()
    assert "memorise" in sentence  # which the critic's scores show


def test_little_variety_and_learning_by_heart_are_said() -> None:
    log = [
        Intervention(images_seen=1, seconds=1.0, saw="over-fitting", did="stronger augmentation")
    ]
    text = said([row(60, 0.75, recall=0.05)], log)
    assert text.startswith("Good one by one, but much alike. 75 % of its pictures")
    assert "They vary little: 5 % of the collection has one like it (with real ones: 50 %)" in text
    assert "memorise" in text


def test_good_but_alike_has_an_advice_too() -> None:
    assert said([row(60, 0.75, recall=0.05)]).endswith("Train it longer for more variety.")


def test_blurs_are_not_said_to_look_like_the_collection() -> None:
    text = said([row(60, 0.97, recall=0.0)])
    assert text.startswith("Not good yet. They vary little: 0 % of the collection has one like it")
    assert "97 %" not in text
    assert "0 % of its pictures look like" in said([row(60, 0.0, recall=0.0)])


def test_plain_words() -> None:
    assert said([row(60, 0.75)]) == (
        "Good. 75 % of its pictures look like the collection's (of real ones: 60 %)."
    )
    assert said([row(60, 0.1), row(120, 0.2)]).startswith("Not good yet. 20 % of its pictures")
    assert " minutes more may be enough." in said([row(60, 0.1), row(120, 0.2)])


def test_a_verdict_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    assert folder.verdict() is None
    verdict = judged([row(60, 0.1), row(120, 0.2)], FLOOR, ())
    folder.write_verdict(verdict)
    assert folder.verdict() == verdict
    assert isinstance(folder.verdict(), Verdict)
