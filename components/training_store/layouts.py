"""Layouts of a container: the files that are the collection's images, and the style of each."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

from components.common.names import printable
from components.training_store.containers import Container, Entry, put_aside, read_entry
from interfaces.errors import RefusedError
from interfaces.itdt import QuarantinedFile

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k",
    ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".jxl", ".mpo", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp",
})
# fmt: on
"""Suffixes that promise an image, in lower case. Inspection finds out what the file really is."""

STYLE_COLUMNS = ("style", "label", "labels", "class", "genre")
"""Names of the column or field that holds a picture's style, the best first."""

UNLABELLED = "unlabelled"
"""The style of an image that a CSV or a parquet column leaves without one."""

CIFAR_SIDE = 32
_CIFAR_PLANES_BYTES = 3 * CIFAR_SIDE**2
_CIFAR_ROW_BYTES = 1 + _CIFAR_PLANES_BYTES  # a label, then the planes
_CIFAR_BATCH = re.compile(r"(data_batch_\d+|test_batch)\.bin")
_MAX_CIFAR_BYTES = 1 << 30
_MAX_CIFAR_NAMES_BYTES = 1 << 20
_CIFAR_PICKLE = re.compile(r"data_batch_\d+")
_CIFAR_NAMES = {"batches.meta.txt", "meta.txt"}
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
_STRAY_SHARE = 20  # a folder with at most a twentieth of the images, or one image, is no style
_TABLE_SUFFIXES = {".parquet", ".arrow"}
_METADATA_NAMES = {"metadata.csv", "metadata.jsonl"}
_ARCHIVE_SUFFIXES = {".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file, or a row of one, that should be an image of a known style."""

    entry: Entry
    style: str
    encoding: Literal["image file", "rgb planes"] = "image file"


@dataclass
class Survey:
    """Findings of a first look at the names."""

    image_folders: Counter[tuple[str, ...]] = field(default_factory=Counter)
    cifar_batches: list[Entry] = field(default_factory=list)
    cifar_names: Entry | None = None
    tables: list[Entry] = field(default_factory=list)
    """Parquet and arrow files."""
    tars: list[Entry] = field(default_factory=list)
    metadata: list[Entry] = field(default_factory=list)
    """Files that name pictures and their styles: metadata.csv, metadata.jsonl."""
    pickles: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    unlisted: list[QuarantinedFile] = field(default_factory=list)


def survey(container: Container) -> Survey:
    """One pass over the names; memory grows with folders, not with files."""
    seen = Survey()
    for entry in container.entries():
        path = PurePosixPath(entry.name)
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES and not entry.name.endswith("/"):
            seen.image_folders[path.parts[:-1]] += 1
        elif isinstance(entry, QuarantinedFile):
            seen.unlisted.append(entry)
        elif _CIFAR_BATCH.fullmatch(path.name):
            seen.cifar_batches.append(entry)
        elif path.name in _CIFAR_NAMES:
            seen.cifar_names = entry
        elif suffix in _TABLE_SUFFIXES:
            # 'cache-….arrow' holds what `datasets` computed from the others.
            if not path.name.startswith("cache-"):
                seen.tables.append(entry)
        elif path.name in _METADATA_NAMES:
            seen.metadata.append(entry)
        elif suffix == ".tar":
            seen.tars.append(entry)
        elif _CIFAR_PICKLE.fullmatch(path.name):
            seen.pickles.append(entry.name)
        elif suffix in _ARCHIVE_SUFFIXES:
            seen.archives.append(entry.name)
    return seen


def image_files(
    container: Container, folders: Mapping[tuple[str, ...], int], name: str
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
                if entry.size == 0:
                    yield put_aside(entry.name, "truncated", "the file is empty (0 bytes)")
                    continue
                above = path.parts[level:-1]
                yield Candidate(entry, above[0] if above else name)

    return candidates


def style_level(folders: Mapping[tuple[str, ...], int]) -> int:
    """Number of leading folders that name no style: a wrapper around everything, train and test.

    `folders` says how many images lie in each folder itself. A lone top folder is a wrapper where
    most of its images lie in several folders below it; train, test and the like are a split where
    images lie in folders below them, as in ArtBench-10's ImageFolder. Stray images beside these
    change nothing: without a style of their own they get the collection's name.
    """
    level = 0
    while _are_above_styles(folders, level):
        level += 1
    return level


def _are_above_styles(folders: Mapping[tuple[str, ...], int], level: int) -> bool:
    """Whether the folders at a level hold folders of styles, rather than being styles."""
    below: Counter[str] = Counter()  # images in folders below each folder
    directly: Counter[str] = Counter()
    styles: set[str] = set()
    for parts, count in folders.items():
        if len(parts) > level + 1:
            below[parts[level]] += count
            styles.add(parts[level + 1])
        elif len(parts) == level + 1:
            directly[parts[level]] += count
    beside = sum(
        count for name, count in directly.items() if not (name in below or _is_split(name))
    )
    if not below or beside > max(1, below.total() // _STRAY_SHARE):
        return False
    is_wrapper = len(below) == 1 and len(styles) > 1 and directly.total() - beside < below.total()
    return is_wrapper or all(map(_is_split, below))


def _is_split(name: str) -> bool:
    return name.lower() in _SPLITS


def shard_styles(files: Sequence[Entry]) -> list[tuple[Entry, str, str | None]]:
    """(table, name of its rows, style) where folders of files are styles, else style None.

    A table is a parquet or arrow file. A lone folder is none, nor are train, test and the like. The
    rows are named by the file alone where that tells the files apart.
    """
    paths = [PurePosixPath(entry.name).with_suffix("") for entry in files]
    level = style_level(Counter(path.parts[:-1] for path in paths))
    tops = [path.parts[level] if len(path.parts) > level + 1 else None for path in paths]
    named = {top for top in tops if top is not None and not _is_split(top)}
    have_own_names = len({path.name for path in paths}) == len(paths)
    return [
        (entry, path.name if have_own_names else str(path), top if len(named) > 1 else None)
        for entry, path, top in zip(files, paths, tops, strict=True)
    ]


def cifar_rows(seen: Survey) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The rows of CIFAR-style binary files (32×32 planes), a label's name as its style."""
    packed = [entry.name for entry in seen.cifar_batches if entry.compression != "none"]
    if packed:
        raise RefusedError(f"{packed[0]} is compressed in the zip; unpack it and name the folder")
    names = seen.cifar_names
    too_large = None if names is None else _too_large(names, _MAX_CIFAR_NAMES_BYTES)
    class_names = _class_names(None if too_large else names)

    def candidates() -> Iterator[Candidate | QuarantinedFile]:
        if too_large is not None:
            yield too_large
        for batch in seen.cifar_batches:
            yield from _rows_of(batch, class_names)

    return candidates


def _too_large(entry: Entry, max_bytes: int) -> QuarantinedFile | None:
    """What becomes of a file that is read whole and is larger than any honest one of its kind."""
    if entry.length <= max_bytes:
        return None
    detail = f"{entry.length:,} bytes, over the limit of {max_bytes:,}"
    return put_aside(entry.name, "oversized", detail)


def _rows_of(batch: Entry, class_names: list[str]) -> Iterator[Candidate | QuarantinedFile]:
    if (too_large := _too_large(batch, _MAX_CIFAR_BYTES)) is not None:
        yield too_large
        return
    try:
        data = read_entry(batch)
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
    text = read_entry(entry).decode("utf-8", errors="replace")
    return [printable(line.strip()) for line in text.splitlines() if line.strip()]
