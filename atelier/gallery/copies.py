"""Copies of results for other people: one archive of many."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from interfaces.errors import AtelierError
from interfaces.iodt import StoredResult

_PIECE_BYTES = 2**20

LEFT_OUT = "left out.txt"
"""Member of an archive that names each picture that is not in it, with the reason."""

_FIRST_MOMENT, _LAST_MOMENT = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
"""Range of a zip member's date (APPNOTE 4.4.6); a machine's clock may have stood outside it."""


def archive(
    results: Sequence[StoredResult], read: Callable[[StoredResult], bytes]
) -> Iterator[bytes]:
    """A zip of pictures, piece by piece, so that no more than one is in memory.

    Names are those of the files, with the result's number where two would be the same; pictures are
    packed already and are stored as they are. What cannot be read is named in `LEFT_OUT`.
    """
    sink = _Sink()
    taken: set[str] = set()
    faults: list[str] = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for result in results:
            try:
                data = read(result)
            except (AtelierError, OSError) as error:
                faults.append(f"{result.path.name}: {error}\n")
                continue
            name = result.path.name
            if name in taken:
                name = f"{result.path.stem}-{result.id}{result.path.suffix}"
            taken.add(name)
            moment = max(_FIRST_MOMENT, min(result.kept_at.timetuple()[:6], _LAST_MOMENT))
            packed.writestr(zipfile.ZipInfo(name, moment), data)
            yield sink.taken()
        if faults:
            packed.writestr(zipfile.ZipInfo(LEFT_OUT), "".join(faults))
    yield sink.taken()


def packed_folder(folder: Path, name: str) -> Iterator[bytes]:
    """A zip of a folder's files under `name`, piece by piece."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            inside = zipfile.ZipInfo(f"{name}/{path.relative_to(folder).as_posix()}")
            with path.open("rb") as source, packed.open(inside, "w", force_zip64=True) as member:
                while piece := source.read(_PIECE_BYTES):
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that is read while it is written, and that cannot seek."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """Take the bytes that were written since the last call."""
        data, self._written = bytes(self._written), bytearray()
        return data
