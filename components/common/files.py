"""Files from outside: opened only where they are files."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from interfaces.places import expanded

COLLECTIONS_LOCK = Path("collections", ".lock")
"""Lock of a workspace's collections."""
RESULTS = Path("results")
"""Folder of a workspace's results."""
JOURNAL = "results.journal"
"""File there that keeps their numbers and deletions."""
JOBS = Path("jobs.sqlite")
"""Queue of a workspace's jobs."""

WORKSPACE_MARKS = (COLLECTIONS_LOCK, RESULTS / JOURNAL, JOBS)
"""Files of which every workspace with pictures in it has one."""

MAX_WHOLE_BYTES = 2 << 30
"""Longest file that is read at once: the largest pictures that are taken, uncompressed."""


def is_regular(path: Path) -> bool:
    """Whether a path leads to a regular file; False for pipes, sockets, devices and folders."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # not there, or no name that a system can hold
        return False


def is_workspace(folder: Path) -> bool:
    """Whether Atelier works in a folder: its pictures are no part of a folder around it."""
    return any(os.path.exists(folder / mark) for mark in WORKSPACE_MARKS)  # noqa: PTH110, it never raises


def real_path(path: Path) -> Path:
    """Path with its links followed; a loop of links stays as it is.

    `Path.resolve` raises for a loop, which any folder of a person's own may hold.
    """
    return Path(os.path.realpath(path))


def whole_path(path: Path) -> Path:
    """An absolute path; one with '..' in it, which has other names too, as it is without links."""
    place = expanded(path).absolute()
    return real_path(place) if ".." in place.parts else place


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without ever waiting for a writer.

    A named pipe would block until something wrote to it, and a device might never end. Raises
    `OSError` where the path leads to neither a file nor anything at all.
    """
    # Not asked before opening alone: what a name leads to may change in between.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path) -> str:
    """A text that was written here, in UTF-8; what damage made of it becomes U+FFFD.

    So it differs from all that it may be compared with, and stops nothing.
    """
    return read_regular(path).decode("utf-8", "replace")


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file. Raises `OSError` as `open_regular` does, and for a longer one.

    Of a sparse file, gigabytes cost no disk and would still fill the memory.
    """
    with open_regular(path) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_WHOLE_BYTES:
            what = f"longer than {MAX_WHOLE_BYTES >> 30} GiB, which nothing here reads whole"
            raise OSError(errno.EFBIG, what, str(path))
        return stream.read()
