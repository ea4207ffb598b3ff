"""Inspection of images one at a time: whether each is whole, what it is, what it looks like."""

import hashlib
import warnings
import zlib
from dataclasses import dataclass
from typing import Self

from PIL import Image, UnidentifiedImageError
from pydantic import Field

from components.common.decoding import is_heic
from components.common.images import check_header, open_upright, planes_to_image, to_rgb
from components.common.reservations import reservation_in
from components.common.samples import UnsupportedError
from components.training_store.containers import Entry, put_aside, read_entry
from components.training_store.hashing import perceptual_hash
from components.training_store.layouts import CIFAR_SIDE, Candidate
from interfaces.contract import Message
from interfaces.errors import NotFoundError, RefusedError
from interfaces.itdt import CollectionSettings, FileFault, QuarantinedFile, TrainingImage
from interfaces.places import Url

_OTHER_MAGICS = {
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"PK\x03\x04": "a zip archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip archive",
}
_IMAGE_MAGICS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"\0\0\0\x0cjP  ",
    b"qoif",
)
_END_BYTES = 4096  # some programs add a few bytes after the end
_BYTES_PER_PIXEL = 8  # 16 bits for each of red, green, blue and alpha: nothing is wider
_METADATA_BYTES = 1 << 25
_NO_MEMORY = "decoding it takes more memory than there is"
_CRASHED = "decoding it crashed the process that tried"


class Finding(Message):
    """Outcome of inspecting one candidate: an image or a quarantined file, never both."""

    image: TrainingImage | None = None
    quarantined: QuarantinedFile | None = None
    perceptual_hash: int | None = Field(default=None, ge=0, lt=2**64)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the size of images, in pixels, and whether reserved ones are left out."""

    min_side_pixels: int
    max_pixels: int
    takes_reserved: bool
    """Whether images that say not to train on them are taken all the same."""

    @classmethod
    def of(cls, settings: CollectionSettings) -> Self:
        """The limits that a person chose."""
        takes_reserved = settings.reserved == "take"
        return cls(settings.min_side_pixels, settings.max_pixels, takes_reserved)

    @property
    def max_bytes(self) -> int:
        """No image of `max_pixels` needs more, even uncompressed and with its metadata."""
        return self.max_pixels * _BYTES_PER_PIXEL + _METADATA_BYTES


class _FaultError(Exception):
    def __init__(self, reason: FileFault, detail: str) -> None:
        super().__init__(detail)
        self.reason: FileFault = reason


def inspect(candidate: Candidate, limits: Limits) -> Finding:
    """Read, check and fully decode one candidate; every fault of the file is a finding.

    Raises `UnavailableError` where a remote file's place is away, which is no fault of the file.
    """
    entry, reservation = candidate.entry, None
    try:
        data = _read(entry, limits)
        if candidate.encoding == "rgb planes":
            picture, mode = planes_to_image(data, CIFAR_SIDE, CIFAR_SIDE), "RGB"
            _check_size(picture.size, limits)
        else:
            picture, mode = _decode(data, limits)
            reservation = _checked_reservation(data, limits)
    except _FaultError as fault:
        return Finding(quarantined=put_aside(entry.name, fault.reason, str(fault)))
    except MemoryError:
        return Finding(quarantined=put_aside(entry.name, "oversized", _NO_MEMORY))
    image = TrainingImage(
        name=entry.name,
        file=entry.file,
        version=entry.stamp if isinstance(entry.file, Url) else None,
        offset=entry.offset,
        length=entry.length,
        compression=entry.compression,
        encoding=candidate.encoding,
        style=candidate.style,
        width=picture.width,
        height=picture.height,
        mode=mode,
        sha256=hashlib.sha256(data).hexdigest(),
        reservation=reservation,
    )
    return Finding(image=image, perceptual_hash=perceptual_hash(picture))


def crashed(candidate: Candidate) -> Finding:
    """The finding about a candidate whose decoding ended the process that tried."""
    return Finding(quarantined=put_aside(candidate.entry.name, "corrupt", _CRASHED))


def may_pass(file: QuarantinedFile) -> bool:
    """Whether the fault may have been the machine's: a disk that failed, memory that ran out."""
    return file.reason == "unreadable" or file.detail in (_NO_MEMORY, _CRASHED)


