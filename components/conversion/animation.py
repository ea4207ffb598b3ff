"""Pictures in a row as one: an animation, and a strip of all of them."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, PngImagePlugin

from components.common.images import contact_sheet, open_upright
from components.common.png import XMP_KEYWORD
from components.conversion.signing import signed
from components.conversion.xmp import packet
from interfaces.ics import ICS, AnimationFormat
from interfaces.iodt import IODT
from interfaces.record import Record


def animate(
    frames: Sequence[IODT], file_format: AnimationFormat, frames_per_second: float
) -> bytes:
    """Encoded pictures of one size => one that moves, in an endless loop.

    It carries the first picture's record: in a WebP as XMP, in a GIF, which has no place for XMP
    that programs read, as its comment.
    """
    pictures = [_decoded(frame) for frame in frames]
    record, settings = frames[0].record, _settings_of(frames[0])
    xmp = packet(record, settings)
    how = {"save_all": True, "append_images": pictures[1:], "loop": 0}
    how |= {"duration": round(1000 / frames_per_second)}  # milliseconds
    stream = io.BytesIO()
    if file_format == "gif":
        pictures[0].save(stream, "GIF", comment=xmp, **how)
    else:
        pictures[0].save(stream, "WEBP", xmp=xmp, quality=90, method=4, **how)
    return signed(stream.getvalue(), f"image/{file_format}", record, settings)


def strip(frames: Sequence[IODT], columns: int) -> bytes:
    """Encoded pictures => a PNG of all of them in rows, with the first one's record."""
    tiles = [np.asarray(_decoded(frame)) for frame in frames]
    return sheet(tiles, frames[0].record, _settings_of(frames[0]), columns)


def sheet(
    tiles: Sequence[np.ndarray], record: Record, settings: ICS, columns: int | None = None
) -> bytes:
    """Equal tiles uint8 (H, W, 3) => a PNG of all of them, with one record for all, signed.

    They lie in a square where no number of columns is given.
    """
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(XMP_KEYWORD, packet(record, settings).decode("utf-8"))
    stream = io.BytesIO()
    contact_sheet(list(tiles), columns).save(stream, "PNG", pnginfo=texts)
    return signed(stream.getvalue(), "image/png", record, settings)


def _settings_of(frame: IODT) -> ICS:
    """Settings that a frame was encoded with, signing among them; without its own watermark."""
    return ICS.model_validate(frame.record.conversion).model_copy(update={"watermark": None})


def _decoded(frame: IODT) -> Image.Image:
    return open_upright(frame.data).convert("RGB")
