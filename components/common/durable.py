"""Files that are either whole or not there: temporary file, fsync, rename."""

import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger("atelier")

MAX_LITTER_SECONDS = 86_400
"""Age from which a temporary file is removed, whoever may still own it."""

_QUIET_WAIT_SECONDS = 0.5

_NODE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
"""Mark of this machine in temporary files' names: process ids hold on one machine only."""

_TEMPORARY = re.compile(
    r"\..*\.(?:(?P<node>[0-9a-f]{6})-)?(?P<pid>\d{1,9})(?:-[0-9a-f]{8})?\.partial(?:\.[^.]{1,16})?",
    re.DOTALL,
)
"""A name that `temporary_for` gives; without node and random digits, one of version 0.2."""

_UNOWNED = re.compile(r"\.[a-z0-9_]{8}\.partial")
"""A folder's name that says nothing of its writer, as `tempfile` gives it and version 0.2 did."""

_in_use: set[str] = set()
"""Names of the temporary files and folders that this process is writing."""


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Write a file under a temporary name; it takes its own name when the block ends well.

    Yields the temporary path, in the same folder; no other thread or process is given the same one.
    When the block raises, the temporary file is removed and `path` is as it was. After a power cut
    `path` is the old file or the new one.
    """
    with arriving(path) as temporary:
        yield temporary
        commit(temporary, path)


@contextmanager
def arriving(path: Path) -> Generator[Path]:
    """Write a file whose final name is not settled yet, under a temporary name like `path`.

    Yields the temporary path, in the same folder, to be given its name by `commit`. What was not
    committed when the block ends is removed; what a killed process left, `sweep` removes. An
    `OSError` of the block that names no file, or the temporary one, names `path`.
    """
    _make_folder(path.parent)
    temporary = temporary_for(path)
    _in_use.add(temporary.name)
    try:
        yield temporary
    except OSError as error:
        # A full disk's names no file; a folder's of that name, the temporary one.
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)
        _in_use.discard(temporary.name)


def commit(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its name, in the same folder, durably."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def temporary_for(path: Path) -> Path:
    """Name a file to write before it becomes `path`; a new name each time, which `sweep` knows.

    It fits wherever the name of `path` does, and keeps its suffix, by which libraries choose a
    format.
    """
    suffix = path.suffix if len(path.suffix) <= 17 else ""
    owner = f"{_NODE}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem[:24]}.{owner}.partial{suffix}")


@contextmanager
def assembling(folder: Path) -> Generator[Path]:
    """A temporary folder inside `folder`, to build in it what is then moved to its own place.

    It is removed when the block ends, with what is still in it; what a killed process left, `sweep`
    removes.
    """
    _make_folder(folder)
    temporary = temporary_for(folder / "whole")
    _in_use.add(temporary.name)
    try:
        temporary.mkdir(0o700)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _in_use.discard(temporary.name)


def sweep(folder: Path, *, is_ours: bool = False) -> int:
    """Remove what killed processes left half written in a folder; returns the number of removals.

    A temporary file, or folder of `assembling`, is litter where its writer, a process of this
    machine, has ended, or where nobody has written to it for a day. Where nobody but Atelier writes
    to the folder (`is_ours`), so are temporary folders that name no writer, after a day. Any other
    sub-folder is left alone, and so is what cannot be removed, or a folder that cannot be listed,
    such as the lost+found of a volume.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        with os.scandir(folder) as entries:
            litter = [Path(entry.path) for entry in entries if _is_litter(entry, is_ours=is_ours)]
        return sum(_remove(path) for path in litter)
    return 0


def _is_litter(entry: "os.DirEntry[str]", *, is_ours: bool) -> bool:
    if entry.name in _in_use:
        return False
    found = _TEMPORARY.fullmatch(entry.name)
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and is_ours and _UNOWNED.fullmatch(entry.name):
            return _is_old(Path(entry.path))
        if found is None or not (is_folder or entry.is_file(follow_symlinks=False)):
            return False
        if is_folder and found["node"] is None:
            return False  # somebody else's: version 0.2 named files alone so
        is_local = found["node"] in (None, _NODE)
        is_left = is_local and not _is_writing(int(found["pid"]))
        return is_left or _is_old(Path(entry.path))
    except OSError:
        return False  # its writer has just finished


def _is_old(path: Path) -> bool:
    """Whether nobody has written to a file, or to anything in a folder, for a day."""
    times = (one.lstat().st_mtime for one in (path, *path.rglob("*")))
    return time.time() - max(times) > MAX_LITTER_SECONDS


def _is_writing(process_id: int) -> bool:
    """Whether another process has this id; files of this one are in `_in_use`."""
    return process_id != os.getpid() and _is_running(process_id)


def _is_running(process_id: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        query_limited_information = 0x1000
        handle = ctypes.windll.kernel32.OpenProcess(query_limited_information, False, process_id)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's, or no number of this system's: age decides
    return True


def _remove(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False  # swept by another process, or not ours to remove
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """`data` as the whole of `path`, atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """`text` as the whole of `path` in UTF-8, atomically and durably."""
    write_bytes(path, text.encode("utf-8"))


def append(path: Path, data: bytes) -> int:
    """Add `data` to the end of a file, durably; returns the file's length after it."""
    is_new = not path.exists()
    with path.open("ab") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
        length = stream.tell()
    if is_new:
        _sync(path.parent)
    return length


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
    """Hold the lock file `path`; waits while another process or thread holds it.

    A wait of more than half a second is announced in one line of the log. The system releases the
    lock when the process ends, however it ends.
    """
    _make_folder(path.parent)
    with path.open("ab") as stream:
        _lock(stream.fileno(), path)
        yield


def _lock(descriptor: int, path: Path) -> None:
    if _try_lock(descriptor):
        return
    message = "%s: another process is working here; waiting for it to finish"
    announcement = threading.Timer(_QUIET_WAIT_SECONDS, _log.warning, (message, path))
    announcement.daemon = True
    announcement.start()
    try:
        _wait_for_lock(descriptor)
    finally:
        announcement.cancel()


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _wait_for_lock(descriptor: int) -> None:
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
