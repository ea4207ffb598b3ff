"""Rework, from what was given to a model that is ready to work on files."""

from pathlib import Path

from atelier.choices import check_generation, choose
from atelier.own_files.requests import Requests
from atelier.own_files.rework import Rework
from atelier.workspace import Workspace
from components.conversion import read_picture
from components.families import FAMILIES
from interfaces.components import Components
from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.igs import IGS
from settings import Layer, RunSettings, merge

UNENLARGED: Layer = {"enhance": {"scale": 1}}

_LIMITS = {
    "vae": "this model shows what it knows of a picture, {side}x{side} pixels small",
    "stylegan2": (
        "this model looks for the nearest picture that it can make, {side}x{side} pixels small: "
        "what it never learnt does not come back"
    ),
}
"""Limits, in words, of the families that read pictures."""


def refuse_needless(asked: Layer) -> None:
    """Raise `RefusedError` for what says which pictures to make, and how many."""
    if needless := {"source", "count", "seeds"} & asked.get("generate", {}).keys():
        raise RefusedError(f"{min(needless)}: `rework` makes one picture a file; leave it out")


def settings_of_rework(given: Layer, first: Path) -> RunSettings:
    """Checked settings for pictures of which `first` is one. Raises `AtelierError`."""
    return choose(merge(UNENLARGED, {"generate": {"source": str(first)}}, given))


def check_reads_pictures(model: IGME) -> None:
    """Raise `RefusedError` for a model whose family cannot read pictures."""
    family = FAMILIES.get(model.family)
    if family and not family.reads("source"):
        able = ", ".join(name for name, known in FAMILIES.items() if known.reads("source"))
        raise RefusedError(
            f"{model.directory}: a {family.name} model cannot read pictures; "
            f"name with --model one of the families {able}"
        )


def open_rework(parts: Components, place: Workspace, model: IGME, chosen: RunSettings) -> Rework:
    """Make a model ready to work on files, and warn of what must not be expected of it.

    Raises `AtelierError` for what its family cannot do with any file.
    """
    check_generation(chosen, model.family, model.styles)
    if limits := _LIMITS.get(model.family):
        parts.ui.warn(limits.format(side=model.resolution))
    settings = _for_rework(chosen.generate, model)
    requests = Requests(place.requests)
    return Rework(parts.generation, model, settings, read_picture, parts.ui.watch, requests)


def _for_rework(settings: IGS, model: IGME) -> IGS:
    """The settings with the family's own choice for a person's picture, where none was made."""
    family = FAMILIES.get(model.family)
    if family is None:
        return settings
    options = family.options.model_validate(settings.options).for_rework()
    return settings.model_copy(update={"options": options.model_dump(mode="json")})
