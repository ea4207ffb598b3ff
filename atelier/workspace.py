"""The workspace: where everything that Atelier makes lies, and which models there are."""

import json
import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

from pathvalidate import sanitize_filename

from components.common.durable import sweep, write_text
from components.common.files import read_text
from components.common.remote_models import fetch_model
from components.common.shipped import SHIPPED_MODELS, find_shipped
from interfaces.errors import AtelierError, NotFoundError
from interfaces.igme import IGME, MODEL_FILE, is_model
from interfaces.places import Url, expanded, place_of

_log = logging.getLogger("atelier")

_WRITTEN = (
    "models/*",
    "runs/*",
    "runs/*/training",
    "runs/*/training/model",
    "runs/*/training/samples",
    "features",
    "evaluations/*",
    "comparisons/*",
    "searches/*",
    "studies/*",
    "benchmarks/*",
    "interpolations/*",
    "requests",
)
"""Folders that hold files which are written whole, but those whose component sweeps itself."""

_RUN_NAME = re.compile(r"(\d{4,})-")


class Workspace:
    """One folder and the places in it; asking for a place does not create it."""

    def __init__(self, root: Path) -> None:
        self.root = expanded(root).absolute()
        self.runs = self.root / "runs"
        self.models_folder = self.root / "models"
        self.results = self.root / "results"
        self.collections = self.root / "collections"
        self.features = self.root / "features"
        self.evaluations = self.root / "evaluations"
        self.interpolations = self.root / "interpolations"
        self.uploads = self.root / "uploads"
        self.gathered = self.root / "gathered"
        self.thumbnails = self.root / "thumbnails"
        self.requests = self.root / "requests"
        self.shelf = self.root / "shelf.sqlite"
        self.model_notes = self.root / "model-notes.json"
        self.named_collections = self.root / "named-collections.txt"
        self._default = self.root / "default-model.txt"

    def named_folder(self, kind: str, name: str) -> Path:
        """`KIND/NAME`, created if missing; characters that file systems refuse are removed."""
        folder = self.root / kind / sanitize_filename(name, platform="universal")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sweep(self) -> None:
        """Remove what killed processes were writing here; see `durable.sweep`."""
        sweep(self.root)
        sweep(self.gathered, is_ours=True)
        for pattern in _WRITTEN:
            for folder in self.root.glob(pattern):
                sweep(folder)

    # ------------------------------------------------------------ runs

    def run_folders(self) -> list[Path]:
        """The folders of all runs, the newest (the highest number) first."""
        numbered = [
            (number, folder)
            for folder in self.runs.glob("[0-9]*-*")
            if (number := run_number(folder.name)) is not None
        ]
        return [folder for _, folder in sorted(numbered, reverse=True)]

    def training_folder(self, run: str) -> Path:
        """Folder of a run's training. Raises `NotFoundError` for what is not the name of a run."""
        if Path(run).name != run or run in ("", ".", ".."):
            raise NotFoundError(f"run {run[:80]!r}: there is none")
        return self.runs / run / "training"

    # ------------------------------------------------------------ models

    def model_folders(self) -> Iterator[tuple[str, Path]]:
        """Every model's name and folder: runs' newest first, adopted ones, the project's own."""
        for run in self.run_folders():
            yield run.name, run / "training" / "model"
        for folder in sorted(self.models_folder.glob("*")):
            yield folder.name, folder
        yield from SHIPPED_MODELS.items()

    def models(self) -> Iterator[tuple[str, IGME]]:
        """The models that can be read, in the order of `model_folders`; others are logged."""
        for name, folder in self.model_folders():
            if not is_model(folder):
                continue
            try:
                yield name, _open(folder, (folder / MODEL_FILE).stat().st_mtime_ns)
            except (AtelierError, OSError) as error:
                _log.warning("%s: passed over, since it cannot be read (%s)", folder, error)

    def default_folders(self) -> Iterator[tuple[str, Path]]:
        """Every model's name and folder, the one to take where none is named first.

        That is the model that a person set; then those trained on a person's own pictures or
        adopted, the newest first; then the project's own. What was trained on the embedded
        collection comes last: a trial of the project takes no better model's place.
        """
        chosen, folders = self.chosen_default(), list(self.model_folders())
        first = [entry for entry in folders if entry[0] == chosen]
        trials = [name for name, folder in folders if _is_trial(name, folder)]
        others = [entry for entry in folders if entry[0] not in trials]
        yield from dict([*first, *others, *folders]).items()

    def chosen_default(self) -> str | None:
        """Name of the model that a person set as the default; None where nobody did."""
        if not self._default.is_file():
            return None
        return read_text(self._default).strip() or None

    def set_default(self, name: str | None) -> None:
        """Take this model where none is named; None: go by the order of `default_folders` again.

        Raises `NotFoundError` where no model here has that name.
        """
        if name is None:
            self._default.unlink(missing_ok=True)
            return
        for known, folder in self.model_folders():
            if is_named(known, name) and is_model(folder):
                write_text(self._default, f"{known}\n")
                return
        raise NotFoundError(f"model {name[:80]}: there is none here; `models list` names them")

    def find_model(self, name: str) -> IGME:
        """A model by its folder or URL, by its run or as adopted; 'shipped' is the project's own.

        Raises `AtelierError` where there is none, or where that one is damaged.
        """
        return IGME.open(self._folder_of(name))

    def model_of_id(self, model_id: str) -> tuple[str, IGME]:
        """A model and its name, by the first 16 digits of its digest. Raises `NotFoundError`."""
        models = list(self.models())
        current = (entry for entry in models if entry[1].digest[:16] == model_id)
        # Of an earlier version's digests, only where no model has that one now.
        former = (entry for entry in models if model_id in {one[:16] for one in entry[1].digests})
        for entry in chain(current, former):
            return entry
        raise NotFoundError(
            f"model {model_id[:40]}: there is none; one that was trained further has another id"
        )

    def _folder_of(self, name: str) -> Path:
        for known, folder in self.model_folders():
            if is_named(known, name) and is_model(folder):
                return folder
        place = place_of(name)
        return fetch_model(place) if isinstance(place, Url) else find_shipped(Path(name))


def _is_trial(name: str, folder: Path) -> bool:
    """Whether a model was trained here on the pictures that the project paints itself."""
    if name in SHIPPED_MODELS:
        return False
    try:
        return json.loads((folder / MODEL_FILE).read_bytes())["dataset_name"] == "embedded"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False  # opening it will say what is wrong with it


def run_number(name: str) -> int | None:
    """'0012-dcgan-embedded' => 12; None if it is not a run's name."""
    found = _RUN_NAME.match(name)
    return int(found.group(1)) if found else None


def is_named(run: str, name: str) -> bool:
    """A run is known by its whole name or by its number."""
    return run == name or (run_number(run) is not None and run.partition("-")[0] == name)


@lru_cache(maxsize=1000)
def _open(folder: Path, modified_ns: int) -> IGME:
    """A model, read again only where its description has changed."""
    return IGME.open(folder)
