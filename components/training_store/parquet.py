"""Parquet and arrow files with image bytes, as Hugging Face keeps data sets; unpacked once."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias

from components.common.durable import replacing
from components.common.names import printable
from components.training_store.containers import Bound, digest_at, open_file, raise_if_passing
from components.training_store.layouts import STYLE_COLUMNS, UNLABELLED, Candidate
from components.training_store.rows import (
    ROWS_VERSION,
    Row,
    listed_rows,
    name_in_style,
    write_rows,
)
from interfaces.errors import (
    AtelierError,
    DamagedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    unreadable,
)
from interfaces.itdt import QuarantinedFile
from interfaces.places import Url
from interfaces.progress import Progress, ProgressEvent

_IMAGE_COLUMNS = ("image", "img", "picture", "bytes")
_BATCH_ROWS = 1  # rows may share one large value, which unpacks to a copy for each
_REPORTED_ROWS = 64


# What is used of pyarrow, which has no types.


class _Type(Protocol):
    def get_field_index(self, name: str) -> int: ...
    def field(self, position: int) -> "_Field": ...
    def __iter__(self) -> "Iterator[_Field]": ...


class _Field(Protocol):
    name: str
    type: _Type


class _Schema(Protocol):
    names: list[str]
    metadata: Mapping[bytes, bytes] | None

    def __iter__(self) -> Iterator[_Field]: ...


class _Column(Protocol):
    type: _Type

    def __len__(self) -> int: ...
    def to_pylist(self) -> list[object]: ...
    def flatten(self) -> "list[_Column]": ...
    def dictionary_decode(self) -> "_Column": ...
    def cast(self, kind: _Type) -> "_Column": ...


class _Batch(Protocol):
    num_rows: int

    def slice(self, offset: int, length: int) -> "_Batch": ...
    def select(self, columns: list[str]) -> "_Batch": ...
    def column(self, name: str) -> _Column: ...


_Source: TypeAlias = tuple[_Schema, Callable[[list[str]], Iterable[_Batch]]]


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of rows, what they are named after, and their style where no column says it."""

    file: Path | Url
    name: str
    style: str | None


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of a file that hold its images and styles."""

    image: str
    style: str | None
    style_names: list[str]  # of an integer column, from the data set's own schema


class _Found(NamedTuple):
    """A row: its place in the file, its style, the path that it names, the bytes of its image."""

    number: int
    style: str | None
    path: object
    data: bytes


def is_table(place: Path | Url) -> bool:
    """Whether a file is parquet by its first bytes, or arrow by its name."""
    if place.name.endswith(".arrow"):
        return True
    with open_file(place) as stream:
        return stream.read(4) == b"PAR1"


def table_rows(
    shards: list[Shard], name: str, unpacked: Path, progress: Progress
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The images of parquet or arrow files, copied once into one file in the folder `unpacked`.

    Styles come from a column named style, label, class or genre, else from the file's folder;
    without either, all are `name`. A picture whose path is known has that for its name, in the
    folder of its style. Of several files a damaged one is put aside. Raises
    `AtelierError` where pyarrow is missing or no file holds images.
    """
    blob = unpacked / f"{_address(shards)[:16]}.images"
    index = blob.with_suffix(".rows")
    if not index.exists():  # takes its name last, so its blob is whole
        with replacing(blob) as new_blob, new_blob.open("wb") as images:
            faults: list[AtelierError] = []
            write_rows(blob.with_suffix(".unfinished"), _unpack(shards, images, faults, progress))
            if faults and images.tell() == 0:
                blob.with_suffix(".unfinished").unlink()
                raise faults[0]
        blob.with_suffix(".unfinished").replace(index)
    return listed_rows(index, [blob], lambda _: name)


def _address(shards: list[Shard]) -> str:
    """Digest of all that decides what is unpacked: contents, names of rows, styles."""
    parts = [[digest_at(shard.file), shard.name, shard.style] for shard in shards]
    return hashlib.sha256(json.dumps([ROWS_VERSION, parts]).encode()).hexdigest()


def _unpack(
    shards: list[Shard], images: BinaryIO, faults: list[AtelierError], progress: Progress
) -> Iterator[Row]:
    """Copy every shard's images into one file; yields where each of them lies, and each fault."""
    done = 0
    for shard in shards:
        try:
            for found in _rows_of(shard):
                row = _placed(found, shard, images.tell())
                images.write(found.data)
                done += 1
                if done % _REPORTED_ROWS == 0:
                    progress(ProgressEvent(stage="unpack", done=done, note=shard.name))
                yield row
        except (DamagedError, NotFoundError, RefusedError) as error:  # not a place that is away
            faults.append(error)
            yield Row(shard.name, shard.name, reason="corrupt", detail=str(error))


