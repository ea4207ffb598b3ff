"""Export on the command line: a model, or an enlarger's network, for other programs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from atelier.commands.frame import WorkspaceFlag, assembled
from atelier.commands.helping import OPTIONS
from atelier.exporting import ExportFormat, export_enlarger, export_model
from atelier.exporting.folders import check_free, send
from atelier.workspace import Workspace
from components.enhancement import names as enlarger_names
from interfaces.errors import RefusedError
from interfaces.places import Url, expanded, place_of


def export(
    model: Annotated[
        str,
        Parameter(
            group=OPTIONS,
            help=(
                "A model's folder, a run by name, 'shipped'; or an enlarger: its name or its "
                "weights file."
            ),
        ),
    ],
    *,
    to: Annotated[ExportFormat, Parameter(group=OPTIONS, help="What the other program reads.")],
    output: Annotated[
        str | None,
        Parameter(
            group=OPTIONS,
            help="A new or empty folder, by path or URL (s3://, gs://); else `exported/NAME` here.",
        ),
    ] = None,
    workspace: WorkspaceFlag = Path("workspace"),
) -> None:
    """Write a model or an enlarger for other programs, or for another Atelier."""
    place = Workspace(workspace)
    target = place_of(output) if output else Path("exported") / Path(model).stem
    if isinstance(target, Url):
        check_free(target)
        with TemporaryDirectory(prefix="atelier-export-") as made:
            _export(place, model, to, Path(made), target)
        return
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RefusedError(f"{target}: is there already; name another --output")
    _export(place, model, to, target, None)


def _export(place: Workspace, model: str, to: ExportFormat, folder: Path, url: Url | None) -> None:
    """Write into a folder, send what was written to a URL, and say so."""
    with assembled(place) as parts:
        if model in enlarger_names() or expanded(Path(model)).is_file():
            made = export_enlarger(model, to, folder, parts.ui.watch)
        else:
            made = export_model(place.find_model(model), to, folder)
        names = made.files if url is None else send(made.files, folder, url)
        for file, name in zip(made.files, names, strict=True):
            parts.ui.say(f"wrote:         {name} ({file.stat().st_size / 1e6:.1f} MB)")
        if made.difference is not None:
            parts.ui.say(f"compared:      pixels differ by {made.difference:.1e} at most")
