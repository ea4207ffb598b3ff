"""IGDT: what a batch may hold, how it travels, and that any enhancer takes it.

How generators behave is in `test_igs.py`.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.batch import Carried
from interfaces.errors import AtelierError
from interfaces.iedt import IEDT, Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.record import FileOrigin, GeneratedOrigin
from tests.helpers import digest, make_igdt, make_images, make_origin

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
digests = words.map(digest)
generated = st.builds(
    GeneratedOrigin,
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(0, 10**6),
    family=words,
    model_digest=digests,
    dataset_name=words,
    dataset_digest=digests,
    style=st.none() | words,
    options=st.dictionaries(words, st.booleans() | st.integers(-9, 9) | words, max_size=2),
)
files = st.builds(FileOrigin, name=words, sha256=digests)
carried_blocks = st.builds(
    Carried,
    bit_depth=st.sampled_from([8, 16]),
    mode=st.sampled_from(["RGB", "L", "CMYK", "I;16"]),
    icc_profile=st.none() | st.binary(max_size=9),
    exif=st.none() | st.binary(max_size=9),
    xmp=st.none() | st.binary(max_size=9),
    text=st.dictionaries(words, words, max_size=2),
)


@st.composite
def batches(draw: st.DrawFn) -> IGDT:
    """Any valid batch: every field, every kind of origin, values to the ends of their range."""
    count, height, width = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.uniform(-1, 1, (count, 3, height, width)).astype(np.float32)
    images.flat[:2] = -1, 1
    alpha = rng.random((count, 1, height, width), dtype=np.float32)

    def one_each(strategy: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(st.lists(strategy, min_size=count, max_size=count)))

    return IGDT(
        images=images,
        origins=one_each(generated | files),
        alpha=alpha if draw(st.booleans()) else None,
        carried=one_each(carried_blocks) if draw(st.booleans()) else None,
    )


@given(batches())
def test_json_round_trip(batch: IGDT) -> None:
    assert IGDT.from_json(batch.to_json()) == batch


@given(batches())
def test_bytes_round_trip(batch: IGDT) -> None:
    returned = IGDT.from_bytes(batch.to_bytes())
    assert returned == batch
    assert returned.images.dtype == np.float32


def test_any_valid_batch_is_taken_by_the_enhancer(component: Callable[[str], object]) -> None:
    enhancer = component("enhancement")
    assert isinstance(enhancer, Enhancer)

    @hypothesis_settings(max_examples=40, deadline=None)
    @given(batches())
    def takes(batch: IGDT) -> None:
        (result,) = enhancer.enhance([batch], IES(enhancer="lanczos", device="cpu"))
        assert len(result) == len(batch)
        assert result.origins == batch.origins
        assert result.carried == batch.carried
        assert (result.alpha is None) == (batch.alpha is None)

    takes()


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


def test_an_enlarged_batch_is_not_taken_for_a_generated_one(
    component: Callable[[str], object],
) -> None:
    enhancer: Any = component("enhancement")
    (enlarged,) = enhancer.enhance([make_igdt(1, 4)], IES(enhancer="lanczos"))
    assert isinstance(enlarged, IEDT)
    with pytest.raises(AtelierError):
        IGDT.from_bytes(enlarged.to_bytes())


@pytest.mark.parametrize("field", ["dtype", "shape", "base64"])
def test_json_with_a_damaged_array_is_refused(field: str) -> None:
    message = json.loads(make_igdt(1, 4).to_json())
    message["images"][field] = "?"
    with pytest.raises(AtelierError, match="images"):
        IGDT.from_json(json.dumps(message))
