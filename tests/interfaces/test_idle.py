"""Settings without effect, which are named; those left as they are, or with one, are not."""

from typing import Any

import pytest
from pydantic import ValidationError

from interfaces.idle import Need
from interfaces.idle import idle as named
from interfaces.igme import TrainingSettings
from interfaces.igs import IGS
from interfaces.measurement import EvaluationSettings


@pytest.mark.parametrize(
    ("chosen", "idle"),
    [
        ({}, []),
        ({"measure_images": 0}, []),
        ({"measure_count": 64}, []),
        ({"measure_images": 0, "measure_count": 64}, ["measure_count"]),
        ({"guardian": "watch", "guardian_tries": 1, "guardian_images": 9}, ["guardian_tries"]),
        ({"guardian": "off", "guardian_images": 9}, ["guardian_images"]),
    ],
)
def test_a_training_names_what_has_no_effect(chosen: dict[str, Any], idle: list[str]) -> None:
    settings = TrainingSettings.model_validate({"total_images": 1} | chosen)
    assert [line.partition(":")[0] for line in settings.idle()] == idle


def test_a_sentence_says_what_is_needed() -> None:
    settings = IGS(count=3)
    assert named(settings, {"count": Need("a press", False), "seed": Need("ink", False)}) == [
        "count: has an effect only with a press"
    ]
    assert not named(settings, {"count": Need("a press", True)})


def test_a_blend_needs_a_second_style() -> None:
    with pytest.raises(ValidationError, match="style_blend: has an effect only with towards_style"):
        IGS(style="a", style_blend=0.2)
    assert IGS(style="a", towards_style="b", style_blend=0.2).style_blend == 0.2


def test_inceptions_weights_need_its_features() -> None:
    with pytest.raises(ValidationError, match="only with features 'inception'"):
        EvaluationSettings.model_validate({"inception_weights": "own.pth"})
