"""The one place where files, uint8 and [-1, 1] meet.

Arrays of pixels are (N, H, W, C), uint8, 0 to 255; pictures in flight are (N, C, H, W), float32,
-1 to 1. Leaving the float range rounds, so every one of the 256 levels comes back.
"""

import io
import logging
import math
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from components.common.decoding import FORMATS, Header, open_source, read_header, samples_of
from components.common.files import open_regular
from components.common.samples import Samples, UnsupportedError
from interfaces.errors import AtelierError, DamagedError, NotFoundError, RefusedError

# Of some faults Pillow also logs what it raises, which Python prints where nobody listens.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 100_000_000
"""A person's larger picture is refused before it is decoded: it would not fit into memory."""

MAX_ENLARGED_PIXELS = 400_000_000
"""Largest size of one enlarged picture: 20 000 x 20 000, which take 4.8 GB in float32."""


@contextmanager
def foreign(what: str) -> Generator[None]:
    """Read bytes of unknown origin: whatever a decoder raises becomes one `AtelierError`.

    `what` is the file's name, the first words of the message. Warnings of decoders are silenced:
    odd EXIF and palettes are worth no word to a person.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except AtelierError:
        raise
    except (UnidentifiedImageError, UnsupportedError) as error:
        raise RefusedError(f"{what}: {error}") from error
    except MemoryError as error:
        raise RefusedError(f"{what}: takes more memory than there is; reduce it first") from error
    except FileNotFoundError as error:
        raise NotFoundError(f"{what}: cannot be read ({error.strerror})") from error
    except OSError as error:
        if error.strerror:
            raise RefusedError(f"{what}: cannot be read ({error.strerror})") from error
        raise DamagedError(f"{what}: damaged ({_short(error)})") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise DamagedError(f"{what}: damaged ({_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def check_header(
    source: bytes | Path | BinaryIO,
    max_pixels: int | None = MAX_PIXELS,
    formats: Sequence[str] = FORMATS,
) -> Header:
    """Width, height, pixel format and file format, from the header alone.

    For whoever takes files in: nothing is decoded, so it costs next to nothing for any file. A path
    is opened only where it leads to a regular file; a stream is read from where it is. Raises
    `UnsupportedError` for a picture of over `max_pixels` or of a kind that is not read,
    `UnidentifiedImageError` for what is no picture, and nearly anything for a damaged one: call it
    inside `foreign`.
    """
    if isinstance(source, Path):
        with open_regular(source) as stream:
            return check_header(stream, max_pixels, formats)
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    header = read_header(stream, formats)
    _check_size(header, max_pixels)
    return header


def _check_size(header: Header, max_pixels: int | None) -> None:
    if max_pixels is not None and header.num_pixels > max_pixels:
        size = f"{header.width:,} x {header.height:,}"
        raise UnsupportedError(
            f"is {size} pixels; at most {max_pixels:,} in all are read; reduce it first"
        )


def open_upright(data: bytes, max_pixels: int | None = None) -> Image.Image:
    """An image file => its first frame, upright, in 8 bits: mode L, LA, RGB or RGBA.

    Raises `UnidentifiedImageError` where it is no image, `UnsupportedError` for a picture that is
    too large or of a kind that is not read, nearly anything where it is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = open_source(data)
        _check_size(source.header, max_pixels)
        return _to_image(source.decode())


def _to_image(samples: Samples) -> Image.Image:
    levels = samples.in_8_bits()
    bands = levels.colours
    if levels.opacity is not None:
        bands = np.concatenate([bands, levels.opacity[..., None]], axis=-1)
    return Image.fromarray(
        np.ascontiguousarray(bands.squeeze(-1) if bands.shape[-1] == 1 else bands)
    )


def planes_to_image(data: bytes, width: int, height: int) -> Image.Image:
    """Bare uint8 planes (3, height, width), as CIFAR stores them => an RGB image."""
    planes = np.frombuffer(data, dtype=np.uint8).reshape(3, height, width)
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode => RGB, 8 bits a colour. Transparent parts show white, as on a page."""
    if image.mode == "RGB" and not is_transparent(image):
        return image
    plain = _to_image(samples_of(image))
    if not is_transparent(plain):
        return plain.convert("RGB")
    layered = plain.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")


def is_transparent(image: Image.Image) -> bool:
    """Whether the image has an opacity of its own, which a conversion to RGB would lose."""
    return image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info


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
