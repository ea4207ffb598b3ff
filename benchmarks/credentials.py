"""Cost of signing: pictures encoded and signed, against the same encoded alone."""

import os
import statistics
import tempfile
from collections.abc import Iterator

import numpy as np

from atelier.contracts.samples import make_enhancement, make_origin
from benchmarks.measure import Ratio, compare, watched
from components.common.credentials.places import FOLDER
from components.conversion import ImageConverter
from components.conversion.signing import signed
from interfaces.ics import ICS
from interfaces.iedt import IEDT

FORMATS = ("png", "jpeg", "webp", "avif", "tiff")
SIDES = (64, 256, 1024)
SIGNINGS = 12
MAX_PIXELS = 1_000_000
"""Pictures of each round: so many that they come to this, at most 100."""


def benchmark() -> Iterator[Ratio]:
    """Each format at 64, 256 and 1024 pixels; beside each what signing alone costs a picture.

    That is measured by itself, since beside an encoding of a second it is lost in the noise.
    """
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
    print(f"{'':<58} {_signing(batch, plain)}")
    return ratio


def _signing(batch: IEDT, plain: ICS) -> str:
    """CPU time and bytes that signing adds to the first picture, already encoded."""
    image = next(iter(ImageConverter().convert([batch], plain)))
    settings = plain.model_copy(update={"sign": True})
    runs = [
        watched(lambda: signed(image.data, image.media_type, image.record, settings))
        for _ in range(SIGNINGS)
    ]
    milliseconds = 1000 * statistics.median(run.cpu_seconds for run in runs)
    more = len(runs[0].result) - len(image.data)
    return f"{milliseconds:.2f} ms of CPU to sign one, {more:+,} bytes"


def _bytes_of(batch: IEDT, settings: ICS) -> int:
    return sum(len(image.data) for image in ImageConverter().convert([batch], settings))


def _noise(side: int) -> IEDT:
    count = max(1, min(100, MAX_PIXELS // side**2))
    images = np.random.default_rng(0).uniform(-1, 1, (count, 3, side, side)).astype(np.float32)
    origins = tuple(make_origin(seed) for seed in range(count))
    return IEDT(images=images, origins=origins, enhancement=make_enhancement(1))
