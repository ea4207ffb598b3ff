"""A person's own pictures => IGDT: colours, opacity, and all else that their files hold.

Every picture comes upright. What cannot go on unchanged:

- CMYK and Lab colours become RGB, through the file's own profile where it has one. The profile
  describes colours that are no longer there, so it is not carried; untagged RGB means sRGB.
- EXIF loses what enlargement makes false: the size in pixels and the thumbnail. Pixels an inch
  stay as they were, wherever the file said them, and travel in the EXIF block.
- Of an animation the first frame is taken.
- 16-bit CMYK and floating point files are read with 8 bits; `Carried.bit_depth` says so.
"""

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from components.common.images import open_upright, pixels_to_float, to_rgb
from interfaces.batch import Carried
from interfaces.errors import AtelierError
from interfaces.igdt import IGDT
from interfaces.record import FileOrigin

# fmt: off
SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".tif", ".tiff",
    ".bmp", ".gif", ".ppm", ".pgm", ".tga",
})
# fmt: on
"""Endings, in lower case, of what counts as a picture inside a folder."""

# fmt: off
UNREADABLE_SUFFIXES = frozenset({
    ".heic", ".heif", ".psd", ".pdf", ".svg", ".eps", ".jxl", ".cr2", ".cr3", ".nef", ".arw",
    ".dng", ".psb", ".xcf", ".kra", ".exr",
})
# fmt: on
"""Endings of pictures in formats that are not read: named inside a folder, not passed over."""

MAX_PIXELS = 100_000_000
"""A larger picture is refused before it is decoded: enlarged, it would not fit into memory."""

_SIXTEEN_BIT_GREYS = {"I;16", "I;16L", "I;16B", "I;16N", "I"}
_ALPHA_MODES = {"RGBA", "LA", "PA"}

_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _PHOTOMETRIC = 258, 339, 262  # TIFF tags
_UNSIGNED, _RGB = 1, 2  # their values

_INCH, _CENTIMETRE = 2, 3  # EXIF's units of resolution; 1 is none at all
_PER_INCH = {_INCH: 1.0, _CENTIMETRE: 2.54}
_JFIF_UNITS = {1, 2}  # in which a JPEG's own density is one, and not a mere ratio
_MAX_RESOLUTION = 100_000.0  # pixels an inch, beyond any printer or scanner
_ON_THE_SIDE = {5, 6, 7, 8}  # EXIF orientations that swap width and height

# EXIF shares its first directory with TIFF. Only what describes the picture goes on; how a TIFF
# lies in its file (strips, compression, bits …) belongs to that file.
_DESCRIPTIVE_TAGS = frozenset(
    {
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Copyright,
        ExifTags.Base.Rating,
        ExifTags.Base.RatingPercent,
        ExifTags.Base.XPTitle,
        ExifTags.Base.XPComment,
        ExifTags.Base.XPAuthor,
        ExifTags.Base.XPKeywords,
        ExifTags.Base.XPSubject,
        ExifTags.IFD.Exif,
        ExifTags.IFD.GPSInfo,
    }
)


def find_pictures(paths: Iterable[Path]) -> dict[Path, Path]:
    """The files named, and every picture in the folders named, at any depth, in order of name.

    Each with the folder that it lies in, as seen from the folder that was named: '.' for what lies
    in that folder itself, and for a file that was named. Pictures in formats that `read_picture`
    refuses are among them, so that they are not missed. A file that was named is taken whatever
    its ending; inside a folder the ending decides, and hidden files and folders are passed over.
    Nothing comes twice. Raises `AtelierError` where a path is not there, or where there is no
    picture at all.
    """
    paths = list(paths)
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            for picture in _pictures_inside(path):
                found.setdefault(picture, picture.parent.relative_to(path))
        elif path.exists():
            found.setdefault(path, Path())
        else:
            raise AtelierError(f"{path}: there is no such file or folder")
    if not found:
        raise AtelierError(f"{', '.join(map(str, paths)) or 'no path'}: no picture found there")
    return found


def _pictures_inside(folder: Path) -> list[Path]:
    # os.walk does not follow links to folders, so a loop of them cannot hold it.
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".")
            and Path(name).suffix.lower() in SUFFIXES | UNREADABLE_SUFFIXES
        ]
    return sorted(found)


def read_picture(path: Path) -> IGDT:
    """One file => a batch of one, ready for the enhancer.

    Raises `AtelierError` for a file that cannot be read, is no picture, is damaged or too large.
    """
    suffix = path.suffix.lower()
    if suffix in UNREADABLE_SUFFIXES:
        raise AtelierError(f"{path}: {suffix} files are not read; save it as PNG, TIFF or JPEG")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AtelierError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return _decode(path, data)
    except AtelierError:
        raise
    except UnidentifiedImageError as error:
        raise AtelierError(f"{path}: not an image of a known format") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise AtelierError(f"{path}: damaged ({error})") from error


