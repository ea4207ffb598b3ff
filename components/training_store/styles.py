"""Styles from a CSV with the columns file,style, in place of folder names."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from components.common.files import read_regular
from components.common.names import printable
from components.training_store.layouts import UNLABELLED, Candidate
from interfaces.errors import DamagedError, RefusedError, unreadable
from interfaces.itdt import QuarantinedFile
from interfaces.places import expanded

_DIVIDERS = ",;\t|"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_COLUMNS = ("file", "style")


class StyleTable:
    """The styles of files, found by whole name, else by bare name; in other case if need be."""

    def __init__(self, styles: dict[str, str]) -> None:
        self._exact = styles
        self._folded: dict[str, str | None] = {}
        for file, style in styles.items():
            folded = file.casefold()
            is_same = self._folded.get(folded, style) == style
            self._folded[folded] = style if is_same else None  # None: which of them is meant?

    def find(self, name: str) -> str | None:
        """The style of an image with this name inside the collection."""
        whole = name.strip()
        bare = whole.rpartition("/")[2]
        return (
            self._exact.get(whole)
            or self._exact.get(bare)
            or self._folded.get(whole.casefold())
            or self._folded.get(bare.casefold())
        )


def read_styles(path: Path) -> StyleTable:
    """A CSV in UTF-8, or in UTF-16 with its mark, as file => style.

    The columns are divided by whichever of comma, semicolon, tab and bar makes the first line name
    file and style. Raises `AtelierError` where it cannot be read, or where it gives a file two
    styles.
    """
    try:
        styles: dict[str, str] = {}
        for file, style in _rows_of(path, _text_of(path)):
            if file and style and styles.setdefault(file, style) != style:
                raise RefusedError(
                    f"{path}: gives {file} two styles, {styles[file]} and {style}; keep one"
                )
    except csv.Error as error:
        raise DamagedError(f"{path}: not a readable CSV ({error})") from error
    return StyleTable(styles)


def _text_of(path: Path) -> str:
    try:
        data = read_regular(path)
        return data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except OSError as error:
        raise unreadable(error)(
            f"{path}: not a readable CSV ({error.strerror or error})"
        ) from error
    except UnicodeDecodeError as error:
        raise DamagedError(
            f"{path}: not a readable CSV in UTF-8 (byte {error.start}: {error.reason}); save it "
            "as 'CSV UTF-8'"
        ) from error


def _rows_of(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """(file, style) of each row, as names inside the collection are written."""
    if text[:4].lower() == "sep=":
        text = text.partition("\n")[2]  # Excel's own line; the next one shows the same
    for divider in _DIVIDERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=divider)
        columns = [column.strip().lower() for column in next(rows, list[str]())]
        if set(_COLUMNS) <= set(columns):
            break
    else:
        raise RefusedError(f"{path}: its first line must name the columns file,style")
    file_at, style_at = (columns.index(name) for name in _COLUMNS)
    for row in rows:
        if len(row) > max(file_at, style_at):
            yield _key(row[file_at]), printable(row[style_at].strip())


def with_styles(
    candidates: Callable[[], Iterator[Candidate | QuarantinedFile]], csv_path: Path
) -> Callable[[], Iterator[Candidate | QuarantinedFile]]:
    """The same images with the CSV's styles, found by whole name, else by bare file name.

    Images that it does not name get the style 'unlabelled'. Raises `AtelierError` while they are
    read where it names not one of them.
    """
    styles = read_styles(expanded(csv_path))

    def restyled() -> Iterator[Candidate | QuarantinedFile]:
        is_any_named, last = False, None
        for item in candidates():
            if isinstance(item, Candidate):
                last = item.entry.name
                style = styles.find(last)
                is_any_named = is_any_named or style is not None
                item = replace(item, style=style or UNLABELLED)
            yield item
        if last is not None and not is_any_named:
            raise RefusedError(
                f"{csv_path}: names not one image of the collection; its column 'file' holds "
                f"paths inside the collection, such as {last}"
            )

    return restyled


def _key(file: str) -> str:
    return printable(file.strip().replace("\\", "/").removeprefix("./"))
