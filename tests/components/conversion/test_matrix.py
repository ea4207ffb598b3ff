"""Every layout of every format: what the file shows, or a refusal in one line."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from components.common.images import open_upright, to_rgb
from components.common.samples import UnsupportedError
from components.conversion import read_picture
from interfaces.errors import AtelierError
from interfaces.igdt import IGDT
from tests.components.conversion.layouts import (
    Case,
    by_pillow,
    has_magick,
    magick_reads,
    pngs,
    tiffs,
)

CASES = {case.name: case for case in (*tiffs(), *pngs(), *by_pillow())}


def read(case: Case, folder: Path) -> np.ndarray:
    """The file read as a person's picture: float64 (H, W, 4) in [0, 1], colours and opacity."""
    path = folder / f"file{case.suffix}"
    path.write_bytes(case.data)
    return planes(read_picture(path))


def planes(batch: IGDT) -> np.ndarray:
    colours = (batch.images[0].astype(np.float64) + 1) / 2
    opacity = np.ones_like(colours[:1]) if batch.alpha is None else batch.alpha[0]
    return np.concatenate([colours, opacity]).transpose(1, 2, 0)


def with_opacity(shows: np.ndarray) -> np.ndarray:
    """(H, W, 1 to 4) => (H, W, 4)."""
    count = shows.shape[-1]
    colours = shows[..., : 3 if count > 2 else 1]
    opacity = shows[..., -1:] if count in (2, 4) else np.ones_like(colours[..., :1])
    return np.concatenate([np.broadcast_to(colours, (*shows.shape[:2], 3)), opacity], axis=-1)


def differs(found: np.ndarray, expected: np.ndarray, case: Case) -> np.ndarray:
    """Mask of the pixels that are not what they should be."""
    error = np.abs(found - expected).max(axis=-1)
    if case.tolerance >= 0:
        return error > case.tolerance + 1e-6
    # Colours that were multiplied by their opacity come back the less exactly the lower it is.
    steps = 255 if "8 bits" in case.name else 65535
    room = 1.6 / steps / np.maximum(expected[..., 3], 1 / steps)
    return error > room


def refused(case: Case, folder: Path) -> str | None:
    """Text of a refusal; None where there is none."""
    try:
        read(case, folder)
    except AtelierError as error:
        return str(error)
    return None


def test_a_file_shows_what_it_holds(tmp_path: Path) -> None:
    good = [case for case in CASES.values() if case.shows is not None]
    wrong = [
        case.name
        for case in good
        if differs(read(case, tmp_path), with_opacity(case.shows), case).any()
    ]
    assert wrong == []
    assert len(good) > 600


def test_what_nobody_could_read_rightly_is_refused_with_advice(tmp_path: Path) -> None:
    hopeless = [case for case in CASES.values() if case.shows is None]
    for case in hopeless:
        said = refused(case, tmp_path)
        assert said is not None, case.name
        assert "\n" not in said and ("save it" in said or "scale them" in said), said
        with pytest.raises(UnsupportedError):
            open_upright(case.data)
    assert len(hopeless) > 10


def test_a_training_image_is_read_by_the_same_piece(tmp_path: Path) -> None:
    """On white, in 8 bits, what a training learns is what a person's own picture shows."""
    for case in CASES.values():
        if case.shows is None or case.suffix == ".tga":  # which only its name tells
            continue
        own = read(case, tmp_path)
        on_white = own[..., :3] * own[..., 3:] + 1 - own[..., 3:]
        learnt = np.asarray(to_rgb(open_upright(case.data)), np.float64) / 255
        assert np.abs(learnt - on_white).max() <= 1.51 / 255, case.name


def test_tifffile_reads_the_same_numbers() -> None:
    """Files are compared that tifffile reads without further packages: samples, not colours."""
    compared = 0
    for case in CASES.values():
        if case.suffix != ".tif" or case.shows is None or not case.name.startswith("tiff "):
            continue
        try:
            page = tifffile.TiffFile(io.BytesIO(case.data)).pages.first
            numbers = page.asarray()
        except Exception:
            continue  # a codec or depth that it leaves to a package of its own
        if page.photometric not in (0, 1, 2) or case.tolerance < 0 or page.bitspersample == 24:
            continue
        if page.planarconfig == 2 and numbers.ndim == 3:
            numbers = numbers.transpose(1, 2, 0)
        numbers = numbers.reshape(*case.shows.shape[:2], -1)[..., : case.shows.shape[-1]]
        expected = case.shows
        if "after another" in case.name or numbers.shape != expected.shape:
            continue
        highest = 1.0
        if numbers.dtype.kind != "f":
            highest = float(2 ** (page.bitspersample - (numbers.dtype.kind == "i")) - 1)
        elif "white" in case.name:
            highest = float(case.name.partition("white ")[2].split(",")[0].split()[0])
        found = np.clip(numbers.astype(np.float64) / highest, 0, 1)
        found = 1 - found if page.photometric == 0 else found
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=case.name)
        compared += 1
    print(f"tifffile: {compared} files compared")
    assert compared > 150


# Where ImageMagick 6.9 sees something else, and why that is not taken for right. Pillow, where it
# knows such a layout, agrees with this project.
OTHERWISE = {
    r"tiff ([2-79]|1[0-57]|20|31|32) bits.*negative": "it inverts 1, 8 and 16 bits alone",
    r"tiff 24 bits, ": "libtiff orders the bytes of 24 bits as the file does; it unpacks them anew",
    r"tiff opacity, .* 1 colours, planar True": "it takes no opacity from the second plane of grey",
    r"tiff opacity after another sample, .* 1$": "it takes the first further sample for opacity",
    r"tiff rgb and a sample that is no opacity": "TIFF 6.0: ExtraSamples 0 is no opacity",
    r"tiff signed, ": "it adds half the range; TIFF 6.0: 0 is black",
    r"tiff floating, .* white (255|65535)": "it takes 1 for white whatever the samples",
    r"pcx, 1": "the palette in the file is black and black; both guess",
    r"jpeg of inks without Adobe's marker": "it takes all inks for inverted; libvips and GIMP not",
}


@pytest.mark.slow
@pytest.mark.skipif(not has_magick(), reason="ImageMagick is not installed")
def test_imagemagick_sees_the_same(tmp_path: Path) -> None:
    different, unread = [], []
    for case in CASES.values():
        if case.shows is None:
            continue
        ours = read(case, tmp_path)
        try:
            theirs = magick_reads(tmp_path / f"file{case.suffix}")
        except Exception:
            unread.append(case.name)
            continue
        shows = np.maximum(ours[..., 3:], theirs[..., 3:]) > 0
        error = np.abs(ours - theirs)
        error[..., :3] *= shows
        # Lossy pictures are decoded a little differently by everyone.
        room = 10 / 255 if case.tolerance > 3 / 255 else max(case.tolerance, 1 / 255)
        if error.max() > room:
            different.append(f"{case.name}: {error.max():.3f}")
    total = sum(case.shows is not None for case in CASES.values())
    print(f"ImageMagick: {total} files, {len(unread)} not read by it, {len(different)} differ")
    print("\n".join(["not read:", *unread, "different:", *different]))
    names = [line.rpartition(":")[0] for line in different]
    assert [n for n in names if not any(re.match(kind, n) for kind in OTHERWISE)] == []
    assert len(unread) < 10
