"""Export: a model (IGME) or an enlarger's network, for programs that know nothing of Atelier.

    from atelier.exporting import export_model

    export_model(IGME.open(folder), "onnx", Path("exported"))

Torch is imported by the call, not by this door.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.progress import Progress, silent

ExportFormat = Literal["onnx", "torchscript", "safetensors", "hub-folder", "atelier"]
"""ONNX; TorchScript; weights with their description; a folder as model hubs have them; the model's
whole folder, for another Atelier."""


@dataclass(frozen=True)
class Exported:
    """Files that an export wrote, and how far they differ from the model's network."""

    files: tuple[Path, ...]
    difference: float | None
    """Largest difference of a pixel, in [-1, 1] or [0, 1], from the network's own; None of weights
    alone."""


def export_model(model: IGME, to: ExportFormat, folder: Path) -> Exported:
    """Write a model's networks, or the whole of it, into a new or empty folder.

    ONNX and TorchScript files are run once, and compared with the network itself. Raises
    `AtelierError` for a family that cannot be exported, for a package that is missing, and for a
    file that does not compute the same.
    """
    if to == "atelier":
        from atelier.exporting.folders import copy_model

        return Exported(copy_model(model, folder), None)
    from atelier.exporting.models import export

    return export(model, to, folder)


def export_enlarger(
    name: str, to: ExportFormat, folder: Path, progress: Progress = silent
) -> Exported:
    """Write a ×4 network, by its name or a weights file, as `export_model` does."""
    if to == "atelier":
        raise RefusedError(f"{name}: an enlarger is no model; its weights file is all of it")
    from atelier.exporting.enlargers import export

    return export(name, to, folder, progress)


__all__ = ["ExportFormat", "Exported", "export_enlarger", "export_model"]
