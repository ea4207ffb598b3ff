"""IGDT: what a batch may hold, and how it travels."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError

from atelier.contracts.strategies import batches
from interfaces.batch import Carried
from interfaces.errors import AtelierError
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.record import GeneratedOrigin
from tests.helpers import make_igdt, make_images, make_origin


@given(batches())
def test_json_round_trip(batch: IGDT) -> None:
    assert IGDT.from_json(batch.to_json()) == batch


@given(batches())
def test_bytes_round_trip(batch: IGDT) -> None:
    returned = IGDT.from_bytes(batch.to_bytes())
    assert returned == batch
    assert returned.images.dtype == np.float32


def _with(index: tuple[int, ...], value: float) -> np.ndarray:
    images = make_images(1, 4)
    images[index] = value
    return images


@pytest.mark.parametrize(
    "fault,images",
    [
        ("float32", make_images(1, 4).astype(np.float64)),
        ("float32", (make_images(1, 4) * 255).astype(np.uint8)),
        ("ndarray", make_images(1, 4).tolist()),
        ("ndarray", None),
        ("shape", make_images(1, 4)[0]),
        ("shape", make_images(1, 4).transpose(0, 2, 3, 1)),
        ("shape", make_images(1, 4)[:, :1]),
        ("shape", make_images(1, 4)[:0]),
        ("shape", make_images(1, 4)[..., :0]),
        ("finite", _with((0, 0, 0, 0), float("nan"))),
        ("finite", _with((0, 2, 3, 3), float("inf"))),
        ("finite", _with((0, 1, 0, 0), 1.0001)),
        ("finite", _with((0, 1, 0, 0), -1.0001)),
    ],
)
def test_images_that_are_none_are_refused(fault: str, images: Any) -> None:
    with pytest.raises(ValidationError, match=fault):
        IGDT(images=images, origins=(make_origin(),))


@pytest.mark.parametrize(
    "changed",
    [
        {"origins": ()},
        {"origins": (make_origin(),)},
        {"alpha": np.zeros((2, 1, 4, 5), np.float32)},
        {"alpha": np.zeros((1, 1, 4, 4), np.float32)},
        {"alpha": np.full((2, 1, 4, 4), -0.1, np.float32)},
        {"alpha": np.full((2, 1, 4, 4), np.nan, np.float32)},
        {"alpha": np.zeros((2, 3, 4, 4), np.float32)},
        {"carried": (Carried(),)},
        {"schema_version": 2},
        {"labels": [1, 2]},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changed: dict[str, Any]) -> None:
    whole = {"images": make_images(2, 4), "origins": (make_origin(0), make_origin(1, 1))}
    IGDT(**whole)
    with pytest.raises(ValidationError):
        IGDT(**(whole | changed))


@pytest.mark.parametrize(
    "field,value",
    [
        ("seed", -1),
        ("seed", 2**63),
        ("index", -1),
        ("model_digest", "abc"),
        ("dataset_digest", "A" * 64),
        ("family", ""),
        ("kind", "dreamt"),
        ("mood", "blue"),
    ],
)
def test_origins_are_closed_and_checked(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        GeneratedOrigin(**(make_origin().model_dump() | {field: value}))


def test_a_batch_does_not_change() -> None:
    batch = make_igdt(1, 4)
    with pytest.raises(ValidationError):
        batch.origins = ()
    with pytest.raises(ValueError, match="read-only"):
        batch.images[0] = 0


def test_the_length_is_the_number_of_pictures() -> None:
    assert len(make_igdt(3, 4)) == 3


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "another contract", "torn header"])
def test_bytes_that_are_no_batch_are_refused(damage: str) -> None:
    data = make_igdt(1, 4).to_bytes()
    damaged = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "noise": b"\xff" * 100,
        "another contract": IES().to_bytes(),
        "torn header": data[:8] + b"\0" * (len(data) - 8),
    }[damage]
    with pytest.raises(AtelierError):
        IGDT.from_bytes(damaged)


@pytest.mark.parametrize("field", ["dtype", "shape", "base64"])
def test_json_with_a_damaged_array_is_refused(field: str) -> None:
    message = json.loads(make_igdt(1, 4).to_json())
    message["images"][field] = "?"
    with pytest.raises(AtelierError, match="images"):
        IGDT.from_json(json.dumps(message))
