"""Places: where the bytes that a contract names lie, on this machine or behind a URL.

A local place is a `Path`, a remote one a `Url`. Remote bytes are read in ranges, through a cache on
this machine that never grows beyond a bound. The packages that speak the protocols (fsspec, s3fs,
gcsfs, huggingface_hub) find credentials in the environment as they always do.
"""

import logging
import re
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from typing_extensions import Buffer

from interfaces.cache import places_cache
from interfaces.errors import NotFoundError, RefusedError, UnavailableError

_log = logging.getLogger("atelier")

PROTOCOLS = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
"""Protocols of remote places, each with the package that speaks it; all need fsspec as well."""

_CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
}
_OPTIONS: dict[str, dict[str, object]] = {
    # botocore's own attempts would multiply those made here.
    "s3": {
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 30,
            "retries": {"total_max_attempts": 1},
        }
    },
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.25
_BLOCK_BYTES = 1 << 20
_STAMP_FIELDS = ("ETag", "etag", "md5Hash", "blob_id", "LastModified", "last_modified", "mtime")

_T = TypeVar("_T")
_Details = dict[str, object]


class _FileSystem(Protocol):
    """The methods of fsspec's `AbstractFileSystem` that are used; a path is a URL."""

    def info(self, path: str) -> _Details: ...

    def ls(self, path: str, detail: bool) -> list[_Details]: ...

    def cat_file(self, path: str, *, start: int, end: int) -> bytes: ...

    def cat_ranges(
        self, paths: list[str], starts: list[int], ends: list[int], *, on_error: str
    ) -> list[bytes | Exception]: ...

    def get_file(self, rpath: str, lpath: str) -> object: ...

    def pipe_file(self, path: str, value: bytes) -> object: ...

    def rm_file(self, path: str) -> object: ...

    def find(self, path: str, *, detail: Literal[True]) -> dict[str, _Details]: ...


class Url(str):
    """Address of a file or folder elsewhere, such as 's3://bucket/paintings'."""

    __slots__ = ()

    @property
    def protocol(self) -> str:
        """The part before '://', in lower case."""
        return self.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """Last part of the path, without a query."""
        return urlsplit(self).path.rstrip("/").rpartition("/")[2] or urlsplit(self).netloc

    @property
    def suffix(self) -> str:
        """The last part's ending, as a path's: '.png'."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "Url":
        """The folder that it lies in."""
        return Url(self.rstrip("/").rpartition("/")[0])

    def __truediv__(self, name: str) -> "Url":
        """URL of a file or folder below it, as with a path."""
        return Url(f"{self.rstrip('/')}/{name}")


def is_url(text: str) -> bool:
    """Whether a text begins as a URL does; a drive letter is no protocol."""
    return _SCHEME.match(text) is not None


def expanded(path: Path) -> Path:
    """The path with a home folder in place of `~`.

    Raises `NotFoundError` where no home folder is known for that name.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise NotFoundError(
            f"{path}: no home folder is known for {path.parts[0]}; give the whole path"
        ) from error


def place_of(text: str) -> Path | Url:
    """A path or URL that a person named => the place; 'file://' leads to a path.

    Raises `RefusedError` for a protocol that is not spoken here, for chained URLs, for steps up
    ('..') and for a URL with a password, which would be written into records.
    """
    if not is_url(text):
        return expanded(Path(text))
    url = Url(text)
    try:
        parts, _ = urlsplit(text), urlsplit(text).port  # either raises where it is none
    except ValueError as error:
        raise RefusedError(f"{url.protocol}://…: {error}; name a plain URL") from error
    if url.protocol == "file":
        return Path(url2pathname(parts.path))
    if url.protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in ("file", *PROTOCOLS))
        raise RefusedError(
            f"{url.protocol}://: not a protocol that is read here; there are {known}"
        )
    if "@" in parts.netloc:
        raise RefusedError(
            f"{url.protocol}://…@: a URL with a user or password would be written into records; "
            "give them by the environment"
        )
    if not parts.netloc or "::" in text or ".." in parts.path.split("/") or not text.isprintable():
        raise RefusedError(f"{text}: not a plain URL, such as s3://bucket/folder")
    return url


def _validated(value: object) -> Path | Url:
    if isinstance(value, Path):
        return value
    if isinstance(value, str):
        return Url(value) if is_url(value) else Path(value)
    raise ValueError("a path or a URL is needed")


