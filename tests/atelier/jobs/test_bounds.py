"""Uploads that are made to take time or memory: refused by their headers and directories."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from PIL import Image

from atelier.jobs import LocalUploads
from components.common.durable import MAX_LITTER_SECONDS
from interfaces.errors import AtelierError


@pytest.fixture
def uploads(tmp_path: Path) -> LocalUploads:
    return LocalUploads(tmp_path / "uploads")


def test_room_is_counted_while_another_upload_ends(
    uploads: LocalUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads.add([_encoded("PNG")], "a.png")
    scandir = os.scandir

    def listed(folder: Path) -> AbstractContextManager[Iterator["os.DirEntry[str]"]]:
        other = Path(folder, ".b.partial")
        other.write_bytes(b"x")
        entries = list(scandir(folder))
        other.unlink()
        return nullcontext(iter(entries))

    with monkeypatch.context() as patch:
        patch.setattr("atelier.jobs.uploads.os.scandir", listed)
        assert uploads.add([_encoded("PNG")], "c.png").kind == "picture"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_parts(number: int) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
    parts = _chunk(b"prVt", b"") * number
    return b"\x89PNG\r\n\x1a\n" + head + parts + pixels + _chunk(b"IEND", b"")


def _encoded(image_format: str) -> bytes:
    stream = io.BytesIO()
    Image.new("P", (8, 8)).convert("P" if image_format == "GIF" else "RGB").save(
        stream, image_format
    )
    return stream.getvalue()


def _jpeg_of_parts(number: int) -> bytes:
    whole = _encoded("JPEG")
    return whole[:2] + b"\xff\xe5\0\2" * number + whole[2:]


def _gif_of_parts(number: int) -> bytes:
    whole = _encoded("GIF")
    colours = 13 + 3 * (2 << (whole[10] & 7))
    return whole[:colours] + b"\x21\xfe\x01a\0" * number + whole[colours:]


def _zip_of(number: int, body: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for place in range(number):
            archive.writestr(f"style/{place}.png", body)
    return stream.getvalue()


def _zip_with_a_false_count() -> bytes:
    """The end record says that there is one file; the directory lists 300."""
    whole = bytearray(_zip_of(300, b"x"))
    end = whole.rfind(b"PK\x05\x06")
    whole[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    return bytes(whole)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png_of_parts(1_000_000),
    "jpeg": lambda: _jpeg_of_parts(500_000),
    "gif": lambda: _gif_of_parts(500_000),
    "empty zip": lambda: _zip_of(2000, b""),
    "zip": lambda: _zip_of(300, b"x"),
    "zip that lies": _zip_with_a_false_count,
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_explodes_is_refused_quickly(
    uploads: LocalUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("atelier.jobs.uploads.MAX_MEMBERS", 250)
    data = BOMBS[name]()
    began = time.process_time()
    with pytest.raises(AtelierError, match=r"parts|files|anything"):
        uploads.add([data], "a")
    assert time.process_time() - began < 5
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize("make", [png_of_parts, _jpeg_of_parts, _gif_of_parts])
def test_a_few_parts_are_no_fault(uploads: LocalUploads, make: Callable[[int], bytes]) -> None:
    assert uploads.add([make(500)], "a").kind == "picture"


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("style/a.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    return stream.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("size", [1, 7, 100, 257, 261, 262, 512, 4096])
def test_a_tar_is_known_whatever_the_size_of_its_pieces(
    uploads: LocalUploads,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    pack: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr("atelier.jobs.uploads.MAX_PICTURE_BYTES", 600)
    data = pack(_tar())
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert uploads.add(pieces, "a.tar").kind == "collection"


def test_a_long_name_in_a_tar_is_not_read_to_know_the_tar(uploads: LocalUploads) -> None:
    """A packed header that announces a name of 4 GB, as a few kilobytes of zeros."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    data = gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    assert uploads.add([data], "a.tar.gz").kind == "collection"


def test_what_killed_servers_left_goes_when_it_is_old(
    uploads: LocalUploads, tmp_path: Path
) -> None:
    import os

    folder = tmp_path / "uploads"
    kept = uploads.add([_encoded("JPEG")], "a.jpg")
    names = [".0123.arriving", f"{'a' * 32}.png", ".x.000000-1-00000000.partial", "mine.txt"]
    for name in names:
        (folder / name).write_bytes(b"x")
    uploads.add([_encoded("JPEG")], "b.jpg")
    assert all((folder / name).exists() for name in names)
    long_ago = time.time() - MAX_LITTER_SECONDS - 60
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    uploads.add([_encoded("JPEG")], "c.jpg")
    assert [name for name in names if (folder / name).exists()] == ["mine.txt"]
    assert uploads.path(kept.id).read_bytes() == _encoded("JPEG")
