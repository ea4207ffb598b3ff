"""Styles from metadata.csv or metadata.jsonl, as Hugging Face's image folders keep them."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from components.common.names import printable
from components.training_store.containers import Entry, archive_name, read_entry
from components.training_store.layouts import STYLE_COLUMNS, UNLABELLED, Candidate
from interfaces.errors import RefusedError, unreadable
from interfaces.itdt import QuarantinedFile

_FILE_COLUMN = "file_name"
_MAX_BYTES = 1 << 30


def metadata_styles(files: Sequence[Entry]) -> dict[str, str]:
    """Name in the collection => style, of every picture that the files give a style.

    About 150 bytes of memory a picture. Raises `AtelierError` for a file that cannot be read.
    """
    styles: dict[str, str] = {}
    for entry in files:
        if entry.compression != "none" or entry.length > _MAX_BYTES:
            raise RefusedError(f"{entry.name}: compressed or over 1 GiB; give its styles as a CSV")
        folder = entry.name.rpartition("/")[0]
        for fields in _rows_of(entry):
            style = next((fields[name] for name in STYLE_COLUMNS if fields.get(name)), None)
            file = fields.get(_FILE_COLUMN)
            if style and file:
                name = archive_name(f"{folder}/{file}")
                styles[printable(name)] = printable(style.strip())
    return styles


def _rows_of(entry: Entry) -> Iterator[dict[str, str]]:
    try:
        text = read_entry(entry).decode("utf-8-sig")
        if PurePosixPath(entry.name).suffix == ".csv":
            rows = csv.DictReader(io.StringIO(text, newline=""))
            yield from ({key: value or "" for key, value in row.items() if key} for row in rows)
            return
        for line in filter(str.strip, text.splitlines()):
            fields = json.loads(line)
            yield {key: str(value) for key, value in fields.items() if value is not None}
    except (OSError, ValueError, csv.Error, AttributeError, RecursionError) as error:
        raise unreadable(error)(
            f"{entry.name}: not readable ({error}); mend it, or take it out of the folder"
        ) from error


def with_metadata(
    candidates: Callable[[], Iterator[Candidate | QuarantinedFile]], styles: dict[str, str]
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The same images with these styles; those that have none are 'unlabelled'."""

    def restyled() -> Iterator[Candidate | QuarantinedFile]:
        for item in candidates():
            if isinstance(item, Candidate):
                item = replace(item, style=styles.get(item.entry.name, UNLABELLED))
            yield item

    return restyled
