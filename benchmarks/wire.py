"""A batch as bytes and back, against raw safetensors, which check nothing and hold no origins."""

from collections.abc import Callable, Iterator

import numpy as np
from safetensors.numpy import load, save

from benchmarks.measure import Ratio, compare, watched
from interfaces.arrays import hand_over
from interfaces.igdt import IGDT
from interfaces.record import GeneratedOrigin

SHAPE = (100, 3, 256, 256)


def benchmark() -> Iterator[Ratio]:
    """100 pictures of 256×256 in float32: 79 MB."""
    images = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    origins = tuple(map(_origin, range(len(images))))
    batch = IGDT(images=hand_over(images.copy()), origins=origins)
    data, raw = batch.to_bytes(), save({"images": images})
    megabytes = images.nbytes / 1e6
    for name, reference, ours in (
        ("to_bytes, against safetensors' save", lambda: save({"images": images}), batch.to_bytes),
        ("from_bytes, against its load", lambda: load(raw), lambda: IGDT.from_bytes(data)),
        (
            "an array that is copied, against one handed over",
            lambda: IGDT(images=batch.images, origins=origins),
            lambda: IGDT(images=images, origins=origins),
        ),
    ):
        ratio = compare(name, reference, ours)
        yield ratio
        print(f"{'':<58} {megabytes / ratio.reference_seconds:5.0f} MB/s", end="")
        print(f" {megabytes / ratio.our_seconds:5.0f} MB/s")
        print(f"{'':<58} {_mebibytes(reference):6.0f} MiB {_mebibytes(ours):6.0f} MiB at the peak")


def _mebibytes(action: Callable[[], object]) -> float:
    return watched(action).mebibytes


def _origin(seed: int) -> GeneratedOrigin:
    return GeneratedOrigin(
        seed=seed,
        index=seed,
        family="benchmark",
        model_digest="0" * 64,
        dataset_name="noise",
        dataset_digest=None,
    )
