"""IEDT: what an enlarged batch may hold beside what an IGDT holds, and how it travels."""

import pytest
from hypothesis import given
from pydantic import ValidationError

from atelier.contracts.strategies import enlarged_batches
from interfaces.errors import AtelierError
from interfaces.iedt import IEDT
from interfaces.ies import MAX_SCALE
from interfaces.igdt import IGDT
from interfaces.record import EnhancementRecord
from tests.helpers import make_enhancement, make_iedt, make_igdt


@given(enlarged_batches())
def test_json_round_trip(batch: IEDT) -> None:
    assert IEDT.from_json(batch.to_json()) == batch


@given(enlarged_batches())
def test_bytes_round_trip(batch: IEDT) -> None:
    assert IEDT.from_bytes(batch.to_bytes()) == batch


@pytest.mark.parametrize(
    "field,value",
    [
        ("enhancer", ""),
        ("weights_sha256", "abc"),
        ("weights_sha256", "A" * 64),
        ("scale", 0),
        ("scale", -4),
        ("scale", 1.5),
        ("scale", MAX_SCALE + 1),
        ("strength", -0.1),
        ("strength", 1.1),
        ("strength", float("nan")),
        ("is_fallback", "maybe"),
        ("denoise", 1.1),
        ("twin_sha256", "abc"),
        ("route", ""),
        ("device", "cpu"),
    ],
)
def test_the_enhancement_is_closed_and_checked(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        EnhancementRecord(**(make_enhancement().model_dump() | {field: value}))


@pytest.mark.parametrize("drift", [(1.0,), (1.0, 2.0, 3.0), (1.0, -0.5), (1.0, float("nan"))])
def test_drift_is_one_figure_an_image_or_none_at_all(drift: tuple[float, ...]) -> None:
    batch = dict(make_igdt(2, 4))
    assert IEDT(**batch, enhancement=make_enhancement()).drift == ()
    assert IEDT(**batch, enhancement=make_enhancement(), drift=(0.0, 3.5)).drift == (0.0, 3.5)
    with pytest.raises(ValidationError, match="drift"):
        IEDT(**batch, enhancement=make_enhancement(), drift=drift)


def test_a_record_from_before_there_were_routes_is_still_read() -> None:
    old = {"enhancer": "lanczos", "weights_sha256": None, "scale": 4, "strength": 1.0}
    record = EnhancementRecord.model_validate(old)
    assert (record.route, record.denoise, record.twin_sha256) == (None, 1.0, None)


def test_an_enlarged_batch_says_how_it_was_enlarged() -> None:
    with pytest.raises(ValidationError, match="enhancement"):
        IEDT(**dict(make_igdt(1, 4)))


def test_what_weights_were_used_cannot_be_left_unsaid() -> None:
    with pytest.raises(ValidationError, match="weights_sha256"):
        EnhancementRecord(enhancer="RealESRGAN_x4plus", scale=4, strength=1.0)


def test_a_batch_does_not_change() -> None:
    batch = make_iedt(1, 4)
    with pytest.raises(ValidationError):
        batch.enhancement = make_enhancement(16)
    with pytest.raises(ValueError, match="read-only"):
        batch.images[0] = 0


def test_a_generated_batch_is_not_taken_for_an_enlarged_one() -> None:
    with pytest.raises(AtelierError):
        IEDT.from_bytes(make_igdt(1, 4).to_bytes())
    with pytest.raises(AtelierError):
        IGDT.from_bytes(make_iedt(1, 4).to_bytes())
