"""Arguments of the Python functions => settings, a model, and components for the work."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from atelier.assembly import assemble
from atelier.hearing import hear
from atelier.models import pick_model
from atelier.notebook.training import Training
from atelier.workspace import Workspace
from interfaces.components import Components
from interfaces.igme import IGME
from interfaces.igs import IGS
from settings import Layer, RunSettings, load_preset, merge

AnyModel = IGME | Training | str | Path | None
"""A model; what `train` returned; a run's or model's name or folder; None: the default."""

_OF_THE_SHOW = "atelier.notebook.watching:create"
"""The user interface that shows progress in a notebook."""


@contextmanager
def parts_for(
    workspace: str | Path, chosen: RunSettings
) -> Generator[tuple[Workspace, Components]]:
    """The workspace, and components whose progress a notebook shows."""
    place = Workspace(Path(workspace))
    parts = assemble(place.root, {"ui": _OF_THE_SHOW} | chosen.components)
    hear(parts.ui)
    try:
        yield place, parts
    finally:
        parts.ui.close()


def layer_of(
    data: str | Path | None, preset: str | Iterable[str], resolution: int | None, train: Layer
) -> Layer:
    """The settings of a collection and a training, over the presets."""
    names = [preset] if isinstance(preset, str) else list(preset)
    given: Layer = {"train": train}
    if data is not None:
        given["collect"] = {"data": str(data)}
    if resolution is not None:
        given["preprocess"] = {"resolution": resolution}
    return merge(*map(load_preset, names), given)


def sorted_settings(settings: Mapping[str, Any], model: type[BaseModel]) -> Layer:
    """Keywords of the stage's own settings, and the rest as the family's options."""
    own = {name: value for name, value in settings.items() if name in model.model_fields}
    others = {name: value for name, value in settings.items() if name not in model.model_fields}
    options = {**own.pop("options", {}), **others}
    return given_settings(own) | ({"options": options} if options else {})


def given_settings(settings: Mapping[str, Any]) -> Layer:
    """Settings that were given at all (not None); a `Path` as text, as flags have it."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in settings.items()
        if value is not None
    }


def opened_model(
    model: AnyModel, place: Workspace, request: IGS, *, repaints: bool = False
) -> IGME:
    """The model that was handed in, or the one that is named; the default where none is."""
    if isinstance(model, Training):
        return model.model
    if isinstance(model, IGME):
        return model
    name = None if model is None else str(model)
    return pick_model(place, name, request, repaints=repaints).model


def named_paths(named: str | Path | Iterable[str | Path]) -> list[Path]:
    """One file or folder, or several, as paths."""
    return [Path(one) for one in ([named] if isinstance(named, str | Path) else named)]
