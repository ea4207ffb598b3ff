"""Export on the command line: a model, or an enlarger's network, for other programs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atelier.commands.frame import WorkspaceFlag, assembled
from atelier.commands.helping import OPTIONS
from atelier.exporting import ExportFormat, export_enlarger, export_model
from atelier.workspace import Workspace
from components.enhancement import names as enlarger_names
from interfaces.errors import RefusedError
from interfaces.places import expanded


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
        Path | None,
        Parameter(group=OPTIONS, help="A new or empty folder; else `exported/NAME` here."),
    ] = None,
    workspace: WorkspaceFlag = Path("workspace"),
) -> None:
    """Write a model or an enlarger for other programs: ONNX, TorchScript, weights, a hub folder."""
    place = Workspace(workspace)
    folder = expanded(output or Path("exported") / Path(model).stem)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder}: is there already; name another --output")
    with assembled(place) as parts:
        if model in enlarger_names() or expanded(Path(model)).is_file():
            made = export_enlarger(model, to, folder, parts.ui.watch)
        else:
            made = export_model(place.find_model(model), to, folder)
        for file in made.files:
            parts.ui.say(f"wrote:         {file} ({file.stat().st_size / 1e6:.1f} MB)")
        if made.difference is not None:
            parts.ui.say(f"compared:      pixels differ by {made.difference:.1e} at most")
