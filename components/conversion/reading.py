"""What a file of ours says of itself."""

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from components.conversion.metadata import XMP_KEYWORD
from components.conversion.xmp import rdf_in, record_in
from interfaces.errors import AtelierError
from interfaces.record import Record


def read_record(path: Path) -> Record:
    """The provenance record in a file of any format that Atelier writes; decodes no pixels.

    Raises `AtelierError` where the file cannot be read, is no image, or carries no record.
    """
    record = _record_in(path, _xmp_of(path))
    if record is None:
        raise AtelierError(
            f"{path}: carries no record; it was not made by Atelier, or another program saved it"
        )
    return record


def _xmp_of(path: Path) -> bytes | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF and the like are not what is asked about
            with Image.open(path) as image:
                xmp = image.info.get(XMP_KEYWORD) or image.info.get("xmp")
    except UnidentifiedImageError as error:
        raise AtelierError(f"{path}: not an image of a known format") from error
    except OSError as error:
        raise AtelierError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise AtelierError(f"{path}: damaged ({error})") from error
    return xmp.encode() if isinstance(xmp, str) else xmp


def _record_in(path: Path, xmp: bytes | None) -> Record | None:
    try:
        rdf = rdf_in(xmp or b"")
    except ValueError:
        return None
    try:
        return record_in(rdf)
    except (ValueError, RecursionError) as error:
        raise AtelierError(f"{path}: its record is damaged or of a newer version") from error
