"""Making pictures on the command line: generate and interpolate."""

from typing import Annotated

from cyclopts import Parameter

from atelier.choices import (
    check_declared,
    check_files,
    check_generation,
    choose,
    has_seed,
    with_seed,
)
from atelier.commands.frame import (
    Making,
    ModelFlag,
    ResumeFlag,
    RunFlag,
    assembled,
    command,
    resumed,
    say_run,
)
from atelier.commands.helping import OPTIONS
from atelier.interpolation import (
    OF_THE_WAY,
    check_way,
    layer_between,
    write_interpolation,
)
from atelier.models import PickedModel, pick_model
from atelier.runs import Run
from atelier.stages import make_images, pixels_of, present
from atelier.workspace import Workspace
from interfaces.errors import DamagedError, RefusedError
from interfaces.ics import AnimationFormat
from interfaces.igme import IGME
from interfaces.igs import IGS, format_seeds
from settings import Layer, merge


@command(
    "generate",
    "enhance",
    "convert",
    usual=(
        "style",
        "count",
        "seed",
        "seeds",
        "prompt",
        "sketch",
        "source",
        "scale",
        "enhancer",
        "format",
    ),
    below={"generate": {"seed": "a new one every time"}},
)
def generate(
    *,
    model: ModelFlag = None,
    resume: ResumeFlag = False,
    run: RunFlag = None,
    common: Making = Making(),
    given: Layer,
) -> None:
    """Make pictures with a trained model, enlarge them and keep them."""
    layer, place = common.layer(given), common.place
    current = resumed(place, "generate", run, layer) if resume or run else None
    if current is not None and model is not None:
        raise RefusedError("--model: a resumed run goes on with its own model; leave it out")
    chosen = current.chosen if current else choose(with_seed(layer))
    picked = _model_of(current, place) or pick_model(place, model, chosen.generate)
    opened = picked.model
    with assembled(place, chosen.components) as parts:
        check_declared(parts, chosen, opened.family)
        check_generation(chosen, opened.family, opened.styles)
        check_files(chosen)
        parts.enhancement.planned(chosen.enhance, pixels_of(chosen.generate, opened.resolution))
        name = f"{opened.family}-{opened.dataset_name}"
        is_new = current is None and not has_seed(layer)
        current = current or Run.begin(place, "generate", chosen, name, opened)
        say_run(parts, current)
        parts.ui.say(picked.line())
        parts.ui.say(_seeds_line(chosen.generate, is_new=is_new))
        with current.under_way():
            present(parts, current, make_images(parts, current, opened))


def _seeds_line(request: IGS, *, is_new: bool) -> str:
    """Line that names the seeds, and says how to have the same pictures again."""
    seeds = format_seeds(request.chosen_seeds)
    again = f"new ones; --seeds {seeds} makes the same pictures again" if is_new else "as asked"
    return f"seeds:         {seeds} ({again})"


def _model_of(run: Run | None, place: Workspace) -> PickedModel | None:
    """The model that a run was begun with. Raises `AtelierError` where it has changed."""
    if run is None:
        return None
    if run.model is None:
        raise DamagedError(f"{run.folder}: run.json names no model; start a new `generate`")
    model = IGME.open(run.model)
    if not model.is_known_as(run.model_digest):
        raise DamagedError(
            f"{model.directory}: was trained further since {run.name} was begun; start a new "
            "`generate`"
        )
    return PickedModel(str(run.model), model, "as when the run was begun")


BetweenFlag = Annotated[
    str,
    Parameter(
        group=OPTIONS,
        metavar="LIST",
        help="Seeds to go through, as 3,7,12 or 0-4; at least two.",
    ),
]


@command(
    "generate",
    "enhance",
    usual=("style", "prompt", "scale"),
    decided=[("generate", name) for name in OF_THE_WAY],
)
def interpolate(
    *,
    between: BetweenFlag,
    frames: Annotated[
        int, Parameter(group=OPTIONS, help="Pictures from each seed to the next.")
    ] = 12,
    format: Annotated[
        AnimationFormat, Parameter(group=OPTIONS, help="Format of the animation.")
    ] = "webp",
    frames_per_second: Annotated[
        float, Parameter(group=OPTIONS, help="How fast the animation runs.")
    ] = 12.0,
    model: ModelFlag = None,
    common: Making = Making(),
    given: Layer,
) -> None:
    """Morph one seed's picture into another's: an animation, and all its frames on one sheet."""
    chosen = choose(merge(common.layer(given), layer_between(between)))
    check_way(chosen.generate, frames, frames_per_second)
    place = common.place
    picked = pick_model(place, model, chosen.generate)
    with assembled(place, chosen.components) as parts:
        parts.ui.say(picked.line())
        made = write_interpolation(
            parts, place, picked.model, chosen, frames, format, frames_per_second
        )
        parts.ui.say(f"animation:     {made.animation}")
        parts.ui.say(f"all frames:    {made.sheet}")