Place = Annotated[
    Path | Url,
    PlainValidator(_validated),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""A path on this machine, or a URL."""


class Range(NamedTuple):
    """Bytes of a remote file."""

    url: Url
    version: str
    """Version of the file, as the server states it; part of the cache's key."""
    offset: int
    length: int

    @property
    def key(self) -> str:
        """Its name in the cache."""
        return repr(tuple(self))


class Listed(NamedTuple):
    """One file or folder of a remote folder."""

    url: Url
    name: str
    """Last part of the path."""
    is_folder: bool
    size: int
    """Bytes."""
    version: str


class Found(NamedTuple):
    """A file somewhere below a folder."""

    place: str
    """Its path from the folder, with forward slashes."""
    size: int
    """Bytes."""
    modified: float
    """Time of the last change, in seconds since 1970."""


# ---------------------------------------------------------------- reading


def read_range(wanted: Range) -> bytes:
    """The bytes of a range, from the cache where they are there.

    Fewer come back where the file is shorter. Raises `NotFoundError`, `RefusedError` where access
    is denied, or `UnavailableError` where the place is still away after a few attempts.
    """
    cache = places_cache()
    data = cache.get(wanted.key)
    if data is None:
        data = _calling(wanted.url, lambda system: _fetch(system, wanted))
        cache.put(wanted.key, data)
    return data


def _fetch(system: _FileSystem, wanted: Range) -> bytes:
    end = wanted.offset + wanted.length
    return _cut(system.cat_file(wanted.url, start=wanted.offset, end=end), wanted)


def _cut(data: bytes, wanted: Range) -> bytes:
    """The range itself, where a server that knows no ranges has sent the whole file."""
    if len(data) > wanted.length:
        return data[wanted.offset : wanted.offset + wanted.length]
    return data


def fetch_ahead(ranges: Iterable[Range | None]) -> None:
    """Take ranges of one protocol into the cache, many requests at a time; None is passed over.

    What cannot be fetched is left for `read_range`, which says why.
    """
    remote = [wanted for wanted in ranges if wanted is not None]
    if not remote:
        return
    cache = places_cache()
    missing = [wanted for wanted in remote if not cache.has(wanted.key)]
    if not missing:
        return
    system = _filesystem(missing[0].url.protocol)
    answers = system.cat_ranges(
        [wanted.url for wanted in missing],
        [wanted.offset for wanted in missing],
        [wanted.offset + wanted.length for wanted in missing],
        on_error="return",
    )
    for wanted, answer in zip(missing, answers, strict=True):
        if isinstance(answer, bytes):
            cache.put(wanted.key, _cut(answer, wanted))


def open_place(place: Path | Url) -> BufferedReader:
    """Open a file for reading, seekable; of a remote one, blocks of 1 MiB are read as needed.

    Raises `OSError` for a local file, and as `read_range` does for a remote one, while it is read
    too.
    """
    if isinstance(place, Path):
        return place.open("rb")
    return BufferedReader(_RemoteFile(place), _BLOCK_BYTES)


class _RemoteFile(RawIOBase):
    """A remote file, every read of which is one request, tried again where it fails."""

    def __init__(self, url: Url) -> None:
        super().__init__()
        size = _calling(url, lambda system: system.info(url)).get("size")
        if not isinstance(size, int):
            raise RefusedError(f"{url}: its server does not say how long it is; download it first")
        self._url = url
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._position)
        if length <= 0:
            return 0
        wanted = Range(self._url, "", self._position, length)
        data = _calling(self._url, lambda system: _fetch(system, wanted))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def copy_to(url: Url, target: Path) -> None:
    """Copy a remote file to a path. Raises as `read_range` does."""
    _calling(url, lambda system: system.get_file(url, str(target)))


def version_of(url: Url) -> str:
    """Mark of one version of a remote file: its size, and a tag or time.

    Raises as `read_range` does.
    """
    return _version(_calling(url, lambda system: system.info(url)))


def is_folder(url: Url) -> bool:
    """Whether a URL names a folder. Raises as `read_range` does where there is nothing."""
    found = _calling(url, lambda system: system.info(url))
    return found["type"] == "directory"


def list_folder(url: Url) -> list[Listed]:
    """The files and folders directly in a remote folder, in no order.

    Whatever a server lists outside the folder is left out. Raises as `read_range` does, and
    `RefusedError` for the web, which has no folders.
    """
    if url.protocol in ("http", "https"):
        raise RefusedError(f"{url}: the web has no folders to list; name an archive or shards")
    root = url.rstrip("/")
    prefix = root.partition("://")[2].strip("/") + "/"
    items = _calling(url, lambda system: system.ls(url, detail=True))
    named = ((str(item["name"]).lstrip("/"), item) for item in items)
    return [
        _listed(root, path.removeprefix(prefix).rstrip("/"), item)
        for path, item in named
        if path.startswith(prefix) and _is_plain(path.removeprefix(prefix).rstrip("/"))
    ]


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name


def _listed(root: str, name: str, details: _Details) -> Listed:
    size = details.get("size")
    return Listed(
        url=Url(f"{root}/{name}"),
        name=name,
        is_folder=details["type"] == "directory",
        size=size if isinstance(size, int) else 0,
        version=_version(details),
    )


def _version(details: _Details) -> str:
    tags = [f"{details[field]}" for field in _STAMP_FIELDS if details.get(field) is not None]
    return ":".join([f"{details.get('size')}", *tags[:2], f"{details.get('created', '')}"])


