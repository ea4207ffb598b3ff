"""Files that are either whole or not there: temporary file, fsync, rename."""

import hashlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Write a file under a temporary name; it takes its own name when the block ends well.

    Yields the temporary path, in the same folder. When the block raises, the temporary file is
    removed and `path` is as it was. After a power cut `path` is the old file or the new one.
    """
    _make_folder(path.parent)
    # The suffix stays last, since libraries choose a format by it.
    # A long name is cut, so that the longer temporary one fits where the name itself does.
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """`data` as the whole of `path`, atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """`text` as the whole of `path` in UTF-8, atomically and durably."""
    write_bytes(path, text.encode("utf-8"))


def publish(folder: Path, target: Path) -> None:
    """Give a finished folder of files its final name, which nothing bears yet, durably."""
    for file in folder.iterdir():
        _sync(file)
    _sync(folder)
    folder.replace(target)
    _sync(target.parent)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold the lock file `path`; waits while another process holds it.

    The system lets go of it when the process ends, however it ends.
    """
    _make_folder(path.parent)
    with path.open("ab") as stream:
        _lock(stream.fileno())
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                return
            except OSError:
                continue  # LK_LOCK gives up after ten seconds
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents; after a power cut they are still there."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        _sync(place.parent)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder; its rename is durable with the file's own fsync.
    # Windows' fsync wants a writable descriptor; a folder cannot be opened for writing on POSIX.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
