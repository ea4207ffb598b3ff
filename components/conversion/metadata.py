"""Contents of a file beside its pixels: the record, and what a person's own file carried."""

import logging
import warnings
from dataclasses import dataclass, field
from xml.etree import ElementTree

from PIL import ExifTags, Image

from components.common.png import XMP_KEYWORD
from components.conversion import iptc
from components.conversion.profiles import colours_of, grey_as_rgb
from components.conversion.xmp import declared_in, names_remote_credentials, packet, rdf_in
from interfaces.batch import Carried
from interfaces.errors import RefusedError
from interfaces.ics import ICS, ImageFormat
from interfaces.record import Origin, Record

_log = logging.getLogger("atelier")

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
"""Pixel formats of grey pictures, as Pillow names them."""

COMMENT = "Comment"
"""The text that a JPEG has a place for; a PNG has it under this name (11.3.3.2)."""

_INCH = 2  # EXIF's unit of resolution, the one that pictures come with here

# A segment of a JPEG is 65535 bytes: its length (2), for XMP a name (29), then the block.
_MAX_EXIF_BYTES = _MAX_COMMENT_BYTES = {"jpeg": 65_533}
_MAX_XMP_BYTES = {"jpeg": 65_504}


@dataclass(frozen=True)
class Metadata:
    """All blocks are sound and fit into the file's format."""

    xmp: bytes
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None  # pixels an inch, across and down, as EXIF has them
    iptc: bytes | None = None  # where the format has a place for it
    text: dict[str, str] = field(default_factory=dict)


def foreign_rdf(carried: Carried, origin: Origin) -> ElementTree.Element | None:
    """Statements of a person's file about itself, in XMP and as IPTC captions; None without any.

    XMP that cannot be read is named as left out.
    """
    rdf = None
    if carried.xmp is not None:
        try:
            rdf = rdf_in(carried.xmp)
        except ValueError as error:
            left_out("XMP metadata", origin, str(error))
    return rdf if carried.iptc is None else iptc.as_rdf(carried.iptc, rdf)


def fitting(
    record: Record,
    carried: Carried,
    foreign: ElementTree.Element | None,
    settings: ICS,
    *,
    is_grey: bool,
) -> Metadata:
    """Metadata that fits into the file; a block that does not is left out with a warning.

    The profile must describe the colours that are written: where a grey picture is written as RGB,
    the curve of its grey profile goes on in one of RGB.
    """
    file_format = settings.format
    exif = _fitting_exif(carried.exif, file_format, record.origin)
    return Metadata(
        xmp=_fitting_xmp(record, foreign, settings),
        icc_profile=_fitting_profile(carried.icc_profile, record.origin, is_grey=is_grey),
        exif=exif,
        dpi=None if exif is None else _dpi_in(readable_exif(exif)),
        iptc=_fitting_iptc(carried.iptc, file_format, record.origin),
        text=_fitting_text(carried.text, file_format, record.origin),
    )


def readable_exif(block: bytes) -> Image.Exif:
    """The EXIF block, read through to its end. Raises `ValueError` where it is damaged."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow only warns of a block that is cut off
            exif.load(block)
            for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                exif.get_ifd(directory)
            exif.tobytes()
    except Exception as error:  # Pillow raises nearly anything on damaged blocks
        raise ValueError(str(error)) from error
    return exif


def _fitting_xmp(record: Record, foreign: ElementTree.Element | None, settings: ICS) -> bytes:
    file_format = settings.format
    if foreign is None:
        return _held(packet(record, settings), file_format)
    declared = declared_in(foreign)
    if names_remote_credentials(foreign):
        left_out("content credentials", record.origin, "they lie elsewhere, and are of that file")
    try:
        together = packet(record, settings, declared, foreign)
    except RecursionError:
        reason = "it is nested too deep"
    else:
        if len(together) <= _MAX_XMP_BYTES.get(file_format, len(together)):
            return together
        reason = f"too long for a {file_format} file"
    left_out("XMP metadata", record.origin, reason)
    return _held(packet(record, settings, declared), file_format)


def _held(xmp: bytes, file_format: str) -> bytes:
    """A packet that the format has room for. Raises `RefusedError` where it has none."""
    if len(xmp) > _MAX_XMP_BYTES.get(file_format, len(xmp)):
        raise RefusedError(
            f"the picture's record ({len(xmp)} bytes) is too long for a {file_format} file; choose "
            "--format png"
        )
    return xmp


def _fitting_profile(profile: bytes | None, origin: Origin, *, is_grey: bool) -> bytes | None:
    if not profile:
        return None
    described = colours_of(profile)
    if described == (b"GRAY" if is_grey else b"RGB "):
        return profile
    fitting = grey_as_rgb(profile) if described == b"GRAY" else None
    if fitting is None:
        written = "grey" if is_grey else "RGB"
        left_out("colour profile", origin, f"it does not describe {written} as it is written")
    return fitting


def _fitting_iptc(block: bytes | None, file_format: ImageFormat, origin: Origin) -> bytes | None:
    """Whole in JPEG and TIFF; XMP says the captions in all formats."""
    if block is None or file_format not in ("jpeg", "tiff"):
        return None
    if file_format == "jpeg" and iptc.jpeg_segment(block) is None:
        left_out("IPTC captions", origin, "too long for a jpeg file")
        return None
    return block


def _fitting_exif(block: bytes | None, file_format: ImageFormat, origin: Origin) -> bytes | None:
    if block is None:
        return None
    try:
        exif = readable_exif(block)
    except ValueError as error:
        left_out("EXIF metadata", origin, f"it is damaged: {error}")
        return None
    packed = exif.tobytes()
    if len(packed) > _MAX_EXIF_BYTES.get(file_format, len(packed)):
        left_out("EXIF metadata", origin, f"too long for a {file_format} file")
        return None
    return packed if len(exif) else None


def _dpi_in(exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels an inch, for the formats that have a place of their own for them."""
    tags = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    is_by_inch = exif.get(ExifTags.Base.ResolutionUnit) == _INCH
    if not is_by_inch or not all(tag in exif for tag in tags):
        return None
    across, down = (float(exif[tag]) for tag in tags)
    return (across, down)


def _fitting_text(text: dict[str, str], file_format: ImageFormat, origin: Origin) -> dict[str, str]:
    """All in a PNG whose names it can hold; the comment in a JPEG; none in the others."""
    if file_format == "png":
        for name in text:
            if not _is_keyword(name):
                left_out(f"text {name[:40]!r}", origin, "a PNG cannot hold this name")
        return {name: text[name] for name in text if _is_keyword(name) and name != XMP_KEYWORD}
    names = [name for name in text if not (file_format == "jpeg" and _is_comment(name, text[name]))]
    if names:
        listed = ", ".join(repr(name[:40]) for name in names[:5])
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        left_out(f"text {listed}{more}", origin, f"a {file_format} file has no place for it")
    return {name: text[name] for name in text if name not in names}


def _is_comment(name: str, text: str) -> bool:
    return name == COMMENT and len(text.encode("utf-8")) <= _MAX_COMMENT_BYTES["jpeg"]


def _is_keyword(name: str) -> bool:
    """Whether a PNG can hold a text under this name (PNG specification, 11.3.3.2)."""
    return 1 <= len(name) <= 79 and name.isprintable() and max(name) <= "\xff"


def left_out(what: str, origin: Origin, reason: str) -> None:
    """Say in one line what the result will lack of a person's own file, and why."""
    name = origin.name if origin.kind == "file" else f"seed {origin.seed}"
    _log.warning("%s: its own %s is left out (%s)", name, what, " ".join(reason.split()))
