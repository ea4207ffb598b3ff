"""An invisible watermark in the pixels: TrustMark (Bui, Agarwal, Collomosse, arXiv:2311.18297).

It carries 61 bits, which name a picture and say nothing else. TrustMark's package fetches its
weights by itself where they are missing; here it is never asked to, and their digests are checked.
"""

import contextlib
import hashlib
import io
import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from PIL import Image

from components.common.images import MAX_ENLARGED_PIXELS, open_upright
from components.common.vision import import_torchvision
from interfaces.errors import RefusedError, UnavailableError
from interfaces.ics import AUTOMATIC


class Networks(Protocol):
    """The methods of `trustmark.TrustMark` that are used."""

    def encode(self, in_cover_image: Image.Image, string_secret: str, MODE: str) -> Image.Image:
        """Return the marked picture."""
        ...

    def decode(self, in_stego_image: Image.Image, MODE: str) -> tuple[str, bool, int]:
        """Return the bits, whether a mark was found, and the schema of its bits."""
        ...


ALGORITHM = "com.adobe.trustmark.Q"
"""The watermark's name on C2PA's list of soft bindings."""

SMALLEST = 256
"""Pixels of the shorter side from which on a picture is marked."""

_VARIANT = "Q"
_SCHEMA = 1
"""BCH_5: 61 bits that survive 5 flipped ones. The weaker schemas are found by chance too often."""
_NUM_BITS = 61
_FILES = (f"trustmark_{_VARIANT}.yaml", f"encoder_{_VARIANT}.ckpt", f"decoder_{_VARIANT}.ckpt")

_log = logging.getLogger("atelier")


def check_watermark() -> None:
    """Raise `UnavailableError` where no watermark can be written, before any work is done."""
    if find_spec("trustmark") is None:
        raise UnavailableError("watermark: TrustMark is missing; pip install 'atelier[watermark]'")
    if missing := _missing():
        raise UnavailableError(
            f"watermark: {missing[0]} is missing or damaged; fetch TrustMark's weights once with "
            '`python -c "from trustmark import TrustMark; TrustMark(loadRemover=False)"`'
        )


def marked(pixels: np.ndarray, wanted: str) -> tuple[np.ndarray, str]:
    """Mark a picture (H, W, C), uint8 or uint16 => the marked picture, and its id.

    `wanted` is the id, or 'auto': one made of the picture's own digest. Alpha stays as it is.
    Raises `RefusedError` for a picture that is too small, and what `check_watermark` raises.
    """
    height, width, channels = pixels.shape
    if min(height, width) < SMALLEST:
        raise RefusedError(
            f"watermark: {width} x {height} pixels are too few to hold one; enlarge the picture to "
            f"{SMALLEST} at least, or leave the watermark out"
        )
    levels = _levels(pixels)
    name = _name_of(levels) if wanted == AUTOMATIC else wanted
    image = Image.fromarray(levels)
    after = trustmark_networks().encode(image, bits_of(name), MODE="binary")
    change = np.asarray(after).astype(np.int32) - levels
    if channels < 3:  # grey: the mark as its brightness
        change = change.mean(axis=2, keepdims=True).round().astype(np.int32)
    result = pixels.copy()
    colours = slice(0, change.shape[2])
    most = np.iinfo(pixels.dtype).max
    moved = pixels[..., colours] + change * (most // 255)
    result[..., colours] = moved.clip(0, most)
    return result, name


def read_watermark(data: bytes) -> str | None:
    """The id that a picture's pixels hold; None without one, or where none can be read here.

    Call it inside `foreign`: a decoder raises nearly anything for a damaged picture.
    """
    try:
        networks = trustmark_networks()
    except UnavailableError:
        return None
    image = open_upright(data, MAX_ENLARGED_PIXELS).convert("RGB")
    bits, is_found, schema = networks.decode(image, MODE="binary")
    return f"{int(bits, 2):016x}" if is_found and schema == _SCHEMA else None


def bits_of(name: str) -> str:
    """An id as the 61 bits that are written."""
    return f"{int(name, 16):0{_NUM_BITS}b}"


def bound_value(name: str) -> str:
    """An id as the soft-binding assertion has it: the schema, and the bits."""
    return f"{_SCHEMA}*{bits_of(name)}"


def _name_of(levels: np.ndarray) -> str:
    digest = int.from_bytes(hashlib.sha256(levels.tobytes()).digest()[:8], "big")
    return f"{digest >> (64 - _NUM_BITS):016x}"


def _levels(pixels: np.ndarray) -> np.ndarray:
    """Three colours of 8 bits, (H, W, 3)."""
    colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    return colours if pixels.dtype == np.uint8 else (colours // 257).astype(np.uint8)


def weights_folder() -> Path:
    """Folder in which TrustMark's package looks for its weights."""
    spec = find_spec("trustmark")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "models"


def _missing() -> list[Path]:
    """Files of TrustMark's weights that are not there as its authors published them.

    The package is imported only where the files are there: that takes seconds.
    """
    files = [weights_folder() / name for name in _FILES]
    if absent := [path for path in files if not path.is_file()]:
        return absent
    published: dict[str, str] = _package().MODEL_CHECKSUMS
    return [path for path in files if _md5(path) != published[path.name]]


def _package() -> ModuleType:
    import_torchvision()  # which the package imports, and which may need help
    return import_module("trustmark.trustmark")


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@cache
def trustmark_networks() -> Networks:
    """Load TrustMark's networks, on the processor. What the package prints goes to the log.

    Raises what `check_watermark` raises.
    """
    check_watermark()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        mark: Networks = _package().TrustMark(
            verbose=False,
            device="cpu",
            model_type=_VARIANT,
            encoding_type=_SCHEMA,
            loadRemover=False,
        )
    _log.debug("TrustMark: %s", said.getvalue().strip())
    return mark