def _read(entry: Entry, limits: Limits) -> bytes:
    """The unpacked bytes of an entry, never more than `limits.max_bytes`."""
    size = max(entry.size, entry.length)
    if size > limits.max_bytes:
        raise _FaultError("oversized", f"{size:,} bytes, over the limit of {limits.max_bytes:,}")
    if entry.size == 0:
        raise _FaultError("truncated", "the file is empty (0 bytes)")
    try:
        data = read_entry(entry)
    except OSError as error:
        raise _FaultError("unreadable", f"cannot be read: {error.strerror or error}") from error
    except (NotFoundError, RefusedError) as error:
        raise _FaultError("unreadable", str(error)) from error
    if len(data) < entry.length:
        raise _FaultError("truncated", f"{len(data):,} bytes of {entry.length:,} are there")
    if entry.compression == "deflate":
        data = _inflate(data, entry.size)
    if entry.crc32 is not None and zlib.crc32(data) != entry.crc32:
        raise _FaultError("corrupt", "its checksum in the zip is another: the archive is damaged")
    return data


def _inflate(packed: bytes, size: int) -> bytes:
    """Raw deflate => exactly `size` bytes; a bomb that holds more is not unpacked further."""
    unpacker = zlib.decompressobj(wbits=-15)
    try:
        data = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise _FaultError("corrupt", "cannot be unpacked: the archive is damaged") from error
    if len(data) != size or not unpacker.eof:
        raise _FaultError("corrupt", f"does not unpack to the {size:,} bytes that the zip declares")
    return data


def _decode(data: bytes, limits: Limits) -> tuple[Image.Image, str]:
    """An image file => its picture, RGB and upright, and the pixel format that it had."""
    size, mode, image_format = _read_header(data)
    _check_size(size, limits)
    try:
        return to_rgb(open_upright(data)), mode
    except MemoryError:
        raise
    except UnsupportedError as error:
        raise _FaultError("unsupported", str(error)) from error
    except Exception as error:  # decoders raise whatever they like at a damaged file
        raise _damage(data, f"the {image_format} is damaged: {_plain(error)}") from error


def _checked_reservation(data: bytes, limits: Limits) -> str | None:
    """Reservation in an image, or None. Raises `_FaultError` unless reserved images are taken."""
    reservation = reservation_in(data)
    if reservation is not None and not limits.takes_reserved:
        raise _FaultError("reserved", reservation)
    return reservation


def _read_header(data: bytes) -> tuple[tuple[int, int], str, str]:
    """Width and height as stored, mode and format, without decoding a pixel."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = check_header(data, max_pixels=None)
            return (header.width, header.height), header.mode, header.format
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except UnsupportedError as error:
        raise _FaultError("unsupported", str(error)) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _damage(data, f"its header is damaged: {_plain(error)}") from error


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        shown = f"{width:,}×{height:,} pixels, over the limit of {limits.max_pixels:,} in all"
        raise _FaultError("oversized", shown)
    if min(size) < limits.min_side_pixels:
        least = limits.min_side_pixels
        raise _FaultError("tiny", f"{width}×{height} pixels; the shorter side must have {least}")


def _damage(data: bytes, detail: str) -> _FaultError:
    """Truncated where the end is missing or the decoder asked for more, else corrupt."""
    if _is_cut_off(data) or "truncated" in detail.lower():
        return _FaultError("truncated", f"the image ends too early, after {len(data):,} bytes")
    return _FaultError("corrupt", detail)


def _unidentified(data: bytes) -> _FaultError:
    """The reason why Pillow sees no image in these bytes, as far as a first look tells."""
    if is_heic(data):
        return _FaultError("unsupported", "a HEIC picture; save it as JPEG or PNG")
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return _FaultError("unsupported", "a JPEG XL picture; save it as JPEG or PNG")
    if data.startswith(_IMAGE_MAGICS) or data[4:8] == b"ftyp":
        return _damage(data, "begins like an image, but its header is damaged")
    for magic, what in _OTHER_MAGICS.items():
        if data.startswith(magic):
            return _FaultError("not an image", f"the file is {what}")
    return _FaultError("not an image", f"the file holds {_kind_of_bytes(data[:512])}")


def _kind_of_bytes(start: bytes) -> str:
    if not start.strip(b"\0"):
        return "nothing but zeros"
    if start.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # otherwise the last letter was cut in two
            return "no picture that is known here"
        text = start[: error.start].decode("utf-8")
    is_text = all(letter.isprintable() or letter.isspace() for letter in text)
    return "text" if is_text else "no picture that is known here"


def _is_cut_off(data: bytes) -> bool:
    """Whether an image file lacks its end, as after an interrupted download."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-_END_BYTES:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-_END_BYTES:]
    if data.startswith(b"GIF8"):
        return b"\x3b" not in data[-16:]
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    return False


def _plain(error: Exception) -> str:
    """A decoder's message in one short line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
