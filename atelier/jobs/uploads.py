"""Files that people send: judged by their content, kept under random names, never as a path."""

import hashlib
import lzma
import os
import secrets
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.common.durable import write_text
from interfaces.errors import AtelierError, RefusedError
from interfaces.offers import NoSuchOfferError, Upload

MOST_PICTURE_BYTES = 200 * 2**20
MOST_PIXELS = 100_000_000
MOST_ARCHIVE_BYTES = 8 * 2**30
MOST_BYTES_IN_ALL = 64 * 2**30

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


class LocalUploads:
    """The port `interfaces.offers.Uploads`: files of a folder, each with what is known of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, chunks: Iterable[bytes], name: str) -> Upload:
        """Take a file in; its content decides what it is.

        At most 200 MiB and 100 million pixels for a picture (PNG, JPEG, WebP, AVIF, TIFF, BMP,
        GIF), 8 GiB for an archive (zip, tar). Raises `AtelierError` for anything else.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._check_room()
        upload_id = secrets.token_hex(16)
        arriving = self._folder / f".{upload_id}.arriving"
        try:
            digest, size = _receive(chunks, arriving)
            known = _recognise(arriving, size)
            upload = Upload(id=upload_id, name=_plain(name), sha256=digest, num_bytes=size, **known)
            arriving.replace(self._place(upload))
            write_text(self._folder / f"{upload_id}.json", upload.model_dump_json() + "\n")
        finally:
            arriving.unlink(missing_ok=True)
        return upload

    def get(self, upload_id: str) -> Upload:
        """What is known of it. Raises `NoSuchOfferError` where there is none."""
        is_id = len(upload_id) == 32 and set(upload_id) <= set("0123456789abcdef")
        path = self._folder / f"{upload_id}.json"
        if not is_id or not path.is_file():
            raise NoSuchOfferError(f"upload {upload_id[:40]!r}: there is none")
        return Upload.model_validate_json(path.read_text(encoding="utf-8"))

    def path(self, upload_id: str) -> Path:
        """Where it lies. Raises `NoSuchOfferError` where there is none."""
        path = self._place(self.get(upload_id))
        if not path.is_file():
            raise NoSuchOfferError(f"upload {upload_id}: the file is gone; send it again")
        return path

    def with_digest(self, sha256: str) -> list[Upload]:
        """The uploads that hold these bytes and are still here."""
        uploads = (self.get(path.stem) for path in sorted(self._folder.glob("*.json")))
        return [one for one in uploads if one.sha256 == sha256 and self._place(one).is_file()]

    def archives(self) -> list[Upload]:
        """The uploaded archives, which can be collections."""
        uploads = [self.get(path.stem) for path in sorted(self._folder.glob("*.json"))]
        return [upload for upload in uploads if upload.kind == "collection"]

    def _place(self, upload: Upload) -> Path:
        return self._folder / f"{upload.id}{_SUFFIXES[upload.media_type]}"

    def _check_room(self) -> None:
        with os.scandir(self._folder) as entries:
            held = sum(entry.stat().st_size for entry in entries if entry.is_file())
        if held > MOST_BYTES_IN_ALL:
            raise AtelierError("uploads: the folder is full; remove old files from uploads")


def _receive(chunks: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Write what comes, up to the limit of its kind => its digest and size."""
    digest, size, limit = hashlib.sha256(), 0, MOST_PICTURE_BYTES
    with path.open("wb") as stream:
        for chunk in chunks:
            if size == 0 and chunk:
                limit = MOST_ARCHIVE_BYTES if _may_be_archive(chunk) else MOST_PICTURE_BYTES
            size += len(chunk)
            if size > limit:
                raise AtelierError(f"upload: larger than {limit // 2**20} MiB; send a smaller file")
            digest.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    if size == 0:
        raise AtelierError("upload: the file is empty")
    return digest.hexdigest(), size


def _may_be_archive(start: bytes) -> bool:
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or (
        start[257:262] == b"ustar"
    )


def _recognise(path: Path, size: int) -> dict[str, Any]:
    """What the content is: kind, media type, and of a picture its width and height."""
    with path.open("rb") as stream:
        looks_packed = _may_be_archive(stream.read(512))
    if looks_packed and zipfile.is_zipfile(path):
        return {"kind": "collection", "media_type": _ARCHIVES["zip"][0]}
    if looks_packed and _is_tar(path):
        return {"kind": "collection", "media_type": _ARCHIVES["tar"][0]}
    if size > MOST_PICTURE_BYTES:
        raise AtelierError("upload: too large for a picture, and no archive")
    return _recognise_picture(path)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError):
        return False  # packed, but damaged or cut off


def _recognise_picture(path: Path) -> dict[str, Any]:
    from PIL import Image

    from components.common.images import check_header
    from components.common.samples import UnsupportedError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_header(path, MOST_PIXELS, list(_PICTURES))
            with Image.open(path, formats=list(_PICTURES)) as header:  # reads no pixels
                # An MPO is a JPEG with more pictures behind the first.
                kind = "JPEG" if header.format == "MPO" else str(header.format)
                width, height = header.size
                header.verify()
    except UnsupportedError as error:
        raise RefusedError(f"upload: {error}") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise AtelierError(
            "upload: neither a readable picture (PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF) nor an "
            "archive (zip, tar)"
        ) from error
    return {
        "kind": "picture",
        "media_type": _PICTURES[kind][0],
        "width": width,
        "height": height,
    }


def _plain(name: str) -> str:
    """What a person calls a file => one line without folders, to be shown and recorded."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter for letter in last if letter.isprintable())
    return printable.strip()[:120] or "picture"
