"""The embedded collection: the same everywhere, whole or resumed, and each style itself."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__
from PIL import Image

from components.training_store import create, embedded
from components.training_store.embedded import SIDE, STYLES, paint_collection, paint_picture
from interfaces.itdt import CollectionSettings
from interfaces.progress import ProgressEvent, silent

REPOSITORY = Path(__file__).parents[3]

# Exact, for the module's docstring promises exact pixels: a change here is a new collection.
PINNED = {
    "blossoms": "4bddea8e39023c5a10ac9965aa9be896d0f925d144e2092464a64dac64d968a5",
    "compositions": "2c0fc29a7b2dc4db5f5a3fb40716a0d72b1aefe69398f2e16ad7c4b89288226a",
    "glass": "917723c43b9afe8a8b6ebba372a305b96bd590e32cf94f5b884f858254fe4b1c",
    "julia": "93308cec58571a652217f651b1808d32dfb9e0f3a957bae5ca7b498eee53087f",
    "landscapes": "f617f81a5b611459cd1e49366004d77f5dcae5422dc7e0bdeea74e7f15e2e246",
    "nocturnes": "2f4f9d3f58b40b93b7a0a226a86f523fea89936e02ea2ca42e6218ed78da36d4",
}

PRINT_DIGEST = """
import hashlib
from components.training_store.embedded import STYLES, paint_picture
digest = hashlib.sha256()
for style in STYLES:
    for index in range(8):
        digest.update(paint_picture(style, index).tobytes())
print(digest.hexdigest())
"""


def digest_of(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def digest_in_another_process(**environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRINT_DIGEST],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.strip()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Five pictures a style, for the tests that are about files."""
    monkeypatch.setattr(embedded, "PICTURES_PER_STYLE", 5)
    return 5 * len(STYLES)


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("style", STYLES)
def test_pictures_are_as_pinned(style: str) -> None:
    assert digest_of(paint_picture(style, 7)) == PINNED[style]


def test_another_process_and_another_processor_paint_the_same() -> None:
    """Without its vector instructions numpy takes other roads to sines and exponentials."""
    here = hashlib.sha256()
    for style in STYLES:
        for index in range(8):
            here.update(paint_picture(style, index).tobytes())
    assert digest_in_another_process() == here.hexdigest()
    plain = {"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)}
    assert digest_in_another_process(**plain) == here.hexdigest()


def test_files_are_the_pictures(tmp_path: Path, small: int) -> None:
    root = paint_collection(tmp_path / "embedded", silent)
    assert len(files_of(root)) == small
    for style in STYLES:
        with Image.open(root / style / "0003.bmp") as image:
            assert image.size == (SIDE, SIDE)
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), paint_picture(style, 3))


def test_it_is_collected_by_its_name(tmp_path: Path, small: int) -> None:
    """As a few pictures; the whole of it is a slow test of the training store."""
    collection = create(tmp_path).collect(CollectionSettings(data="embedded"), silent)
    assert collection.name == "embedded"
    assert collection.images_per_style == dict.fromkeys(STYLES, 5)
    assert collection.num_quarantined == 0


def test_a_file_is_bare_pixels(tmp_path: Path, small: int) -> None:
    """BMP by its definition: a header of 54 bytes, then rows from below, blue before red."""
    root = paint_collection(tmp_path, silent)
    data = (root / "julia" / "0000.bmp").read_bytes()
    rows = np.frombuffer(data[54:], dtype=np.uint8).reshape(SIDE, SIDE, 3)
    np.testing.assert_array_equal(rows[::-1, :, ::-1], paint_picture("julia", 0))


def test_an_interrupted_painting_goes_on(tmp_path: Path, small: int) -> None:
    def stop_after_twelve(event: ProgressEvent) -> None:
        if event.done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint_collection(tmp_path / "stopped", stop_after_twelve)
    kept = files_of(tmp_path / "stopped")
    assert len(kept) == 12
    damaged = tmp_path / "stopped" / next(iter(kept))
    damaged.write_bytes(damaged.read_bytes()[:100])

    events: list[ProgressEvent] = []
    paint_collection(tmp_path / "stopped", events.append)
    assert len(events) == small - 12 + 1
    assert events[-1].done == events[-1].total == small
    paint_collection(tmp_path / "undisturbed", silent)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "undisturbed")


def test_a_finished_collection_is_left_alone(tmp_path: Path, small: int) -> None:
    paint_collection(tmp_path, silent)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bmp")}
    events: list[ProgressEvent] = []
    assert paint_collection(tmp_path, events.append) == tmp_path
    assert not events
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bmp")}


def test_no_picture_comes_twice() -> None:
    digests = {digest_of(paint_picture(style, index)) for style in STYLES for index in range(20)}
    assert len(digests) == 20 * len(STYLES)


def test_styles_can_be_told_apart() -> None:
    """The nearest mean, of colour, lightness and edges on a coarse grid, names the style."""
    features = {style: _features(style, range(24)) for style in STYLES}
    means = {style: rows[:12].mean(axis=0) for style, rows in features.items()}
    right = sum(
        min(means, key=lambda other: float(np.abs(row - means[other]).sum())) == style
        for style, rows in features.items()
        for row in rows[12:]
    )
    assert right >= 0.9 * 12 * len(STYLES)


def _features(style: str, indices: range) -> np.ndarray:
    pictures = np.stack([paint_picture(style, index) for index in indices]) / 255.0
    light = pictures.mean(axis=-1)
    edges = np.abs(np.diff(light, axis=1, prepend=0)) + np.abs(np.diff(light, axis=2, prepend=0))
    planes = np.concatenate([pictures, light[..., None], 4.0 * edges[..., None]], axis=-1)
    blocks = planes.reshape(len(planes), 8, SIDE // 8, 8, SIDE // 8, 5)
    return blocks.mean(axis=(2, 4)).reshape(len(planes), -1)


@pytest.mark.parametrize("style", STYLES)
def test_pictures_use_the_range_of_tones(style: str) -> None:
    """Neither flat nor burnt out: lights and darks apart, few pixels at either end."""
    pictures = np.stack([paint_picture(style, index) for index in range(12)])
    low, high = np.percentile(pictures.reshape(12, -1), [2, 98], axis=1)
    assert (high - low).min() > 80
    assert np.isin(pictures, (0, 255)).all(axis=-1).mean() < 0.01


def test_a_julia_set_is_its_own_half_turn() -> None:
    """The set of z^2 + c does not change when z becomes -z."""
    pixels = paint_picture("julia", 0)
    np.testing.assert_array_equal(pixels, pixels[::-1, ::-1])
