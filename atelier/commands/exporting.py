"""Export on the command line: a model, or an enlarger's network, for other programs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atelier.commands.frame import WorkspaceFlag, assembled
from atelier.commands.helping import OPTIONS
from atelier.exporting import ExportFormat
from atelier.exporting.writing import is_enlarger, write_export
from atelier.workspace import Workspace
from interfaces.places import place_of


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
    target = place_of(output) if output else Path("exported") / _name_of(model)
    with assembled(place) as parts:
        what = model if is_enlarger(model) else place.find_model(model)
        made = write_export(what, to, target, parts.ui.watch)
        for file, size in zip(made.files, made.sizes, strict=True):
            parts.ui.say(f"wrote:         {file} ({size / 1e6:.1f} MB)")
        if made.difference is not None:
            parts.ui.say(f"compared:      pixels differ by {made.difference:.1e} at most")


def _name_of(model: str) -> str:
    """'enlarger.pth' => 'enlarger'; a run's name as it is, full stops and all."""
    path = Path(model)
    return path.stem if path.suffix in (".pth", ".safetensors") else path.name
