"""Which files of a container are the collection's images, and of what style each is."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

from components.training_store.containers import Container, Entry, put_aside
from interfaces.errors import AtelierError
from interfaces.itdt import QuarantinedFile

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k",
    ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".jxl", ".mpo", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp",
})
# fmt: on
"""Names that promise an image, in lower case. What the file really is, inspection finds out."""

UNLABELLED = "unlabelled"
"""The style of an image that a CSV or a parquet column leaves without one."""

CIFAR_SIDE = 32
_CIFAR_PLANES_BYTES = 3 * CIFAR_SIDE**2
_CIFAR_ROW_BYTES = 1 + _CIFAR_PLANES_BYTES  # a label, then the planes
_CIFAR_BATCH = re.compile(r"(data_batch_\d+|test_batch)\.bin")
_CIFAR_PICKLE = re.compile(r"data_batch_\d+")
_CIFAR_NAMES = {"batches.meta.txt", "meta.txt"}
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
_ARCHIVE_SUFFIXES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file, or a row of one, that should be an image of a known style."""

    entry: Entry
    style: str
    encoding: Literal["image file", "rgb planes"] = "image file"


@dataclass
class Survey:
    """What a first look at the names shows."""

    image_folders: set[tuple[str, ...]] = field(default_factory=set)
    cifar_batches: list[Entry] = field(default_factory=list)
    cifar_names: Entry | None = None
    parquet_files: list[Entry] = field(default_factory=list)
    pickles: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)


def survey(container: Container) -> Survey:
    """One pass over the names; memory grows with folders, not with files."""
    seen = Survey()
    for entry in container.entries():
        if isinstance(entry, QuarantinedFile):
            continue
        path = PurePosixPath(entry.name)
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            seen.image_folders.add(path.parts[:-1])
        elif _CIFAR_BATCH.fullmatch(path.name):
            seen.cifar_batches.append(entry)
        elif path.name in _CIFAR_NAMES:
            seen.cifar_names = entry
        elif suffix == ".parquet":
            seen.parquet_files.append(entry)
        elif _CIFAR_PICKLE.fullmatch(path.name):
            seen.pickles.append(entry.name)
        elif suffix in _ARCHIVE_SUFFIXES:
            seen.archives.append(entry.name)
    return seen


def image_files(
    container: Container, folders: Collection[tuple[str, ...]], name: str
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """Image files whose folders are their styles; those in no folder get the style `name`."""
    level = style_level(folders)

    def candidates() -> Iterator[Candidate | QuarantinedFile]:
        for entry in container.entries():
            path = PurePosixPath(entry.name)
            if isinstance(entry, QuarantinedFile):
                if path.suffix.lower() in IMAGE_SUFFIXES or entry.name.endswith("/"):
                    yield entry
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                above = path.parts[level:-1]
                yield Candidate(entry, above[0] if above else name)

    return candidates


def style_level(folders: Collection[tuple[str, ...]]) -> int:
    """How many leading folders name no style: a wrapper around everything, train and test.

    A lone top folder is a wrapper where it holds several folders of images; train, test and the
    like are a split where all images lie in folders below them, as in ArtBench-10's ImageFolder.
    """
    level = 0
    while folders and all(len(parts) >= level + 2 for parts in folders):
        here = {parts[level].lower() for parts in folders}
        below = {parts[level + 1] for parts in folders}
        is_wrapper = len(here) == 1 and len(below) > 1
        if not (is_wrapper or here <= _SPLITS):
            break
        level += 1
    return level


def cifar_rows(seen: Survey) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The rows of CIFAR-style binary files (32×32 planes), a label's name as its style."""
    packed = [entry.name for entry in seen.cifar_batches if entry.compression != "none"]
    if packed:
        raise AtelierError(f"{packed[0]} is compressed in the zip; unpack it and name the folder")
    class_names = _class_names(seen.cifar_names)

    def candidates() -> Iterator[Candidate | QuarantinedFile]:
        for batch in seen.cifar_batches:
            yield from _rows_of(batch, class_names)

    return candidates


def _rows_of(batch: Entry, class_names: list[str]) -> Iterator[Candidate | QuarantinedFile]:
    try:
        data = _read(batch)
    except OSError as error:
        yield put_aside(batch.name, "unreadable", f"cannot be read: {error.strerror}")
        return
    count, rest = divmod(len(data), _CIFAR_ROW_BYTES)
    for row in range(count):
        name, begin = f"{batch.name}/{row:05d}", row * _CIFAR_ROW_BYTES
        label = data[begin]
        if class_names and label >= len(class_names):
            detail = f"label {label}, but there are {len(class_names)} names"
            yield put_aside(name, "corrupt", detail)
            continue
        planes = replace(
            batch,
            name=name,
            offset=batch.offset + begin + 1,
            length=_CIFAR_PLANES_BYTES,
            size=_CIFAR_PLANES_BYTES,
            crc32=None,  # the batch's, not the row's
        )
        style = class_names[label] if class_names else f"class {label:03d}"
        yield Candidate(planes, style, "rgb planes")
    if rest or len(data) < batch.length:
        detail = f"the file ends within a row of {_CIFAR_ROW_BYTES} bytes"
        yield put_aside(f"{batch.name}/{count:05d}", "truncated", detail)


def _class_names(entry: Entry | None) -> list[str]:
    if entry is None or entry.compression != "none":
        return []
    text = _read(entry).decode("utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read(entry: Entry) -> bytes:
    with entry.file.open("rb") as stream:
        stream.seek(entry.offset)
        return stream.read(entry.length)
