"""Names of files: from what a person or a record calls a thing to a place inside the store."""

import re
from collections.abc import Generator
from itertools import count
from pathlib import Path, PureWindowsPath

from pathvalidate import sanitize_filename

from components.common.files import JOURNAL
from interfaces.record import FileOrigin, Origin

DATABASE = "results.sqlite"
PLACE = "results.place"
"""The URL below which the pictures lie, where they do not lie beside it."""
OWNER = "results.store"
"""File below that URL that names the store that they belong to."""
OWN = (DATABASE, JOURNAL, PLACE, OWNER)
"""Beginnings of the names of the store's own files."""
NO_RUN = "loose"
"""Folder of what was made in no run."""


def folder_of(run: str) -> str:
    """Name of a run's folder: never that of a file of the store's own."""
    name = safe(run, otherwise=NO_RUN)
    is_taken = name.casefold().startswith(OWN)
    return f"run-{name}" if is_taken else name


def stem_of(origin: Origin, run: str) -> str:
    """Stem of a picture's file: its seed in a run, else the name of the person's own file."""
    if isinstance(origin, FileOrigin):
        name = origin.name
    else:
        name = next((given.name for given in origin.inputs if given.role == "source"), None)
        if run or name is None:
            return f"{origin.seed:06d}"
    return safe(Path(name).stem, otherwise="picture")


def places(folder: str, stem: str, sha256: str, suffix: str) -> Generator[str]:
    """Yield the places of a picture, best first, without end; digest and number keep it apart."""
    yield f"{folder}/{stem}{suffix}"
    yield f"{folder}/{stem}-{sha256[:8]}{suffix}"
    for number in count(2):
        yield f"{folder}/{stem}-{sha256[:8]}-{number}{suffix}"


def is_form(name: str, stem: str, suffix: str) -> bool:
    """Whether a file's name is one that `places` gives a stem, whatever digest and number."""
    apart = name.removeprefix(stem).removesuffix(suffix)
    is_framed = name == stem + apart + suffix
    return is_framed and re.fullmatch("(-[0-9a-f]{8}(-[0-9]+)?)?", apart) is not None


def is_place(text: str) -> bool:
    """Whether a text names a file in a folder of the store, and cannot lead out of it."""
    parts = text.split("/")
    is_plain = len(parts) == 2 and not {"", ".", ".."} & set(parts)
    return is_plain and PureWindowsPath(text).drive == "" and not set(text) & {"\\", "\0"}


def storable(text: str) -> str:
    """Escape what UTF-8 cannot hold in a text from outside: lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def safe(name: str, otherwise: str) -> str:
    """Turn a name from outside into a plain file name on every system."""
    cleaned = name
    for _ in range(2):  # once more, since what is stripped or cut may leave a reserved name
        # Windows takes "AUX .txt" for the device AUX too.
        base, dot, rest = cleaned.strip(". ").partition(".")
        cleaned = base.rstrip() + dot + rest
        # In bytes of UTF-8, of the 255 that file systems give: leaves room for digest and suffix.
        cleaned = sanitize_filename(cleaned, platform="universal", max_len=100)
    cleaned = cleaned.strip(". ") or otherwise
    # Such as "AUX .0": Windows passes over the space, pathvalidate does not.
    return f"_{cleaned}" if PureWindowsPath(cleaned).is_reserved() else cleaned
