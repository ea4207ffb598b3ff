"""What holds a collection's files: a folder, a zip or a tar, each listed without unpacking it."""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

from components.common.durable import replacing, sha256_of
from components.common.files import is_regular, open_regular
from components.common.names import is_unicode, printable
from components.training_store.zip_names import member_names
from interfaces.errors import AtelierError
from interfaces.itdt import QuarantinedFile
from interfaces.progress import Progress, ProgressEvent

Reason = Literal[
    "corrupt", "truncated", "tiny", "oversized", "unreadable", "not an image", "unsupported"
]

_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_LOCAL_HEADER_BYTES = 30
_COPY_BYTES = 1 << 20
_MAX_EXPANSION = 100
_MIN_UNPACKED_BYTES = 1 << 30
_Opener = Callable[[Path], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]
_PACKED_TARS: dict[bytes, _Opener] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_FOREIGN_ARCHIVES = {b"Rar!": "RAR", b"7z\xbc\xaf'\x1c": "7z", b"\x28\xb5\x2f\xfd": "Zstandard"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a container: its name, and the range of bytes where it lies."""

    name: str  # inside the collection, forward slashes, printable; shown, never opened
    file: Path  # absolute
    offset: int
    length: int  # bytes as they lie there
    size: int  # bytes unpacked
    compression: Literal["none", "deflate"] = "none"
    crc32: int | None = None  # of the unpacked bytes, where the container knows it
    stamp: str = ""  # changes when the bytes do: size and times of the file


WORKSPACE_MARK = Path("collections", ".lock")
"""What every workspace holds that a collection was ever listed from."""


class Container(Protocol):
    """Lists what it holds, the same way in the same order each time it is asked."""

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every file but hidden ones; a file that cannot be reached comes with its reason."""
        ...


def open_container(path: Path, workspace: Path, progress: Progress) -> Container:
    """The folder, zip or tar at `path`, recognised by content.

    A workspace in a folder is no part of it. A compressed tar is unpacked once, into `workspace`.
    Raises `AtelierError` for a file that is none of these.
    """
    if path.is_dir():
        return Folder(path, workspace)
    if not is_regular(path):
        raise AtelierError(f"{path}: a pipe, socket or device; name a file or a folder")
    with open_regular(path) as stream:
        start = stream.read(8)
    for magic, opener in _PACKED_TARS.items():
        if start.startswith(magic):
            return Tar(_unpack_tar(path, opener, workspace / "unpacked", progress))
    if zipfile.is_zipfile(path):
        return Zip(path)
    if _is_tar(path):
        return Tar(path)
    for magic, name in _FOREIGN_ARCHIVES.items():
        if start.startswith(magic):
            raise AtelierError(f"{path}: {name} archives are not read; unpack it, name the folder")
    if start.startswith(b"PK\x03\x04"):
        raise AtelierError(f"{path}: the zip is cut off or damaged; download or pack it again")
    raise AtelierError(
        f"{path}: not a collection; name a folder, a zip, a tar, a parquet file or 'embedded'"
    )


def stamp_of(status: os.stat_result) -> str:
    """Size and times of a file: they differ wherever its bytes were written anew."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def put_aside(name: str, reason: Reason, detail: str) -> QuarantinedFile:
    """A quarantined file, with its name and detail safe to show."""
    return QuarantinedFile(name=printable(name), reason=reason, detail=printable(detail))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


class Folder:
    """A folder, at any depth, in order of names. Links are followed, but never in circles.

    Workspaces inside it are left out: what was made from a collection is no part of it.
    """

    def __init__(self, root: Path, workspace: Path) -> None:
        self._root = root.resolve()
        self._workspace = workspace.resolve()
        if self._root == self._workspace:
            raise AtelierError(
                f"{root}: is the workspace itself; name another with --workspace, or move the "
                "pictures into a folder of their own"
            )

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every file but hidden ones, by name; a linked folder passed over comes with a reason."""
        return self._walk(self._root, "", visited=set())

    def _walk(
        self, folder: Path, prefix: str, visited: set[Path]
    ) -> Iterator[Entry | QuarantinedFile]:
        try:
            with os.scandir(folder) as listing:
                items = sorted(listing, key=lambda item: (printable(item.name), item.name))
        except OSError as error:
            yield put_aside(prefix or "./", "unreadable", f"cannot list: {error.strerror}")
            return
        for item in items:
            if not _is_hidden(item.name):
                yield from self._item(item, prefix + item.name, visited)

    def _item(
        self, item: os.DirEntry[str], name: str, visited: set[Path]
    ) -> Iterator[Entry | QuarantinedFile]:
        path = Path(item.path)
        try:
            status = item.stat()
        except OSError as error:
            yield put_aside(name, "unreadable", f"cannot be reached: {error.strerror}")
            return
        if not stat.S_ISDIR(status.st_mode):
            yield _file_entry(name, path, status)
        elif not self._is_in_workspace(target := path.resolve()):
            if reason := self._why_passed_over(item, target, visited):
                yield put_aside(f"{name}/", "unsupported", reason)
                return
            visited.add(target)
            yield from self._walk(path, f"{name}/", visited)

    def _is_in_workspace(self, folder: Path) -> bool:
        """Whether a folder belongs to a workspace that this collection does not belong to."""
        if folder.is_relative_to(self._workspace):
            return not self._root.is_relative_to(self._workspace)
        return os.path.exists(folder / WORKSPACE_MARK)  # noqa: PTH110, it never raises

    def _why_passed_over(
        self, item: os.DirEntry[str], target: Path, visited: set[Path]
    ) -> str | None:
        if target in visited:
            return "the same folder was listed before, by another name"
        if not item.is_symlink():
            return None
        if target.is_relative_to(self._root):
            return "a link to a folder of the collection"
        if self._root.is_relative_to(target):
            return "a link to a folder that holds the collection"
        return None


def _file_entry(name: str, path: Path, status: os.stat_result) -> Entry | QuarantinedFile:
    if not stat.S_ISREG(status.st_mode):
        return put_aside(name, "unsupported", "a pipe, socket or device, not a file")
    if not is_unicode(str(path)):
        return put_aside(name, "unreadable", "its name is not valid Unicode; rename it")
    size = status.st_size
    return Entry(printable(name), path, 0, size, size, stamp=stamp_of(status))


class Zip:
    """A zip whose members, stored or deflated, are read in place."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every member but hidden ones, by name."""
        stamp = stamp_of(self._path.stat())
        try:
            with zipfile.ZipFile(self._path) as archive, self._path.open("rb") as stream:
                members = archive.infolist()
                names = map(_archive_name, member_names(members))
                named = zip(names, members, strict=True)
                for name, member in sorted(named, key=lambda pair: pair[0]):
                    if not member.is_dir() and not _is_hidden_path(name):
                        yield self._entry(name, member, stream, stamp)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise AtelierError(
                f"{self._path}: the zip is damaged ({error}); download or pack it again"
            ) from error

    def _entry(
        self, name: str, member: zipfile.ZipInfo, stream: IO[bytes], stamp: str
    ) -> Entry | QuarantinedFile:
        if member.flag_bits & 0x1:
            return put_aside(name, "unsupported", "encrypted in the zip; unpack it first")
        if member.compress_type not in (_STORED, _DEFLATED):
            method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
            detail = (
                f"packed by {method} in the zip, of which only deflate is read; unpack it first"
            )
            return put_aside(name, "unsupported", detail)
        stream.seek(member.header_offset)
        header = stream.read(_LOCAL_HEADER_BYTES)
        if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
            return put_aside(name, "corrupt", "the zip does not hold it where it says")
        name_length, extra_length = header[26:28], header[28:30]
        begin = member.header_offset + _LOCAL_HEADER_BYTES
        begin += int.from_bytes(name_length, "little") + int.from_bytes(extra_length, "little")
        return Entry(
            name=name,
            file=self._path,
            offset=begin,
            length=member.compress_size,
            size=member.file_size,
            compression="deflate" if member.compress_type == _DEFLATED else "none",
            crc32=member.CRC,
            stamp=stamp,
        )


def _archive_name(name: str) -> str:
    """A member's name with forward slashes and without steps up or drive letters."""
    parts = name.replace("\\", "/").split("/")
    return printable("/".join(part for part in parts if part not in {"", ".", ".."}))


def _is_hidden_path(name: str) -> bool:
    return any(_is_hidden(part) for part in name.split("/"))


class Tar:
    """A tar that is not compressed; its members are read in place."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every file but hidden ones, by name; a note where the tar is cut off."""
        stamp = stamp_of(self._path.stat())
        found: list[tuple[str, int, int]] = []
        faults: list[QuarantinedFile] = []
        try:
            with tarfile.open(self._path, "r:") as archive:
                for member in archive:
                    name = _archive_name(member.name)
                    if member.issparse() or member.islnk() or member.issym():
                        faults.append(put_aside(name, "unsupported", "a link or sparse file"))
                    elif member.isreg() and not _is_hidden_path(name):
                        found.append((name, member.offset_data, member.size))
                    # tarfile would keep every header in memory.
                    archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
                if not self._ends_well(archive.offset):
                    raise tarfile.ReadError("damaged header")
        except (tarfile.TarError, OSError) as error:
            faults.append(put_aside(f"{self._path.name}/", "truncated", f"the tar ends: {error}"))
        yield from faults
        for name, offset, size in sorted(found):
            yield Entry(name, self._path, offset, size, size, stamp=stamp)

    def _ends_well(self, offset: int) -> bool:
        """Whether a tar's end, empty blocks or nothing, lies where the listing stopped."""
        with self._path.open("rb") as stream:
            stream.seek(offset)
            return not stream.read(tarfile.BLOCKSIZE).strip(b"\0")


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:") as archive:
            return archive.next() is not None
    except tarfile.TarError:
        return False


def _unpack_tar(path: Path, opener: _Opener, folder: Path, progress: Progress) -> Path:
    """A compressed tar => the bare tar, in `folder` under the digest of the packed file."""
    target = folder / f"{sha256_of(path)[:16]}.tar"
    if not target.exists():
        # Pictures hardly shrink when packed: what grows a hundredfold is a bomb.
        limit = max(_MIN_UNPACKED_BYTES, _MAX_EXPANSION * path.stat().st_size)
        with replacing(target) as temporary, temporary.open("wb") as out:
            for piece in _unpacked_pieces(path, opener):
                out.write(piece)
                progress(ProgressEvent(stage="unpack", done=out.tell(), unit="bytes"))
                if out.tell() > limit:
                    raise AtelierError(
                        f"{path}: unpacks to more than {limit >> 20} MiB, a hundred times its "
                        "size; if you trust it, unpack it yourself and name the folder"
                    )
    if not _is_tar(target):
        target.unlink()
        raise AtelierError(f"{path}: compressed, but holds no tar; unpack it and name the folder")
    return target


def _unpacked_pieces(path: Path, opener: _Opener) -> Iterator[bytes]:
    with opener(path) as stream:
        while True:
            try:
                piece = stream.read(_COPY_BYTES)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise AtelierError(
                    f"{path}: cut off or damaged ({error}); download or pack it again"
                ) from error
            if not piece:
                return
            yield piece
