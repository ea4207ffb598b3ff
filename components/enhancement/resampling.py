"""Plain enlargement, for what no network touches: alpha, the blend, the fallback."""

import numpy as np
from PIL import Image


def lanczos(planes: np.ndarray, scale: int, low: float, high: float) -> np.ndarray:
    """float32 (N, C, H, W) in [low, high] => float32 (N, C, scale·H, scale·W), same range.

    What Pillow gives for 8 bits, without its rounding: rows first, then columns, and what
    overshoots beside edges is clipped after each.
    """
    *shape, height, width = planes.shape
    enlarged = np.empty((*shape, height * scale, width * scale), np.float32)
    for place in np.ndindex(*shape):
        wider = _resize(planes[place], (width * scale, height)).clip(low, high)
        enlarged[place] = _resize(wider, (width * scale, height * scale))
    return enlarged.clip(low, high, out=enlarged)


def _resize(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))
