"""Styles from a CSV with the columns file,style, in place of folder names."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from components.training_store.containers import printable
from components.training_store.layouts import UNLABELLED, Candidate
from interfaces.errors import AtelierError
from interfaces.itdt import QuarantinedFile


def read_styles(path: Path) -> dict[str, str]:
    """File => style. A comma, semicolon or tab divides the columns, as the first line shows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            divider = next((sign for sign in ",;\t" if sign in header), ",")
            rows = csv.DictReader(stream, delimiter=divider)
            columns = {(column or "").strip().lower(): column for column in rows.fieldnames or ()}
            if not {"file", "style"} <= columns.keys():
                raise AtelierError(f"{path}: its first line must name the columns file,style")
            styles = {
                _key(row[columns["file"]] or ""): printable((row[columns["style"]] or "").strip())
                for row in rows
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AtelierError(f"{path}: not a readable CSV in UTF-8 ({error})") from error
    return {file: style for file, style in styles.items() if file and style}


def with_styles(
    candidates: Callable[[], Iterator[Candidate | QuarantinedFile]], csv_path: Path
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The same images with the CSV's styles, found by whole name, else by bare file name.

    Images that it does not name get the style 'unlabelled'. Raises `AtelierError` while they are
    read where it names not one of them.
    """
    styles = read_styles(csv_path.expanduser())

    def restyled() -> Iterator[Candidate | QuarantinedFile]:
        is_any_named, last = False, None
        for item in candidates():
            if isinstance(item, Candidate):
                last = item.entry.name
                style = styles.get(last) or styles.get(last.rpartition("/")[2])
                is_any_named = is_any_named or style is not None
                item = replace(item, style=style or UNLABELLED)
            yield item
        if last is not None and not is_any_named:
            raise AtelierError(
                f"{csv_path}: names not one image of the collection; its column 'file' holds "
                f"paths inside the collection, such as {last}"
            )

    return restyled


def _key(file: str) -> str:
    return printable(file.strip().replace("\\", "/").removeprefix("./"))
