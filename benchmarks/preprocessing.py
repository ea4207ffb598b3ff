"""Preparing a collection, against the loop that everybody writes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Ratio, compare
from components.preprocessing import create as create_preprocessor
from components.training_store import create as create_store
from interfaces.ipdt import PreprocessingSettings
from interfaces.itdt import CollectionSettings
from interfaces.progress import silent

NUM_PICTURES = 600
SIDES = (480, 360)


def benchmark() -> Iterator[Ratio]:
    """600 JPEGs of 480×360 to 64×64: Pillow in a plain loop, and the component."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _paint(folder / "art")
        collection = create_store(folder).collect(
            CollectionSettings(data=str(folder / "art")), silent
        )

        def plain() -> None:
            arrays = [_prepare(path) for path in sorted((folder / "art").rglob("*.jpg"))]
            np.save(folder / "plain.npy", np.stack(arrays))

        def ours() -> None:
            shutil.rmtree(folder / "prepared", ignore_errors=True)
            create_preprocessor(folder).preprocess(collection, PreprocessingSettings(), silent)

        yield compare(f"prepare {NUM_PICTURES} JPEGs, against a plain Pillow loop", plain, ours)


def _paint(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(NUM_PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        coarse.resize(SIDES, Image.Resampling.BICUBIC).save(folder / f"{number:04d}.jpg")


def _prepare(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
        return np.asarray(square.resize((64, 64), Image.Resampling.BICUBIC))
