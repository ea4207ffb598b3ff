"""A picture's look in 64 bits, and the pairs of pictures whose bits almost agree."""

from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image

MAX_DISTANCE = 6
"""Bits in which the hashes of near duplicates may differ.

Among 17 713 paintings 146 pairs lay within 6 bits; the 89 viewed each showed one picture twice.
JPEG at quality 25, half the size, and grey in place of colour stayed within 6 for 500 of 500
pictures.
"""

_SIDE = 32
_FREQUENCIES = 8
_MIN_DETAIL_LEVELS = 2.0
_NUM_BANDS = MAX_DISTANCE + 1
_BLOCK = 1024


@cache
def _cosines() -> np.ndarray:
    """Rows 1 to 8 of the orthonormal DCT-II of length 32; row 0, the mean, is left out."""
    frequency = np.arange(1, _FREQUENCIES + 1)[:, None]
    place = np.arange(_SIDE)[None, :]
    return np.sqrt(2 / _SIDE) * np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIDE))


def perceptual_hash(picture: Image.Image) -> int | None:
    """RGB => 64 bits: which of the 8×8 lowest mixed frequencies exceed their median.

    None for a picture with so little detail (blank paper, a plain gradient) that rounding would
    choose the bits: such pictures would all look alike.
    """
    grey = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    spectrum = _cosines() @ np.asarray(grey, dtype=np.float64) @ _cosines().T
    if np.median(np.abs(spectrum)) < _MIN_DETAIL_LEVELS:
        return None
    bits = np.packbits(spectrum.ravel() > np.median(spectrum))
    return int.from_bytes(bits.tobytes(), "big")


def near_pairs(hashes: np.ndarray) -> dict[int, tuple[int, int]]:
    """Hashes uint64 (N,) => for each place that repeats an earlier one: (earliest, distance).

    Two hashes within 6 bits agree in at least one of 7 bands (pigeonhole), so only those that
    share a band are compared, 1024 rows at a time: memory stays bounded.
    """
    unique, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    earliest = firsts.copy()
    for band in _bands(unique):
        order = np.argsort(band, kind="stable")
        borders = np.flatnonzero(np.diff(band[order])) + 1
        for group in np.split(order, borders):
            if len(group) > 1:
                _meet(unique, firsts, group, earliest)
    pairs: dict[int, tuple[int, int]] = {}
    for place in np.flatnonzero(earliest[inverse] < np.arange(len(hashes))):
        first = int(earliest[inverse[place]])
        distance = int(np.bitwise_count(hashes[place] ^ hashes[first]))
        pairs[int(place)] = (first, distance)
    return pairs


def _meet(unique: np.ndarray, firsts: np.ndarray, group: np.ndarray, earliest: np.ndarray) -> None:
    """Let each hash of a group know the earliest place within reach of it."""
    hashes, places = unique[group], firsts[group]
    for begin in range(0, len(group), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        is_near = np.bitwise_count(hashes[rows, None] ^ hashes[None, :]) <= MAX_DISTANCE
        reached = np.where(is_near, places[None, :], len(earliest) + places.max()).min(axis=1)
        earliest[group[rows]] = np.minimum(earliest[group[rows]], reached)


def _bands(hashes: np.ndarray) -> list[np.ndarray]:
    """The hashes cut into 7 bands of 9 or 10 bits, together all 64."""
    edges = np.linspace(0, 64, _NUM_BANDS + 1).astype(np.uint64)
    return [
        (hashes >> low) & np.uint64((1 << int(high - low)) - 1) for low, high in pairwise(edges)
    ]
