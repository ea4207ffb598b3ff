"""Choice of the model that makes pictures, with the reason: the person's default, else a rule."""

from collections.abc import Iterator
from dataclasses import dataclass

from atelier.workspace import Workspace
from components.common.names import place_among
from components.common.shipped import REPAINTER, SHIPPED_MODELS
from components.families import FAMILIES
from interfaces.errors import NotFoundError, RefusedError
from interfaces.igme import IGME, is_model
from interfaces.igs import IGS


@dataclass(frozen=True)
class PickedModel:
    """A model, and why it is this one."""

    name: str
    model: IGME
    reason: str

    def line(self) -> str:
        """Line that a person is shown before the pictures are made."""
        return f"model:         {self.name} ({self.reason})"


def pick_model(
    place: Workspace, name: str | None, request: IGS, *, repaints: bool = False
) -> PickedModel:
    """The model for a request: the one named, the person's default, else the first that can.

    `repaints`: a picture is to be repainted, whether the request says how strongly or not.
    Raises `NotFoundError` where there is no such model or none that can, `RefusedError` where the
    person's default cannot.
    """
    if name is not None:
        model = place.find_model(name)
        return PickedModel(name, model, "as asked")
    default = place.chosen_default()
    repaints = repaints or "source_strength" in request.options
    for known, model in _in_order(place, repaints=repaints):
        fault = why_not(model, request)
        if known == default and fault:
            models = _in_order(place, repaints=repaints)
            able = [other for other, model in models if not why_not(model, request)]
            raise RefusedError(
                f"model {known}, your default: {fault}; "
                + (f"--model {able[0]} can" if able else "no other model here can either")
            )
        if not fault:
            return PickedModel(known, model, _reason(known, is_default=known == default))
    models = _in_order(place, repaints=repaints)
    faults = "; ".join(f"{known}: {why_not(model, request)}" for known, model in models)
    raise NotFoundError(f"no model here can make this: {faults}")


def why_not(model: IGME, request: IGS) -> str:
    """Reason why a model cannot make what is asked for; '' if it can, or its generator must say."""
    family = FAMILIES.get(model.family)
    if family is None:
        return ""
    if reason := family.why_not(request.given):
        return reason
    if unknown := sorted(request.options.keys() - family.options.model_fields.keys()):
        return f"a {family.name} model has no option {', '.join(unknown)}"
    for style in filter(None, (request.style, request.towards_style)):
        if not family.is_conditional:
            return f"a {family.name} model cannot be asked for a style"
        if place_among(style, model.styles) is None:
            return f"knows no style {style!r}, but {', '.join(model.styles)}"
    return ""


def _in_order(place: Workspace, *, repaints: bool) -> Iterator[tuple[str, IGME]]:
    """Every model, the one to take first; a damaged one is named: another would be a surprise.

    To repaint a picture, the project's repainter comes before its other models.
    """
    folders, default = dict(place.default_folders()), place.chosen_default()
    names = list(folders)
    if repaints and default != REPAINTER:
        names.remove(REPAINTER)
        ours = (name for name in names if name in SHIPPED_MODELS and name != default)
        names.insert(names.index(next(ours)), REPAINTER)
    for name in names:
        if is_model(folders[name]):
            yield name, IGME.open(folders[name])


def _reason(name: str, *, is_default: bool) -> str:
    if is_default:
        return "your default; `models use` sets another"
    whose = "comes with the project" if name in SHIPPED_MODELS else "the newest that can"
    return f"{whose}; --model names another, `models use` sets a default"
