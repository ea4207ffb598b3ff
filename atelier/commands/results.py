"""Results on the command line: list them, show their records, open them, examine the store."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atelier.commands.frame import Common, assembled, command
from atelier.commands.helping import OPTIONS
from atelier.commands.records import lines_of, style_of
from atelier.commands.tables import pairs, table
from components.conversion import read_facts, read_record
from components.results_store import report_lines
from interfaces.errors import NotFoundError, RefusedError, UnavailableError, one_line
from interfaces.iodt import Movable, Rebuildable, ResultQuery, StoredResult
from interfaces.places import Place, expanded, fetched, size_of
from settings import Layer, validate

JsonFlag = Annotated[
    bool,
    Parameter(
        name="--json", group=OPTIONS, negative=(), help="The whole of it as JSON, for programs."
    ),
]


@command("find", usual=("style", "run", "family", "sort_by", "limit"))
def list_results(*, common: Common = Common(), given: Layer) -> None:
    """List what was made, newest first."""
    query = validate(ResultQuery, given.get("find", {}), "results list")
    with assembled(common.place, common.components) as parts:
        # One more than is listed tells whether there are others.
        found = parts.results_store.find(query.model_copy(update={"limit": query.limit + 1}))
        if not found:
            parts.ui.say(f"{common.place.root}: no such results here")
            return
    for line in table(
        ("no.", "made on", "style", "size", "made by", "file"), _rows(found[: query.limit])
    ):
        print(line)
    if len(found) > query.limit:
        parts.ui.say(f"there are more than these {query.limit}; --limit lists more")


def _rows(found: list[StoredResult]) -> list[list[str]]:
    rows: list[list[str]] = []
    for result in found:
        origin = result.record.origin
        is_made = origin.kind == "generated"
        rows.append(
            [
                str(result.id),
                f"{result.kept_at.astimezone():%Y-%m-%d %H:%M}",
                style_of(origin) if is_made else "",
                f"{result.width}x{result.height}",
                f"{origin.family}, seed {origin.seed}" if is_made else origin.name,
                _near(result.path),
            ]
        )
    return [[one_line(cell) for cell in row] for row in rows]


def _near(path: Place) -> str:
    """The path relative to the current folder if it lies within, else the full path or URL."""
    if not isinstance(path, Path):
        return path
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def show_result(
    which: Annotated[
        str, Parameter(group=OPTIONS, help="A result's number, or a file that Atelier made.")
    ],
    *,
    json: JsonFlag = False,
    common: Common = Common(),
) -> None:
    """Show how one picture was made."""
    replaced = common.components
    if which.isdecimal():
        with assembled(common.place, replaced) as parts:
            result = parts.results_store.get(int(which))
        told, record = result.model_dump_json(indent=2), result.record
        about = [
            ("picture", f"{result.id}, {result.width}x{result.height} pixels"),
            ("file", _near(result.path)),
            ("made on", f"{result.kept_at.astimezone():%d %B %Y, %H:%M}"),
            ("run", result.run),
        ]
    else:
        record = read_record(expanded(Path(which)))
        told, about = record.model_dump_json(indent=2), [("file", which)]
        print("What a file says of itself is a claim; nothing here proves it.", file=sys.stderr)
    if json:
        print(told)
        return
    for line in pairs([*about, *lines_of(record)]):
        print(one_line(line))


def open_result(
    which: Annotated[int, Parameter(group=OPTIONS, help="The result's number.")],
    *,
    common: Common = Common(),
) -> None:
    """Open one result with the viewer of this machine."""
    with assembled(common.place, common.components) as parts:
        path = parts.results_store.get(which).path
    if size_of(path) is None:
        raise NotFoundError(f"{path}: the file is gone; `results list` names the others")
    if not webbrowser.open(fetched(path).absolute().as_uri()):
        raise UnavailableError(f"{path}: this machine names no viewer; open the file yourself")


def move_results(
    place: Annotated[
        str, Parameter(group=OPTIONS, help="A URL (s3://bucket/folder), or 'here': the workspace.")
    ],
    *,
    common: Common = Common(),
) -> None:
    """Move the pictures below a URL, or back into the workspace, and keep new ones there."""
    with assembled(common.place, common.components) as parts:
        store = parts.results_store
        if not isinstance(store, Movable):
            raise RefusedError("component results_store: its pictures cannot be moved")
        num_moved = store.move(place, parts.ui.watch)
        parts.ui.say(f"results:       {num_moved} moved; new ones are kept at {place}")


def examine_results(*, common: Common = Common()) -> None:
    """Rebuild the index from the files; report lost, edited and foreign ones."""
    with assembled(common.place, common.components) as parts:
        store = parts.results_store
        if not isinstance(store, Rebuildable):
            raise RefusedError("component results_store: has no index that could be rebuilt")
        report = store.rebuild(read_facts, parts.ui.watch)
    for line in report_lines(report):
        print(line)
