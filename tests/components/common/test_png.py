"""PNG files whose chunks are odd: right, or refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from components.common.images import check_header, foreign, open_upright
from components.common.png import MAX_CHUNKS, verify
from interfaces.errors import AtelierError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def _encoded(mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _with(chunks: bytes) -> bytes:
    """The good file, with chunks behind its header."""
    return _encoded()[:33] + chunks + _encoded()[33:]


@pytest.mark.parametrize("behind", [b"x", bytes(3_000_000), _chunk(b"IDAT", b"x"), _encoded()])
def test_what_lies_behind_the_end_is_no_part_of_it(behind: bytes) -> None:
    assert np.array_equal(np.asarray(open_upright(_encoded() + behind)), PIXELS)
    verify(io.BytesIO(_encoded() + behind))


def test_many_parts_are_right_and_very_many_refused() -> None:
    assert np.array_equal(np.asarray(open_upright(_with(_chunk(b"prVt") * 5000))), PIXELS)
    with pytest.raises(AtelierError, match="parts"), foreign("a.png"):
        open_upright(_with(_chunk(b"prVt") * (MAX_CHUNKS + 1)))


def test_colours_without_their_palette_are_refused() -> None:
    data = _encoded("P")
    start = data.index(b"PLTE") - 4
    (length,) = struct.unpack_from(">I", data, start)
    with pytest.raises(AtelierError, match="palette"), foreign("a.png"):
        open_upright(data[:start] + data[start + 12 + length :])
    assert open_upright(data).size == (8, 8)


@pytest.mark.parametrize("place", [30, 45, -16, -5, -1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    data = bytearray(_encoded())
    data[place] ^= 0x40
    with pytest.raises(ValueError, match=r"damaged|header"):
        verify(io.BytesIO(data))
    for cut in range(9, len(_encoded()), 7):
        with pytest.raises(ValueError, match="damaged"):
            verify(io.BytesIO(_encoded()[:cut]))


def test_a_header_of_very_many_segments_is_refused_quickly() -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG")
    whole = stream.getvalue()
    few, many = (whole[:2] + b"\xff\xe5\0\2" * number + whole[2:] for number in (1000, 500_000))
    assert open_upright(few).size == (8, 8)
    for read in (check_header, open_upright):
        with pytest.raises(AtelierError, match="parts"), foreign("a.jpg"):
            read(many)
