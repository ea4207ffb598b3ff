"""WebDataset's shards: tars whose neighbouring files of one key are one sample.

'set-{000..005}.tar' names six of them. Each picture is read in place; its style comes from the
sample's .json or .cls, else from its folder. Source: Aizman, Maltby and Breuel, "High Performance
I/O For Large Scale Deep Learning", 2019; https://github.com/webdataset/webdataset.
"""

import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby, product
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from components.common.durable import replacing
from components.common.files import is_regular, real_path
from components.common.names import printable
from components.training_store.containers import (
    archive_name,
    digest_at,
    is_hidden_path,
    open_file,
    open_tar,
    raise_if_passing,
)
from components.training_store.layouts import (
    IMAGE_SUFFIXES,
    STYLE_COLUMNS,
    Candidate,
    style_level,
)
from components.training_store.rows import (
    ROWS_VERSION,
    Row,
    listed_rows,
    name_in_style,
    write_rows,
)
from interfaces.errors import NotFoundError, RefusedError
from interfaces.itdt import QuarantinedFile
from interfaces.places import Url, place_of
from interfaces.progress import Progress, ProgressEvent

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MAX_SHARDS = 100_000
_MAX_SIDECAR_BYTES = 1 << 20
_SIDECARS = (".json", ".cls")


class _Member(NamedTuple):
    """One file of a tar."""

    key: str
    name: str
    suffix: str
    offset: int
    length: int


def has_braces(text: str) -> bool:
    """Whether a name stands for several: 'set-{000..005}.tar' or '{train,test}.tar'."""
    return any("," in inner or _RANGE.fullmatch(inner) for inner in _BRACES.findall(text))


def expand_braces(text: str) -> list[str]:
    """The names that one with braces stands for, in their order, as a shell expands it.

    Numbers keep the width of the first: {08..11} is 08, 09, 10, 11. Raises `RefusedError` for more
    than 100 000 names.
    """
    pieces = _BRACES.split(text)
    choices = [_choices(piece) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    count = 1
    for names in choices:
        count *= len(names)
        if count > _MAX_SHARDS:
            raise RefusedError(f"{text}: stands for more than {_MAX_SHARDS:,} files; name fewer")
    return ["".join(parts) for parts in product(*choices)]


def _choices(inner: str) -> Sequence[str]:
    if (numbers := _RANGE.fullmatch(inner)) is None:
        return inner.split(",") if "," in inner else [f"{{{inner}}}"]
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) >= _MAX_SHARDS:
        raise RefusedError(f"{{{inner}}}: stands for more than {_MAX_SHARDS:,} files; name fewer")
    step = 1 if last >= first else -1
    return [f"{number:0{len(numbers[1])}d}" for number in range(first, last + step, step)]


def named_shards(text: str) -> list[Path | Url]:
    """The files that a name with braces stands for. Raises `AtelierError` where one is missing."""
    places = [place_of(name) for name in expand_braces(text)]
    for place in places:
        if isinstance(place, Path) and not is_regular(place):
            raise NotFoundError(f"{place}: no such file; {text} names it as one of {len(places)}")
    return [real_path(place) if isinstance(place, Path) else place for place in places]


def is_web_dataset(place: Path | Url) -> bool:
    """Whether a tar's first sample has a .json or .cls beside its picture."""
    with (
        suppress(tarfile.TarError, ValueError),  # whoever lists it says what is wrong
        open_file(place) as stream,
        open_tar(stream) as archive,
    ):
        samples = groupby(_members(archive), key=lambda member: member.key)
        for _, members in samples:
            suffixes = {member.suffix for member in members}
            return bool(suffixes & IMAGE_SUFFIXES) and bool(suffixes.intersection(_SIDECARS))
    return False


