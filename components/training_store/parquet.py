"""Parquet files with image bytes, as Hugging Face publishes data sets; unpacked once."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.durable import replacing, sha256_of
from components.common.files import open_regular
from components.common.names import printable
from components.training_store.containers import Entry, put_aside, stamp_of
from components.training_store.layouts import UNLABELLED, Candidate
from interfaces.errors import AtelierError
from interfaces.itdt import QuarantinedFile
from interfaces.progress import Progress, ProgressEvent

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_COLUMNS = ("image", "img", "picture", "bytes")
_STYLE_COLUMNS = ("style", "label", "labels", "class", "genre")
_BATCH_ROWS = 64
_INDEX_VERSION = 2  # raise it when the same files would be unpacked otherwise


@dataclass(frozen=True, slots=True)
class Shard:
    """A parquet file, what its rows are named after, and their style where no column says it."""

    file: Path
    name: str
    style: str | None


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the images and styles of a file stand."""

    image: str
    style: str | None
    style_names: list[str]  # of an integer column, from the data set's own schema


def is_parquet(path: Path) -> bool:
    """Whether a file begins as parquet does."""
    with open_regular(path) as stream:
        return stream.read(4) == b"PAR1"


def parquet_rows(
    shards: list[Shard], name: str, unpacked: Path, progress: Progress
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The images of parquet files, copied once into one file in the folder `unpacked`.

    Styles come from a column named style, label, class or genre, else from the file's folder;
    without either, all are `name`. Of several files a damaged one is put aside. Raises
    `AtelierError` where pyarrow is missing or no file holds images.
    """
    blob = unpacked / f"{_address(shards)[:16]}.images"
    index = blob.with_suffix(".jsonl")
    if not index.exists():  # written last, so its blob is whole
        with replacing(index) as new_index, replacing(blob) as new_blob:
            _unpack(shards, new_blob, new_index, progress)

    def candidates() -> Iterator[Candidate | QuarantinedFile]:
        stamp = stamp_of(blob.stat())
        with index.open(encoding="utf-8") as lines:
            for line in lines:
                row_name, style, offset, length, fault = json.loads(line)
                if fault:
                    yield put_aside(row_name, "corrupt", fault)
                elif length == 0:
                    yield put_aside(row_name, "unsupported", "the row holds no image bytes")
                else:
                    entry = Entry(row_name, blob, offset, length, length, stamp=stamp)
                    yield Candidate(entry, style or name)

    return candidates


def _address(shards: list[Shard]) -> str:
    """Digest of all that decides what is unpacked: contents, names of rows, styles."""
    parts = [[sha256_of(shard.file), shard.name, shard.style] for shard in shards]
    return hashlib.sha256(json.dumps([_INDEX_VERSION, parts]).encode()).hexdigest()


def _unpack(shards: list[Shard], blob: Path, index: Path, progress: Progress) -> None:
    """Copy every shard's images into `blob`, with a line of `index` for each row or fault."""
    done, faults = 0, list[AtelierError]()
    with blob.open("wb") as images, index.open("w", encoding="utf-8") as lines:
        for shard in shards:
            try:
                for row, style, data in _rows_of(shard):
                    line = [f"{shard.name}/{row:07d}", style, images.tell(), len(data), ""]
                    lines.write(json.dumps(line) + "\n")
                    images.write(data)
                    done += 1
                    if done % _BATCH_ROWS == 0:
                        progress(ProgressEvent(stage="unpack", done=done, note=shard.name))
            except AtelierError as error:
                faults.append(error)
                lines.write(json.dumps([shard.name, None, 0, 0, str(error)]) + "\n")
    if faults and done == 0:
        raise faults[0]


def _rows_of(shard: Shard) -> Iterator[tuple[int, str | None, bytes]]:
    """(row, style, bytes of the image) of each row; None and b"" where there is none."""
    parquet = _pyarrow_parquet()
    try:
        with open_regular(shard.file) as stream:
            source = parquet.ParquetFile(stream)
            columns = _find_columns(source.schema_arrow, shard.file)
            for row, style, data in _rows(source, columns):
                yield row, style or shard.style, data
    except (_arrow_errors(), OSError, UnicodeDecodeError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise AtelierError(f"{shard.file}: not a readable parquet file ({text})") from error


def _rows(source: Any, columns: _Columns) -> Iterator[tuple[int, str | None, bytes]]:
    wanted = [columns.image] + ([columns.style] if columns.style else [])
    row = 0
    for batch in source.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
        images = _image_bytes(batch.column(columns.image))
        styles = _texts(batch.column(columns.style)) if columns.style else [None] * len(images)
        for data, style in zip(images, styles, strict=True):
            yield row, _style_name(style, columns), data or b""
            row += 1


def _image_bytes(column: "pa.Array") -> list[bytes | None]:
    """The images of a column of bytes, or of structures with a field of bytes among others."""
    import pyarrow as pa
    import pyarrow.compute

    if not pa.types.is_struct(column.type):
        return column.to_pylist()
    # The function is made when pyarrow.compute is imported, where no type checker sees it.
    images = pyarrow.compute.struct_field(  # pyright: ignore[reportAttributeAccessIssue]
        column, "bytes"
    )
    return images.to_pylist()


def _texts(column: "pa.Array") -> list[object]:
    """A column's values; of text that is not UTF-8 the bytes at fault are escaped: 'caf\\xe9'."""
    import pyarrow as pa

    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.to_pylist()
    texts = column.cast(pa.large_binary()).to_pylist()
    return [None if text is None else text.decode("utf-8", "backslashreplace") for text in texts]


def _style_name(style: object, columns: _Columns) -> str | None:
    if columns.style is None:
        return None
    if isinstance(style, int) and 0 <= style < len(columns.style_names):
        return printable(columns.style_names[style])
    return UNLABELLED if style is None or style == "" else printable(str(style))


def _find_columns(schema: "pa.Schema", file: Path) -> _Columns:
    images = [field.name for field in schema if _holds_bytes(field.type)]
    if not images:
        raise AtelierError(f"{file}: has no column of image bytes; its columns: {schema.names}")
    image = next((name for name in _IMAGE_COLUMNS if name in images), images[0])
    style = next((name for name in _STYLE_COLUMNS if name in schema.names), None)
    return _Columns(image, style, _class_label_names(schema, style))


def _holds_bytes(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _holds_bytes(kind.field(position).type)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _class_label_names(schema: "pa.Schema", style: str | None) -> list[str]:
    """Names of a ClassLabel column, which Hugging Face keeps as JSON in the schema."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        return [str(name) for name in described["info"]["features"][style]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise AtelierError(
            "parquet files need pyarrow, which is not installed: pip install 'atelier[parquet]'"
        ) from error
    return pyarrow.parquet


def _arrow_errors() -> type[Exception]:
    import pyarrow as pa

    return pa.ArrowException
