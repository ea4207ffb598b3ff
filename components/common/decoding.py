"""Image files from anywhere => what their pixels show: the one reader of the whole project.

PNG and TIFF are taken apart here as far as Pillow gets them wrong; all else is Pillow's. No global
limit of Pillow is changed: whoever calls checks the size in the header first.
"""

import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageCms, TiffImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from components.common import png, tiff
from components.common.narrowing import is_tuple
from components.common.samples import Samples, UnsupportedError, floating, unsigned
from components.common.tiff import whole_numbers

# fmt: off
FORMATS = (
    "PNG", "JPEG", "TIFF", "WEBP", "AVIF", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "QOI", "ICO",
    "PCX", "SGI", "SUN", "MSP", "XBM", "XPM", "DDS",
)
# fmt: on
"""Formats recognised by content, as Pillow names them: none runs another program."""

_UNREAD = {
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"v/1\x01": "an OpenEXR picture",
    b"\xff\xd8\xff": "a damaged JPEG, or one of other than 8 bits",
}
_UNREAD_BOXES = {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"}
_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N"}
_BLOCKS = {"icc_profile": 34675, "xmp": 700, "iptc": 33723, "photoshop": 34377}  # TIFF's tags
_EXIF_TEXTS = {png.XMP_KEYWORD, "Raw profile type exif", "Raw profile type APP1"}
_APP13 = b"Photoshop 3.0\0"
_START_BYTES = 33  # of a PNG: up to the end of its header
_MAX_HEADER_READS = 20_000  # by Pillow's readers, which go through a header part by part


_OWN_MEDIA_TYPES = {"JPEG2000": "image/jp2", "DIB": "image/bmp", "TGA": "image/x-tga"}


def media_type_of(file_format: str) -> str:
    """The media type of a format by Pillow's name for it: 'PNG' => 'image/png'."""
    return _OWN_MEDIA_TYPES.get(file_format, f"image/{file_format.lower()}")


Info = dict[str | tuple[int, int], Any]
"""Contents of a file beside its pixels, as Pillow types them."""


@dataclass(frozen=True)
class Header:
    """Description of a picture by its file's header, before a pixel is decoded."""

    width: int
    height: int
    mode: str
    """The pixel format, as Pillow names it: 'RGB', 'I;16'."""
    format: str
    """The file format, as Pillow names it: 'PNG'."""

    @property
    def num_pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


@dataclass
class Source(ABC):
    """An image file that was opened, and not decoded yet."""

    header: Header
    info: Info = field(default_factory=dict)
    """Under Pillow's names: 'icc_profile', 'xmp', 'dpi'."""
    exif: Image.Exif = field(default_factory=Image.Exif)
    is_animated: bool = False
    lost: tuple[str, ...] = ()
    """Parts of the metadata that are damaged and were left out."""
    texts: dict[str, str] = field(default_factory=dict)
    """Text chunks of a PNG."""

    def decode(self) -> Samples:
        """The first frame, upright. Raises nearly anything where the file is damaged."""
        return self._samples().upright(self.exif.get(ExifTags.Base.Orientation, 1))

    @abstractmethod
    def _samples(self) -> Samples:
        """The first frame as stored."""


def open_source(data: bytes, formats: Sequence[str] = FORMATS) -> Source:
    """Open a file of one of these formats, whatever its name; its pixels are not decoded.

    Raises `UnidentifiedImageError` where it is of none, `UnsupportedError` for a kind that is not
    read, and nearly anything where it is damaged.
    """
    if data.startswith(png.SIGNATURE):
        return _PngSource.of(data)
    if data.startswith(tiff.MAGICS):
        return _TiffSource.of(data)
    return _PillowSource.of(_open_with_pillow(io.BytesIO(data), formats))


def read_header(stream: BinaryIO, formats: Sequence[str] = FORMATS) -> Header:
    """The header alone, from a stream at its beginning; raises as `open_source` does."""
    start = stream.read(_START_BYTES)
    stream.seek(0)
    if start.startswith(png.SIGNATURE):
        header = png.read_header(start)
        return Header(header.width, header.height, header.mode, "PNG")
    if start.startswith(tiff.MAGICS):
        return _tiff_header(tiff.Layout(tiff.read_directory(stream)))
    return _header_of(_open_with_pillow(stream, formats))


def _open_with_pillow(stream: BinaryIO, formats: Sequence[str]) -> ImageFile:
    """Open a file as `Image.open` does, without its global limit, which the host program sets."""
    Image.init()
    start = stream.read(16)
    for name in formats if start else ():
        factory, accepts = Image.OPEN[name]
        try:
            accepted = accepts is None or accepts(start)
            if not accepted or isinstance(accepted, str):  # which says what Pillow lacks for it
                continue
            stream.seek(0)
            bounded = _BoundedHeader(stream)
            # Pillow asks of a stream only what this one has.
            image = factory(cast(BinaryIO, bounded), "")
            bounded.is_over = True
            return image
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # not of this format after all, or of a kind that Pillow does not know
    raise UnidentifiedImageError(_told_apart(start))


class _BoundedHeader:
    """A stream whose header ends: a JPEG of ten million empty segments takes Pillow minutes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._num_left = _MAX_HEADER_READS
        self.is_over = False

    def read(self, size: int = -1) -> bytes:
        """As the stream itself; raises `ValueError` where the header has too many parts."""
        if not self.is_over:
            self._num_left -= 1
            if self._num_left < 0:
                raise ValueError("its header has too many parts; save it again")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def is_heic(start: bytes) -> bool:
    """Whether a file that begins so is a HEIC picture, which is not read."""
    return start[4:8] == b"ftyp" and start[8:12] in _UNREAD_BOXES


def _told_apart(start: bytes) -> str:
    what = next((kind for magic, kind in _UNREAD.items() if start.startswith(magic)), None)
    if is_heic(start):
        what = "a HEIC picture"
    if what is None:
        return "not an image of a known format"
    return f"is {what}, which is not read; save it as PNG, TIFF or JPEG"


def _header_of(image: ImageFile) -> Header:
    return Header(image.width, image.height, image.mode, image.format or "")


def _tiff_header(layout: tiff.Layout) -> Header:
    return Header(layout.width, layout.height, layout.mode, "TIFF")


def _exif_of(image: ImageFile) -> tuple[Image.Exif, tuple[str, ...]]:
    try:
        return Image.Image.getexif(image), ()  # a PNG's own would decode the picture first
    except Exception:  # Pillow raises nearly anything on damaged blocks
        return Image.Exif(), ("EXIF metadata",)


@dataclass
class _PngSource(Source):
    image: ImageFile = field(kw_only=True)
    parts: png.PngParts = field(kw_only=True)
    original: png.PngHeader = field(kw_only=True)

    @classmethod
    def of(cls, data: bytes) -> "_PngSource":
        parts, original = png.take_apart(data), png.read_header(data[:_START_BYTES])
        image = _open_with_pillow(io.BytesIO(parts.pixels), ["PNG"])
        # Pillow looks for EXIF, and for how the picture is turned, in these texts as well.
        image.info |= {name: parts.texts[name] for name in _EXIF_TEXTS & parts.texts.keys()}
        if parts.exif is not None:
            image.info["exif"] = b"Exif\0\0" + parts.exif
        exif, lost = _exif_of(image)
        info = image.info | {
            "icc_profile": parts.profile,
            "xmp": parts.texts.get(png.XMP_KEYWORD),
            "gamma": parts.gamma,
            "chromaticities": parts.chromaticities,
        }
        return cls(
            *(_header_of(image), info, exif, parts.is_animated, lost, parts.texts),
            image=image,
            parts=parts,
            original=original,
        )

    def _samples(self) -> Samples:
        self.image.load()
        is_deep = self.original.depth == 16 and self.image.mode not in _SIXTEEN_BITS
        samples = self._deep_samples() if is_deep else samples_of(self.image)
        key = self.parts.transparent
        return samples if key is None else _with_hole(samples, key, self.original.depth)

    def _deep_samples(self) -> Samples:
        """Colours of 16 bits, or grey with opacity, which Pillow would reduce to 8 bits."""
        import cv2

        whole = cv2.imdecode(np.frombuffer(self.parts.pixels, np.uint8), cv2.IMREAD_UNCHANGED)
        if whole is None or whole.dtype != np.uint16 or whole.ndim != 3:
            raise ValueError("its 16-bit colours cannot be decoded")
        is_grey = self.original.colour_type == png.GREY_ALPHA
        colours = whole[..., :1] if is_grey else whole[..., 2::-1]  # OpenCV's order is BGR
        return Samples(colours, whole[..., 3] if whole.shape[2] == 4 else None)


def _with_hole(samples: Samples, key: tuple[int, ...], depth: int) -> Samples:
    """Transparent wherever the file has this one grey or colour."""
    levels = unsigned(np.array([key], f"u{1 if depth <= 8 else 2}"), depth)
    highest = np.iinfo(levels.dtype).max
    is_hole = np.all(samples.colours == levels, axis=-1)
    return Samples(samples.colours, np.where(is_hole, 0, highest).astype(levels.dtype))


@dataclass
class _TiffSource(Source):
    data: bytes = field(kw_only=True)
    layout: tiff.Layout = field(kw_only=True)

    @classmethod
    def of(cls, data: bytes) -> "_TiffSource":
        stream = io.BytesIO(data)
        tags = tiff.read_directory(stream)
        layout = tiff.Layout(tags)
        exif, lost = _tiff_exif(stream, tags)
        info: Info = {name: _block(tags, tag) for name, tag in _BLOCKS.items()}
        return cls(
            *(_tiff_header(layout), info, exif, tags.next != 0, lost),
            data=data,
            layout=layout,
        )

    def decode(self) -> Samples:
        """The first page, upright."""
        if not self.layout.is_left_to_pillow:
            return super().decode()
        try:
            image = TiffImagePlugin.TiffImageFile(io.BytesIO(self.data))
        except SyntaxError as error:
            raise UnsupportedError(
                f"is a TIFF that is not read ({error}); save it as PNG, or as TIFF with LZW "
                "compression"
            ) from error
        image.load()  # which turns it upright, too
        return samples_of(image)

    def _samples(self) -> Samples:
        levels = tiff.read_levels(self.data, self.layout)
        mode = {tiff.CMYK: "CMYK", tiff.CIELAB: "LAB", tiff.ICCLAB: "LAB"}.get(
            self.layout.photometric
        )
        if mode is None:
            return levels
        levels = levels.in_8_bits()
        image = _of_three_or_four_bands(mode, levels.colours)
        return Samples(_managed(image, self.info["icc_profile"]), levels.opacity)


def _tiff_exif(
    stream: BinaryIO, tags: TiffImagePlugin.ImageFileDirectory_v2
) -> tuple[Image.Exif, tuple[str, ...]]:
    """EXIF shares a TIFF's own directory."""
    exif = Image.Exif()
    try:
        stream.seek(0)
        exif.bigtiff = tiff.is_big(stream.read(4))
        exif.endian = "<" if tags.prefix == b"II" else ">"
        stream.seek(0)
        exif.load_from_fp(stream, tiff.directory_at(stream))
        exif.get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises nearly anything on damaged blocks, and on some big-endian
        exif = Image.Exif()
        if (orientation := tags.get(ExifTags.Base.Orientation)) is not None:
            exif[ExifTags.Base.Orientation] = orientation
        return exif, ("EXIF metadata",)
    return exif, ()


def _block(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> bytes | None:
    """The bytes of a tag, which old writers store as 32-bit numbers."""
    value = tags.get(tag)
    if is_tuple(value) and value and isinstance(value[0], bytes):
        value = value[0]
    if is_tuple(value):
        order = "little" if tags.prefix == b"II" else "big"
        return b"".join(number.to_bytes(4, order) for number in whole_numbers(value))
    return value if isinstance(value, bytes) else None


def _of_three_or_four_bands(mode: str, colours: np.ndarray) -> Image.Image:
    bands = [Image.fromarray(np.ascontiguousarray(colours[..., n])) for n in range(len(mode))]
    return Image.merge(mode, bands)


@dataclass
class _PillowSource(Source):
    image: ImageFile = field(kw_only=True)

    @classmethod
    def of(cls, image: ImageFile) -> "_PillowSource":
        exif, lost = _exif_of(image)
        # What cameras write as MPO is one picture with its previews.
        is_animated = image.format != "MPO" and getattr(image, "is_animated", False)
        info = image.info | {"photoshop": _photoshop_resources(image)}
        return cls(_header_of(image), info, exif, is_animated, lost, image=image)

    def _samples(self) -> Samples:
        image: Image.Image = self.image
        image.load()
        if image.mode == "CMYK" and self.header.format == "JPEG" and "adobe" not in self.info:
            # Adobe's programs invert inks, and say that it was they; Pillow takes all for Adobe's.
            image = ImageChops.invert(image)
            image.info = self.info
        return samples_of(image)


def _photoshop_resources(image: ImageFile) -> bytes:
    """Photoshop resources of a JPEG, whole; Pillow's own reading ends at the first that is odd."""
    segments = [data for name, data in getattr(image, "applist", ()) if name == "APP13"]
    return b"".join(data[len(_APP13) :] for data in segments if data.startswith(_APP13))


def samples_of(image: Image.Image) -> Samples:
    """A decoded picture of any Pillow mode => its levels, as they lie.

    Print and L*a*b* colours become sRGB, by the picture's profile where it has one that fits. Mode
    'I' is read as 16 bits, as Pillow makes it of PGM. Raises `UnsupportedError` for a mode, or
    samples, that are not read.
    """
    mode, has_hole = image.mode, "transparency" in image.info
    if mode in ("CMYK", "LAB"):
        return Samples(_managed(image, image.info.get("icc_profile")))
    if mode in ("1", "L", "LA", "La"):
        if not has_hole and mode in ("1", "L"):
            return Samples(np.asarray(image.convert("L"))[..., None])
        return _last_is_opacity(np.asarray(image.convert("LA")))
    if mode in ("RGBA", "RGBa", "PA") or has_hole:
        return _last_is_opacity(np.asarray(image.convert("RGBA")))
    if mode in ("RGB", "RGBX", "P", "YCbCr", "HSV"):
        return Samples(np.asarray(image.convert("RGB")))
    if mode in _SIXTEEN_BITS:
        return Samples(np.asarray(image).astype(np.uint16)[..., None])
    if mode == "I":
        return Samples(_sixteen_bits_of(np.asarray(image))[..., None])
    if mode == "F":
        return Samples(floating(np.asarray(image))[..., None])
    raise UnsupportedError(f"has pixels of the kind {mode}, which are not read; save it as PNG")


def _last_is_opacity(levels: np.ndarray) -> Samples:
    return Samples(levels[..., :-1], levels[..., -1])


def _sixteen_bits_of(values: np.ndarray) -> np.ndarray:
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise UnsupportedError("has samples of over 16 bits, or below 0; save it with 16 bits")
    return values.astype(np.uint16)


def _managed(image: Image.Image, profile: object) -> np.ndarray:
    """CMYK or LAB => sRGB, uint8 (H, W, 3); without a profile that fits, by plain arithmetic."""
    try:
        source = (
            _known_profile("LAB")
            if image.mode == "LAB"
            else ImageCms.ImageCmsProfile(
                io.BytesIO(profile if isinstance(profile, bytes) else b"")
            )
        )
        target = _known_profile("sRGB")
        turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):  # no profile, or none that can be used
        turned = None
    return np.asarray(turned or image.convert("RGB"))


def _known_profile(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
