"""Models on the command line: list, use, verify, adopt and evaluate."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pathvalidate import sanitize_filename

from atelier.adoption import Adoption, adopt
from atelier.commands.flags import Command, flags_of, with_flags
from atelier.commands.frame import (
    Making,
    ModelFlag,
    WorkspaceFlag,
    assembled,
    command,
)
from atelier.commands.helping import OPTIONS
from atelier.commands.tables import table
from atelier.evaluating import measure, refuse_both, settings_of_evaluation
from atelier.models import pick_model
from atelier.workspace import Workspace
from components.common.models import check_model
from components.families import FAMILIES
from interfaces.errors import RefusedError, one_line
from interfaces.igme import IGME, is_model
from interfaces.igs import IGS
from interfaces.places import expanded
from settings import Layer, validate


def list_models(*, workspace: WorkspaceFlag = Path("workspace")) -> None:
    """The models at hand; the one that is used where none is named comes first."""
    place = Workspace(workspace)
    models = dict(place.models())
    default = place.chosen_default()
    rows = [
        [
            name,
            "your default" if name == default else "",
            models[name].family,
            f"{models[name].resolution}x{models[name].resolution}",
            models[name].dataset_name,
            _styles_of(models[name]),
        ]
        for name, _ in place.default_folders()
        if name in models
    ]
    headings = ("name", "", "method", "size", "learnt from", "styles")
    for line in table(headings, [[one_line(cell) for cell in row] for row in rows]):
        print(line)


def _styles_of(model: IGME) -> str:
    """The styles that can be asked for; '' where none can."""
    family = FAMILIES.get(model.family)
    return "" if family is None or not family.is_conditional else ", ".join(model.styles)


def use_model(
    name: Annotated[
        str | None,
        Parameter(
            group=OPTIONS,
            metavar="NAME",
            help="A model as `models list` names it; none: no default.",
        ),
    ] = None,
    *,
    workspace: WorkspaceFlag = Path("workspace"),
) -> None:
    """Make pictures with this model wherever none is named."""
    place = Workspace(workspace)
    place.set_default(name)
    chosen = place.chosen_default()
    print(f"default model: {chosen}" if chosen else "no default; `models list` shows the order")


def verify_model(
    name: Annotated[
        str, Parameter(group=OPTIONS, help="A model's folder, a run by name, or 'shipped'.")
    ],
    *,
    workspace: WorkspaceFlag = Path("workspace"),
) -> int:
    """Whether a model's folder is as it was signed, and with whose key."""
    model = Workspace(workspace).find_model(name)
    seal = check_model(model)
    print(f"{name}: {seal.line()}")
    print(f"digest:        {seal.model_digest}")
    return SOME_CHANGED if seal.state == "changed" else 0


SOME_CHANGED = 3
"""Exit code for a model that differs from what was signed."""


def _with_adoption(function: Command) -> Command:
    flags = flags_of({"adopt": Adoption}, {}, {}, {}, hidden={("adopt", "sources")})
    return with_flags(function, flags, usual=("family", "styles", "allow_pickles"))


@_with_adoption
def adopt_model(
    sources: Annotated[
        list[str],
        Parameter(
            group=OPTIONS, negative=(), help=Adoption.model_fields["sources"].description or ""
        ),
    ],
    *,
    name: Annotated[
        str | None,
        Parameter(
            group=OPTIONS,
            metavar="NAME",
            help="Its name here; by default that of the file or folder.",
        ),
    ] = None,
    workspace: WorkspaceFlag = Path("workspace"),
    given: Layer,
) -> None:
    """Take in a model that was trained elsewhere, for `generate --model NAME`."""
    wanted = validate(Adoption, given.get("adopt", {}) | {"sources": sources}, "adopt")
    chosen_name = sanitize_filename(name or default_name(sources[0]), platform="universal")
    if chosen_name in ("", ".", ".."):
        raise RefusedError(f"{name or sources[0]}: makes no name; give it a --name")
    place = Workspace(workspace)
    folder = place.models_folder / chosen_name
    if is_model(folder):
        raise RefusedError(f"{folder}: a model of that name is here already; give it a --name")
    with assembled(place) as parts:
        model = adopt(wanted, folder)
        parts.ui.say(f"model:         {folder} ({model.family}, {model.resolution} pixels)")
        parts.ui.say(f"make pictures: generate --model {chosen_name}")


def default_name(source: str) -> str:
    """Default name of an adopted model: its file's stem, its folder's name, or its hub id's."""
    path = expanded(Path(source))
    if path.suffix.lower() in (".pkl", ".pth"):
        return path.stem
    return path.resolve().name if path.exists() else path.name


GeneratedFlag = Annotated[
    Path | None,
    Parameter(group=OPTIONS, help="Measure the pictures in this folder instead of a model's."),
]


@command("collect", "preprocess", "evaluate", usual=("data", "count", "features", "against"))
def evaluate(
    *,
    model: ModelFlag = None,
    generated: GeneratedFlag = None,
    common: Making = Making(),
    given: Layer,
) -> None:
    """Measure a model's pictures, or a folder's: distance, KID, precision, recall, originality."""
    refuse_both(model, generated)
    if generated is not None and common.ray:
        raise RefusedError("--ray: the pictures of --generated are made already; leave it out")
    place = common.place
    picked = pick_model(place, model, IGS()) if generated is None else None
    opened = None if picked is None else picked.model
    chosen, asked = settings_of_evaluation(common.layer(given), opened)
    with assembled(place, chosen.components) as parts:
        if picked is not None:
            parts.ui.say(picked.line())
        found = measure(parts, place, opened or generated, chosen, asked)
        for line in found.lines():
            parts.ui.say(line)
        parts.ui.say(f"in full:       {found.folder}")
