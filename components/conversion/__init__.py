"""Image conversion: enlarged batches (IEDT) and settings (ICS) in, encoded files (IODT) out.

from components.conversion import create, read_record

for image in create(workspace).convert(batches, ICS(format="webp")):
    path.write_bytes(image.data)
read_record(path)  # what the file says of itself
"""

from pathlib import Path

from components.conversion.animation import animate, sheet, strip
from components.conversion.converter import ImageConverter
from components.conversion.copies import public_copy
from components.conversion.encoding import MEDIA_TYPES
from components.conversion.limits import cannot_be_enlarged
from components.conversion.pictures import find_pictures, read_picture
from components.conversion.reading import (
    Claims,
    read_claims,
    read_facts,
    read_record,
    record_inside,
)
from components.conversion.watermark import read_watermark


def create(workspace: Path) -> ImageConverter:
    """The component as the pipeline makes it; it keeps no files."""
    return ImageConverter()


__all__ = [
    "MEDIA_TYPES",
    "Claims",
    "ImageConverter",
    "animate",
    "cannot_be_enlarged",
    "create",
    "find_pictures",
    "public_copy",
    "read_claims",
    "read_facts",
    "read_picture",
    "read_record",
    "read_watermark",
    "record_inside",
    "sheet",
    "strip",
]
