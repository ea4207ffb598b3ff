"""IODT: what an encoded image may be, and how it travels."""

import pytest
from hypothesis import given
from pydantic import ValidationError

from atelier.contracts.strategies import encoded, make_encoded
from interfaces.errors import AtelierError
from interfaces.iodt import (
    IODT,
    ResultQuery,
)
from tests.helpers import (
    make_igdt,
    make_iodt,
    make_record,
)


@given(encoded)
def test_json_round_trip(image: IODT) -> None:
    assert IODT.from_json(image.to_json()) == image


@given(encoded)
def test_bytes_round_trip(image: IODT) -> None:
    assert IODT.from_bytes(image.to_bytes()) == image


@pytest.mark.parametrize(
    "field,value",
    [
        ("data", b""),
        ("data", b"other bytes than the digest's"),
        ("sha256", "0" * 64),
        ("sha256", "abc"),
        ("media_type", "png"),
        ("media_type", "image/"),
        ("media_type", "image/PNG"),
        ("media_type", "text/plain"),
        ("media_type", "image/png; q=1"),
        ("media_type", "image/../png"),
        ("media_type", "image/" + "x" * 62),
        ("width", 0),
        ("height", -1),
        ("width", 1.5),
        ("record", None),
        ("schema_version", 2),
        ("path", "/tmp/x.png"),
    ],
)
def test_what_does_not_hold_is_refused(field: str, value: object) -> None:
    make_encoded(b"bytes", make_record())
    with pytest.raises(ValidationError):
        make_encoded(b"bytes", make_record(), **{field: value})


def test_damaged_bytes_are_not_taken_for_an_image() -> None:
    message = make_iodt().to_bytes()
    for damaged in (b"", message[: len(message) // 2], b"\xff" * 99, make_igdt().to_bytes()):
        with pytest.raises(AtelierError):
            IODT.from_bytes(damaged)


def test_an_image_does_not_change() -> None:
    with pytest.raises(ValidationError):
        make_iodt().data = b"other"


@pytest.mark.parametrize(
    "field,value",
    [
        ("model_digest", "xyz"),
        ("model_digest", ""),
        ("first_seed", -1),
        ("last_seed", 2**63),
        ("limit", 0),
        ("limit", 1_000_001),
        ("prompt", "cat"),
    ],
)
def test_queries_are_closed_and_checked(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        ResultQuery(**{field: value})
