"""A person's own pictures => IGDT: colours, opacity, and all else that their files hold.

Every picture comes upright. What cannot go on unchanged:

- CMYK and L*a*b* colours become sRGB with 8 bits, by the file's own profile where it has one. The
  profile describes colours that are no longer there, so it is not carried; untagged RGB means sRGB.
- What a PNG says by `gAMA` and `cHRM` becomes a profile, which every format can hold.
- EXIF loses what enlargement makes false: the size in pixels and the thumbnail. Pixels an inch
  stay as they were, wherever the file said them, and travel in the EXIF block.
- Of an animation or a document the first frame or page is taken, and the others named as left out.
- Over 8 bits, and floating point, come with 16 bits (`components.common.samples` has the rules);
  AVIF of 10 and 12 bits, and colours of JPEG 2000 and PNM, with 8.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from components.common.credentials.ingredients import take_along
from components.common.decoding import FORMATS, Header, Source, media_type_of, open_source
from components.common.files import is_regular, is_workspace, open_regular
from components.common.images import check_header, foreign
from components.common.png import XMP_KEYWORD
from components.common.samples import Samples, UnsupportedError
from components.conversion.iptc import in_resources
from components.conversion.limits import cannot_be_enlarged
from components.conversion.metadata import GREY_MODES, left_out
from components.conversion.profiles import colours_of, of_gamma
from interfaces.arrays import hand_over
from interfaces.batch import Carried, Ingredient
from interfaces.errors import NotFoundError, RefusedError, one_line
from interfaces.ics import ImageFormat
from interfaces.igdt import IGDT
from interfaces.record import FileOrigin

_log = logging.getLogger("atelier")

# fmt: off
SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".tif", ".tiff",
    ".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".mpo", ".jp2", ".j2k",
    ".qoi", ".pcx", ".sgi",
})
# fmt: on
"""File endings, in lower case, that count as pictures inside a folder."""

# fmt: off
UNREADABLE_SUFFIXES = frozenset({
    ".heic", ".heif", ".psd", ".pdf", ".svg", ".eps", ".jxl", ".cr2", ".cr3", ".nef", ".arw",
    ".dng", ".psb", ".xcf", ".kra", ".exr",
})
# fmt: on
"""Endings of pictures in formats that are not read: named inside a folder, not passed over."""

_MAX_BYTES_A_PIXEL = 16  # four samples of 32 bits
_MAX_BYTES_BESIDE = 256 << 20  # metadata, other frames and pages

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
    }
)
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_RAW_PROFILE = "Raw profile type "


def find_pictures(paths: Iterable[Path]) -> dict[Path, Path]:
    """The files named, and every picture in the folders named, at any depth, in order of name.

    Each with the folder that it lies in, as seen from the folder that was named: '.' for what lies
    in that folder itself, and for a file that was named. Pictures in formats that `read_picture`
    refuses are among them, so that they are not missed. A file that was named is taken whatever
    its ending; inside a folder the ending decides, and hidden files and folders are passed over,
    and workspaces, which hold what was made of these pictures before. Nothing comes twice. Pipes
    and devices are passed over with a warning. Raises `NotFoundError` where a path is not there, or
    where there is no picture at all.
    """
    paths = list(paths)
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            for picture in _pictures_inside(path):
                found.setdefault(picture, picture.parent.relative_to(path))
        elif path.exists() or path.is_symlink():  # reading names a broken link
            found.setdefault(path, Path())
        else:
            raise NotFoundError(f"{path}: there is no such file or folder")
    pictures = {path: inside for path, inside in found.items() if _is_file(path)}
    if not pictures:
        named = ", ".join(map(str, paths)) or "no path"
        raise NotFoundError(f"{named}: no picture found there")
    return pictures


def _is_file(path: Path) -> bool:
    """Whether it is a file, or at least a broken link to one, which reading will name."""
    if is_regular(path) or not path.exists():
        return True
    _log.warning("%s: a pipe, socket or device, not a file; passed over", one_line(str(path)))
    return False


def _pictures_inside(folder: Path) -> list[Path]:
    # os.walk does not follow links to folders, so a loop of them cannot hold it.
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not is_workspace(Path(place, name))
        ]
        _name_links(place, folders)
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".")
            and Path(name).suffix.lower() in SUFFIXES | UNREADABLE_SUFFIXES
        ]
    return sorted(found)


def _name_links(place: str, folders: Iterable[str]) -> None:
    for path in (Path(place, name) for name in folders):
        if path.is_symlink():
            _log.warning(
                "%s: a link to a folder; passed over, name it to take it in", one_line(str(path))
            )


def read_picture(path: Path, scale: int = 1, file_format: ImageFormat | None = None) -> IGDT:
    """One file => a batch of one, ready for the enhancer.

    What cannot be done with it is known from its header, before a pixel is decoded: with `scale`,
    whether the enlarged picture fits into memory; with `file_format`, whether it fits into such a
    file. Raises `AtelierError` for a file that cannot be read, is no picture, is damaged, too large
    or of a kind that is not read.
    """
    suffix = path.suffix.lower()
    if suffix in UNREADABLE_SUFFIXES:
        raise RefusedError(f"{path}: {suffix} files are not read; save it as PNG, TIFF or JPEG")
    # A TGA has no signature: any bytes may be one, so only those that say so by their name are.
    formats = (*FORMATS, "TGA") if suffix == ".tga" else FORMATS
    with foreign(str(path)):
        with open_regular(path) as stream:
            header = check_header(stream, formats=formats)
            if fault := cannot_be_enlarged(header.width, header.height, scale, file_format):
                raise UnsupportedError(fault)
            _check_length(header, os.fstat(stream.fileno()).st_size)
            stream.seek(0)
            data = stream.read()
        return decode_picture(path, data, formats)


def _check_length(header: Header, length: int) -> None:
    """The whole file is read at once, so it may not be far longer than its picture."""
    most = header.width * header.height * _MAX_BYTES_A_PIXEL + _MAX_BYTES_BESIDE
    if length > most:
        raise UnsupportedError(
            f"is {length:,} bytes long, for a picture of {header.width} x {header.height} pixels "
            f"(at most {most:,}); save the picture alone"
        )


def decode_picture(path: Path, data: bytes, formats: Sequence[str] = FORMATS) -> IGDT:
    """The bytes of a file => a batch of one; `path` is what the file is called.

    Its size was checked before; raises nearly anything for damaged bytes (`images.foreign`).
    """
    source = open_source(data, formats)
    origin = FileOrigin(name=one_line(path.name), sha256=hashlib.sha256(data).hexdigest())
    samples = source.decode()
    ingredient = take_along(data, media_type_of(source.header.format), "parentOf", origin.name)
    carried = _carried(source, samples, origin, () if ingredient is None else (ingredient,))
    colours, opacity = _planes(samples)
    return IGDT(images=colours, alpha=opacity, origins=(origin,), carried=(carried,))


def _carried(
    source: Source, samples: Samples, origin: FileOrigin, ingredients: tuple[Ingredient, ...]
) -> Carried:
    for what in source.lost:
        left_out(what, origin, "it is damaged")
    if source.is_animated:
        _log.warning("%s: holds several frames or pages; the first is taken", origin.name)
    exif = _exif(source, origin)
    xmp = source.info.get("xmp") or _raw_profile(source.texts, "xmp")
    return Carried(
        bit_depth=16 if samples.bit_depth == 16 else 8,
        mode=source.header.mode,
        icc_profile=_profile(source, origin),
        exif=exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        iptc=_iptc(source),
        text=_texts(source),
        ingredients=ingredients,
    )


def _planes(samples: Samples) -> tuple[np.ndarray, np.ndarray | None]:
    """Levels => float planes: colours (1, 3, H, W) in [-1, 1], opacity (1, 1, H, W) in [0, 1].

    Plane by plane, so that a large picture is held in floating point only once.
    """
    height, width, num_colours = samples.colours.shape
    highest = np.float32(np.iinfo(samples.colours.dtype).max)
    colours = np.empty((1, 3, height, width), np.float32)
    for place in range(3):
        plane = colours[0, place]
        levels = samples.colours[..., min(place, num_colours - 1)]
        np.divide(levels, highest / 2, out=plane)
        plane -= 1
    if samples.opacity is None:
        return hand_over(colours), None
    opacity = np.empty((1, 1, height, width), np.float32)
    np.divide(samples.opacity, highest, out=opacity[0, 0])
    return hand_over(colours), hand_over(opacity)


def _profile(source: Source, origin: FileOrigin) -> bytes | None:
    """The profile of the colours as they were decoded; see above for print and Lab colours."""
    profile, is_grey = source.info.get("icc_profile"), source.header.mode in GREY_MODES
    if source.header.mode in ("CMYK", "LAB"):
        return None
    if not profile:
        said = (source.info.get("gamma"), source.info.get("chromaticities"))
        return None if said == (None, None) else of_gamma(*said, is_grey=is_grey)
    if colours_of(profile) is None:
        left_out("colour profile", origin, "it describes neither RGB nor grey colours")
        return None
    return profile


def _iptc(source: Source) -> bytes | None:
    """The captions' block, from wherever a format has it."""
    for name in ("iptc", "8bim"):
        if (block := _raw_profile(source.texts, name)) is not None:
            return in_resources(block) or block
    return source.info.get("iptc") or in_resources(source.info.get("photoshop") or b"")


