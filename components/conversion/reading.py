"""What a file of ours says of itself."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from components.conversion.xmp import record_in
from interfaces.errors import AtelierError
from interfaces.record import Record

_XMP_TAG = 700  # TIFF


def read_record(path: Path) -> Record:
    """The provenance record in a file of any format that Atelier writes.

    Raises `AtelierError` where the file cannot be read, is no image, or carries no record.
    """
    try:
        with Image.open(path) as image:
            xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
            if xmp is None and image.format == "TIFF":
                xmp = image.getexif().get(_XMP_TAG)
    except UnidentifiedImageError as error:
        raise AtelierError(f"{path}: not an image of a known format") from error
    except (OSError, ValueError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AtelierError(f"{path}: cannot be read ({reason})") from error
    try:
        record = record_in(xmp.encode() if isinstance(xmp, str) else xmp) if xmp else None
    except ValueError as error:
        raise AtelierError(f"{path}: its record is damaged or of a newer version") from error
    if record is None:
        raise AtelierError(
            f"{path}: carries no record; it was not made by Atelier, or another program saved it"
        )
    return record
