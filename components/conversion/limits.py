"""Largest picture that each file format holds."""

from components.common.images import MAX_ENLARGED_PIXELS
from interfaces.ics import ImageFormat

# What the libraries write and read: libjpeg 65500 (the standard 65535), libwebp 2**14 - 1; libavif
# writes more than it reads.
_MAX_SIDE: dict[ImageFormat, int] = {"jpeg": 65_500, "webp": 16_383, "avif": 32_768}
_MAX_PIXELS: dict[ImageFormat, int] = {"avif": 1 << 28}


def too_large(width: int, height: int, file_format: ImageFormat) -> str | None:
    """Reason why a picture of this size does not fit into a format's file; None where it fits."""
    max_side = _MAX_SIDE.get(file_format)
    max_pixels = _MAX_PIXELS.get(file_format)
    if max_side is not None and max(width, height) > max_side:
        limit = f"at most {max_side:,} pixels a side"
    elif max_pixels is not None and width * height > max_pixels:
        limit = f"at most {max_pixels:,} pixels"
    else:
        return None
    return (
        f"a picture of {width}x{height} does not fit into a {file_format} file ({limit}); choose "
        "--format png"
    )


def cannot_be_enlarged(
    width: int, height: int, scale: int, file_format: ImageFormat | None = None
) -> str | None:
    """Reason why a picture cannot be enlarged, or not into such a file; None where it can."""
    if width * height * scale**2 > MAX_ENLARGED_PIXELS:
        return (
            f"is {width} x {height} pixels, and {scale} times as high and wide would not fit into "
            f"memory (at most {MAX_ENLARGED_PIXELS:,} pixels); choose a smaller scale or reduce "
            "the picture first"
        )
    if file_format is not None and (fault := too_large(width * scale, height * scale, file_format)):
        return f"is too large: {fault}"
    return None
