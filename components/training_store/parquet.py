"""Parquet files with image bytes, as Hugging Face publishes data sets; unpacked once."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.durable import replacing, sha256_of
from components.training_store.containers import Entry, printable, put_aside, stamp_of
from components.training_store.layouts import UNLABELLED, Candidate
from interfaces.errors import AtelierError
from interfaces.itdt import QuarantinedFile
from interfaces.progress import Progress, ProgressEvent

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_COLUMNS = ("image", "img", "picture", "bytes")
_STYLE_COLUMNS = ("style", "label", "labels", "class", "genre")
_BATCH_ROWS = 64


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the images and styles of a file stand."""

    image: str
    style: str | None
    style_names: list[str]  # of an integer column, from the data set's own schema


def is_parquet(path: Path) -> bool:
    """Whether a file begins as parquet does."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def parquet_rows(
    files: list[Path], name: str, unpacked: Path, progress: Progress
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The images of parquet files, copied once into one file in the folder `unpacked`.

    Styles come from a column named style, label, class or genre; without one, all are `name`.
    Raises `AtelierError` where pyarrow is missing or a file holds no images.
    """
    digest = hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
    blob = unpacked / f"{digest[:16]}.images"
    index = blob.with_suffix(".jsonl")
    if not index.exists():  # written last, so its blob is whole
        with replacing(index) as new_index, replacing(blob) as new_blob:
            _unpack(files, new_blob, new_index, progress)

    def candidates() -> Iterator[Candidate | QuarantinedFile]:
        stamp = stamp_of(blob.stat())
        with index.open(encoding="utf-8") as lines:
            for line in lines:
                row_name, style, offset, length = json.loads(line)
                if length == 0:
                    yield put_aside(row_name, "unsupported", "the row holds no image bytes")
                    continue
                entry = Entry(row_name, blob, offset, length, length, stamp=stamp)
                yield Candidate(entry, style or name)

    return candidates


def _unpack(files: list[Path], blob: Path, index: Path, progress: Progress) -> None:
    parquet = _pyarrow_parquet()
    done = 0
    with blob.open("wb") as images, index.open("w", encoding="utf-8") as lines:
        for file in files:
            try:
                source = parquet.ParquetFile(file)
                columns = _find_columns(source.schema_arrow, file)
                for row, style, data in _rows(source, columns):
                    name = printable(f"{file.stem}/{row:07d}")
                    line = [name, style, images.tell(), len(data)]
                    lines.write(json.dumps(line) + "\n")
                    images.write(data)
                    done += 1
                    if done % _BATCH_ROWS == 0:
                        progress(ProgressEvent(stage="unpack", done=done, note=file.name))
            except _arrow_errors() as error:
                text = str(error).splitlines()[0]
                raise AtelierError(f"{file}: not a readable parquet file ({text})") from error


def _rows(source: Any, columns: _Columns) -> Iterator[tuple[int, str | None, bytes]]:
    """(row, style, bytes of the image) of each row; None and b"" where there is none."""
    wanted = [columns.image] + ([columns.style] if columns.style else [])
    row = 0
    for batch in source.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
        images = batch.column(columns.image).to_pylist()
        styles = batch.column(columns.style).to_pylist() if columns.style else [None] * len(images)
        for image, style in zip(images, styles, strict=True):
            data = image.get("bytes") if isinstance(image, dict) else image
            yield row, _style_name(style, columns), data or b""
            row += 1


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
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


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
