"""What a file of ours says of itself."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from components.conversion.encoding import MEDIA_TYPES
from components.conversion.metadata import XMP_KEYWORD
from components.conversion.xmp import rdf_in, record_in
from interfaces.errors import AtelierError
from interfaces.iodt import FileFacts
from interfaces.record import Record


def read_record(path: Path) -> Record:
    """The provenance record in a file of any format that Atelier writes; decodes no pixels.

    Raises `AtelierError` where the file cannot be read, is no image, or carries no record.
    """
    return _read_record(path, _read_header(path))


def read_facts(path: Path) -> FileFacts:
    """Record, format and size of a file that Atelier wrote; decodes no pixels.

    Raises `AtelierError` as `read_record` does, and for a format that Atelier does not write.
    """
    header = _read_header(path)
    record = _read_record(path, header)
    media_type = MEDIA_TYPES.get(header.format)
    if media_type is None:
        raise AtelierError(f"{path}: a {header.format} file, which Atelier does not write")
    return FileFacts(record=record, media_type=media_type, width=header.width, height=header.height)


@dataclass(frozen=True)
class _Header:
    """What stands before the pixels."""

    format: str
    width: int
    height: int
    xmp: bytes | None


def _read_record(path: Path, header: _Header) -> Record:
    record = _record_in(path, header.xmp)
    if record is None:
        raise AtelierError(
            f"{path}: carries no record; it was not made by Atelier, or another program saved it"
        )
    return record


def _read_header(path: Path) -> _Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF and the like are not what is asked about
            with Image.open(path) as image:
                xmp = image.info.get(XMP_KEYWORD) or image.info.get("xmp")
                kind, (width, height) = str(image.format).lower(), image.size
    except UnidentifiedImageError as error:
        raise AtelierError(f"{path}: not an image of a known format") from error
    except OSError as error:
        raise AtelierError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise AtelierError(f"{path}: damaged ({error})") from error
    return _Header(kind, width, height, xmp.encode() if isinstance(xmp, str) else xmp)


def _record_in(path: Path, xmp: bytes | None) -> Record | None:
    try:
        rdf = rdf_in(xmp or b"")
    except ValueError:
        return None
    try:
        return record_in(rdf)
    except (ValueError, RecursionError) as error:
        raise AtelierError(f"{path}: its record is damaged or of a newer version") from error
