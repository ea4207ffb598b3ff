"""Statements of a file about itself."""

from dataclasses import dataclass
from pathlib import Path

from components.common.decoding import media_type_of, open_source
from components.common.files import read_regular
from components.common.images import foreign
from components.conversion.encoding import MEDIA_TYPES
from components.conversion.xmp import declared_in, rdf_in, record_in, tool_in
from interfaces.errors import AtelierError, DamagedError, RefusedError
from interfaces.iodt import FileFacts
from interfaces.record import Record


def read_record(path: Path) -> Record:
    """The provenance record in a file of any format that Atelier writes; decodes no pixels.

    It is what the file claims (`Record.is_claim`): anybody could have written it there. Raises
    `AtelierError` where the file cannot be read, is no image, or carries no record.
    """
    return _read_record(path, _read_header(path))


def record_inside(data: bytes) -> Record:
    """The provenance record in an image that was encoded just now; decodes no pixels.

    It is given as the image has it, not marked as a claim. Raises `AtelierError` as `read_record`.
    """
    place = Path("image")
    return _read_record(place, _header_of(place, data)).model_copy(update={"is_claim": False})


def read_facts(path: Path) -> FileFacts:
    """Record, format and size of a file that Atelier wrote; decodes no pixels.

    For whoever knows by other means that Atelier wrote it: the record is given as the file has it,
    not marked as a claim. Raises `AtelierError` as `read_record` does, and for a format that
    Atelier does not write.
    """
    header = _read_header(path)
    record = _read_record(path, header).model_copy(update={"is_claim": False})
    media_type = MEDIA_TYPES.get(header.format)
    if media_type is None:
        raise RefusedError(f"{path}: a {header.format} file, which Atelier does not write")
    return FileFacts(record=record, media_type=media_type, width=header.width, height=header.height)


@dataclass(frozen=True)
class Claims:
    """Statements of any program's file about itself; nothing in them is proved."""

    media_type: str
    record: Record | None
    """None where there is none, or where it is damaged."""
    source_type: str | None
    """IPTC's digital source type, the last part of its address."""
    tool: str | None
    """Program that says that it made the file."""


def read_claims(path: Path, data: bytes) -> Claims:
    """Read a file's statements about itself from its metadata; no pixels are decoded.

    Raises `AtelierError` where it is no image.
    """
    header = _header_of(path, data)
    try:
        rdf = rdf_in(header.xmp or b"")
    except ValueError:
        return Claims(media_type_of(header.format.upper()), None, None, None)
    try:
        record = _record_in(path, header.xmp)
    except DamagedError:
        record = None
    declared = declared_in(rdf)
    return Claims(
        media_type_of(header.format.upper()),
        record,
        declared.rpartition("/")[2] if declared else None,
        tool_in(rdf),
    )


@dataclass(frozen=True)
class _Header:
    """The header before the pixels."""

    format: str
    width: int
    height: int
    xmp: bytes | None


def _read_record(path: Path, header: _Header) -> Record:
    record = _record_in(path, header.xmp)
    if record is None:
        raise RefusedError(
            f"{path}: carries no record; it was not made by Atelier, or another program saved it"
        )
    return record


def _read_header(path: Path) -> _Header:
    with foreign(str(path)):
        data = read_regular(path)
    return _header_of(path, data)


def _header_of(path: Path, data: bytes) -> _Header:
    with foreign(str(path)):
        source = open_source(data)
    xmp, header = source.info.get("xmp"), source.header
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return _Header(header.format.lower(), header.width, header.height, xmp)


def _record_in(path: Path, xmp: bytes | None) -> Record | None:
    try:
        rdf = rdf_in(xmp or b"")
    except ValueError:
        return None
    try:
        return record_in(rdf)
    except (ValueError, RecursionError, AtelierError) as error:
        raise DamagedError(f"{path}: its record is damaged or of a newer version") from error
