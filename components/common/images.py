"""The one place where files, uint8 and [-1, 1] meet.

Arrays of pixels are (N, H, W, C), uint8, 0 to 255; pictures in flight are (N, C, H, W), float32,
-1 to 1. Leaving the float range rounds, so every one of the 256 levels comes back.
"""

import io
import logging
import math
import warnings

import numpy as np
from PIL import Image, ImageOps

# Limits are checked by us, with a clear message, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
# Of some faults Pillow also logs what it raises, which Python prints where nobody listens.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_SIXTEEN_BIT_MODES = {"I;16", "I;16L", "I;16B", "I;16N", "I"}


def open_upright(data: bytes, max_pixels: int | None = None) -> Image.Image:
    """An image file => its first frame, turned as its EXIF orientation says, in its own mode.

    Raises what Pillow raises: `UnidentifiedImageError` where it is no image, `OSError` and
    others where it is damaged; `ValueError`, before a pixel is decoded, where it is too large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF and palettes are worth no word to a person
        image = Image.open(io.BytesIO(data))
        if max_pixels is not None and image.width * image.height > max_pixels:
            size = f"{image.width:,} x {image.height:,}"
            raise ValueError(f"is {size} pixels; at most {max_pixels:,} in all are read")
        image.load()
        return ImageOps.exif_transpose(image)


def planes_to_image(data: bytes, width: int, height: int) -> Image.Image:
    """Bare uint8 planes (3, height, width), as CIFAR stores them => an RGB image."""
    planes = np.frombuffer(data, dtype=np.uint8).reshape(3, height, width)
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode => RGB, 8 bits a colour. Transparent parts show white, as on a page."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bit_to_grey(image).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(to_grey_levels(np.asarray(image))).convert("RGB")
    if is_transparent(image):
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image.convert("RGB")


def is_transparent(image: Image.Image) -> bool:
    """Whether the image has an opacity of its own, which a conversion to RGB would lose."""
    return image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info


def _sixteen_bit_to_grey(image: Image.Image) -> Image.Image:
    """16 bits => 8 bits by 65535 => 255, where Pillow's own conversion would clip at 255."""
    levels = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.rint(np.clip(levels, 0, 65535) / 257.0).astype(np.uint8))


def to_grey_levels(values: np.ndarray) -> np.ndarray:
    """Floating point samples => uint8; [0, 1] is taken as black to white, else 0 to 255."""
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=255.0, neginf=0.0)
    scale = 255.0 if finite.max(initial=0.0) <= 1.0 else 1.0
    return np.rint(np.clip(finite * scale, 0, 255)).astype(np.uint8)


def pixels_to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3), 0 to 255 => float32 (N, 3, H, W), -1 to 1 (paper 002, data)."""
    planes = np.moveaxis(pixels, -1, -3).astype(np.float32)
    return np.ascontiguousarray(planes / 127.5 - 1.0)


def float_to_pixels(images: np.ndarray) -> np.ndarray:
    """float32 (N, 3, H, W), -1 to 1 => uint8 (N, H, W, 3), rounded to the nearest level."""
    return float_to_levels((images + 1.0) / 2.0, np.uint8)


def float_to_levels(planes: np.ndarray, dtype: type[np.unsignedinteger]) -> np.ndarray:
    """Floating point (…, C, H, W), 0 to 1 => uint8 or uint16 (…, H, W, C), rounded."""
    highest = np.iinfo(dtype).max
    levels = np.clip(np.rint(planes * highest), 0, highest).astype(dtype)
    return np.ascontiguousarray(np.moveaxis(levels, -3, -1))


def contact_sheet(
    pixels: list[np.ndarray], columns: int | None = None, gap: int = 4
) -> Image.Image:
    """Equal tiles uint8 (H, W, 3) => one picture, row by row, on a quiet dark ground."""
    columns = columns or math.ceil(math.sqrt(len(pixels)))
    rows = math.ceil(len(pixels) / columns)
    height, width = pixels[0].shape[:2]
    size = (columns * (width + gap) + gap, rows * (height + gap) + gap)
    sheet = Image.new("RGB", size, (24, 24, 27))
    for place, tile in enumerate(pixels):
        row, column = divmod(place, columns)
        sheet.paste(
            Image.fromarray(tile), (gap + column * (width + gap), gap + row * (height + gap))
        )
    return sheet


def pair_sheet(left: np.ndarray, right: np.ndarray) -> Image.Image:
    """Pictures uint8 (N, H, W, 3), each beside its partner, enlarged enough to be judged."""
    enlarged = max(1, 128 // left.shape[1])
    pairs = np.concatenate([left, right], axis=2).repeat(enlarged, axis=1)
    return contact_sheet(list(pairs.repeat(enlarged, axis=2)), columns=4)
