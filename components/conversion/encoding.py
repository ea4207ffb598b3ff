"""Pixels and metadata => the bytes of a file, in each of the five formats."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.iodt import MediaType

MEDIA_TYPES: dict[str, MediaType] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP_TAG, _ICC_TAG = 700, 34675  # TIFF


@dataclass(frozen=True)
class Metadata:
    """What goes into a file beside its pixels."""

    xmp: bytes
    icc_profile: bytes | None = None
    exif: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)


def encode(pixels: np.ndarray, settings: ICS, metadata: Metadata) -> bytes:
    """Pixels (H, W, 1 to 4), uint8 or uint16: grey, grey and alpha, RGB or RGB and alpha => a file.

    16 bits go into PNG and TIFF alone; the same input gives the same bytes.
    """
    if pixels.dtype == np.uint16:
        encoders = {"png": _encode_deep_png, "tiff": _encode_deep_tiff}
        return encoders[settings.format](pixels, metadata)
    image = Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels)
    return _save(image, settings, metadata)


def _save(image: Image.Image, settings: ICS, metadata: Metadata) -> bytes:
    options: dict[str, object] = {"icc_profile": metadata.icc_profile}
    if metadata.exif is not None:
        options["exif"] = metadata.exif
    if settings.format == "png":
        options["pnginfo"] = _png_info(metadata)
    elif settings.format == "tiff":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[_XMP_TAG] = metadata.xmp
        tags.tagtype[_XMP_TAG] = 1  # bytes
        options |= {"tiffinfo": tags, "compression": "tiff_adobe_deflate"}
    else:
        options |= {"xmp": metadata.xmp, "quality": settings.quality}
    if settings.format == "jpeg":
        options |= {"subsampling": 0 if settings.quality >= 90 else 2, "optimize": True}
    if settings.format == "webp":
        options |= {"lossless": settings.lossless, "method": 4, "exact": True}
    buffer = io.BytesIO()
    try:
        image.save(buffer, settings.format.upper(), **options)
    except (ValueError, OSError) as error:  # over JPEG's 64 KB a segment, over WebP's 16383 pixels
        width, height = image.size
        raise AtelierError(
            f"a picture of {width}x{height} does not fit into a {settings.format} file ({error}); "
            "choose --format png"
        ) from error
    return buffer.getvalue()


def _png_info(metadata: Metadata) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8"))
    for name, text in metadata.text.items():
        if name != "XML:com.adobe.xmp":
            info.add_itxt(name, text)
    return info


# Pillow writes no RGB of 16 bits. OpenCV does, but no metadata; so its pixels go together with the
# ancillary chunks of a PNG of one pixel that Pillow wrote.


def _encode_deep_png(pixels: np.ndarray, metadata: Metadata) -> bytes:
    import cv2

    channels = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if pixels.shape[2] == 2:  # OpenCV has no grey with alpha
        pixels = np.concatenate([pixels[..., :1].repeat(3, axis=2), pixels[..., 1:]], axis=2)
    order = channels[pixels.shape[2]]
    done, encoded = cv2.imencode(".png", pixels if order is None else cv2.cvtColor(pixels, order))
    assert done, "OpenCV encodes every array of 16 bits"
    donor = Image.new("L" if pixels.shape[2] == 1 else "RGB", (1, 1))
    carrier = _save(donor, ICS(format="png"), metadata)
    kept = [chunk for name, chunk in _chunks(carrier) if name not in (b"IHDR", b"IDAT", b"IEND")]
    header, *rest = [chunk for _, chunk in _chunks(encoded.tobytes())]
    return _PNG_SIGNATURE + b"".join([header, *kept, *rest])


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's name and its bytes, from length to checksum (PNG specification, 5.3)."""
    position = len(_PNG_SIGNATURE)
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        end = position + 12 + length
        yield png[position + 4 : position + 8], png[position:end]
        position = end


def _encode_deep_tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    import tifffile

    tags: list[tuple[int, int, int, bytes, bool]] = [
        (_XMP_TAG, 1, len(metadata.xmp), metadata.xmp, True)
    ]
    if metadata.icc_profile is not None:
        tags.append((_ICC_TAG, 7, len(metadata.icc_profile), metadata.icc_profile, True))
    buffer = io.BytesIO()
    channels = pixels.shape[2]
    tifffile.imwrite(
        buffer,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        extratags=tags,
        metadata=None,
        software=False,
    )
    return buffer.getvalue()
