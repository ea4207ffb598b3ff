"""Copies of results for other people: one archive of many, or a picture without its record."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from interfaces.iodt import StoredResult

_QUALITY = 95


def archive(
    results: Sequence[StoredResult], read: Callable[[StoredResult], bytes]
) -> Iterator[bytes]:
    """A zip of pictures, piece by piece, so that no more than one is in memory.

    Names are those of the files, with the result's number where two would be the same; pictures are
    packed already and are stored as they are.
    """
    sink = _Sink()
    taken: set[str] = set()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for result in results:
            name = result.path.name
            if name in taken:
                name = f"{result.path.stem}-{result.id}{result.path.suffix}"
            taken.add(name)
            moment = result.kept_at.timetuple()[:6]
            packed.writestr(zipfile.ZipInfo(name, moment), read(result))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that is read while it is written, and cannot be gone back in."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since this was last asked."""
        data, self._written = bytes(self._written), bytearray()
        return data


def bare_copy(picture: bytes) -> bytes:
    """The same picture in the same format with nothing beside its pixels and colour profile.

    JPEG, WebP and AVIF are encoded anew at quality 95.
    """
    with Image.open(io.BytesIO(picture)) as image:
        stream = io.BytesIO()
        pixels = image.copy()
        pixels.info = {}
        profile = {"icc_profile": known} if (known := image.info.get("icc_profile")) else {}
        quality = {} if image.format in ("PNG", "TIFF") else {"quality": _QUALITY}
        pixels.save(stream, image.format, **profile, **quality)
    return stream.getvalue()
