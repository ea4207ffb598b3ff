"""The verbs that make no picture, as functions: inspect, evaluate, replay, verify."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atelier.choices import choose
from atelier.evaluating import Measured, measure, refuse_both, settings_of_evaluation
from atelier.notebook.given import (
    AnyModel,
    given_settings,
    layer_of,
    named_paths,
    opened_model,
    parts_for,
    sorted_settings,
)
from atelier.replaying import Replay, pictures_asked_for, replay_all
from atelier.verification import Verification, verify_all
from atelier.workspace import Workspace
from components.training_store import report_lines
from interfaces.igs import IGS
from interfaces.itdt import ITDT
from interfaces.measurement import EvaluationSettings
from settings import merge


@dataclass(frozen=True, repr=False)
class Inspection:
    """The report on a collection."""

    collection: ITDT
    """Its figures; `images()`, `quarantined()` and `duplicates()` give every file."""

    def lines(self) -> list[str]:
        """Facts that a person should know of the collection before training."""
        return report_lines(self.collection)

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def inspect(
    data: str | Path | None = None,
    *,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> Inspection:
    """Report on a collection: bad files, duplicates, balance of styles.

    `data` is a folder, an archive or a table; None is the embedded one. `settings` are those of
    `pipeline.py inspect --help`, such as `styles_csv`. Raises `AtelierError` where no picture in it
    can be learnt from.
    """
    asked = {"collect": given_settings(settings)}
    chosen = choose(merge(layer_of(data, (), None, {}), asked))
    with parts_for(workspace, chosen) as (_, parts):
        return Inspection(parts.training_store.collect(chosen.collect, parts.ui.watch))


def evaluate(
    model: AnyModel = None,
    data: str | Path | None = None,
    *,
    generated: str | Path | None = None,
    resolution: int | None = None,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> Measured:
    """Measure a model's pictures, or a folder's: distance, KID, precision, recall, originality.

    `data` is the collection to compare with; None is the embedded one. `generated` names a folder
    whose pictures are measured in place of a model's; `resolution`, pixels, is what both are
    prepared at, else the model's. `settings` are those of `pipeline.py evaluate --help`: `count`, 4
    to 1 000 000, `features`, `against`; what is no such name goes into the family's options. Raises
    `AtelierError` for a model and a folder both, for settings that a folder's pictures have no use
    for, and for a collection that shares no style with the model.
    """
    refuse_both(model, generated)
    place = Workspace(Path(workspace))
    opened = opened_model(model, place, IGS()) if generated is None else None
    asked = {"evaluate": sorted_settings(settings, EvaluationSettings)}
    layer = merge(layer_of(data, (), resolution, {}), asked)
    chosen, how = settings_of_evaluation(layer, opened)
    with parts_for(workspace, chosen) as (place, parts):
        made = None if generated is None else Path(generated)
        return measure(parts, place, opened or made, chosen, how)


def replay(
    pictures: str | Path | Iterable[str | Path] = (),
    *,
    board: str | None = None,
    models: str | Path | None = None,
    inputs: str | Path | Iterable[str | Path] = (),
    workspace: str | Path = "workspace",
) -> list[Replay]:
    """Make pictures again from their records alone and compare them with the files.

    `pictures` are files and folders; `board` takes all results on that board of the page as well.
    `models` is a folder to look for the models in first, `inputs` are files or folders in which to
    look for what the pictures were made from. A picture that cannot be made again has the verdict
    "not possible" and says why. Raises `AtelierError` where nothing is named, or is not there.
    """
    with parts_for(workspace, choose({})) as (place, parts):
        paths = pictures_asked_for(named_paths(pictures), board, place, parts.results_store)
        known = None if models is None else Path(models)
        return list(replay_all(parts, place, paths, known, named_paths(inputs)))


def verify(
    pictures: str | Path | Iterable[str | Path], *, trust: str | Path | Iterable[str | Path] = ()
) -> list[Verification]:
    """Check who made a picture, whether it was changed since, and what is proved.

    `pictures` are files and folders; `trust` are certificates (PEM) of authorities that you trust.
    A file that cannot be read has the state "damaged". Raises `NotFoundError` for a path that is
    not there.
    """
    return verify_all(named_paths(pictures), named_paths(trust))
