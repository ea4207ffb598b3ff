"""Runs: one pass through the pipeline, its folder and its settings, saved before it starts."""

import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pathvalidate import sanitize_filename

from atelier.workspace import Workspace, is_named, run_number
from components.common.durable import exclusive, write_text
from interfaces.errors import AtelierError, NotFoundError, RefusedError, unreadable
from interfaces.igme import FREE_WHEN_RESUMED, IGME
from settings import Layer, RunSettings, merge, resolve

# What changes no pixel may change when a run is resumed, and a training may be made longer.
_FREE_WHEN_RESUMED = {f"train.{name}" for name in FREE_WHEN_RESUMED} | {
    "generate.batch_size",
    "enhance.tile_pixels",
}


@dataclass
class Run:
    """One pass through the pipeline and its folder: `0001-dcgan-embedded`."""

    folder: Path
    verb: str
    chosen: RunSettings
    is_finished: bool = False
    model: Path | None = None
    """The model's folder, where the run generates with one that it did not train."""
    model_digest: str | None = None

    @property
    def name(self) -> str:
        """The folder's name, which the results store files its pictures under."""
        return self.folder.name

    @property
    def training(self) -> Path:
        """The folder that the run's training writes."""
        return self.folder / "training"

    @contextmanager
    def under_way(self) -> Generator[None]:
        """Keep the run for this process inside the block; it is finished where that ends well.

        Waits while another process works on it.
        """
        with exclusive(self.folder / ".lock"):
            yield
            self.finish()

    def finish(self) -> None:
        """Save that nothing is left to do."""
        self.is_finished = True
        self.save()

    def save(self) -> None:
        """Write `run.json`: the settings, and whether anything is left to do."""
        # Relative, so that a workspace can be moved.
        model = os.path.relpath(self.model, self.folder) if self.model else None
        saved = {
            "verb": self.verb,
            "is_finished": self.is_finished,
            "model": model,
            "model_digest": self.model_digest,
            "settings": self.chosen.model_dump(mode="json"),
        }
        write_text(self.folder / "run.json", json.dumps(saved, indent=2) + "\n")

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in a folder. Raises `AtelierError` where it cannot be read."""
        try:
            saved = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            return cls(
                folder,
                verb=saved["verb"],
                chosen=resolve(saved["settings"]),
                is_finished=saved["is_finished"],
                model=(folder / saved["model"]).resolve() if saved["model"] else None,
                model_digest=saved["model_digest"],
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError, AtelierError) as error:
            raise unreadable(error)(
                f"{folder}: not a readable run ({_in_words(error)}); name another with --run, or "
                "move this folder out of runs/"
            ) from error

    @classmethod
    def begin(
        cls,
        workspace: Workspace,
        verb: str,
        chosen: RunSettings,
        name: str,
        model: IGME | None = None,
    ) -> "Run":
        """A new folder with the next number; all that fixes the run is saved before it starts."""
        workspace.sweep()
        run = cls(_numbered_folder(workspace, name), verb, chosen)
        if model is not None:
            run.model, run.model_digest = model.directory.absolute(), model.digest
        run.save()
        return run

    @classmethod
    def find(cls, workspace: Workspace, verb: str, name: str | None) -> "Run | None":
        """The run to go on with: the one named, else the newest unfinished, else the newest.

        Raises `AtelierError` where the one named is not there, and where the newest cannot be
        read: passing it over could begin its work again.
        """
        workspace.sweep()
        # A folder that holds nothing was never begun.
        folders = [folder for folder in workspace.run_folders() if any(folder.iterdir())]
        if name is not None:
            found = [cls.open(folder) for folder in folders if is_named(folder.name, name)]
            if not found or found[0].verb != verb:
                there = ", ".join(folder.name for folder in folders) or "none at all"
                raise NotFoundError(
                    f"{workspace.runs}: no `{verb}` run is named {name!r}; there are {there}"
                )
            return found[0]
        newest = None
        for run in map(cls.open, folders):
            if run.verb == verb and not run.is_finished:
                return run
            if run.verb == verb:
                newest = newest or run
        return newest

    def resume_with(self, given: Layer, check: Callable[[Layer], RunSettings]) -> None:
        """Take the settings given on resuming, checked, and save them.

        Raises `AtelierError` where it asks for anything else than the run was begun with, but for
        what changes no pixel and the length of a training.
        """
        before = self.chosen.model_dump(mode="json")
        if {"total_images", "total_seconds"} & given.get("train", {}).keys():
            # A new budget takes the place of the old one.
            before["train"] |= {"total_images": None, "total_seconds": None}
        wanted = check(merge(before, given))
        old, new = (_flat(s.model_dump(mode="json")) for s in (self.chosen, wanted))
        changed = {key for key in old | new if old.get(key) != new.get(key)}
        if refused := sorted(changed - _FREE_WHEN_RESUMED):
            differences = (f"{key} was {old.get(key)!r}, not {new.get(key)!r}" for key in refused)
            raise RefusedError(
                f"{self.folder}: was begun with other settings ({'; '.join(differences)}); "
                "resume it without these, or start a new run"
            )
        if changed:
            self.chosen, self.is_finished = wanted, False
            self.save()


def _in_words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "run.json is missing"
    is_told = isinstance(error, AtelierError | OSError)
    return str(error) if is_told else "run.json is damaged"


def _numbered_folder(workspace: Workspace, name: str) -> Path:
    """`runs/0007-name`: a number that neither a run nor its kept results have had."""
    parent = workspace.runs
    parent.mkdir(parents=True, exist_ok=True)
    name = sanitize_filename(name, platform="universal", max_len=60).strip(". ") or "run"
    with exclusive(workspace.root / ".runs.lock"):  # two runs of other names would share a number
        known = [*parent.iterdir(), *workspace.results.glob("*")]
        taken = [run_number(path.name) or 0 for path in known]
        folder = parent / f"{max(taken, default=0) + 1:04d}-{name}"
        folder.mkdir()
    return folder


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"seed": 0}} => {"train.seed": 0}."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        is_table = isinstance(value, dict)
        flat |= (
            _flat(cast(Layer, value), f"{prefix}{name}.")
            if is_table
            else {f"{prefix}{name}": value}
        )
    return flat
