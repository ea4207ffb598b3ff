"""Pixels and metadata => the bytes of a file, in each of the five formats."""

import io
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin, TiffTags

from components.common.png import SIGNATURE, XMP_KEYWORD, chunks
from components.conversion.iptc import jpeg_segment
from components.conversion.limits import too_large
from components.conversion.metadata import COMMENT, Metadata, readable_exif
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.iodt import MediaType

MEDIA_TYPES: dict[str, MediaType] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
}
"""Media types of the formats, by their names in ICS."""


def encode(pixels: np.ndarray, settings: ICS, metadata: Metadata) -> bytes:
    """Pixels (H, W, 1 to 4), uint8 or uint16: grey, grey and alpha, RGB or RGB and alpha => a file.

    uint16 goes into PNG and TIFF alone, and never as grey with alpha; the same input gives the
    same bytes. Raises `RefusedError` for a picture that is too large for the format.
    """
    height, width = pixels.shape[:2]
    if (fault := too_large(width, height, settings.format)) is not None:
        raise RefusedError(fault)
    if settings.format == "tiff":
        return _encode_tiff(pixels, metadata)
    if pixels.dtype == np.uint16:
        return _encode_deep_png(pixels, metadata)
    image = Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels)
    return _save(image, settings, metadata)


def _save(image: Image.Image, settings: ICS, metadata: Metadata) -> bytes:
    options: dict[str, object] = {"icc_profile": metadata.icc_profile}
    if metadata.exif is not None:
        options["exif"] = metadata.exif
    if metadata.dpi is not None and settings.format in ("png", "jpeg"):
        options["dpi"] = metadata.dpi
    if settings.format == "png":
        options["pnginfo"] = _png_info(metadata)
    else:
        options |= {"xmp": metadata.xmp, "quality": settings.quality}
    if settings.format == "jpeg":
        return _save_jpeg(image, settings, metadata, options)
    if settings.format == "avif":
        options |= {"subsampling": "4:4:4" if settings.quality >= 90 else "4:2:0"}
    if settings.format == "webp":
        options |= {"lossless": settings.lossless, "method": 4, "exact": True}
    return _saved(image, settings.format, options)


def _save_jpeg(
    image: Image.Image, settings: ICS, metadata: Metadata, options: dict[str, object]
) -> bytes:
    options |= {"subsampling": 0 if settings.quality >= 90 else 2}
    if COMMENT in metadata.text:
        options["comment"] = metadata.text[COMMENT].encode("utf-8")
    if metadata.iptc is not None:
        options["extra"] = jpeg_segment(metadata.iptc)
    try:
        return _saved(image, "jpeg", options | {"optimize": True})
    except OSError:
        # To optimise, libjpeg needs a buffer for the whole file, and Pillow's guess of its size is
        # too small for fine grain at high quality. Without, it writes piece by piece: 2 % more.
        return _saved(image, "jpeg", options)


def _saved(image: Image.Image, file_format: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format.upper(), **options)
    return buffer.getvalue()


def _png_info(metadata: Metadata) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, text in metadata.text.items():
        info.add_itxt(name, text)
    # Last, so that no text of that name can stand for it in what Pillow reads.
    info.add_itxt(XMP_KEYWORD, metadata.xmp.decode("utf-8"))
    return info


# Pillow writes no RGB of 16 bits. OpenCV does, but no metadata; so its pixels go together with the
# ancillary chunks of a PNG of one pixel that Pillow wrote.


def _encode_deep_png(pixels: np.ndarray, metadata: Metadata) -> bytes:
    import cv2

    channels = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    order = channels[pixels.shape[2]]
    done, encoded = cv2.imencode(".png", pixels if order is None else cv2.cvtColor(pixels, order))
    assert done, "OpenCV encodes every array of 16 bits"
    donor = Image.new("L" if pixels.shape[2] == 1 else "RGB", (1, 1))
    carrier = _save(donor, ICS(format="png"), metadata)
    picture = (b"IHDR", b"IDAT", b"IEND")
    kept = [chunk for name, _, chunk in chunks(carrier) if name not in picture]
    header, *rest = [chunk for _, _, chunk in chunks(encoded.tobytes())]
    return SIGNATURE + b"".join([header, *kept, *rest])


