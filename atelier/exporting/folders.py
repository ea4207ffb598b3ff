"""A model's whole folder for another Atelier, and folders sent to a URL."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from components.common.durable import assembling, publish, sweep
from interfaces.errors import RefusedError
from interfaces.igme import IGME, MODEL_FILE
from interfaces.places import Url, check_writable, list_files, write_to


def copy_model(model: IGME, folder: Path) -> tuple[Path, ...]:
    """Copy the files of a model's folder into a new or empty one, which appears whole."""
    sweep(folder.parent)
    with assembling(folder.parent) as made:
        copy = made / "model"
        copy.mkdir()
        for path in model.directory.iterdir():
            if path.is_file():
                shutil.copyfile(path, copy / path.name)
        publish(copy, folder)
    return tuple(sorted(folder.iterdir()))


def check_free(url: Url) -> None:
    """Raise `RefusedError` where a URL cannot be written to, or holds files already."""
    check_writable(url)
    if next(iter(list_files(url)), None) is not None:
        raise RefusedError(f"{url}: is there already; name another folder")


def send(files: Iterable[Path], folder: Path, url: Url) -> tuple[Url, ...]:
    """Write a folder's files below a URL, in any order but a model's description last.

    Without that a folder is no model, so none is found half. Returns the files' URLs, in order.
    """
    targets = {path: url / path.relative_to(folder).as_posix() for path in files}
    for path in sorted(targets, key=lambda path: path.name == MODEL_FILE):
        write_to(targets[path], path.read_bytes())
    return tuple(targets.values())
