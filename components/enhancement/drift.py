"""Drift: how far enlargement moved a picture from what it was."""

import numpy as np


def drift(pictures: np.ndarray, enlarged: np.ndarray) -> tuple[float, ...]:
    """Root mean square of each picture's change by enlargement, in levels of 255.

    `pictures` are float32 (N, 3, H, W) in [-1, 1], `enlarged` the same s times as high and wide.
    Each square of s × s pixels is averaged back into one, as a camera's pixel does, and compared
    with the one that it came from, over all pixels and colours. 0 is a picture that only gained
    detail; a shift of every pixel by one level is 1. Rounded to 0.001.
    """
    if enlarged is pictures:
        return (0.0,) * len(pictures)
    _, channels, height, width = pictures.shape
    scale = enlarged.shape[2] // height
    figures: list[float] = []
    for before, after in zip(pictures, enlarged, strict=True):
        squares = after.reshape(channels, height, scale, width, scale)
        moved = (squares.mean(axis=(2, 4)) - before) * 127.5
        figures.append(round(float(np.sqrt(np.mean(np.square(moved, dtype=np.float64)))), 3))  # pyright: ignore[reportUnknownArgumentType]
    return tuple(figures)
