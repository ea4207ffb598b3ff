"""What goes into a file beside its pixels: the record, and what a person's own file carried."""

import logging
import warnings
from dataclasses import dataclass, field
from xml.etree import ElementTree

from PIL import ExifTags, Image

from components.conversion.xmp import declared_in, packet, rdf_in
from interfaces.batch import Carried
from interfaces.ics import ImageFormat
from interfaces.record import Origin, Record

_log = logging.getLogger("atelier")

XMP_KEYWORD = "XML:com.adobe.xmp"
"""The name of the text chunk where a PNG has its XMP."""

_INCH = 2  # EXIF's unit of resolution, the one that pictures come with here

# A segment of a JPEG is 65535 bytes: its length (2), for XMP a name (29), then the block.
_MAX_EXIF_BYTES = {"jpeg": 65_533}
_MAX_XMP_BYTES = {"jpeg": 65_504}


@dataclass(frozen=True)
class Metadata:
    """All blocks are sound and fit into the file's format."""

    xmp: bytes
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None  # pixels an inch, across and down, as EXIF has them
    text: dict[str, str] = field(default_factory=dict)


def foreign_rdf(carried: Carried, origin: Origin) -> ElementTree.Element | None:
    """What a person's file says of itself in XMP; None, with a warning, where it is unreadable."""
    if carried.xmp is None:
        return None
    try:
        return rdf_in(carried.xmp)
    except ValueError as error:
        _leave_out("XMP metadata", origin, str(error))
        return None


def fitting(
    record: Record,
    carried: Carried,
    foreign: ElementTree.Element | None,
    file_format: ImageFormat,
    *,
    is_grey: bool,
) -> Metadata:
    """What fits into the file; a block that does not is left out with a warning.

    The profile must describe the colours that are written, so a grey one goes with grey alone.
    """
    exif = _fitting_exif(carried.exif, file_format, record.origin)
    return Metadata(
        xmp=_fitting_xmp(record, foreign, file_format),
        icc_profile=_fitting_profile(carried.icc_profile, is_grey=is_grey),
        exif=exif,
        dpi=None if exif is None else _dpi_in(readable_exif(exif)),
        text=_fitting_text(carried.text, record.origin) if file_format == "png" else {},
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


def _fitting_xmp(
    record: Record, foreign: ElementTree.Element | None, file_format: ImageFormat
) -> bytes:
    if foreign is None:
        return packet(record)
    declared = declared_in(foreign)
    try:
        together = packet(record, declared, foreign)
    except RecursionError:
        reason = "it is nested too deep"
    else:
        if len(together) <= _MAX_XMP_BYTES.get(file_format, len(together)):
            return together
        reason = f"too long for a {file_format} file"
    _leave_out("XMP metadata", record.origin, reason)
    return packet(record, declared)


def _fitting_profile(profile: bytes | None, *, is_grey: bool) -> bytes | None:
    """A profile's header names the colours it describes (ICC.1, 7.2.6)."""
    wanted = b"GRAY" if is_grey else b"RGB "
    return profile if profile is not None and profile[16:20] == wanted else None


def _fitting_exif(block: bytes | None, file_format: ImageFormat, origin: Origin) -> bytes | None:
    if block is None:
        return None
    try:
        exif = readable_exif(block)
    except ValueError as error:
        _leave_out("EXIF metadata", origin, f"it is damaged: {error}")
        return None
    packed = exif.tobytes()
    if len(packed) > _MAX_EXIF_BYTES.get(file_format, len(packed)):
        _leave_out("EXIF metadata", origin, f"too long for a {file_format} file")
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


def _fitting_text(text: dict[str, str], origin: Origin) -> dict[str, str]:
    for name in text:
        if not _is_keyword(name):
            _leave_out(f"text {name[:40]!r}", origin, "a PNG cannot hold this name")
    return {name: text[name] for name in text if _is_keyword(name) and name != XMP_KEYWORD}


def _is_keyword(name: str) -> bool:
    """Whether a PNG can hold a text under this name (PNG specification, 11.3.3.2)."""
    return 1 <= len(name) <= 79 and name.isprintable() and max(name) <= "\xff"


def _leave_out(what: str, origin: Origin, reason: str) -> None:
    name = origin.name if origin.kind == "file" else f"seed {origin.seed}"
    _log.warning("%s: its own %s is left out (%s)", name, what, reason)
