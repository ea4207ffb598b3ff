"""Files that people send: judged by their content, kept under random names, never as a path."""

import bz2
import gzip
import hashlib
import lzma
import os
import secrets
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal, NotRequired, TypedDict

from pydantic import ValidationError

from components.common.durable import MAX_LITTER_SECONDS, arriving, commit, sweep, write_text
from interfaces.errors import (
    AtelierError,
    DamagedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from interfaces.offers import Upload

MAX_PICTURE_BYTES = 200 * 2**20
MAX_ARCHIVE_BYTES = 8 * 2**30
MAX_BYTES_IN_ALL = 64 * 2**30
MAX_MEMBERS = 200_000
"""Upper limit on files of a zip: reading the directory of that many takes a second."""

# Pillow's name of a format: media type, and the suffix that readers go by.
_PICTURES = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "WEBP": ("image/webp", ".webp"),
    "AVIF": ("image/avif", ".avif"),
    "TIFF": ("image/tiff", ".tif"),
    "BMP": ("image/bmp", ".bmp"),
    "GIF": ("image/gif", ".gif"),
}
_ARCHIVES = {"zip": ("application/zip", ".zip"), "tar": ("application/x-tar", ".tar")}
_SUFFIXES = dict([*_PICTURES.values(), *_ARCHIVES.values()])
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_PACKERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_START_BYTES = 512  # of a tar: its first header
_MAX_ZIP_END = 22 + 0xFFFF + 20 + 56  # the end records, with the longest comment
_MAX_DIRECTORY_BYTES = 64 * 2**20

_NEITHER = (
    "upload: neither a readable picture (PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF) nor an archive "
    "(zip, tar)"
)


