"""Pictures in a row as one: an animation, and a strip of all of them."""

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin

from components.common.images import contact_sheet, open_upright
from components.common.png import XMP_KEYWORD
from components.conversion.xmp import packet
from interfaces.iodt import IODT

AnimationFormat = Literal["webp", "gif"]


def animate(
    frames: Sequence[IODT], file_format: AnimationFormat, frames_per_second: float
) -> bytes:
    """Encoded pictures of one size => one that moves, in an endless loop.

    It carries the first picture's record: in a WebP as XMP, in a GIF, which has no place for XMP
    that programs read, as its comment.
    """
    pictures = [_decoded(frame) for frame in frames]
    xmp = packet(frames[0].record)
    how = {"save_all": True, "append_images": pictures[1:], "loop": 0}
    how |= {"duration": round(1000 / frames_per_second)}  # milliseconds
    stream = io.BytesIO()
    if file_format == "gif":
        pictures[0].save(stream, "GIF", comment=xmp, **how)
    else:
        pictures[0].save(stream, "WEBP", xmp=xmp, quality=90, method=4, **how)
    return stream.getvalue()


def strip(frames: Sequence[IODT], columns: int) -> bytes:
    """Encoded pictures => a PNG of all of them in rows, with the first one's record."""
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(XMP_KEYWORD, packet(frames[0].record).decode("utf-8"))
    stream = io.BytesIO()
    sheet = contact_sheet([np.asarray(_decoded(frame)) for frame in frames], columns)
    sheet.save(stream, "PNG", pnginfo=texts)
    return stream.getvalue()


def _decoded(frame: IODT) -> Image.Image:
    return open_upright(frame.data).convert("RGB")
