"""A copy of a picture for others: it says that a model made it, and no more."""

from pathlib import Path

from components.common.images import foreign
from components.conversion.converter import ImageConverter
from components.conversion.pictures import decode_picture
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.record import Record

_QUALITY = 95


def public_copy(data: bytes, record: Record, file_format: str) -> bytes:
    """The same picture with this record, written as `ICS.publish` says, and signed.

    PNG and TIFF hold the same pixels; JPEG, WebP and AVIF are encoded anew at quality 95. Raises
    `AtelierError` where the file cannot be read, and what `ImageConverter.check` raises.
    """
    settings = ICS(format=file_format, quality=_QUALITY, publish=True)
    with foreign("the picture"):
        opened = decode_picture(Path("picture"), data)
    batch = IEDT(
        images=opened.images,
        alpha=opened.alpha,
        carried=opened.carried,
        origins=(record.origin,),
        enhancement=record.enhancement,
        drift=() if record.drift is None else (record.drift,),
    )
    (copy,) = ImageConverter().convert([batch], settings)
    return copy.data