class LocalUploads:
    """The port `interfaces.offers.Uploads`: files of a folder, each with what is known of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, chunks: Iterable[bytes], name: str) -> Upload:
        """Receive a file; its content determines its kind.

        At most 200 MiB and 100 million pixels for a picture (PNG, JPEG, WebP, AVIF, TIFF, BMP,
        GIF), 8 GiB for an archive (zip, tar). Raises `AtelierError` for anything else.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._check_room()
        upload_id = secrets.token_hex(16)
        with arriving(self._folder / upload_id) as file:
            digest, size = _receive(chunks, file)
            known = _recognise(file, size)
            upload = Upload(id=upload_id, name=_plain(name), sha256=digest, num_bytes=size, **known)
            commit(file, self._place(upload))
        write_text(self._description(upload_id), upload.model_dump_json() + "\n")
        return upload

    def get(self, upload_id: str) -> Upload:
        """Description of an upload. Raises `NotFoundError` where there is none."""
        is_id = len(upload_id) == 32 and set(upload_id) <= set("0123456789abcdef")
        path = self._description(upload_id)
        if not is_id or not path.is_file():
            raise NotFoundError(f"upload {upload_id[:40]!r}: there is none")
        try:
            upload = Upload.model_validate_json(path.read_bytes())
            self._place(upload)
        except (OSError, ValidationError, KeyError) as error:
            raise DamagedError(
                f"upload {upload_id}: what was known of it is damaged; remove it and send it again"
            ) from error
        return upload

    def path(self, upload_id: str) -> Path:
        """Path of an upload. Raises `NotFoundError` where there is none."""
        path = self._place(self.get(upload_id))
        if not path.is_file():
            raise NotFoundError(f"upload {upload_id}: the file is gone; send it again")
        return path

    def with_digest(self, sha256: str) -> list[Upload]:
        """The uploads that hold these bytes and are still here."""
        return [upload for upload in self._here() if upload.sha256 == sha256]

    def remove(self, upload_id: str) -> None:
        """Remove it for good. Raises `NotFoundError` where there is none."""
        with suppress(DamagedError):  # which is no reason to keep it
            self.get(upload_id)
        self._description(upload_id).unlink(missing_ok=True)
        for suffix in _SUFFIXES.values():
            self._description(upload_id).with_suffix(suffix).unlink(missing_ok=True)

    def archives(self) -> list[Upload]:
        """The uploaded archives, which can be collections; damaged and lost ones are left out."""
        return [upload for upload in self._here() if upload.kind == "collection"]

    def _here(self) -> Iterator[Upload]:
        for path in sorted(self._folder.glob("*.json")):
            with suppress(AtelierError):
                upload = self.get(path.stem)
                if self._place(upload).is_file():
                    yield upload

    def _place(self, upload: Upload) -> Path:
        return self._folder / f"{upload.id}{_SUFFIXES[upload.media_type]}"

    def _description(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.json"

    def _check_room(self) -> None:
        with os.scandir(self._folder) as entries:
            held = sum(map(_bytes_of, entries))
        if held > MAX_BYTES_IN_ALL:
            raise UnavailableError("uploads: the folder is full; remove some uploads first")

    def _sweep(self) -> None:
        """Remove what killed servers left: partial arrivals, and files without a description."""
        sweep(self._folder)
        for path in self._folder.iterdir():
            is_named = len(path.stem) == 32 and path.suffix in _SUFFIXES.values()
            is_lost = is_named and not self._description(path.stem).exists()
            # Version 0.2 wrote '.<id>.arriving'.
            if (is_lost or path.suffix == ".arriving") and _is_old(path):
                path.unlink(missing_ok=True)


def _bytes_of(entry: "os.DirEntry[str]") -> int:
    """A file's length; 0 of a folder, and of what has gone since it was listed."""
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except FileNotFoundError:
        return 0


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > MAX_LITTER_SECONDS
    except OSError:
        return False


def _receive(chunks: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Write the chunks, up to the limit of their kind => digest and size."""
    digest, size, start, limit = hashlib.sha256(), 0, b"", MAX_PICTURE_BYTES
    with path.open("wb") as stream:
        for chunk in chunks:
            if len(start) < _START_BYTES:  # chunks may be of any size
                start = (start + chunk)[:_START_BYTES]
                limit = MAX_ARCHIVE_BYTES if _may_be_archive(start) else MAX_PICTURE_BYTES
            size += len(chunk)
            if size > limit:
                raise RefusedError(f"upload: larger than {limit // 2**20} MiB; send a smaller file")
            digest.update(chunk)
            stream.write(chunk)
    if size == 0:
        raise RefusedError("upload: the file is empty")
    return digest.hexdigest(), size


def _may_be_archive(start: bytes) -> bool:
    return start.startswith((*_ZIP_STARTS, *_PACKERS)) or start[257:262] == b"ustar"


class _Recognised(TypedDict):
    kind: Literal["picture", "collection"]
    media_type: str
    width: NotRequired[int]
    height: NotRequired[int]


def _recognise(path: Path, size: int) -> _Recognised:
    """Kind and media type of the content, and a picture's size, pixels.

    Raises `AtelierError` where it is neither picture nor archive.
    """
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
    if start.startswith(_ZIP_STARTS) and zipfile.is_zipfile(path):
        _check_directory(path, size)
        return {"kind": "collection", "media_type": _ARCHIVES["zip"][0]}
    if _may_be_archive(start) and _is_tar(path, start):
        return {"kind": "collection", "media_type": _ARCHIVES["tar"][0]}
    if size > MAX_PICTURE_BYTES:
        raise RefusedError("upload: too large for a picture, and no archive")
    return _recognise_picture(path)


def _check_directory(path: Path, size: int) -> None:
    """Refuse a zip that holds too many files, or nothing in any of them."""
    with path.open("rb") as stream:
        num_members = _num_members(stream, size)
    if num_members > MAX_MEMBERS:
        raise RefusedError(
            f"upload: a zip of over {MAX_MEMBERS:,} files, too many to send; name it with --data "
            "where the server is started"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            is_empty = not any(member.file_size for member in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DamagedError(f"upload: a damaged zip ({error}); pack it again") from error
    if is_empty:
        raise RefusedError("upload: a zip in which no file holds anything; pack it again")


def _num_members(stream: BinaryIO, size: int) -> int:
    """The largest number of files that a zip's directory can list, whatever the zip states.

    The end record says where the directory lies (APPNOTE.TXT 4.3.12, 4.3.14 and 4.3.16). One of
    over 64 MB is not read.
    """
    stream.seek(size - min(size, _MAX_ZIP_END))
    end = stream.read()
    record = end.rfind(b"PK\x05\x06")
    room = int.from_bytes(end[record + 12 : record + 16], "little")
    large = record - 20 - 56
    if large >= 0 and end.startswith(b"PK\x06\x06", large):
        record, room = large, int.from_bytes(end[large + 40 : large + 48], "little")
    if room > _MAX_DIRECTORY_BYTES:
        return MAX_MEMBERS + 1
    stream.seek(max(0, size - len(end) + record - room))
    return stream.read(room).count(b"PK\x01\x02")


def _is_tar(path: Path, start: bytes) -> bool:
    """Whether the first header is a tar's; nothing after it is read."""
    opener = next((open_ for magic, open_ in _PACKERS.items() if start.startswith(magic)), None)
    try:
        if opener is not None:
            with opener(path, "rb") as stream:
                start = stream.read(_START_BYTES)
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, tarfile.HeaderError):
        return False  # something else, packed, or damaged, or cut off
    return True


def _recognise_picture(path: Path) -> _Recognised:
    from PIL import UnidentifiedImageError

    from components.common import png
    from components.common.images import MAX_PIXELS, check_header, foreign

    try:
        with foreign("upload"), path.open("rb") as stream:
            header = check_header(stream, MAX_PIXELS, list(_PICTURES))
            if header.format == "PNG":
                stream.seek(0)
                png.verify(stream)
    except DamagedError as error:
        raise DamagedError(f"{_NEITHER} ({str(error).removeprefix('upload: ')})") from error
    except RefusedError as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise RefusedError(_NEITHER) from error
        raise
    # An MPO is a JPEG with more pictures behind the first.
    kind = "JPEG" if header.format == "MPO" else header.format
    return {
        "kind": "picture",
        "media_type": _PICTURES[kind][0],
        "width": header.width,
        "height": header.height,
    }


def _plain(name: str) -> str:
    """A person's name for a file => one line without folders, to be shown and recorded."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter for letter in last if letter.isprintable())
    return printable.strip()[:120] or "picture"
