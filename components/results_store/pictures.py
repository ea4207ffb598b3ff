"""Place for the files of results: the store's folder, or below a URL.

Journal and index stay in the folder. A place is named from the store's root, with forward slashes,
such as '0001-paintings/000007.png'; every file is written whole or not at all.
"""

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from components.common.durable import replacing, sha256_of, sweep, write_bytes
from components.results_store.names import OWN, OWNER, PLACE
from interfaces.errors import DamagedError, NotFoundError, RefusedError
from interfaces.places import (
    Found,
    Range,
    Url,
    check_writable,
    is_url,
    list_files,
    open_place,
    place_of,
    read_range,
    remove,
    size_of,
    write_to,
)

_MAX_READ_BYTES = 2**30
"""A larger file in the place of a result is not read to see that it is another."""


class Pictures(Protocol):
    """Files by their places. Of a URL, every call raises as `interfaces.places.read_range` does."""

    where: Path | Url
    """The root."""

    def path(self, place: str) -> Path | Url:
        """Path or URL of a file, whether or not it is there."""
        ...

    def is_taken(self, place: str) -> bool:
        """Whether anything lies there, a dangling link too."""
        ...

    def existing(self, places: Iterable[str]) -> set[str]:
        """The places among these at which something lies."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in a folder; none where there is no such folder."""
        ...

    def size(self, place: str) -> int | None:
        """Bytes of a file; None where there is none."""
        ...

    def read(self, place: str, version: str = "") -> bytes | None:
        """The bytes of a file as it is now; None where there is none, or one of over 1 GiB.

        With the digest that it should have as `version`, a copy of that may be given.
        """
        ...

    def digest(self, place: str) -> str:
        """SHA-256 of the file as it is now; empty where it cannot be read."""
        ...

    def write(self, place: str, data: bytes) -> None:
        """Write a whole file; when this returns, it survives a power cut."""
        ...

    def remove(self, place: str) -> None:
        """Remove a file, if it is there."""
        ...

    def everything(self) -> Iterator[Found]:
        """Every file that is neither hidden nor the store's own, also where it puts none."""
        ...

    def sweep(self) -> None:
        """Remove what killed processes were writing."""
        ...

    def owner(self) -> str:
        """The store that the root says it belongs to; empty where it says nothing."""
        ...

    def claim(self, store: str) -> None:
        """Take the root for this store. Raises `RefusedError` where it is another store's."""
        ...


def pictures_of(folder: Path) -> Pictures:
    """Place of the files of the store in a folder: as `PLACE` says, else the folder itself.

    Raises `DamagedError` where that file names no place.
    """
    path = folder / PLACE
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return FolderPictures(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(
            f"{path}: cannot be read ({error}); write the URL below which the pictures lie into it"
        ) from error
    if not is_url(text):
        raise DamagedError(f"{path}: {text[:80]!r} is no URL; write that of the pictures into it")
    return _below(text)


def pictures_at(text: str, folder: Path) -> Pictures:
    """The place that a person named for the pictures of the store in a folder; 'here' is itself.

    Raises `RefusedError` for a path, and for a URL that files cannot be written to.
    """
    if text == "here":
        return FolderPictures(folder)
    if not is_url(text):
        raise RefusedError(f"{text}: name a URL such as s3://bucket/folder, or 'here'")
    return _below(text)


def settle(pictures: Pictures, folder: Path) -> None:
    """Write down, durably, that the files of the store in a folder lie there from now on."""
    if isinstance(pictures.where, Path):
        (folder / PLACE).unlink(missing_ok=True)
        return
    with replacing(folder / PLACE) as temporary:
        temporary.write_text(f"{pictures.where}\n", "utf-8")


@lru_cache(maxsize=8)
def _below(text: str) -> "RemotePictures":
    url = place_of(text.rstrip("/"))
    if not isinstance(url, Url):
        raise RefusedError(f"{text}: leads to a path; name a URL, or 'here'")
    check_writable(url)
    return RemotePictures(url)


class FolderPictures:
    """Files in a folder of this machine."""

    where: Path | Url

    def __init__(self, folder: Path) -> None:
        self.where = self._folder = folder

    def path(self, place: str) -> Path:
        """Path of a file, whether or not it is there."""
        return self._folder / place

    def is_taken(self, place: str) -> bool:
        """Whether anything lies there, a dangling link too."""
        return os.path.lexists(self._folder / place)

    def existing(self, places: Iterable[str]) -> set[str]:
        """The places among these at which something lies."""
        return {place for place in places if (self._folder / place).exists()}

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in a folder."""
        try:
            return [path.name for path in (self._folder / folder).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, place: str) -> int | None:
        """Bytes of a file."""
        return size_of(self._folder / place)

    def read(self, place: str, version: str = "") -> bytes | None:
        """The bytes of a file."""
        size = self.size(place)
        if size is None or size > _MAX_READ_BYTES:
            return None
        return (self._folder / place).read_bytes()

    def digest(self, place: str) -> str:
        """SHA-256 of a file."""
        try:
            return sha256_of(self._folder / place)
        except OSError:
            return ""

    def write(self, place: str, data: bytes) -> None:
        """Write a whole file, durably."""
        write_bytes(self._folder / place, data)

    def remove(self, place: str) -> None:
        """Remove a file, if it is there."""
        (self._folder / place).unlink(missing_ok=True)

    def everything(self) -> Iterator[Found]:
        """Every regular file that is neither hidden nor the store's own."""
        for path in _files_below(self._folder):
            status = path.stat()
            place = path.relative_to(self._folder).as_posix()
            yield Found(place, status.st_size, status.st_mtime)

    def sweep(self) -> None:
        """Remove what killed processes were writing."""
        for folder in (self._folder, *self._folder.iterdir()):
            sweep(folder)

    def owner(self) -> str:
        """Nothing: the journal beside the files says it."""
        return ""

    def claim(self, store: str) -> None:
        """Nothing to do: the journal beside the files is this store's."""


def _files_below(folder: Path) -> Iterator[Path]:
    for top in sorted(folder.iterdir()):
        if _is_own(top.name):
            continue
        if top.is_file():
            yield top
        for parent, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(parent, name) for name in names if not name.startswith("."))
            yield from (path for path in paths if path.is_file())


