"""Promises that every converter must keep, of `interfaces/iodt.py` and `interfaces/ics.py`."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from PIL import Image

from atelier.contracts.samples import make_file_origin, make_iedt, make_images
from atelier.contracts.strategies import enlarged_batches, examples
from components.common.sameness import hold_the_same
from components.conversion import record_inside
from interfaces.capabilities import capabilities_of
from interfaces.components import Components
from interfaces.contract import offered
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT, Converter

FORMATS: tuple[str, ...] = tuple(map(str, offered(ICS.model_fields["format"])))


@pytest.fixture
def converter(parts: Components) -> Converter:
    return parts.conversion


@pytest.fixture
def usual(converter: Converter) -> ICS:
    """The first format that the converter declares."""
    formats = capabilities_of(converter, "conversion").formats or FORMATS
    return ICS(format=formats[0])


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_the_one_asked_for(converter: Converter, name: str) -> None:
    result = _convert(converter, ICS(format=name))
    with Image.open(io.BytesIO(result.data)) as image:
        image.load()
        assert image.format == name.upper()
        assert image.size == (result.width, result.height) == (48, 48)
    assert result.media_type == f"image/{name}"


def test_a_format_of_its_own_is_written_as_it_says(converter: Converter) -> None:
    declared = capabilities_of(converter, "conversion").formats or ()
    own = [name for name in declared if name not in FORMATS]
    if not own:
        pytest.skip("declares no other format than the usual ones")
    for name in own:
        result = _convert(converter, ICS(format=name))
        assert (result.width, result.height) == (48, 48)
        assert result.record.conversion["format"] == name
        assert IODT.from_bytes(result.to_bytes()) == result


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_png_and_tiff_lose_nothing(converter: Converter, name: str) -> None:
    _assert_exact(_convert(converter, ICS(format=name, quality=1)))


def test_lossless_webp_loses_nothing(converter: Converter) -> None:
    _assert_exact(_convert(converter, ICS(format="webp", lossless=True, quality=1)))


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_quality_buys_likeness_with_bytes(converter: Converter, name: str) -> None:
    low, high = (_convert(converter, ICS(format=name, quality=quality)) for quality in (10, 95))
    assert len(low.data) < len(high.data)
    assert _squared_error(low) > _squared_error(high)


@pytest.mark.parametrize("name", FORMATS)
def test_any_valid_batch_is_taken(converter: Converter, name: str) -> None:
    _skip_undeclared(converter, name)

    @examples(25)
    @given(enlarged_batches())
    def takes(batch: IEDT) -> None:
        results = list(converter.convert([batch], ICS(format=name)))
        assert [result.record.origin for result in results] == list(batch.origins)
        for result in results:
            assert (result.height, result.width) == batch.images.shape[2:]
            assert result.record.enhancement == batch.enhancement
            with Image.open(io.BytesIO(result.data)) as image:
                image.load()
                assert image.size == (result.width, result.height)

    takes()


def test_conversion_is_in_order_and_one_for_one(converter: Converter, usual: ICS) -> None:
    batches = [make_iedt(3, seed=0), make_iedt(1, seed=3), make_iedt(2, seed=4)]
    results = list(converter.convert(batches, usual))
    origins = [origin for batch in batches for origin in batch.origins]
    assert [result.record.origin for result in results] == origins
    pictures = np.concatenate([batch.images for batch in batches])
    for place, result in enumerate(results):
        shown = _pixels(result).transpose(2, 0, 1) / 127.5 - 1
        assert np.abs(pictures - shown).mean(axis=(1, 2, 3)).argmin() == place


def test_no_batches_give_no_images(converter: Converter, usual: ICS) -> None:
    assert list(converter.convert([], usual)) == []


def test_conversion_takes_a_batch_only_when_it_is_needed(converter: Converter, usual: ICS) -> None:
    taken: list[int] = []

    def batches() -> Iterator[IEDT]:
        for number in range(3):
            taken.append(number)
            yield make_iedt(2, seed=2 * number)

    results = converter.convert(batches(), usual)
    assert taken == []
    next(results)
    next(results)
    assert taken == [0]
    next(results)
    assert taken == [0, 1]


def test_the_same_request_gives_the_same_picture(converter: Converter, usual: ICS) -> None:
    one, other = (next(converter.convert([make_iedt(1)], usual)) for _ in range(2))
    assert hold_the_same(one.data, other.data)
    assert one.record == other.record


def test_the_same_request_unsigned_gives_the_same_bytes(converter: Converter, usual: ICS) -> None:
    unsigned = usual.model_copy(update={"sign": False})
    one, other = (next(converter.convert([make_iedt(1)], unsigned)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("name", FORMATS)
def test_the_record_says_where_the_image_came_from(converter: Converter, name: str) -> None:
    _skip_undeclared(converter, name)
    batch = make_iedt(1)
    record = next(converter.convert([batch], ICS(format=name, quality=70))).record
    assert record.origin == batch.origins[0]
    assert record.enhancement == batch.enhancement
    assert record.conversion["format"] == name
    assert record.is_ai_generated


def test_the_record_holds_the_quality(converter: Converter) -> None:
    assert _convert(converter, ICS(format="jpeg", quality=70)).record.conversion["quality"] == 70


@pytest.mark.parametrize("name", FORMATS)
def test_the_file_carries_its_record(converter: Converter, name: str) -> None:
    result = _convert(converter, ICS(format=name))
    assert record_inside(result.data) == result.record


def test_a_persons_own_file_is_not_called_ai_generated(converter: Converter, usual: ICS) -> None:
    batch = make_iedt(1).model_copy(update={"origins": (make_file_origin(),)})
    assert not next(converter.convert([batch], usual)).record.is_ai_generated


def _skip_undeclared(converter: Converter, name: str) -> None:
    formats = capabilities_of(converter, "conversion").formats
    if formats is not None and name not in formats:
        pytest.skip(f"declares no {name}")


def _convert(converter: Converter, chosen: ICS) -> IODT:
    """One picture of 48x48, encoded as the settings say."""
    _skip_undeclared(converter, chosen.format)
    return next(converter.convert([make_iedt(1, 48)], chosen))


def _truth() -> NDArray[np.float32]:
    """The picture that `_convert` encodes, (48, 48, 3), 0 to 255, not yet rounded."""
    return (make_images(1, 48)[0].transpose(1, 2, 0) + 1) * 127.5


def _pixels(result: IODT) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(result.data)).convert("RGB"))


def _assert_exact(result: IODT) -> None:
    np.testing.assert_array_equal(_pixels(result), np.rint(_truth()).astype(np.uint8))


def _squared_error(result: IODT) -> float:
    return float(np.mean((_pixels(result) - _truth()) ** 2))