def _decode(path: Path, data: bytes) -> IGDT:
    with Image.open(io.BytesIO(data)) as header:  # reads no pixels yet
        width, height = header.size
        if width * height > MAX_PIXELS:
            raise AtelierError(
                f"{path}: {width} x {height} pixels are too many to enlarge; "
                f"at most {MAX_PIXELS:,} in all"
            )
        is_png = header.format == "PNG"
        is_deep = _has_16_bit_colours(header, data)
        orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
        # OpenCV, which reads deep colours, turns a TIFF upright itself but not a PNG.
        turn = orientation if is_deep and is_png else 1
        resolution = _resolution(header, orientation)
        # A TIFF's EXIF lies among its own tags, which are lost with the file.
        tiff_exif = _exif(header.getexif(), resolution) if header.format == "TIFF" else None
    image = open_upright(data)
    colours, alpha = _deep_planes(data, turn) if is_deep else _planes(image)
    profile = image.info.get("icc_profile")
    has_profile = isinstance(profile, bytes) and profile[16:20] in {b"RGB ", b"GRAY"}
    xmp = image.info.get("xmp")
    carried = Carried(
        bit_depth=16 if is_deep or image.mode in _SIXTEEN_BIT_GREYS else 8,
        mode=image.mode,
        icc_profile=profile if has_profile else None,
        exif=tiff_exif or _exif(image.getexif(), resolution),
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        text=_text_chunks(image) if is_png else {},
    )
    origin = FileOrigin(name=path.name, sha256=hashlib.sha256(data).hexdigest())
    return IGDT(images=colours, alpha=alpha, origins=(origin,), carried=(carried,))


def _has_16_bit_colours(header: Image.Image, data: bytes) -> bool:
    """Whether colours of 16 bits lie in the file, which Pillow would reduce to 8."""
    if header.format == "PNG":
        return data[24] == 16 and header.mode not in _SIXTEEN_BIT_GREYS
    if header.format == "TIFF":
        tags = header.tag_v2  # type: ignore[attr-defined]  # only TIFF images have it
        bits, formats = tags.get(_BITS_PER_SAMPLE, ()), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
        return tags.get(_PHOTOMETRIC) == _RGB and set(bits) == {16} and set(formats) == {_UNSIGNED}
    return False


def _deep_planes(data: bytes, orientation: int) -> tuple[np.ndarray, np.ndarray | None]:
    """16-bit RGB or RGBA, read by OpenCV => upright float planes, colours and opacity."""
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        raise ValueError("its 16-bit colours cannot be read")
    levels = np.moveaxis(_turn(samples, orientation).astype(np.float32), -1, 0)[None]
    blue_green_red, opacity = levels[:, :3], levels[:, 3:]
    colours = np.ascontiguousarray(blue_green_red[:, ::-1] / 32767.5 - 1)
    return colours, np.ascontiguousarray(opacity / 65535) if opacity.size else None


def _turn(samples: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as it lies in the file => upright, for the eight EXIF orientations."""
    if orientation in _ON_THE_SIDE:
        samples = samples.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        samples = samples[::-1]
    if orientation in {2, 3, 6, 7}:
        samples = samples[:, ::-1]
    return samples


def _planes(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Any other mode => float planes: colours [-1, 1] and, where there is any, opacity [0, 1]."""
    if image.mode in _SIXTEEN_BIT_GREYS:
        grey = np.clip(np.asarray(image).astype(np.float32), 0, 65535) / 32767.5 - 1
        return np.ascontiguousarray(np.broadcast_to(grey, (1, 3, *grey.shape))), None
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))[None]
        opacity = np.moveaxis(pixels[..., 3:], -1, 1).astype(np.float32) / 255
        return pixels_to_float(pixels[..., :3]), np.ascontiguousarray(opacity)
    return pixels_to_float(np.asarray(_to_rgb(image))[None]), None


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit colours => RGB; print and Lab colours by their profiles, not by arithmetic."""
    if image.mode not in {"CMYK", "LAB"}:
        return to_rgb(image)
    profile = image.info.get("icc_profile")
    try:
        source = (
            ImageCms.createProfile("LAB")
            if image.mode == "LAB"
            else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        )
        target = ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):  # no profile, or none that can be used
        return image.convert("RGB")
    return turned or image.convert("RGB")


def _text_chunks(image: Image.Image) -> dict[str, str]:
    """What a PNG says in words; of all that Pillow notes of one, only text chunks are strings."""
    return {
        name: str(value)
        for name, value in image.info.items()
        if isinstance(name, str) and isinstance(value, str) and name != "XML:com.adobe.xmp"
    }


def _resolution(header: Image.Image, orientation: int) -> tuple[float, float] | None:
    """Pixels an inch of the upright picture, across and down; None where its file says nothing."""
    exif = header.getexif()
    tags = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    # Of a JPEG without a density Pillow says 72 all the same, of such a TIFF 1.
    is_said = {
        "JPEG": header.info.get("jfif_unit") in _JFIF_UNITS,
        "TIFF": tags[0] in exif,
    }
    found = header.info.get("dpi") if is_said.get(header.format or "", True) else None
    try:
        if found is None:
            per_inch = _PER_INCH[exif.get(ExifTags.Base.ResolutionUnit, _INCH)]
            found = tuple(float(exif[tag]) * per_inch for tag in tags)
        across, down = (round(float(value), 2) for value in found)  # a PNG counts by the metre
    except (KeyError, TypeError, ValueError, ArithmeticError):  # not said, or nonsense
        return None
    if not (0 < across < _MAX_RESOLUTION and 0 < down < _MAX_RESOLUTION):
        return None
    return (down, across) if orientation in _ON_THE_SIDE else (across, down)


def _exif(exif: Image.Exif, resolution: tuple[float, float] | None) -> bytes | None:
    """The EXIF block with what still holds of the enlarged picture; None where nothing does."""
    if ExifTags.IFD.Exif in exif:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        for stale in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
            details.pop(stale, None)
    for tag in set(exif) - _DESCRIPTIVE_TAGS:
        del exif[tag]
    if resolution is not None:
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = resolution
        exif[ExifTags.Base.ResolutionUnit] = _INCH
    return exif.tobytes() if len(exif) else None
