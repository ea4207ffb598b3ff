"""Published weights into the cache: resumed, checked, whole or not there."""

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.durable import exclusive, replacing, sha256_of
from interfaces.cache import cache_root
from interfaces.errors import UnavailableError
from interfaces.progress import Progress, ProgressEvent

if TYPE_CHECKING:
    import requests

_log = logging.getLogger("atelier")

_TIMEOUT = (10, 30)  # seconds to connect; seconds without a byte
_ATTEMPTS = 4  # connections tried for one file; each goes on where the last one broke off
_PIECE = 1 << 16  # bytes read at once; the most that is lost when a connection breaks


@dataclass(frozen=True)
class PublishedFile:
    """One published weights file, fixed by its digest."""

    name: str  # what it holds, as its publisher calls it
    url: str
    sha256: str  # digest of the file, 64 hexadecimal digits

    @property
    def filename(self) -> str:
        """Name of the file where it is published, and in the cache."""
        return self.url.rpartition("/")[2]


class DownloadError(UnavailableError):
    """The weights are out of reach now. 'auto' goes on without; a named network does not."""


def weights_cache() -> Path:
    """The folder where downloaded weights are kept: one for all projects of this person.

    The environment variable ATELIER_CACHE moves it.
    """
    return cache_root() / "weights"


def fetch(weights: PublishedFile, cache: Path, progress: Progress) -> Path:
    """The weights' file in `cache`, downloaded where it is not there yet.

    The digest of a cached file is checked once, and again when the file has changed. What a broken
    connection had brought stays beside it as `.partial` and is continued next time. Raises
    `DownloadError` where the server cannot be reached or what it sends has another digest.
    """
    path = cache / weights.filename
    if _is_published(path, weights):
        return path
    _make_folder(cache)
    with exclusive(cache / f".{weights.filename}.lock"):
        if not _is_published(path, weights):  # another process may have fetched it meanwhile
            _fetch_anew(weights, path, progress)
    return path


def _is_published(path: Path, weights: PublishedFile) -> bool:
    if not path.is_file():
        return False
    found = path.stat()
    return _sha256_of_unchanged(path, found.st_mtime_ns, found.st_size) == weights.sha256


def _fetch_anew(weights: PublishedFile, path: Path, progress: Progress) -> None:
    if path.is_file():
        _log.warning("%s is not the published file (wrong SHA-256): downloading it again", path)
    partial = path.with_name(f"{path.name}.partial")
    _download(weights, partial, progress)
    digest = sha256_of(partial)
    if digest != weights.sha256:
        partial.unlink()
        raise DownloadError(
            f"{weights.url}: refused and removed, its SHA-256 is {digest} and not the published "
            f"{weights.sha256}; run again, or give a trusted file of your own"
        )
    with replacing(path) as temporary:
        partial.replace(temporary)


@functools.lru_cache
def _sha256_of_unchanged(path: Path, modified_ns: int, size: int) -> str:
    """A file's digest, computed once while its time and size stay: weights files are large."""
    return sha256_of(path)


def _make_folder(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{cache}: cannot keep downloaded weights there ({error.strerror}); "
            "set ATELIER_CACHE to a folder that you may write to"
        ) from error


def _download(weights: PublishedFile, partial: Path, progress: Progress) -> None:
    """All bytes of the file into `partial`, over as many connections as it takes."""
    import requests

    for attempt in range(1, _ATTEMPTS + 1):
        had = _size(partial)
        try:
            _transfer(weights, partial, progress)
            return
        except requests.HTTPError as error:
            raise DownloadError(
                f"{weights.url}: the server answers {error}; try later, or give a file of your own"
            ) from error
        except requests.RequestException as error:
            # A connection that brought nothing will not bring more: offline must be known fast.
            if attempt == _ATTEMPTS or _size(partial) <= had:
                raise DownloadError(
                    f"{weights.name}: cannot download {weights.url} ({_reason(error)}); "
                    "connect to the internet, or give a file of your own"
                ) from error
            _log.warning("%s: connection lost, going on where it broke off", weights.name)


def _transfer(weights: PublishedFile, partial: Path, progress: Progress) -> None:
    """Resume `partial` over one connection if the server can, else start again."""
    import requests

    had = _size(partial)
    # Bytes as they lie in the file: a compressed transfer could not be continued by position.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with requests.get(weights.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is left to fetch; the digest will tell whether it is the file
        response.raise_for_status()
        if not _continues(response, had):
            had = 0
        length = response.headers.get("Content-Length")
        total = had + int(length) if length else None
        with partial.open("ab" if had else "wb") as stream:
            for piece in response.iter_content(_PIECE):
                stream.write(piece)
                progress(
                    ProgressEvent(
                        stage="download",
                        done=stream.tell(),
                        total=total,
                        unit="bytes",
                        note=weights.filename,
                    )
                )


def _continues(response: "requests.Response", had: int) -> bool:
    """Whether the server's answer starts at byte `had`, as asked."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return response.status_code == 206 and start == str(had)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """Cause of a failure in a few words; the library's own text runs over several lines."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return "the connection broke off"
