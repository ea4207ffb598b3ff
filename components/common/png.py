"""PNG, chunk by chunk (PNG specification, third edition, sections 5 and 11).

Pillow refuses a PNG whose profile or one of whose texts unpacks to over 1 MB, keeps every private
chunk in memory, and has no place for the grey or colour that a `tRNS` chunk names in 16 bits. So
these chunks are read here, and Pillow is given the others.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types (table 11.1)."""

XMP_KEYWORD = "XML:com.adobe.xmp"
"""The name of the text chunk where a PNG has its XMP."""

MAX_CHUNKS = 100_000
"""In one file, a picture of 800 MB in the usual parts of 8 kB: more are made to take time."""

_MAX_UNPACKED_BYTES = 64 << 20  # of all texts and the profile together
_PIECE_BYTES = 1 << 20
_DECODED = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_MODES = {
    (1, GREY): "1",
    **{(depth, GREY): "L" for depth in (2, 4, 8)},
    (16, GREY): "I;16",
    **{(depth, PALETTE): "P" for depth in (1, 2, 4, 8)},
    **{(depth, RGB): "RGB" for depth in (8, 16)},
    **{(depth, GREY_ALPHA): "LA" for depth in (8, 16)},
    **{(depth, RGB_ALPHA): "RGBA" for depth in (8, 16)},
}


@dataclass(frozen=True)
class PngHeader:
    """The IHDR chunk (11.2.1)."""

    width: int
    height: int
    depth: int  # bits a sample
    colour_type: int

    @property
    def mode(self) -> str:
        """The pixel format, as Pillow names it."""
        return _MODES[self.depth, self.colour_type]