# Pillow writes no RGB of 16 bits into a TIFF either, and loses EXIF where it compresses one. But it
# writes the directory of tags, and all else in a TIFF are strips: some rows each, compressed.

_STRIP_BYTES = 1 << 18  # what readers take at a time, before compression
_DEFLATE, _HORIZONTAL_DIFFERENCES, _UNASSOCIATED_ALPHA = 8, 2, 2  # TIFF's own numbers

# EXIF shares its directory with TIFF. Texts describe a picture, and so do these numbers and bytes;
# all others say how the file was laid out that they come from.
_DESCRIPTIVE = {
    ExifTags.Base.Rating,
    ExifTags.Base.RatingPercent,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
}


# A baseline TIFF must state a resolution (TIFF 6.0, section 8). This one says: square pixels, of no
# known size.
_NO_RESOLUTION = {
    ExifTags.Base.XResolution: 1.0,
    ExifTags.Base.YResolution: 1.0,
    ExifTags.Base.ResolutionUnit: 1,
}


def _exif_tags(block: bytes) -> dict[int, object]:
    """Tags of EXIF that a TIFF keeps among its own, inner directories as dictionaries."""
    exif = readable_exif(block)
    tags: dict[int, object] = {
        tag: value for tag, value in exif.items() if isinstance(value, str) or tag in _DESCRIPTIVE
    }
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        inner = exif.get_ifd(directory)
        if kept := {tag: inner[tag] for tag in inner if tag != ExifTags.IFD.Interop}:
            tags[directory] = kept
    return tags


def _encode_tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    height, width, _ = pixels.shape
    num_rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
    strips = [_strip(pixels[y : y + num_rows]) for y in range(0, height, num_rows)]
    sizes = [len(strip) for strip in strips]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    _add_metadata(tags, metadata)
    _add_layout(tags, pixels)
    tags[TiffImagePlugin.ROWSPERSTRIP] = num_rows
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = tuple(sizes)
    # Counted from the end of the directory; Pillow adds where that is.
    tags[TiffImagePlugin.STRIPOFFSETS] = tuple(np.cumsum([0, *sizes[:-1]]).tolist())
    buffer = io.BytesIO()
    try:
        tags.save(buffer)
    except (struct.error, OverflowError) as error:
        raise RefusedError(
            f"a picture of {width}x{height} does not fit into a TIFF file (4 GB); choose "
            "--format png"
        ) from error
    return buffer.getvalue() + b"".join(strips)


def _strip(rows: np.ndarray) -> bytes:
    """Some rows, compressed."""
    # Differences between neighbours, which wrap around, compress far better than levels.
    differences = np.diff(rows, axis=1, prepend=rows.dtype.type(0))
    return zlib.compress(differences.astype(rows.dtype.newbyteorder("<")).tobytes())


def _add_metadata(tags: TiffImagePlugin.ImageFileDirectory_v2, metadata: Metadata) -> None:
    described = {} if metadata.exif is None else _exif_tags(metadata.exif)
    for tag, value in (_NO_RESOLUTION | described).items():
        tags[tag] = value
    tags[TiffImagePlugin.XMP] = metadata.xmp
    if metadata.iptc is not None:
        tags.tagtype[TiffImagePlugin.IPTC_NAA_CHUNK] = TiffTags.UNDEFINED
        tags[TiffImagePlugin.IPTC_NAA_CHUNK] = metadata.iptc
    if metadata.icc_profile is not None:
        tags[TiffImagePlugin.ICCPROFILE] = metadata.icc_profile


def _add_layout(tags: TiffImagePlugin.ImageFileDirectory_v2, pixels: np.ndarray) -> None:
    height, width, channels = pixels.shape
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (pixels.itemsize * 8,) * channels
    tags[TiffImagePlugin.COMPRESSION] = _DEFLATE
    tags[TiffImagePlugin.PREDICTOR] = _HORIZONTAL_DIFFERENCES
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2 if channels >= 3 else 1  # RGB or grey
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    if channels in (2, 4):
        tags[TiffImagePlugin.EXTRASAMPLES] = _UNASSOCIATED_ALPHA
