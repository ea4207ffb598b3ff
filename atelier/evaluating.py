"""Evaluation, from what was given to figures: of a model's pictures, or of a folder's."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.choices import choose
from atelier.stages import prepare
from atelier.workspace import Workspace
from interfaces.components import Components
from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.measurement import EvaluationSettings
from interfaces.places import expanded
from settings import Layer, RunSettings, merge, validate

if TYPE_CHECKING:
    from atelier.experiments.evaluation import Evaluation


@dataclass(frozen=True)
class Measured:
    """Figures of an evaluation, and the folder that holds them in full."""

    evaluation: "Evaluation"
    folder: Path
    """Folder of `evaluation.json`, and of `nearest.png` for a model that knows its training set."""

    def lines(self) -> list[str]:
        """The figures as a person reads them."""
        return self.evaluation.lines()


def settings_of_evaluation(
    given: Layer, model: IGME | None
) -> tuple[RunSettings, EvaluationSettings]:
    """The collection's settings, and how it is measured against; None: a folder's pictures.

    Raises `AtelierError`, also for what has no meaning for pictures that are there.
    """
    rest = dict(given)
    chosen: Layer = rest.pop("evaluate", {})
    if model is None and (needless := {"count", "seed", "against", "options"} & chosen.keys()):
        raise RefusedError(
            f"evaluate.{min(needless)}: all pictures of --generated are measured, against all of "
            "the collection; leave it out"
        )
    asked = validate(EvaluationSettings, chosen, "evaluate")
    below: Layer = {} if model is None else {"preprocess": {"resolution": model.resolution}}
    return choose(merge(below, rest)), asked


def refuse_both(model: object, generated: object) -> None:
    """Raise `RefusedError` where both a model and a folder of pictures were named."""
    if model is not None and generated is not None:
        raise RefusedError("evaluate: --model and --generated name two things to measure; give one")


def measure(
    parts: Components,
    place: Workspace,
    measured: IGME | Path | str | None,
    chosen: RunSettings,
    asked: EvaluationSettings,
) -> Measured:
    """Measure a model's pictures, or others, against a collection.

    The others are a path, or what `collect.data` takes. Raises `AtelierError`.
    """
    if isinstance(measured, IGME):
        return _of_model(parts, place, measured, chosen, asked)
    if measured is None:
        raise RefusedError("evaluate: name a model, or a folder of pictures")
    return _of_folder(parts, place, measured, chosen, asked)


def _of_model(
    parts: Components,
    place: Workspace,
    model: IGME,
    chosen: RunSettings,
    asked: EvaluationSettings,
) -> Measured:
    from atelier.experiments import evaluate

    _, prepared = prepare(parts, chosen)
    named = (model.digest[:12], prepared.digest[:8], asked.features, asked.against)
    folder = place.evaluations / "-".join(named)
    watch = parts.ui.watch
    found = evaluate(parts.generation, model, prepared, asked, folder, place.features, watch)
    return Measured(found, folder)


def _of_folder(
    parts: Components,
    place: Workspace,
    generated: Path | str,
    chosen: RunSettings,
    asked: EvaluationSettings,
) -> Measured:
    from atelier.experiments import evaluate_pictures

    data = str(expanded(generated).absolute()) if isinstance(generated, Path) else generated
    source = {"data": data, "styles_csv": None}
    theirs = chosen.model_copy(update={"collect": chosen.collect.model_copy(update=source)})
    _, made = prepare(parts, theirs)
    _, prepared = prepare(parts, chosen)
    named = (made.digest[:12], prepared.digest[:8], asked.features, "all")
    folder = place.evaluations / "-".join(named)
    found = evaluate_pictures(made, prepared, asked, folder, place.features, parts.ui.watch)
    return Measured(found, folder)