def shard_rows(
    shards: Sequence[Path | Url], name: str, folder: Path, progress: Progress
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The pictures of shards, listed once in `folder`; those without any style get `name`.

    A shard that is damaged is put aside from where it ends. Raises `AtelierError` where no shard
    holds a picture.
    """
    address = json.dumps([ROWS_VERSION, [[str(place), digest_at(place)] for place in shards]])
    index = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.rows"
    levels = index.with_suffix(".folders.json")
    if not levels.exists():  # written last
        folders: Counter[tuple[str, ...]] = Counter()
        write_rows(index, _rows(shards, folders, progress))
        if not folders:
            index.unlink()
            raise RefusedError(f"{shards[0]}: holds no images (.jpg, .png, .webp …)")
        with replacing(levels) as temporary:
            temporary.write_text(json.dumps(style_level(folders)))
    level = int(levels.read_text())

    def style_of(picture: str) -> str:
        above = PurePosixPath(picture).parts[level:-1]
        return above[0] if above else name

    return listed_rows(index, shards, style_of)


def _rows(
    shards: Sequence[Path | Url], folders: Counter[tuple[str, ...]], progress: Progress
) -> Iterator[Row]:
    done = 0
    for number, place in enumerate(shards):
        for row in _rows_of(place, number):
            if row.reason is None:
                folders[PurePosixPath(row.name).parts[:-1]] += 1
            done += 1
            yield row
        progress(ProgressEvent(stage="list", done=done, unit="files", note=place.name))


def _rows_of(place: Path | Url, number: int) -> Iterator[Row]:
    stem = place.name.removesuffix(".tar")
    try:
        with open_file(place) as stream, open_tar(stream) as archive:
            for _, members in groupby(_members(archive), key=lambda member: member.key):
                yield from _sample(archive, list(members), stem, number)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise_if_passing(error, place)
        yield Row(f"{stem}/", stem, reason="truncated", detail=f"the tar ends: {error}")


def _members(archive: tarfile.TarFile) -> Iterator[_Member]:
    """Every plain file that is not hidden; the key is the name up to the first dot of its file."""
    for member in archive:
        name = archive_name(member.name)
        # tarfile would keep every header in memory.
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
        if member.isreg() and not member.issparse() and not is_hidden_path(name):
            above, slash, file = name.rpartition("/")
            key = f"{above}{slash}{file.partition('.')[0]}"
            suffix = PurePosixPath(name).suffix.lower()
            yield _Member(key, name, suffix, member.offset_data, member.size)


def _sample(
    archive: tarfile.TarFile, members: list[_Member], stem: str, number: int
) -> Iterator[Row]:
    style = _style_of(archive, members)
    style = printable(style) if style else None
    for member in members:
        if member.suffix in IMAGE_SUFFIXES:
            spare = f"{stem}/{member.name}"
            name = name_in_style(member.name, style, spare)
            if member.length == 0:
                detail = "the file is empty (0 bytes)"
                yield Row(name, stem, reason="truncated", detail=detail)
            else:
                yield Row(name, stem, style, number, member.offset, member.length)


def _style_of(archive: tarfile.TarFile, members: Iterable[_Member]) -> str | None:
    """The style that a sample's sidecars name, the .json before the .cls."""
    sidecars = {member.suffix: member for member in members if member.suffix in _SIDECARS}
    for suffix in _SIDECARS:
        member = sidecars.get(suffix)
        if member is not None and member.length <= _MAX_SIDECAR_BYTES:
            style = _SAID_BY[suffix](_read(archive, member))
            if style:
                return style
    return None


def _read(archive: tarfile.TarFile, member: _Member) -> str:
    assert archive.fileobj is not None
    archive.fileobj.seek(member.offset)  # the archive itself seeks before each header
    data = archive.fileobj.read(member.length)
    return data.decode("utf-8", "backslashreplace")


def _style_in_json(text: str) -> str | None:
    try:
        fields: dict[str, object] | list[object] | str | float | None = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    said = next((fields[name] for name in STYLE_COLUMNS if fields.get(name) is not None), None)
    return _style_in_text(str(said)) if isinstance(said, str | int) else None


def _style_in_text(text: str) -> str | None:
    text = text.strip()
    return f"class {int(text):03d}" if re.fullmatch(r"[0-9]{1,9}", text) else text or None


_SAID_BY: dict[str, Callable[[str], str | None]] = {
    ".json": _style_in_json,
    ".cls": _style_in_text,
}