def _is_own(name: str) -> bool:
    return name.startswith((".", *OWN))


class RemotePictures:
    """Files below a URL, one store's alone: `OWNER` there names it.

    A server takes a file whole or not at all, so that nothing has to be swept. Writers of one store
    take turns by the lock beside its journal.
    """

    where: Path | Url

    def __init__(self, url: Url) -> None:
        self.where = self._url = url
        self._claimed_for = ""

    def path(self, place: str) -> Url:
        """URL of a file, whether or not it is there."""
        return self._url / place

    def is_taken(self, place: str) -> bool:
        """Whether a file lies there."""
        return self.size(place) is not None

    def existing(self, places: Iterable[str]) -> set[str]:
        """The places among these at which a file lies, by one listing a folder."""
        wanted = set(places)
        folders = {place.partition("/")[0] for place in wanted}
        return {f"{folder}/{name}" for folder in folders for name in self.names(folder)} & wanted

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder."""
        return [found.place for found in list_files(self._url / folder) if "/" not in found.place]

    def size(self, place: str) -> int | None:
        """Bytes of a file."""
        return size_of(self._url / place)

    def read(self, place: str, version: str = "") -> bytes | None:
        """The bytes of a file, from the cache where it has those of the version."""
        size = self.size(place)
        if size is None or size > _MAX_READ_BYTES:
            return None
        if version:
            return read_range(Range(self._url / place, version, 0, size))
        with open_place(self._url / place) as stream:
            return stream.read()

    def digest(self, place: str) -> str:
        """SHA-256 of a file, as it lies on the server."""
        try:
            with open_place(self._url / place) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except NotFoundError:
            return ""

    def write(self, place: str, data: bytes) -> None:
        """Write a whole file; the server has it when this returns."""
        write_to(self._url / place, data)

    def remove(self, place: str) -> None:
        """Remove a file."""
        remove(self._url / place)

    def everything(self) -> Generator[Found]:
        """Every file that is neither hidden nor the store's own."""
        for found in list_files(self._url):
            parts = found.place.split("/")
            if not _is_own(parts[0]) and not any(part.startswith(".") for part in parts):
                yield found

    def sweep(self) -> None:
        """Nothing to do: a server shows no file before it is whole."""

    def owner(self) -> str:
        """The store that the pictures there belong to."""
        owned = self.read(OWNER)
        return "" if owned is None else owned.decode("utf-8", "replace").strip()

    def claim(self, store: str) -> None:
        """Take the folder for this store, unless it is another's; asked once a process."""
        if self._claimed_for == store:
            return
        owner = self.owner()
        if owner not in ("", store):
            raise RefusedError(
                f"{self._url}: holds the pictures of another workspace; name another folder, or, "
                f"where that workspace is lost, write this URL into results/{PLACE} of a new one "
                "and run `results doctor`"
            )
        if not owner:
            write_to(self._url / OWNER, f"{store}\n".encode())
        self._claimed_for = store
