"""Animations and strips: as many pictures as were given, in order, with their record inside."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from components.common.sameness import hold_the_same
from components.conversion import animate, create, read_record, strip
from components.conversion.xmp import rdf_in, record_in
from interfaces.ics import ICS, AnimationFormat
from interfaces.iodt import IODT
from tests.helpers import as_claimed, make_iedt

COUNT, SIDE, GAP = 5, 32, 4

every_format = pytest.mark.parametrize("file_format", ["webp", "gif"])


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[IODT]:
    """Five pictures, all different, as the converter encodes them."""
    converter = create(tmp_path_factory.mktemp("conversion"))
    return list(converter.convert([make_iedt(COUNT, SIDE)], ICS(format="png")))


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def moving(data: bytes) -> tuple[list[np.ndarray], list[int], dict[str, object]]:
    """Each frame's pixels, how long each is shown in milliseconds, and what the file says."""
    with Image.open(io.BytesIO(data)) as image:
        info = dict(image.info)
        parts = [
            (np.asarray(frame.convert("RGB")).astype(int), round(frame.info["duration"]))
            for frame in ImageSequence.Iterator(image)
        ]
    return [part for part, _ in parts], [shown for _, shown in parts], info


@every_format
def test_every_picture_is_a_frame_in_order(
    file_format: AnimationFormat, frames: list[IODT]
) -> None:
    shown, _, _ = moving(animate(frames, file_format, 10.0))
    assert len(shown) == COUNT
    for picture, frame in zip(shown, frames, strict=True):
        assert picture.shape == (SIDE, SIDE, 3)
        # Both formats lose something: the nearest of the pictures given is still the frame's own.
        far = [np.abs(picture - pixels(other.data)).mean() for other in frames]
        assert far[int(np.argmin(far))] == np.abs(picture - pixels(frame.data)).mean()
        assert min(far) < 12


@every_format
@pytest.mark.parametrize(
    ("frames_per_second", "milliseconds"), [(10.0, 100), (12.5, 80), (2.0, 500)]
)
def test_frames_last_as_long_as_was_asked(
    file_format: AnimationFormat,
    frames_per_second: float,
    milliseconds: int,
    frames: list[IODT],
) -> None:
    _, durations, _ = moving(animate(frames, file_format, frames_per_second))
    assert durations == [milliseconds] * COUNT


@every_format
def test_it_goes_on_for_ever(file_format: AnimationFormat, frames: list[IODT]) -> None:
    assert moving(animate(frames, file_format, 10.0))[2]["loop"] == 0


def test_a_webp_says_what_it_is(frames: list[IODT], tmp_path: Path) -> None:
    (tmp_path / "moving.webp").write_bytes(animate(frames, "webp", 12.0))
    assert read_record(tmp_path / "moving.webp") == as_claimed(frames[0].record)


def test_a_gif_says_what_it_is_in_its_comment(frames: list[IODT]) -> None:
    comment = moving(animate(frames, "gif", 12.0))[2]["comment"]
    assert isinstance(comment, bytes)
    assert record_in(rdf_in(comment)) == as_claimed(frames[0].record)
    assert b"trainedAlgorithmicMedia" in comment


@every_format
def test_the_same_pictures_give_the_same_animation(
    file_format: AnimationFormat, frames: list[IODT]
) -> None:
    one, other = (animate(frames, file_format, 12.0) for _ in range(2))
    assert hold_the_same(one, other)


@every_format
def test_one_picture_alone_is_a_file_too(file_format: AnimationFormat, frames: list[IODT]) -> None:
    assert pixels(animate(frames[:1], file_format, 12.0)).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(("columns", "rows"), [(1, 5), (2, 3), (4, 2), (5, 1), (8, 1)])
def test_a_strip_holds_every_picture_as_it_is_row_by_row(
    columns: int, rows: int, frames: list[IODT], tmp_path: Path
) -> None:
    path = tmp_path / "strip.png"
    path.write_bytes(strip(frames, columns))
    sheet = pixels(path.read_bytes())
    pitch = SIDE + GAP
    assert sheet.shape == (rows * pitch + GAP, columns * pitch + GAP, 3)
    for place, frame in enumerate(frames):
        top, left = (GAP + pitch * n for n in divmod(place, columns))
        tile = sheet[top : top + SIDE, left : left + SIDE]
        np.testing.assert_array_equal(tile, pixels(frame.data))
        sheet[top : top + SIDE, left : left + SIDE] = sheet[0, 0]
    assert (sheet == sheet[0, 0]).all()  # nothing else is on it
    assert read_record(path) == as_claimed(frames[0].record)
