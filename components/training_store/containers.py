"""Containers of a collection's files: a folder, a zip or a tar, listed without unpacking it."""

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Literal, Protocol, Self

from components.common.durable import replacing, sha256_of
from components.common.files import is_regular, is_workspace, open_regular, real_path
from components.common.names import is_unicode, printable
from components.training_store.zip_names import member_names
from interfaces.errors import DamagedError, RefusedError, UnavailableError
from interfaces.itdt import FileFault, QuarantinedFile
from interfaces.places import (
    Range,
    Url,
    is_folder,
    list_folder,
    open_place,
    read_range,
    version_of,
)
from interfaces.progress import Progress, ProgressEvent

_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_LOCAL_HEADER_BYTES = 30
_COPY_BYTES = 1 << 20
_MAX_EXPANSION = 100
_MIN_UNPACKED_BYTES = 1 << 30
_MAX_HEADER_BYTES = 1 << 20
_LONG_HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_Opener = Callable[[BinaryIO], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]
_PACKED_TARS: dict[bytes, _Opener] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_PASSING = {
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT),  # a disk, here or on the network
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),  # too much at once on this machine
}
_FOREIGN_ARCHIVES = {b"Rar!": "RAR", b"7z\xbc\xaf'\x1c": "7z", b"\x28\xb5\x2f\xfd": "Zstandard"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a container: its name, and the range of bytes where it lies."""

    name: str  # inside the collection, forward slashes, printable; shown, never opened
    file: Path | Url  # a path is absolute
    offset: int
    length: int  # bytes as they lie there
    size: int  # bytes unpacked
    compression: Literal["none", "deflate"] = "none"
    crc32: int | None = None  # of the unpacked bytes, where the container knows it
    stamp: str = ""  # changes when the bytes do: size and times of the file

    @property
    def remote_range(self) -> Range | None:
        """The bytes to fetch; None where they lie on this machine."""
        if isinstance(self.file, Url):
            return Range(self.file, self.stamp, self.offset, self.length)
        return None


class Container(Protocol):
    """Lists its files, in the same order every time."""

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every file but hidden ones; a file that cannot be reached comes with its reason."""
        ...


def open_container(place: Path | Url, workspace: Path, progress: Progress) -> Container:
    """The folder, zip or tar at `place`, recognised by its content.

    A workspace in a folder is no part of it. A compressed tar is unpacked once, into `workspace`.
    Raises `AtelierError` for a file that is none of these.
    """
    if isinstance(place, Url) and is_folder(place):
        return RemoteFolder(place)
    if isinstance(place, Path) and place.is_dir():
        return Folder(place, workspace)
    if isinstance(place, Path) and not is_regular(place):
        raise RefusedError(f"{place}: a pipe, socket or device; name a file or a folder")
    with open_file(place) as stream:
        return _archive(place, stream, workspace, progress)


def open_file(place: Path | Url) -> BinaryIO:
    """Open a file, seekable; a local one only where it is regular, as `open_regular` does."""
    return open_regular(place) if isinstance(place, Path) else open_place(place)


def _archive(place: Path | Url, stream: BinaryIO, workspace: Path, progress: Progress) -> Container:
    start = stream.read(8)
    for magic, opener in _PACKED_TARS.items():
        if start.startswith(magic):
            stream.seek(0)
            return Tar(_unpack_tar(place, stream, opener, workspace / "unpacked", progress))
    if zipfile.is_zipfile(stream):
        return Zip(place)
    if is_tar(stream):
        return Tar(place)
    for magic, name in _FOREIGN_ARCHIVES.items():
        if start.startswith(magic):
            raise RefusedError(f"{place}: {name} archives are not read; unpack it, name the folder")
    if start.startswith(b"PK\x03\x04"):
        raise DamagedError(f"{place}: the zip is cut off or damaged; download or pack it again")
    raise RefusedError(
        f"{place}: not a collection; name a folder, a zip, a tar, a parquet file or 'embedded'"
    )


def read_entry(entry: Entry) -> bytes:
    """The bytes of an entry as they lie there, fewer where the file is shorter.

    Raises `OSError` for a local file, and as `interfaces.places.read_range` does for a remote one.
    """
    if (wanted := entry.remote_range) is not None:
        return read_range(wanted)
    with open_file(entry.file) as stream:
        stream.seek(entry.offset)
        return stream.read(entry.length)


def stamp_of(status: os.stat_result) -> str:
    """Size and times of a file, which differ once its bytes are rewritten."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def stamp_at(place: Path | Url) -> str:
    """The stamp of the file at a place; of a remote file, its version."""
    return stamp_of(place.stat()) if isinstance(place, Path) else version_of(place)


def digest_at(place: Path | Url) -> str:
    """Digest of a file's bytes; of a remote file, which is not read for it, of its version."""
    if isinstance(place, Path):
        return sha256_of(place)
    return hashlib.sha256(f"{place} {version_of(place)}".encode()).hexdigest()


def raise_if_passing(error: Exception, place: Path | Url) -> None:
    """Raise `UnavailableError` for what is no fault of the file: no list may remember that."""
    if isinstance(error, OSError) and error.errno in _PASSING:
        raise UnavailableError(f"{place}: cannot be read now ({error}); try again") from error


def put_aside(name: str, reason: FileFault, detail: str) -> QuarantinedFile:
    """A quarantined file, with its name and detail safe to show."""
    return QuarantinedFile(name=printable(name), reason=reason, detail=printable(detail))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


class Folder:
    """A folder, at any depth, in order of names. Links are followed, but never in circles.

    Workspaces inside it are left out: what was made from a collection is no part of it.
    """

    def __init__(self, root: Path, workspace: Path) -> None:
        self._root = real_path(root)
        self._workspace = workspace.resolve()
        if self._root == self._workspace:
            raise RefusedError(
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
        elif not self._is_in_workspace(target := real_path(path)):
            if reason := self._why_passed_over(item, target, visited):
                yield put_aside(f"{name}/", "unsupported", reason)
                return
            visited.add(target)
            yield from self._walk(path, f"{name}/", visited)

    def _is_in_workspace(self, folder: Path) -> bool:
        """Whether a folder belongs to a workspace that this collection does not belong to."""
        if folder.is_relative_to(self._workspace):
            return not self._root.is_relative_to(self._workspace)
        return is_workspace(folder)

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


class RemoteFolder:
    """A folder behind a URL, at any depth, in the order of a local folder of the same names."""

    def __init__(self, url: Url) -> None:
        self._url = url

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every file but hidden ones, by name; one folder's listing is in memory at a time."""
        return self._walk(self._url, "")

    def _walk(self, folder: Url, prefix: str) -> Iterator[Entry | QuarantinedFile]:
        for item in sorted(list_folder(folder), key=lambda item: (printable(item.name), item.name)):
            name = prefix + printable(item.name)
            if _is_hidden(item.name):
                continue
            if item.is_folder:
                yield from self._walk(item.url, f"{name}/")
            else:
                yield Entry(name, item.url, 0, item.size, item.size, stamp=item.version)


class Zip:
    """A zip whose members, stored or deflated, are read in place."""

    def __init__(self, place: Path | Url) -> None:
        self._place = real_path(place) if isinstance(place, Path) else place

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every member but hidden ones, by name."""
        stamp = stamp_at(self._place)
        try:
            with (
                open_place(self._place) as listing,
                zipfile.ZipFile(listing) as archive,
                open_place(self._place) as stream,
            ):
                archive_bytes = stream.seek(0, os.SEEK_END)
                members = archive.infolist()
                names = map(archive_name, member_names(members))
                named = zip(names, members, strict=True)
                for name, member in sorted(named, key=lambda pair: pair[0]):
                    if not member.is_dir() and not is_hidden_path(name):
                        yield self._entry(name, member, stream, archive_bytes, stamp)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            raise DamagedError(
                f"{self._place}: the zip is damaged ({error}); download or pack it again"
            ) from error

    def _entry(
        self,
        name: str,
        member: zipfile.ZipInfo,
        stream: IO[bytes],
        archive_bytes: int,
        stamp: str,
    ) -> Entry | QuarantinedFile:
        if member.flag_bits & 0x1:
            return put_aside(name, "unsupported", "encrypted in the zip; unpack it first")
        if member.compress_type not in (_STORED, _DEFLATED):
            method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
            detail = (
                f"packed by {method} in the zip, of which only deflate is read; unpack it first"
            )
            return put_aside(name, "unsupported", detail)
        header = b""
        if 0 <= member.header_offset < archive_bytes:
            stream.seek(member.header_offset)
            header = stream.read(_LOCAL_HEADER_BYTES)
        if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
            return put_aside(name, "corrupt", "the zip does not hold it where it says")
        name_length, extra_length = header[26:28], header[28:30]
        begin = member.header_offset + _LOCAL_HEADER_BYTES
        begin += int.from_bytes(name_length, "little") + int.from_bytes(extra_length, "little")
        return Entry(
            name=name,
            file=self._place,
            offset=begin,
            length=member.compress_size,
            size=member.file_size,
            compression="deflate" if member.compress_type == _DEFLATED else "none",
            crc32=member.CRC,
            stamp=stamp,
        )


def archive_name(name: str) -> str:
    """A member's name with forward slashes and without steps up or drive letters."""
    parts = name.replace("\\", "/").split("/")
    return printable("/".join(part for part in parts if part not in {"", ".", ".."}))


def is_hidden_path(name: str) -> bool:
    """Whether a file or any folder above it is hidden, or macOS's own."""
    return any(_is_hidden(part) for part in name.split("/"))


class _Header(tarfile.TarInfo):
    """A header of a tar; those that hold long names and the like are read into memory whole."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        _check_length(tarfile)
        return super().fromtarfile(tarfile)

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _LONG_HEADERS and header.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def _check_length(archive: tarfile.TarFile) -> None:
    """Raise `ReadError` where the headers read since the last file are too long together."""
    assert archive.fileobj is not None
    if archive.fileobj.tell() - archive.offset > _MAX_HEADER_BYTES:
        raise tarfile.ReadError("too many headers before one file")


@contextmanager
def open_tar(stream: BinaryIO) -> Generator[tarfile.TarFile]:
    """Open a tar that is not compressed; whatever its headers say, little of it is in memory."""
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as archive:
            yield archive
    except RecursionError as error:  # tarfile calls itself for each header before a file's own
        raise tarfile.ReadError("too many headers before one file") from error


class Tar:
    """A tar that is not compressed; its members are read in place."""

    def __init__(self, place: Path | Url) -> None:
        self.place = real_path(place) if isinstance(place, Path) else place

    def entries(self) -> Iterator[Entry | QuarantinedFile]:
        """Every file but hidden ones, by name; a note where the tar is cut off."""
        stamp = stamp_at(self.place)
        found: list[tuple[str, int, int]] = []
        faults: list[QuarantinedFile] = []
        try:
            with (
                open_place(self.place) as stream,
                open_tar(stream) as archive,
            ):
                for member in archive:
                    name = archive_name(member.name)
                    if member.isreg() and not member.issparse():
                        if not is_hidden_path(name):
                            found.append((name, member.offset_data, member.size))
                    elif not member.isdir():
                        detail = "a link, device or sparse file"
                        faults.append(put_aside(name, "unsupported", detail))
                    # tarfile would keep every header in memory.
                    archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
                if not _ends_well(stream, archive.offset):
                    raise tarfile.ReadError("damaged header")
        except (tarfile.TarError, OSError, ValueError) as error:
            faults.append(put_aside(f"{self.place.name}/", "truncated", f"the tar ends: {error}"))
        yield from faults
        for name, offset, size in sorted(found):
            yield Entry(name, self.place, offset, size, size, stamp=stamp)


def _ends_well(stream: BinaryIO, offset: int) -> bool:
    """Whether a tar's end, empty blocks or nothing, lies where the listing stopped."""
    stream.seek(offset)
    return not stream.read(tarfile.BLOCKSIZE).strip(b"\0")


def is_tar(stream: BinaryIO) -> bool:
    """Whether a file is a tar that is not compressed."""
    stream.seek(0)
    try:
        with open_tar(stream) as archive:
            return archive.next() is not None
    except (tarfile.TarError, ValueError):  # tarfile lets numbers that are none through
        return False


class Bound:
    """Bound on what a packed file may unpack to.

    Pictures hardly shrink when packed: what grows a hundredfold is a bomb.
    """

    def __init__(self, place: Path | Url, packed: BinaryIO) -> None:
        self._place = place
        self._limit = max(_MIN_UNPACKED_BYTES, _MAX_EXPANSION * packed.seek(0, os.SEEK_END))
        self._unpacked = 0
        packed.seek(0)

    def add(self, num_bytes: int) -> None:
        """Count what was unpacked. Raises `RefusedError` above the bound."""
        self._unpacked += num_bytes
        if self._unpacked > self._limit:
            raise RefusedError(
                f"{self._place}: unpacks to more than {self._limit >> 20} MiB, a hundred times its "
                "size; if you trust it, unpack it yourself and name the folder"
            )


def _unpack_tar(
    place: Path | Url, packed: BinaryIO, opener: _Opener, folder: Path, progress: Progress
) -> Path:
    """A compressed tar => the bare tar, in `folder` under the digest of the packed file."""
    target = folder / f"{digest_at(place)[:16]}.tar"
    if not target.exists():
        bound = Bound(place, packed)
        with replacing(target) as temporary, temporary.open("wb") as out:
            for piece in _unpacked_pieces(place, packed, opener):
                out.write(piece)
                progress(ProgressEvent(stage="unpack", done=out.tell(), unit="bytes"))
                bound.add(len(piece))
    with open_regular(target) as stream:
        is_one = is_tar(stream)
    if not is_one:
        target.unlink()
        raise RefusedError(f"{place}: compressed, but holds no tar; unpack it and name the folder")
    return target


def _unpacked_pieces(place: Path | Url, packed: BinaryIO, opener: _Opener) -> Iterator[bytes]:
    with opener(packed) as stream:
        while True:
            try:
                piece = stream.read(_COPY_BYTES)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise DamagedError(
                    f"{place}: cut off or damaged ({error}); download or pack it again"
                ) from error
            if not piece:
                return
            yield piece
