"""Preparation of one picture: centre crop to a square, bicubic reduction, 8-bit RGB."""

import numpy as np
from PIL import Image

from components.common.images import to_rgb


def centre_square(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest square in the middle: (left, upper, right, lower) in pixels, as Pillow counts.

    Equal strips are discarded on both sides of the longer axis; where that leaves one pixel too
    many, it is taken from the right or the bottom.
    """
    side = min(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    return left, upper, left + side, upper + side


def prepare(
    picture: Image.Image, resolution: int, crop: tuple[int, int, int] | None = None
) -> np.ndarray:
    """An upright picture in any mode => uint8 (resolution, resolution, 3), RGB, 0 to 255.

    `crop`: left, upper and side of the square that is taken; None takes the one in the middle.
    Pixel for pixel what Pillow's bicubic `resize` gives; smaller pictures are enlarged by it too.
    """
    box = centre_square(*picture.size)
    if crop is not None:
        left, upper, side = crop
        box = (left, upper, left + side, upper + side)
    square = to_rgb(picture).crop(box)
    resized = square.resize((resolution, resolution), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.uint8)
