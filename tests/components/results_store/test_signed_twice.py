"""A picture that is made again has another signature, and is the same result all the same."""

import io
from pathlib import Path

import pytest
from PIL import Image

from atelier.contracts.samples import make_iedt
from components.common.sameness import hold_the_same
from components.conversion import ImageConverter
from components.results_store import create
from interfaces.ics import ICS
from interfaces.iodt import IODT, ResultQuery


def signed(seed: int = 0, name: str = "png") -> IODT:
    (image,) = ImageConverter().convert([make_iedt(1, 16, seed=seed)], ICS(format=name))
    return image


def test_a_file_that_no_row_knows_gives_way_to_the_same_picture(tmp_path: Path) -> None:
    store = create(tmp_path)
    first, again = signed(), signed()
    assert first.sha256 != again.sha256
    # As a process leaves it that is killed between the file and its row.
    place = store.keep(signed(), "elsewhere").path.parent.parent / "run" / "000000.png"
    place.parent.mkdir()
    place.write_bytes(first.data)
    kept = store.keep(again, "run")
    assert kept.path == place
    assert kept.path.read_bytes() == again.data
    assert list(place.parent.glob("*.png")) == [place]


def test_another_picture_in_its_place_is_left_alone(tmp_path: Path) -> None:
    store = create(tmp_path)
    place = store.keep(signed(), "elsewhere").path.parent.parent / "run" / "000000.png"
    place.parent.mkdir()
    place.write_bytes(signed(5).data)
    before = place.read_bytes()
    kept = store.keep(signed(), "run")
    assert kept.path != place
    assert place.read_bytes() == before
    assert len(store.find(ResultQuery(run="run"))) == 1


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
def test_files_hold_the_same_only_with_the_same_pixels_and_metadata(name: str) -> None:
    first = signed(name=name)
    assert hold_the_same(first.data, signed(name=name).data)
    assert not hold_the_same(first.data, signed(1, name).data)
    stream = io.BytesIO()
    with Image.open(io.BytesIO(first.data)) as image:
        image.copy().save(stream, name.upper(), xmp=b"")  # without its record
    assert not hold_the_same(first.data, stream.getvalue())
    assert not hold_the_same(first.data, b"no picture")