def _raw_profile(texts: Mapping[str, str], name: str) -> bytes | None:
    """A block that ImageMagick hid in a text of a PNG: a name, a length, and hexadecimal digits."""
    lines = texts.get(f"{_RAW_PROFILE}{name}", "").strip().split("\n", 2)
    try:
        return bytes.fromhex(lines[2]) if len(lines) == 3 else None
    except ValueError:
        return None


def _texts(source: Source) -> dict[str, str]:
    """The texts of a file, except blocks of metadata in disguise, which are read as such."""
    comment = source.info.get("comment")
    if isinstance(comment, bytes) and comment.strip(b"\0 "):
        return {"Comment": _words(comment.rstrip(b"\0"))}
    return {
        name: text
        for name, text in source.texts.items()
        if name != XMP_KEYWORD and not name.startswith(_RAW_PROFILE)
    }


def _words(comment: bytes) -> str:
    try:
        return comment.decode("utf-8")
    except UnicodeDecodeError:
        return comment.decode("latin-1")


def _resolution(source: Source) -> tuple[float, float] | None:
    """Pixels an inch of the upright picture, across and down; None where its file says nothing."""
    info, exif = source.info, source.exif
    # Of a JPEG without a density Pillow says 72 all the same.
    is_said = source.header.format != "JPEG" or info.get("jfif_unit") in _JFIF_UNITS
    found = info.get("dpi") if is_said else None
    try:
        if found is None:
            per_inch = _PER_INCH[exif.get(ExifTags.Base.ResolutionUnit, _INCH)]
            tags = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
            found = tuple(float(exif[tag]) * per_inch for tag in tags)
        across, down = (round(float(value), 2) for value in found)  # a PNG counts by the metre
    except (KeyError, TypeError, ValueError, ArithmeticError):  # not said, or nonsense
        return None
    if not (0 < across < _MAX_RESOLUTION and 0 < down < _MAX_RESOLUTION):
        return None
    is_turned = exif.get(ExifTags.Base.Orientation, 1) in _ON_THE_SIDE
    return (down, across) if is_turned else (across, down)


def _exif(source: Source, origin: FileOrigin) -> bytes | None:
    """The EXIF block with what still holds of the upright picture; None where nothing does."""
    kept = Image.Exif()  # not the one that was read, which a BigTIFF's own layout clings to
    try:
        for tag in _DESCRIPTIVE_TAGS & set(source.exif):
            if tag not in _DIRECTORIES:
                kept[tag] = source.exif[tag]
        for directory in _DIRECTORIES:
            inner = dict(source.exif.get_ifd(directory))
            for stale in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
                inner.pop(stale, None)
            if inner:
                kept.get_ifd(directory).update(inner)
        if (resolution := _resolution(source)) is not None:
            kept[ExifTags.Base.XResolution], kept[ExifTags.Base.YResolution] = resolution
            kept[ExifTags.Base.ResolutionUnit] = _INCH
        return kept.tobytes() if len(kept) else None
    except Exception as error:  # Pillow raises nearly anything on damaged blocks
        left_out("EXIF metadata", origin, f"it is damaged: {error}")
        return None
