"""TIFF, sample by sample (TIFF 6.0, 1992, with Adobe's and BigTIFF's additions).

Pillow knows a list of layouts, and of those beyond 8 bits it reads several wrongly without a word:
planes of 16 bits as noise, unsigned 32 bits as signed, negatives of 16 bits as positives. So what
lies in strips and tiles is put together here, of any depth and layout, and libtiff only unpacks
the bytes. What only libtiff can decode (JPEG, fax, YCbCr) is left to Pillow, which reads 1 and 8
bits rightly.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, SupportsInt

import numpy as np
from PIL import TiffImagePlugin

from components.common.narrowing import is_tuple
from components.common.samples import (
    Samples,
    UnsupportedError,
    floating,
    inverted,
    separated,
    signed,
    unsigned,
)

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Beginnings of a TIFF; the last two are BigTIFF."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_NUM_COLOURS = {
    **{WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, PALETTE: 1},
    **{RGB: 3, CMYK: 4, CIELAB: 3, ICCLAB: 3},
}
_UNSIGNED, _SIGNED, _FLOATING, _UNDEFINED = 1, 2, 3, 4  # SampleFormat
_PLAIN, _DEFLATE = 1, {8, 32946}
_PACKED = {5, 32773, 34925, 50000}  # LZW, PackBits, LZMA, Zstandard: libtiff unpacks them
_ASSOCIATED, _UNASSOCIATED = 1, {2, 999}  # ExtraSamples; 999 is CorelDRAW's
_MAX_BYTES = 1_600_000_000  # of all samples: 100 million pixels of four 32-bit samples
_BLOCK_BYTES = 1 << 24
_TAGS = {
    "width": 256,
    "height": 257,
    "bits": 258,
    "compression": 259,
    "photometric": 262,
    "fill_order": 266,
    "strip_offsets": 273,
    "samples": 277,
    "rows_per_strip": 278,
    "strip_bytes": 279,
    "planar": 284,
    "predictor": 317,
    "colour_map": 320,
    "tile_width": 322,
    "tile_height": 323,
    "tile_offsets": 324,
    "tile_bytes": 325,
    "ink_set": 332,
    "extra_samples": 338,
    "sample_format": 339,
}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_big(start: bytes) -> bool:
    """Whether a TIFF that begins so is a BigTIFF."""
    return b"\x2b" in start[2:4]


def directory_at(stream: BinaryIO) -> int:
    """Offset of the tags of the first picture, in bytes."""
    return _first_directory(stream).next


def read_directory(stream: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of a TIFF's first picture. Raises nearly anything where they are damaged."""
    directory = _first_directory(stream)
    stream.seek(directory.next)
    directory.load(stream)
    return directory


