"""Whether two image files hold the same pixels and metadata, whoever signed them.

A signature has random bytes and may have a time in it, so that the same picture signed twice is two
different files. What is compared is all the rest: size, samples, profile, EXIF, XMP and texts.
"""

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from components.common.decoding import Source, open_source
from components.common.images import foreign
from interfaces.errors import AtelierError

_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_CREDENTIALS = 0xCD41  # a TIFF's own tag for them (C2PA 2.x, A.3.3)
_PLACES = frozenset(
    {
        TiffImagePlugin.STRIPOFFSETS,
        TiffImagePlugin.TILEOFFSETS,
        _CREDENTIALS,
        *_DIRECTORIES,
    }
)
"""Tags of a TIFF that change where its parts are moved."""


def hold_the_same(one: bytes, other: bytes) -> bool:
    """Whether two files are equal but for their credentials; False where one cannot be read."""
    if one == other:
        return True
    try:
        with foreign("picture"):
            return _are_same(open_source(one), open_source(other))
    except AtelierError:
        return False


def _are_same(one: Source, other: Source) -> bool:
    if one.header != other.header or one.texts != other.texts:
        return False
    if _described(one.exif) != _described(other.exif) or _blocks(one) != _blocks(other):
        return False
    before, after = one.decode(), other.decode()
    return np.array_equal(before.colours, after.colours) and _are_equal(
        before.opacity, after.opacity
    )


def _described(exif: Image.Exif) -> list[dict[int, object]]:
    """All that EXIF says, its inner directories too, but for where things lie in the file."""
    inner = [dict(exif.get_ifd(directory)) for directory in _DIRECTORIES]
    return [{tag: exif[tag] for tag in exif if tag not in _PLACES}, *inner]


def _blocks(source: Source) -> dict[str, object]:
    return {name: source.info.get(name) for name in ("icc_profile", "xmp", "iptc", "dpi")}


def _are_equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