@dataclass(frozen=True)
class PngParts:
    """A PNG taken apart."""

    pixels: bytes
    """The same picture as a PNG without texts, profile and private chunks."""
    texts: dict[str, str] = field(default_factory=dict)
    profile: bytes | None = None
    exif: bytes | None = None
    transparent: tuple[int, ...] | None = None
    """The one grey or colour that is fully transparent, in the file's own samples (11.3.1.1)."""
    gamma: float | None = None
    """Exponent from light to samples: 0.45455 is 1/2.2 (11.3.2.2); None: not said, or sRGB is."""
    chromaticities: tuple[float, ...] | None = None
    """x and y of white, red, green and blue (11.3.2.1); None: not said, or sRGB is."""
    is_animated: bool = False


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The chunks: name, data, and all bytes of each from length to checksum (5.3).

    Raises `ValueError` where there are over `MAX_CHUNKS`.
    """
    position = len(SIGNATURE)
    for number in count():
        if position + 8 > len(png):
            return
        _check_number(number)
        (length,) = struct.unpack_from(">I", png, position)
        end = position + 12 + length
        name = png[position + 4 : position + 8]
        yield name, png[position + 8 : end - 4], png[position:end]
        if name == b"IEND":
            return  # what lies behind it is no part of the picture
        position = end


def verify(stream: BinaryIO) -> None:
    """Read a PNG's chunks to the last, in little memory, and compare their checksums.

    Raises `ValueError` where one differs, where the end is missing, and for over `MAX_CHUNKS`.
    """
    stream.seek(len(SIGNATURE))
    for number in count():
        _check_number(number)
        start = stream.read(8)
        if len(start) < 8:
            raise ValueError("damaged: its end is missing")
        length, name = int.from_bytes(start[:4], "big"), start[4:]
        checksum = zlib.crc32(name)
        while length and (piece := stream.read(min(length, _PIECE_BYTES))):
            checksum, length = zlib.crc32(piece, checksum), length - len(piece)
        if length or int.from_bytes(stream.read(4), "big") != checksum:
            raise ValueError(f"a part of it ({name!r}) is damaged or cut off")
        if name == b"IEND":
            return


def _check_number(number: int) -> None:
    if number >= MAX_CHUNKS:
        raise ValueError(f"it has over {MAX_CHUNKS:,} parts; save it again")


def read_header(start: bytes) -> PngHeader:
    """The header in the first 33 bytes of a PNG. Raises `ValueError` where it is damaged."""
    if len(start) < 33 or start[:8] != SIGNATURE or start[12:16] != b"IHDR":
        raise ValueError("its header is cut off")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", start, 16)
    if width == 0 or height == 0 or (depth, colour_type) not in _MODES:
        raise ValueError(f"its header says {width} x {height} pixels, {depth} bits, {colour_type}")
    return PngHeader(width, height, depth, colour_type)


def take_apart(png: bytes) -> PngParts:
    """A PNG's pixels and what it holds beside them.

    Chunks that are damaged, and not needed for the pixels, are left out. Raises `ValueError` where
    the texts and the profile unpack to over 64 MB, and for colours by palette without a palette.
    """
    header = read_header(png[:33])
    kept, room = [SIGNATURE], _MAX_UNPACKED_BYTES
    seen: dict[bytes, bytes] = {}
    texts: dict[str, str] = {}
    has_palette = header.colour_type != PALETTE
    for name, data, whole in chunks(png):
        has_palette |= name == b"PLTE"
        if name in _DECODED or (name == b"tRNS" and header.colour_type == PALETTE):
            kept.append(whole)
        elif name in _TEXTS:
            keyword, text = _text(name, data, room)
            room -= len(text)
            if keyword:
                texts.setdefault(keyword, text)
        else:
            seen.setdefault(name, data)
    if not has_palette:
        raise ValueError("its palette is missing")
    profile = _unpacked_profile(seen.get(b"iCCP", b""), room)
    is_srgb = b"sRGB" in seen
    return PngParts(
        pixels=b"".join(kept),
        texts=texts,
        profile=profile,
        exif=seen.get(b"eXIf"),
        transparent=_transparent(header, seen.get(b"tRNS", b"")),
        gamma=None if is_srgb else _gamma(seen.get(b"gAMA", b"")),
        chromaticities=None if is_srgb else _chromaticities(seen.get(b"cHRM", b"")),
        is_animated=b"acTL" in seen,
    )


def _unpack(packed: bytes, room: int) -> bytes:
    """Inflate to at most `room` bytes; nothing where the data are damaged."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(packed, max(room, 1))
    except zlib.error:
        return b""
    if unpacker.unconsumed_tail:
        size = f"{_MAX_UNPACKED_BYTES >> 20} MB"
        raise ValueError(f"its texts and profile unpack to over {size}; remove its metadata first")
    return unpacked


def _text(name: bytes, data: bytes, room: int) -> tuple[str, str]:
    """Keyword and text of a text chunk (11.3.3); an empty keyword where it is damaged."""
    keyword, _, rest = data.partition(b"\0")
    if name == b"tEXt":
        return keyword.decode("latin-1"), rest.decode("latin-1")
    if name == b"zTXt":
        return keyword.decode("latin-1"), _unpack(rest[1:], room).decode("latin-1")
    is_packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        return "", ""
    text = _unpack(parts[2], room) if is_packed else parts[2]
    return keyword.decode("latin-1"), text.decode("utf-8", errors="replace")


def _unpacked_profile(data: bytes, room: int) -> bytes | None:
    _, _, packed = data.partition(b"\0")
    return _unpack(packed[1:], room) or None


def _transparent(header: PngHeader, data: bytes) -> tuple[int, ...] | None:
    """Only the bits of a sample count (11.3.1.1)."""
    num_samples = {GREY: 1, RGB: 3}.get(header.colour_type, 0)
    if not num_samples or len(data) < 2 * num_samples:
        return None
    highest = (1 << header.depth) - 1
    return tuple(value & highest for value in struct.unpack_from(f">{num_samples}H", data))


def _gamma(data: bytes) -> float | None:
    return int.from_bytes(data, "big") / 100_000 or None if len(data) == 4 else None


def _chromaticities(data: bytes) -> tuple[float, ...] | None:
    if len(data) < 32:
        return None
    values = tuple(value / 100_000 for value in struct.unpack_from(">8I", data))
    return values if all(values[1::2]) else None