def _placed(found: _Found, shard: Shard, offset: int) -> Row:
    number = f"{shard.name}/{found.number:07d}"
    style = found.style or shard.style
    name = name_in_style(found.path, style, number)
    if not found.data:
        detail = "the row holds no image bytes"
        return Row(name, shard.name, reason="unsupported", detail=detail)
    return Row(name, shard.name, style, 0, offset, len(found.data))


def _rows_of(shard: Shard) -> Iterator[_Found]:
    """The rows of a file. Raises `AtelierError` where it cannot be read or holds no images."""
    _pyarrow_parquet()
    kind = "arrow" if shard.file.name.endswith(".arrow") else "parquet"
    try:
        with open_file(shard.file) as stream:
            bound = Bound(shard.file, stream)
            read = _arrow_batches if kind == "arrow" else _parquet_batches
            schema, batches = read(stream)
            for found in _rows(batches, _find_columns(schema, shard.file)):
                bound.add(len(found.data))
                yield found
    except (_arrow_errors(), OSError, UnicodeDecodeError) as error:
        raise_if_passing(error, shard.file)
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise unreadable(error)(f"{shard.file}: not a readable {kind} file ({text})") from error


def _parquet_batches(stream: BinaryIO) -> _Source:
    source = _pyarrow_parquet().ParquetFile(stream)
    return source.schema_arrow, lambda columns: source.iter_batches(_BATCH_ROWS, columns=columns)


def _arrow_batches(stream: BinaryIO) -> _Source:
    """Arrow's stream, as `datasets` saves it, or its file format; batches cut small."""
    ipc = _pyarrow().ipc
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    source = ipc.open_file(stream) if is_file else ipc.open_stream(stream)

    def batches(columns: list[str]) -> Iterator[_Batch]:
        whole: Iterable[_Batch] = (
            map(source.get_batch, range(source.num_record_batches)) if is_file else source
        )
        for batch in whole:
            for begin in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(begin, _BATCH_ROWS).select(columns)

    return source.schema, batches


def _rows(batches: Callable[[list[str]], Iterable[_Batch]], columns: _Columns) -> Iterator[_Found]:
    number = 0
    for batch in batches([columns.image] + ([columns.style] if columns.style else [])):
        images, paths = _images(batch.column(columns.image))
        styles = _texts(batch.column(columns.style)) if columns.style else [None] * len(images)
        for data, path, style in zip(images, paths, styles, strict=True):
            yield _Found(number, _style_name(style, columns), path, data or b"")
            number += 1


def _images(column: _Column) -> tuple[Sequence[bytes | None], Sequence[object]]:
    """Bytes and paths of a column of bytes, or of structures with a field of bytes among others."""
    if not isinstance(column, _pyarrow().StructArray):
        return _bytes_of(column), [None] * len(column)
    names = [field.name for field in column.type]
    fields = dict(zip(names, column.flatten(), strict=True))  # what is null as a whole stays so
    images = _bytes_of(fields["bytes"])
    return images, _texts(fields["path"]) if "path" in fields else [None] * len(images)


def _bytes_of(column: _Column) -> list[bytes | None]:
    return [data if isinstance(data, bytes) else None for data in column.to_pylist()]


def _texts(column: _Column) -> list[object]:
    """A column's values; of text that is not UTF-8 the bytes at fault are escaped: 'caf\\xe9'."""
    pa = _pyarrow()
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.to_pylist()
    texts = _bytes_of(column.cast(pa.large_binary()))
    return [None if text is None else text.decode("utf-8", "backslashreplace") for text in texts]


def _style_name(style: object, columns: _Columns) -> str | None:
    if columns.style is None:
        return None
    if isinstance(style, int) and 0 <= style < len(columns.style_names):
        return printable(columns.style_names[style])
    return UNLABELLED if style is None or style == "" else printable(str(style))


def _find_columns(schema: _Schema, file: Path | Url) -> _Columns:
    images = [field.name for field in schema if _holds_bytes(field.type)]
    if not images:
        raise RefusedError(f"{file}: has no column of image bytes; its columns: {schema.names}")
    image = next((name for name in _IMAGE_COLUMNS if name in images), images[0])
    style = next((name for name in STYLE_COLUMNS if name in schema.names), None)
    return _Columns(image, style, _class_label_names(schema, style))


def _holds_bytes(kind: _Type) -> bool:
    types = _pyarrow().types
    if types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _holds_bytes(kind.field(position).type)
    tests = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(test(kind) for test in tests)


def _class_label_names(schema: _Schema, style: str | None) -> list[str]:
    """Names of a ClassLabel column, which Hugging Face keeps as JSON in the schema."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        return [str(name) for name in described["info"]["features"][style]["names"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def _pyarrow_parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        raise UnavailableError(
            "parquet and arrow files need pyarrow, which is not installed: "
            "pip install 'atelier[parquet]'"
        ) from error


def _pyarrow() -> Any:
    return import_module("pyarrow")


def _arrow_errors() -> type[Exception]:
    return _pyarrow().ArrowException