def _first_directory(stream: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    start = stream.read(8)
    if not is_big(start):
        return TiffImagePlugin.ImageFileDirectory_v2(start)
    order, version = ("<", b"*\0") if start[:2] == b"II" else (">", b"\0*")
    directory = _BigDirectory(start[:2] + version + start[4:])
    (directory.next,) = struct.unpack(f"{order}Q", stream.read(8))
    return directory


class _BigDirectory(TiffImagePlugin.ImageFileDirectory_v2):
    def __init__(self, header: bytes) -> None:
        super().__init__(header)
        # Pillow looks for the version where only little-endian files have it.
        self._bigtiff = True


def whole_numbers(value: object) -> tuple[int, ...]:
    """A tag's numbers, cut off. Raises `TypeError` or `ValueError` where one is none."""
    return tuple(map(_whole, value if is_tuple(value) else (value,)))


def _whole(value: object) -> int:
    if not isinstance(value, int | str | bytes | SupportsInt):
        raise TypeError(f"a {type(value).__name__} is no number")
    return int(value)


@dataclass(frozen=True)
class Segment:
    """A strip or tile: some rows and columns of one plane, or of all."""

    row: int
    column: int
    plane: int
    offset: int
    num_bytes: int


class Layout:
    """Layout of a TIFF's first picture in its file."""

    def __init__(self, directory: TiffImagePlugin.ImageFileDirectory_v2) -> None:
        self._directory = directory
        self.order = "<" if directory.prefix == b"II" else ">"
        self.width, self.height = self._number("width"), self._number("height")
        self.num_samples = self._number("samples", 1)
        self.compression = self._number("compression", 1)
        self.predictor = self._number("predictor", 1)
        self.is_reversed = self._number("fill_order", 1) == 2
        self.is_planar = self._number("planar", 1) == 2 and self.num_samples > 1
        self.photometric = self._number("photometric", -1)
        self.all_bits = self._numbers("bits") or (1,)
        self.formats = self._numbers("sample_format") or (_UNSIGNED,)
        if self.photometric == -1:  # required, but there are old writers of grey and RGB without
            self.photometric = RGB if self.num_samples >= 3 else BLACK_IS_ZERO
        if self.width < 1 or self.height < 1 or self.num_samples < 1:
            raise ValueError(f"it says {self.width} x {self.height} pixels")

    def _numbers(self, name: str) -> tuple[int, ...]:
        return whole_numbers(self._directory.get(_TAGS[name], ()))

    def _number(self, name: str, default: int = 0) -> int:
        numbers = self._numbers(name)
        return numbers[0] if numbers else default

    @property
    def bits(self) -> int:
        """Bits a sample."""
        return self.all_bits[0]

    @property
    def is_lab(self) -> bool:
        """Whether the colours are L*a*b*, in either of two ways to write it."""
        return self.photometric in (CIELAB, ICCLAB)

    @cached_property
    def format(self) -> int:
        """Kind of the samples: unsigned, signed or floating."""
        return _UNSIGNED if self.is_lab or self.formats[0] == _UNDEFINED else self.formats[0]

    @cached_property
    def extras(self) -> tuple[int, ...]:
        """Kinds of the samples after the colours, as the ExtraSamples tag has them."""
        num_extras = self.num_samples - _NUM_COLOURS.get(self.photometric, self.num_samples)
        said = self._numbers("extra_samples")
        if not said and num_extras == 1:
            return (2,)  # old writers of opacity leave the tag out
        return (*said, *([0] * num_extras))[: max(num_extras, 0)]

    @cached_property
    def opacity(self) -> int | None:
        """Index of the sample that is the opacity; None where none is."""
        places = [n for n, kind in enumerate(self.extras) if kind in (_ASSOCIATED, *_UNASSOCIATED)]
        return _NUM_COLOURS[self.photometric] + places[0] if places else None

    @property
    def mode(self) -> str:
        """The pixel format as Pillow names it, where Pillow has a name for it."""
        if self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
            if self.opacity is not None:
                return "LA"
            if self.format == _FLOATING:
                return "F"
            return "1" if self.bits == 1 else "L" if self.bits <= 8 else "I;16"
        if self.photometric == PALETTE:
            return "P" if self.opacity is None else "PA"
        if self.is_lab:
            return "LAB"
        return "CMYK" if self.photometric == CMYK else "RGB" if self.opacity is None else "RGBA"

    @property
    def is_left_to_pillow(self) -> bool:
        """Whether Pillow decodes this correctly. Raises `UnsupportedError` if nothing does."""
        is_ycbcr = self.photometric == YCBCR
        if not is_ycbcr and self.compression in {_PLAIN, *_DEFLATE, *_PACKED}:
            return False
        is_fax = self.compression in {2, 3, 4} and self.all_bits == (1,)
        is_in_8_bits = set(self.all_bits) == {8} and self.compression in {
            *{_PLAIN, 6, 7},
            *_DEFLATE,
            *_PACKED,
        }
        if not (is_fax or is_in_8_bits):
            raise UnsupportedError(
                f"is a TIFF with {self.bits} bits a sample under compression {self.compression}, "
                "which is not read; save it as PNG, or as TIFF with LZW compression"
            )
        return True

    @cached_property
    def segment_size(self) -> tuple[int, int]:
        """Rows and columns of each strip or tile."""
        if self._numbers("tile_offsets"):
            return self._number("tile_height"), self._number("tile_width")
        rows = self._number("rows_per_strip", self.height)
        return min(rows, self.height) or self.height, self.width

    def segments(self) -> Iterator[Segment]:
        """All strips or tiles, in the file's own order. Raises `ValueError` if any is missing."""
        rows, columns = self.segment_size
        kind = "tile" if self._numbers("tile_offsets") else "strip"
        offsets, sizes = self._numbers(f"{kind}_offsets"), self._numbers(f"{kind}_bytes")
        planes = self.num_samples if self.is_planar else 1
        count = planes * -(-self.height // rows) * -(-self.width // columns)
        if not sizes and len(offsets) == 1 and self.compression == _PLAIN:
            sizes = (self._num_bytes(rows, columns),)  # required, but left out by old writers
        if min(len(offsets), len(sizes)) < count:  # before any is listed: there may be millions
            raise ValueError(f"{count} {kind}s should be there, but {len(offsets)} are")
        places = (
            (row, column, plane)
            for plane in range(planes)
            for row in range(0, self.height, rows)
            for column in range(0, self.width, columns)
        )
        for place, offset, size in zip(places, offsets, sizes, strict=False):
            yield Segment(*place, offset, size)

    def _num_bytes(self, rows: int, columns: int) -> int:
        """Bytes of a strip or tile, unpacked; each row begins at a whole byte."""
        in_one = 1 if self.is_planar else self.num_samples
        return rows * ((columns * in_one * self.bits + 7) // 8)

    def check(self) -> None:
        """Raise `UnsupportedError` for a layout that is not read, before anything is decoded."""
        colours = _NUM_COLOURS.get(self.photometric)
        integers = set(range(1, 33)) if self.format == _UNSIGNED else {8, 16, 32}
        depths = {16, 32, 64} if self.format == _FLOATING else integers
        is_multiband = colours == 1 and len(self.extras) > 1 and self.opacity is None
        problem = None
        if colours is None or (self.photometric == CMYK and self._number("ink_set", 1) != 1):
            problem = f"colours of the kind {self.photometric}"
        elif self.format not in (_UNSIGNED, _SIGNED, _FLOATING) or len({*self.formats}) > 1:
            problem = "samples that are no plain numbers" if not self.is_lab else None
        elif len({*self.all_bits}) > 1 or self.bits not in depths:
            problem = f"samples of {', '.join(map(str, sorted({*self.all_bits})))} bits"
        elif self.num_samples < colours or is_multiband:
            problem = f"{self.num_samples} samples a pixel"
        elif self.predictor not in self._predictors:
            problem = f"predictor {self.predictor} and {self.bits} bits a sample"
        elif self.is_lab and self.bits not in (8, 16):
            problem = f"L*a*b* colours of {self.bits} bits"
        elif self.photometric == PALETTE and (self.bits > 16 or self.format != _UNSIGNED):
            problem = f"a palette for {self.bits} bits"
        if problem is not None:
            raise UnsupportedError(
                f"is a TIFF with {problem}, which is not read; save it as grey or RGB with 8 or 16 "
                "bits"
            )
        self._check_size()

    @property
    def _predictors(self) -> set[int]:
        if self.compression == _PLAIN:
            return {0, 1, 2, 3}  # of no effect
        whole: set[int] = {2} if self.bits in (8, 16, 32, 64) else set()
        floating: set[int] = {3} if self.format == _FLOATING else set()
        return {1, *whole, *floating}

    def _check_size(self) -> None:
        rows, columns = self.segment_size
        if rows < 1 or columns < 1:
            raise ValueError(f"its tiles have {columns} x {rows} pixels")
        all_bytes = self.num_samples * max(self.bits, 8) // 8 * self.width * self.height
        # A tile may reach past a small picture's edges, but not far past a large one's.
        tile_bytes = self.num_samples * max(self.bits, 8) // 8 * rows * columns
        if max(all_bytes, tile_bytes - _BLOCK_BYTES) > _MAX_BYTES:
            raise UnsupportedError(
                f"holds {max(all_bytes, tile_bytes):,} bytes of samples; at most {_MAX_BYTES:,} "
                "are read; reduce it first"
            )

    def colour_map(self) -> np.ndarray:
        """The palette, uint16 (2ⁿ, 3)."""
        numbers = self._numbers("colour_map")
        if len(numbers) < 3 << self.bits:
            raise ValueError("its palette is cut off")
        levels = np.array(numbers[: 3 << self.bits], np.uint16).reshape(3, -1).T
        return levels * np.uint16(257) if levels.max() < 256 else levels  # some write 8 bits


def read_samples(data: bytes, layout: Layout) -> np.ndarray:
    """All samples (H, W, samples), in the file's own type and meaning.

    Raises `UnsupportedError` for a layout that is not read, `ValueError` and what libtiff raises
    for a damaged one.
    """
    layout.check()
    whole: np.ndarray | None = None
    rows, columns = layout.segment_size
    for segment in layout.segments():
        is_strip = columns == layout.width
        num_rows = min(rows, layout.height - segment.row) if is_strip else rows
        packed = data[segment.offset : segment.offset + segment.num_bytes]
        part = _decoded(packed, layout, num_rows, columns)
        if whole is None:
            shape = (layout.height, layout.width, layout.num_samples)
            whole = np.empty(shape, part.dtype)
        bottom = min(segment.row + num_rows, layout.height)
        right = min(segment.column + columns, layout.width)
        planes = slice(segment.plane, segment.plane + 1) if layout.is_planar else slice(None)
        place = whole[segment.row : bottom, segment.column : right, planes]
        place[...] = part[: bottom - segment.row, : right - segment.column]
    assert whole is not None
    return whole


def _decoded(packed: bytes, layout: Layout, rows: int, columns: int) -> np.ndarray:
    """A strip or tile as stored in the file => samples (rows, columns, samples)."""
    in_one = 1 if layout.is_planar else layout.num_samples
    row_bytes = (columns * in_one * layout.bits + 7) // 8
    if layout.is_reversed:
        packed = packed.translate(_REVERSED)
    unpacked = _unpacked(packed, layout.compression, rows, row_bytes)
    if len(unpacked) < rows * row_bytes:
        raise ValueError("it ends too early: the file is truncated")
    lines = np.frombuffer(unpacked, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    if layout.predictor == 3 and layout.compression != _PLAIN:
        return _from_float_differences(lines, layout.bits, in_one)
    numbers = _numbers(lines, layout, columns * in_one).reshape(rows, columns, in_one)
    if layout.predictor == 2 and layout.compression != _PLAIN:
        numbers = np.cumsum(numbers, axis=1, dtype=numbers.dtype)
    return numbers.view(_type_of(layout))


def _unpacked(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    if compression == _PLAIN:
        return packed
    if compression in _DEFLATE:
        return zlib.decompressobj().decompress(packed, rows * row_bytes)
    return _unpacked_by_libtiff(packed, compression, rows, row_bytes)


def _unpacked_by_libtiff(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """The bytes, read as what they would be in a grey TIFF of 8 bits and one strip."""
    tags = [
        *((256, row_bytes), (257, rows), (258, 8), (259, compression), (262, BLACK_IS_ZERO)),
        *((273, 0), (277, 1), (278, rows), (279, len(packed))),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value or start) for tag, value in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    file = io.BytesIO(header + entries + bytes(4) + packed)
    return TiffImagePlugin.TiffImageFile(file).tobytes()


def _type_of(layout: Layout) -> str:
    if layout.format == _FLOATING:
        return f"=f{layout.bits // 8}"
    if layout.format == _SIGNED:
        return f"=i{layout.bits // 8}"
    return f"=u{_whole_bytes(layout.bits)}"


def _whole_bytes(bits: int) -> int:
    """Bytes of the smallest integer type that holds them."""
    return next(size for size in (1, 2, 4, 8) if bits <= 8 * size)


def _numbers(lines: np.ndarray, layout: Layout, count: int) -> np.ndarray:
    """Rows of bytes => `count` unsigned integers each, in this machine's byte order."""
    bits = layout.bits
    if bits in (8, 16, 32, 64):
        numbers = lines.view(f"{layout.order}u{bits // 8}")
        return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    if bits == 24 and layout.order == "<":
        lines = lines.reshape(len(lines), count, 3)[..., ::-1].reshape(lines.shape)
    numbers = np.empty((len(lines), count), f"=u{_whole_bytes(bits)}")
    step = max(1, _BLOCK_BYTES // (count * bits))
    for row in range(0, len(lines), step):
        block = np.unpackbits(lines[row : row + step], axis=1, count=count * bits)
        digits = block.reshape(len(block), count, bits)
        part = numbers[row : row + step]
        part[...] = 0
        for place in range(bits):
            part[...] = (part << 1) | digits[..., place]
    return numbers


def _from_float_differences(lines: np.ndarray, bits: int, in_one: int) -> np.ndarray:
    """Predictor 3 (Adobe Photoshop TIFF technical note 3): differences of bytes, highest first."""
    rows, row_bytes = lines.shape
    size = bits // 8
    whole = np.cumsum(lines.reshape(rows, -1, in_one), axis=1, dtype=np.uint8)
    in_order = whole.reshape(rows, size, row_bytes // size).transpose(0, 2, 1)
    numbers = np.ascontiguousarray(in_order).view(f">f{size}")
    return numbers.astype(f"=f{size}").reshape(rows, -1, in_one)


def to_levels(samples: np.ndarray, layout: Layout) -> np.ndarray:
    """Samples in the file's own type => levels, uint8 or uint16, as `samples` rules."""
    if layout.format == _FLOATING:
        return floating(samples)
    convert = signed if layout.format == _SIGNED else unsigned
    return convert(samples, layout.bits)


def read_levels(data: bytes, layout: Layout) -> Samples:
    """A picture that is not left to Pillow => its levels, as they lie.

    The colours (H, W, 1, 3 or 4) are grey, RGB, inks (CMYK) or L*a*b*, whose a and b are offset by
    half; `layout.photometric` tells. Raises as `read_samples` does.
    """
    samples = read_samples(data, layout)
    colours = _colours(samples, layout)
    if layout.opacity is None:
        return Samples(colours)
    opacity = _of_type(to_levels(samples[..., layout.opacity], layout), colours.dtype)
    num_colours = _NUM_COLOURS[layout.photometric]
    if layout.extras[layout.opacity - num_colours] == _ASSOCIATED:
        colours = separated(colours, opacity)
    return Samples(colours, opacity)


def _colours(samples: np.ndarray, layout: Layout) -> np.ndarray:
    if layout.photometric == PALETTE:
        colours = layout.colour_map()[samples[..., 0]]
        return colours if np.any(colours % np.uint16(257)) else Samples(colours).in_8_bits().colours
    colours = to_levels(samples[..., : _NUM_COLOURS[layout.photometric]], layout)
    if layout.photometric == WHITE_IS_ZERO:
        return inverted(colours)
    if layout.photometric == CIELAB:  # a and b are signed
        offset = colours.dtype.type(1 << (layout.bits - 1))
        return np.concatenate([colours[..., :1], colours[..., 1:] ^ offset], axis=-1)
    return colours


def _of_type(levels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Levels of 8 or 16 bits as the other type's."""
    if levels.dtype == dtype:
        return levels
    wide = levels.astype(np.uint16)
    return wide * np.uint16(257) if dtype == np.uint16 else Samples(wide).in_8_bits().colours
