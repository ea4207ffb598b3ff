"""The bounded cache of remote bytes: shared by processes, and believed only where it is sound."""

import hashlib
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from interfaces.errors import RefusedError

_log = logging.getLogger("atelier")

_DEFAULT_CACHE_GIB = 10.0


def cache_root() -> Path:
    """The folder of this person's cache; the environment variable ATELIER_CACHE moves it."""
    import platformdirs

    root = os.environ.get("ATELIER_CACHE")
    return Path(root) if root else platformdirs.user_cache_path("atelier")


def places_cache() -> "Cache":
    """The cache of what lies behind URLs. Raises `RefusedError` for a bound that is no size."""
    text = os.environ.get("ATELIER_CACHE_GIB", "")
    try:
        gib = float(text or _DEFAULT_CACHE_GIB)
    except ValueError:
        gib = -1.0
    if not 0 <= gib < 1e9:
        raise RefusedError(f"ATELIER_CACHE_GIB={text}: not a size in GiB, such as 10")
    return _cache_at(cache_root() / "places", int(gib * 2**30))


@lru_cache
def _cache_at(folder: Path, max_bytes: int) -> "Cache":
    return Cache(folder, max_bytes)


class Cache:
    """Files named by what they hold a copy of; the longest unused give way.

    A file begins with the digest of its bytes, so that what a power cut left torn is not believed.
    Several processes may share it: each looks at the whole folder anew after it has written a
    sixteenth of the bound.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._unchecked = max_bytes  # bytes written since the folder was last looked at

    def has(self, key: str) -> bool:
        """Whether there is a copy; it may still turn out torn."""
        return self._path(key).exists()

    def get(self, key: str) -> bytes | None:
        """The bytes; None where there is no sound copy."""
        path = self._path(key)
        try:
            kept = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        digest, data = kept[:32], kept[32:]
        return data if hashlib.sha256(data).digest() == digest else None

    def put(self, key: str, data: bytes) -> None:
        """Keep a copy, where the disk takes it and it does not exceed a sixteenth of the bound."""
        if len(data) * 16 > self._max_bytes:
            return
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
            temporary.replace(path)
        except OSError as error:  # it is fetched again the next time
            _log.debug("%s: cannot be kept (%s)", path, error)
            return
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # half of it would only fill the disk further
        self._count(len(data))

    def file(self, key: str, name: str, fetch: Callable[[Path], None]) -> Path:
        """A copy as a file of its own called `name`; `fetch` writes it where it is not there yet.

        It stays until it is the longest unused one; open it soon. Raises what `fetch` raises, and
        `OSError` where the disk does not take it.
        """
        path = self._path(key) / name
        with suppress(FileNotFoundError):
            os.utime(path)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=path.parent) as made:
            temporary = Path(made) / "copy"
            fetch(temporary)
            temporary.replace(path)
        self._count(path.stat().st_size, path)
        return path

    def _count(self, num_bytes: int, fresh: Path | None = None) -> None:
        """Take bytes that were written into account, and look at the bound now and then.

        A file that is `fresh` is left, however large: somebody is about to open it.
        """
        self._unchecked += num_bytes
        if self._unchecked * 16 >= self._max_bytes:
            self._unchecked = 0
            self._trim(fresh)

    def _trim(self, fresh: Path | None = None) -> None:
        """Remove the longest unused files until seven eighths of the bound are left."""
        kept = sorted(self._files(), reverse=True)
        total = 0
        for _, size, path in kept:
            total += size
            if total * 8 > self._max_bytes * 7 and Path(path) != fresh:
                with suppress(OSError):
                    Path(path).unlink()

    def _files(self) -> Generator[tuple[int, int, str]]:
        """(time of use, size in bytes, path) of every file, unfinished ones too."""
        for parent, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(parent, name)  # noqa: PTH118, a million times
                with suppress(OSError):
                    status = os.stat(path)  # noqa: PTH116
                    yield status.st_mtime_ns, status.st_size, path

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / name
