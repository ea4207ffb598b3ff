"""Models on the command line: adopt and evaluate."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pathvalidate import sanitize_filename

from atelier.adoption import Adoption, adopt
from atelier.choices import choose
from atelier.commands.flags import flags_of, with_flags
from atelier.commands.frame import (
    COMMON,
    Common,
    ModelFlag,
    WorkspaceFlag,
    app,
    assembled,
    command,
)
from atelier.stages import prepare
from atelier.workspace import Workspace
from interfaces.errors import AtelierError
from interfaces.measurement import EvaluationSettings
from settings import Layer, merge, validate


def adopt_model(
    sources: Annotated[
        list[str],
        Parameter(
            group=COMMON, negative=(), help=Adoption.model_fields["sources"].description or ""
        ),
    ],
    *,
    name: Annotated[
        str | None, Parameter(group=COMMON, help="Its name here; else the file's or folder's.")
    ] = None,
    workspace: WorkspaceFlag = Path("workspace"),
    given: Layer,
) -> None:
    """Take in a model that was trained elsewhere, for `generate --model NAME`."""
    told: Layer = given.get("adopt", {})
    if "styles" in told:
        told["styles"] = told["styles"].split(",")
    wanted = validate(Adoption, told | {"sources": sources}, "adopt")
    chosen_name = sanitize_filename(name or default_name(sources[0]), platform="universal")
    if chosen_name in ("", ".", ".."):
        raise AtelierError(f"{name or sources[0]}: makes no name; give it a --name")
    place = Workspace(workspace)
    folder = place.models_folder / chosen_name
    if (folder / "model.json").exists():
        raise AtelierError(f"{folder}: a model of that name is here already; give it a --name")
    with assembled(place) as parts:
        model = adopt(wanted, folder)
        parts.ui.say(f"model:         {folder} ({model.family}, {model.resolution} pixels)")
        parts.ui.say(f"make pictures: generate --model {chosen_name}")


app.command(
    with_flags(
        adopt_model, flags_of({"adopt": Adoption}, {}, {}, {}, hidden={("adopt", "sources")})
    ),
    name="adopt",
)


def default_name(source: str) -> str:
    """Default name of an adopted model: its file's stem, its folder's name, or its hub id's."""
    path = Path(source).expanduser()
    if path.suffix.lower() in (".pkl", ".pth"):
        return path.stem
    return path.resolve().name if path.exists() else path.name


@command("collect", "evaluate")
def evaluate(*, model: ModelFlag = None, common: Common = Common(), given: Layer) -> None:
    """Measure a model's pictures: Fréchet distance, KID, precision, recall, originality."""
    from atelier.experiments import evaluate as measure

    place, layer = common.place, common.layer(given)
    asked = validate(EvaluationSettings, layer.pop("evaluate", {}), "evaluate")
    opened = place.find_model(model)
    chosen = choose(merge(layer, {"preprocess": {"resolution": opened.resolution}}))
    with assembled(place, chosen.components) as parts:
        _, prepared = prepare(parts, chosen)
        parts.ui.say(f"model:         {opened.directory}")
        measured = (opened.digest[:12], prepared.digest[:8], asked.features, asked.against)
        folder = place.evaluations / "-".join(measured)
        found = measure(
            parts.generation, opened, prepared, asked, folder, place.features, parts.ui.watch
        )
        for line in found.lines():
            parts.ui.say(line)
        parts.ui.say(f"in full:       {folder}")
