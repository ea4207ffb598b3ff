"""A model or an enlarger, written into a folder here or below a URL."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from atelier.exporting import Exported, ExportFormat, export_enlarger, export_model
from atelier.exporting.folders import check_free, send
from components.enhancement import names as enlarger_names
from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.places import Url, expanded
from interfaces.progress import Progress


@dataclass(frozen=True)
class Written:
    """Files that an export wrote, and their sizes."""

    files: tuple[Path | Url, ...]
    sizes: tuple[int, ...]
    """Size of each file, bytes."""
    difference: float | None
    """Largest difference of a pixel, as in `Exported`."""


def is_enlarger(name: str) -> bool:
    """Whether it names an enlarger: one of ours, or its weights file."""
    return name in enlarger_names() or expanded(Path(name)).is_file()


def write_export(
    what: IGME | str, to: ExportFormat, target: Path | Url, progress: Progress
) -> Written:
    """Write a model, or an enlarger by its name or weights file, into a new or empty folder.

    Raises `AtelierError` where the folder holds something, or cannot be exported so.
    """
    if isinstance(target, Url):
        check_free(target)
        with TemporaryDirectory(prefix="atelier-export-") as made:
            exported = _exported(what, to, Path(made), progress)
            return _written(exported, send(exported.files, Path(made), target))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RefusedError(f"{target}: is there already; name another folder")
    exported = _exported(what, to, target, progress)
    return _written(exported, exported.files)


def _exported(what: IGME | str, to: ExportFormat, folder: Path, progress: Progress) -> Exported:
    if isinstance(what, IGME):
        return export_model(what, to, folder)
    return export_enlarger(what, to, folder, progress)


def _written(exported: Exported, places: tuple[Path | Url, ...]) -> Written:
    sizes = tuple(file.stat().st_size for file in exported.files)
    return Written(places, sizes, exported.difference)
