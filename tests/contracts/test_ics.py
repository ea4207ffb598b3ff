"""ICS: what may be chosen, and how it travels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.ies import IES

FORMATS = ["png", "jpeg", "webp", "avif", "tiff"]

settings = st.builds(
    ICS,
    format=st.sampled_from(FORMATS),
    quality=st.integers(1, 100),
    lossless=st.booleans(),
)


@given(settings)
def test_round_trips(chosen: ICS) -> None:
    assert ICS.from_json(chosen.to_json()) == chosen
    assert ICS.from_bytes(chosen.to_bytes()) == chosen


@pytest.mark.parametrize(
    "field,value",
    [
        ("format", "a gif"),
        ("format", "PNG"),
        ("format", ""),
        ("quality", 0),
        ("quality", 101),
        ("quality", 92.5),
        ("quality", "best"),
        ("lossless", "perhaps"),
        ("schema_version", 2),
        ("compression", 9),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        ICS(**{field: value})
    assert [fault["loc"][0] for fault in refusal.value.errors()] == [field]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        ICS().quality = 1


def test_other_messages_are_not_taken_for_settings() -> None:
    with pytest.raises(AtelierError):
        ICS.from_bytes(IES().to_bytes())
    with pytest.raises(AtelierError, match="scale"):
        ICS.from_json(IES().to_json())
