"""What signing costs: pictures encoded and signed, against the same encoded alone."""

import os
import tempfile
from collections.abc import Iterator

import numpy as np

from atelier.contracts.samples import make_enhancement, make_origin
from benchmarks.measure import Ratio, compare, watched
from components.common.credentials.places import FOLDER
from components.conversion import ImageConverter
from interfaces.ics import ICS
from interfaces.iedt import IEDT

FORMATS = ("png", "jpeg", "webp", "avif", "tiff")
SIDES = (64, 256, 1024)
MOST_PIXELS = 1_000_000
"""Pictures of each round: so many that they come to this, at most 100."""


def benchmark() -> Iterator[Ratio]:
    """Each format at 64, 256 and 1024 pixels; beside each the CPU time and bytes of a picture."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        for name in FORMATS:
            for side in SIDES:
                yield _compared(name, side)


def _compared(name: str, side: int) -> Ratio:
    batch = _noise(side)
    signed, plain = ICS(format=name), ICS(format=name, sign=False)
    ratio = compare(
        f"{len(batch)} {name} pictures of {side}, signed, against unsigned",
        lambda: _bytes_of(batch, plain),
        lambda: _bytes_of(batch, signed),
        rounds=3,
    )
    before, after = (watched(lambda s=s: _bytes_of(batch, s)) for s in (plain, signed))
    seconds = (after.cpu_seconds - before.cpu_seconds) / len(batch)
    print(f"{'':<58} {1000 * seconds:+.2f} ms of CPU a picture,", end=" ")
    print(f"{(after.result - before.result) / len(batch):+,.0f} bytes")
    return ratio


def _bytes_of(batch: IEDT, settings: ICS) -> int:
    return sum(len(image.data) for image in ImageConverter().convert([batch], settings))


def _noise(side: int) -> IEDT:
    count = max(1, min(100, MOST_PIXELS // side**2))
    images = np.random.default_rng(0).uniform(-1, 1, (count, 3, side, side)).astype(np.float32)
    origins = tuple(make_origin(seed) for seed in range(count))
    return IEDT(images=images, origins=origins, enhancement=make_enhancement(1))
