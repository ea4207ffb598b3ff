"""Every family and enlarger as it leaves: what its files compute, and its ten lines at work.

    python -m benchmarks.exports

Families that come with no trained model are small networks with seeded weights, as in
`benchmarks.replays`. The ten lines (`run.py` of a hub folder) run where neither Atelier nor torch
can be imported.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from atelier.exporting import Exported, ExportFormat, export_enlarger, export_model
from atelier.workspace import Workspace
from benchmarks.replays import every_model
from components.enhancement import absent_names, names
from interfaces.errors import AtelierError
from tests.atelier.exporting.test_exporting import run_folder


def main() -> None:
    """A line for each family and each enlarger."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (what, model) in enumerate(every_model(folder, Workspace(folder / "work"))):
            argument = "own.png" if model.family == "cyclegan" else "7"
            _tell(
                what,
                folder / str(number),
                argument,
                lambda to, at, of=model: export_model(of, to, at),
            )
        for enlarger in sorted(set(names()) - set(absent_names())):
            _tell(
                f"enlarger {enlarger}",
                folder / enlarger,
                "own.png",
                lambda to, at, of=enlarger: export_enlarger(of, to, at),
            )


def _tell(
    what: str, folder: Path, argument: str, export: Callable[[ExportFormat, Path], Exported]
) -> None:
    try:
        differences = {to: export(to, folder / to).difference for to in ("onnx", "torchscript")}
        export("hub-folder", folder / "hub")
    except AtelierError as error:
        print(f"{what:<34} refused: {error}", flush=True)
        return
    told = ", ".join(f"{to} {difference:.1e}" for to, difference in differences.items())
    Image.radial_gradient("L").resize((24, 24)).convert("RGB").save(folder / "hub" / "own.png")
    with run_folder(folder / "hub", argument) as made:
        size = f"{made.width} x {made.height}"
    print(f"{what:<34} {told}; run.py: a picture of {size}", flush=True)


if __name__ == "__main__":
    main()
