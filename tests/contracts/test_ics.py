"""ICS: what may be chosen, how it travels, and that any converter obeys it."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.iodt import IODT, Converter
from tests.helpers import make_iedt, make_images

FORMATS = ["png", "jpeg", "webp", "avif", "tiff"]

settings = st.builds(
    ICS,
    format=st.sampled_from(FORMATS),
    quality=st.integers(1, 100),
    lossless=st.booleans(),
)


@pytest.fixture
def convert(component: Callable[[str], object]) -> Callable[[ICS], IODT]:
    """One picture of 48x48, encoded as the settings say."""
    converter = component("conversion")
    assert isinstance(converter, Converter)
    batch = make_iedt(1, 48)
    return lambda chosen: next(converter.convert([batch], chosen))


@given(settings)
def test_round_trips(chosen: ICS) -> None:
    assert ICS.from_json(chosen.to_json()) == chosen
    assert ICS.from_bytes(chosen.to_bytes()) == chosen


@pytest.mark.parametrize(
    "field,value",
    [
        ("format", "gif"),
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


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_the_one_asked_for(name: str, convert: Callable[[ICS], IODT]) -> None:
    result = convert(ICS(format=name))
    with Image.open(io.BytesIO(result.data)) as image:
        image.load()
        assert image.format == name.upper()
        assert image.size == (result.width, result.height) == (48, 48)
    assert result.media_type == f"image/{name}"


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_png_and_tiff_lose_nothing(name: str, convert: Callable[[ICS], IODT]) -> None:
    _assert_exact(convert(ICS(format=name, quality=1)))


def test_lossless_webp_loses_nothing(convert: Callable[[ICS], IODT]) -> None:
    _assert_exact(convert(ICS(format="webp", lossless=True, quality=1)))


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_quality_buys_likeness_with_bytes(name: str, convert: Callable[[ICS], IODT]) -> None:
    low, high = (convert(ICS(format=name, quality=quality)) for quality in (10, 95))
    assert len(low.data) < len(high.data)
    assert _squared_error(low) > _squared_error(high)


def _truth() -> np.ndarray:
    """The picture that `convert` encodes, (48, 48, 3), 0 to 255, not yet rounded."""
    return (make_images(1, 48)[0].transpose(1, 2, 0) + 1) * 127.5


def _pixels(result: IODT) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(result.data)).convert("RGB"))


def _assert_exact(result: IODT) -> None:
    np.testing.assert_array_equal(_pixels(result), np.rint(_truth()).astype(np.uint8))


def _squared_error(result: IODT) -> float:
    return float(np.mean((_pixels(result) - _truth()) ** 2))