def fetched(place: Path | Url) -> Path:
    """A file on this machine: the path itself, or a copy of a remote file in the bounded cache.

    A remote file that has changed is copied anew. Raises as `read_range` does.
    """
    if isinstance(place, Path):
        return place
    key = f"{place} {version_of(place)}"
    return places_cache().file(key, place.name, lambda path: copy_to(place, path))


# ---------------------------------------------------------------- writing

WRITABLE = ("s3", "gs", "memory")
"""Protocols of places that files are written to: each file arrives whole, or not at all."""


def check_writable(url: Url) -> None:
    """Raise `RefusedError` for a place that files cannot be written to one by one."""
    if url.protocol not in WRITABLE:
        named = ", ".join(f"{name}://" for name in WRITABLE if name != "memory")
        raise RefusedError(f"{url}: nothing is kept there; name a folder of {named}, or a path")


def write_to(url: Url, data: bytes) -> None:
    """Write a whole file, or replace it. Raises as `read_range` does."""
    _calling(url, lambda system: system.pipe_file(url, data))


def remove(place: Path | Url) -> None:
    """Remove a file, if it is there. Raises as `read_range` does; `OSError` for a local one."""
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
        return
    with suppress(NotFoundError):
        _calling(place, lambda system: system.rm_file(place))


def size_of(place: Path | Url) -> int | None:
    """Bytes of a regular file; None where there is none. Raises as `read_range` does."""
    if isinstance(place, Path):
        return place.stat().st_size if place.is_file() else None
    try:
        found = _calling(place, lambda system: system.info(place))
    except NotFoundError:
        return None
    size = found.get("size")
    return size if found["type"] == "file" and isinstance(size, int) else None


def list_files(url: Url) -> Generator[Found]:
    """Every file in a remote folder and its folders; none where there is no such folder.

    Raises as `read_range` does.
    """
    root = url.rstrip("/").partition("://")[2].strip("/") + "/"
    try:
        files = _calling(url, lambda system: system.find(url, detail=True))
    except NotFoundError:
        return
    for path, details in files.items():
        size = details.get("size")
        if isinstance(size, int) and details["type"] == "file":
            place = path.lstrip("/").removeprefix(root)
            yield Found(place, size, _time_of(details))


def _time_of(details: _Details) -> float:
    """Time of a file's last change, in seconds since 1970; 0 where its server does not say."""
    for name in ("LastModified", "mtime", "created"):
        moment = details.get(name)
        if isinstance(moment, datetime):
            return moment.timestamp()
    return 0.0


# ---------------------------------------------------------------- the packages


@lru_cache
def _filesystem(protocol: str) -> _FileSystem:
    """The file system for a protocol. Raises `UnavailableError` where its package is missing."""
    options = {"use_listings_cache": False} | _OPTIONS.get(protocol, {})
    try:
        return import_module("fsspec").filesystem(protocol, **options)
    except ImportError as error:
        missing = "fsspec" if error.name == "fsspec" else PROTOCOLS[protocol]
        raise UnavailableError(
            f"{protocol}://: needs {missing}, which is not installed: pip install "
            f"'atelier[remote]' {missing}"
        ) from error


def _calling(url: Url, call: Callable[[_FileSystem], _T]) -> _T:
    """The answer to a call, tried again a few times where the place is away."""
    system = _filesystem(url.protocol)
    wait = _FIRST_WAIT_SECONDS
    for attempt in range(1, _ATTEMPTS + 1):
        with _explained(url):
            try:
                return call(system)
            except Exception as error:
                error = _what_failed(error)
                if attempt == _ATTEMPTS or not _may_pass(error):
                    raise error
                _log.debug("%s: attempt %d failed (%s)", url, attempt, error)
        time.sleep(wait)
        wait *= 2
    raise AssertionError("unreachable: the last attempt returns or raises")


def _what_failed(error: Exception) -> Exception:
    """The error itself; of HTTP, fsspec says that a file is missing where the server is away."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, Exception):
        return error
    return cause if type(cause).__module__.startswith("aiohttp") else error


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed: not where something is missing or forbidden."""
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    defects = (TypeError, AttributeError, ValueError, NotImplementedError, ImportError)
    return not isinstance(error, lasting + defects) and not _lacks_credentials(error)


def _lacks_credentials(error: Exception) -> bool:
    return "Credentials" in type(error).__name__  # botocore's have no common class


@contextmanager
def _explained(url: Url) -> Generator[None]:
    try:
        yield
    except (TypeError, AttributeError, NotImplementedError):
        raise  # a defect, not a matter of the place
    except FileNotFoundError as error:
        raise NotFoundError(f"{url}: there is no such file or folder") from error
    except Exception as error:  # every protocol's package raises errors of its own
        if isinstance(error, PermissionError) or _lacks_credentials(error):
            advice = _CREDENTIALS.get(url.protocol, "the server's own way")
            raise RefusedError(f"{url}: access was denied; give credentials by {advice}") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnavailableError(f"{url}: cannot be reached ({reason}); try again later") from error
