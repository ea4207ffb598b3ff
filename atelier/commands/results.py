"""Results on the command line: list them, show their records, open them, examine the store."""

import sys
import webbrowser
from pathlib import Path

from cyclopts import App

from atelier.commands.frame import Common, app, assembled, command
from components.conversion import read_facts, read_record
from components.results_store import report_lines
from interfaces.errors import AtelierError, one_line
from interfaces.iodt import Rebuildable, ResultQuery
from settings import Layer, validate

results_app = App(name="results", help="What was made: list it, show its records, open it.")
app.command(results_app)


@command("find", group=results_app, name="list")
def list_results(*, common: Common = Common(), given: Layer) -> None:
    """What was made, newest first."""
    layer = common.layer({})
    query = validate(ResultQuery, given.get("find", {}), "results list")
    with assembled(common.place, layer.get("components")) as parts:
        found = parts.results_store.find(query)
        if not found:
            parts.ui.say(f"{common.place.root}: no such results here")
    for result in found:
        origin = result.record.origin
        made = f"{origin.family} seed {origin.seed}" if origin.kind == "generated" else origin.name
        print(one_line(f"{result.id:>6}  {result.width}x{result.height}  {made}  {result.path}"))


@results_app.command(name="show")
def show_result(which: str, *, common: Common = Common()) -> None:
    """The whole record of one result: its number, or any file that Atelier made."""
    if which.isdecimal():
        with assembled(common.place, common.layer({}).get("components")) as parts:
            print(parts.results_store.get(int(which)).model_dump_json(indent=2))
    else:
        record = read_record(Path(which).expanduser())
        print("What a file says of itself is a claim; nothing here proves it.", file=sys.stderr)
        print(record.model_dump_json(indent=2))


@results_app.command(name="open")
def open_result(which: int, *, common: Common = Common()) -> None:
    """Open one result, by its number, with the viewer of this machine."""
    with assembled(common.place, common.layer({}).get("components")) as parts:
        path = parts.results_store.get(which).path
    if not path.exists():
        raise AtelierError(f"{path}: the file is gone; `results list` names the others")
    if not webbrowser.open(path.absolute().as_uri()):
        raise AtelierError(f"{path}: this machine names no viewer; open the file yourself")


@results_app.command(name="doctor")
def examine_results(*, common: Common = Common()) -> None:
    """Rebuild the index from the files; report what is lost, edited or not from here."""
    with assembled(common.place, common.layer({}).get("components")) as parts:
        store = parts.results_store
        if not isinstance(store, Rebuildable):
            raise AtelierError("component results_store: has no index that could be rebuilt")
        report = store.rebuild(read_facts, parts.ui.watch)
    for line in report_lines(report):
        print(line)
