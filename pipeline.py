"""Atelier: the component diagram of paper 002 as code, and its command line.

    training store --ITDT--> preprocessing --IPDT--> training --IGME--> generation
    generation --IGDT--> enhancement --IEDT--> conversion --IODT--> results store
    user interface --IGS--> generation, --IES--> enhancement, --ICS--> conversion

`python pipeline.py run` goes the whole way; each stage is also a verb of its own.
"""

import os

# Before torch is imported: two torch threads beside any other busy process otherwise spin and
# crawl, 6 to 12 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import errno
import inspect
import logging
import signal
import sqlite3
import sys
import webbrowser
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from importlib import import_module
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError
from pathvalidate import sanitize_filename
from pydantic import BaseModel

import settings
from atelier.adoption import Adoptable, Adoption, adopt
from atelier.commands.flags import flags_of, with_flags
from atelier.experiments import (
    Makers,
    benchmark,
    claims_section,
    compare,
    evaluate,
    search,
    study_sketches,
    train_methods,
)
from atelier.jobs import (
    AnnouncedStore,
    JobInterface,
    LocalUploads,
    WorkerKeeper,
    WorkspaceCatalogue,
    run_worker,
)
from atelier.jobs import create as create_queue
from atelier.own_files import Errand, Rework, Task, own_file
from atelier.server import Backend, Safety, Thumbnails, create_app, serve
from components.common.durable import exclusive, replacing, write_bytes
from components.common.images import contact_sheet
from components.common.pipelining import overlapped
from components.common.shipped import SHIPPED_MODELS, find_shipped
from components.conversion import (
    MEDIA_TYPES,
    animate,
    find_pictures,
    read_picture,
    read_record,
    strip,
)
from components.enhancement import names as enhancer_names
from components.families import FAMILIES
from components.training_store import EMBEDDED_STYLES, paint_picture, report_lines
from components.ui import mount_page
from interfaces.errors import AtelierError
from interfaces.experiments import BenchmarkSettings, SearchSettings, SketchStudySettings
from interfaces.ics import ICS
from interfaces.iedt import IEDT, Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME, Trainer
from interfaces.igs import IGS, INPUT_FILES, format_seeds
from interfaces.iodt import (
    IODT,
    SUFFIXES,
    Converter,
    ResultQuery,
    ResultsGallery,
    ResultsStore,
    StoredResult,
)
from interfaces.ipdt import IPDT, Preprocessor
from interfaces.itdt import ITDT, TrainingStore
from interfaces.jobs import (
    Control,
    EnhanceOrder,
    GenerateOrder,
    InspectOrder,
    InterpolateOrder,
    Job,
    Order,
    TrainOrder,
)
from interfaces.measurement import EvaluationSettings
from interfaces.progress import ProgressEvent
from interfaces.ui import Choices, UserInterface

try:
    from atelier.runs import Run, is_named
except ImportError as error:
    raise ImportError(
        f"{settings.__file__} hides Atelier's own `settings`; run the `atelier` command, or start "
        "python from another folder (importing from `components` works from anywhere)"
    ) from error

# ---------------------------------------------------------------- the component diagram


@dataclass(frozen=True)
class Components:
    """The eight components, each behind its port."""

    training_store: TrainingStore
    preprocessing: Preprocessor
    training: Trainer
    generation: ImageGenerator
    enhancement: Enhancer
    conversion: Converter
    results_store: ResultsStore
    ui: UserInterface


PORTS: dict[str, type] = {field.name: cast(type, field.type) for field in fields(Components)}


def assemble(workspace: Path, replacements: Sequence[str] | Mapping[str, str] = ()) -> Components:
    """Make the eight components, some replaced.

    A replacement is 'name=package:factory' (or a mapping of name to 'package:factory'); the
    factory takes the workspace's folder and returns an object with the methods of the port.
    Raises `AtelierError` where a replacement cannot be found or does not fit.
    """
    chosen = replacements if isinstance(replacements, Mapping) else _parse_pairs(replacements)
    for name in chosen:
        if name not in PORTS:
            raise AtelierError(f"component {name!r}: unknown; there are {', '.join(PORTS)}")
    made: dict[str, Any] = {}
    for name, port in PORTS.items():
        place = chosen.get(name, f"components.{name}:create")
        made[name] = _make(name, place, workspace)
        _check_port(name, place, made[name], port)
    return Components(**made)


def _parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, place = pair.partition("=")
        if not (name and equals and place):
            raise AtelierError(f"--component {pair}: write it as name=package:factory")
        parsed[name] = place
    return parsed


def _make(name: str, place: str, workspace: Path) -> Any:
    module_name, _, factory_name = place.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that nothing here hides an installed package
    try:
        return getattr(import_module(module_name), factory_name)(workspace)
    except AtelierError:
        raise
    except Exception as error:  # a stranger's code may fail in any way
        raise AtelierError(
            f"component {name}: {place!r} cannot be made ({type(error).__name__}: {error}); "
            "write it as package:factory, where the factory takes the workspace's folder"
        ) from error


def _check_port(name: str, place: str, component: object, port: type) -> None:
    """Every method of the port must be there and take what the port hands it."""
    methods = [m for m, f in vars(port).items() if inspect.isfunction(f) and m[0] != "_"]
    for method in methods:
        found = getattr(component, method, None)
        if not callable(found):
            raise AtelierError(
                f"component {name}: {place} has no method {method}(); the port "
                f"{port.__module__}.{port.__name__} asks for {', '.join(methods)}"
            )
        wanted = list(inspect.signature(getattr(port, method)).parameters)[1:]
        try:
            inspect.signature(found).bind(*wanted)
        except TypeError as error:
            raise AtelierError(
                f"component {name}: {place}.{method} does not take ({', '.join(wanted)}): {error}"
            ) from error


# ---------------------------------------------------------------- what was chosen, checked


def _chosen(layer: settings.Layer) -> settings.RunSettings:
    """Checked settings, the families' own among them, whose paths hold from any folder."""
    chosen = settings.resolve(layer)
    _check_family(chosen)
    collect, enhance = chosen.collect, chosen.enhance
    if Path(collect.data).expanduser().exists():
        data = str(Path(collect.data).expanduser().absolute())
        collect = collect.model_copy(update={"data": data})
    if collect.styles_csv:
        csv = collect.styles_csv.expanduser().absolute()
        collect = collect.model_copy(update={"styles_csv": csv})
    if enhance.weights:
        weights = enhance.weights.expanduser().absolute()
        enhance = enhance.model_copy(update={"weights": weights})
    generate = chosen.generate
    named = {role: getattr(generate, role) for role in INPUT_FILES}
    files = {role: path.expanduser().absolute() for role, path in named.items() if path}
    generate = generate.model_copy(update=files)
    return chosen.model_copy(update={"collect": collect, "generate": generate, "enhance": enhance})


def _take_over(layer: settings.Layer) -> settings.Layer:
    """Family, networks and resolution of the model that a training starts from.

    That is the one that was given, else the default's. What was given besides stands over them, but
    another family or resolution is refused.
    """
    given: settings.Layer = layer.get("train", {})
    start = settings.with_defaults(layer)["train"].get("start_from", "none")
    if start is None or start == "none":
        return layer
    origin = IGME.open(find_shipped(Path(start)))
    if origin.family not in FAMILIES:
        raise AtelierError(f"{start}: a {origin.family} model, a family that is not known here")
    if given.get("family", origin.family) != origin.family:
        raise AtelierError(
            f"train.family: {start} is a {origin.family} model; leave family out, or start from "
            "'none'"
        )
    resolution = layer.get("preprocess", {}).get("resolution", origin.resolution)
    if str(resolution) != str(origin.resolution):
        raise AtelierError(
            f"preprocess.resolution: {start} makes pictures of {origin.resolution} pixels; leave "
            "resolution out, or start from 'none'"
        )
    taken = {
        "family": origin.family,
        "options": FAMILIES[origin.family].config.adapted(origin.config),
    }
    is_shipped = str(start) in SHIPPED_MODELS
    place = {"start_from": str(start if is_shipped else origin.directory.absolute())}
    below = {"preprocess": {"resolution": origin.resolution}, "train": taken}
    return settings.merge(below, layer, {"train": place})


def _check_family(chosen: settings.RunSettings) -> None:
    """What training would refuse is refused before a collection is prepared for it."""
    name, train = chosen.train.family, chosen.train
    if "training" in chosen.components:
        return  # a replaced trainer may know other families
    if name not in FAMILIES:
        raise AtelierError(f"train.family: {name!r} is unknown; there are {', '.join(FAMILIES)}")
    if not FAMILIES[name].is_trainable:
        raise AtelierError(f"train.family: {name} comes trained; `adopt` takes such a model in")
    config = settings.validate(FAMILIES[name].config, train.options, "train.options")
    try:
        config.check_resolution(chosen.preprocess.resolution)
    except ValueError as error:
        raise AtelierError(f"preprocess.{error}") from error


# ---------------------------------------------------------------- the stages of a run

IN_FLIGHT_BYTES = 64 * 2**20
"""Enlarged pixels on their way at once: bounds memory whatever the number of images."""


def collect(parts: Components, chosen: settings.RunSettings) -> ITDT:
    """Inspect the collection, and say in a line what was found."""
    collection = parts.training_store.collect(chosen.collect, parts.ui.watch)
    parts.ui.say(
        f"{collection.name}: {collection.num_images} images, {len(collection.styles)} styles"
    )
    if collection.num_quarantined:
        parts.ui.warn(
            f"{collection.num_quarantined} files were put aside; `inspect` names each and why"
        )
    return collection


def check_images(parts: Components, chosen: settings.RunSettings, family: str) -> None:
    """What generation and enhancement would refuse is refused before a model is trained for it."""
    if family in FAMILIES and "generation" not in chosen.components:
        request = chosen.generate
        settings.validate(FAMILIES[family].options, request.options, "generate.options")
        if reason := FAMILIES[family].why_not(request.given):
            raise AtelierError(f"generate.{reason}")
        if chosen.generate.style is not None and not FAMILIES[family].is_conditional:
            raise AtelierError(
                f"generate.style: a {family} model cannot be asked for a style; leave it out"
            )
    # Weights are found, downloaded and checked before the first batch is asked for.
    parts.enhancement.planned(chosen.enhance)


def _prepare(parts: Components, chosen: settings.RunSettings) -> tuple[str, IPDT]:
    """Collect and preprocess, where there is no run => the collection's name, and the set."""
    collection = collect(parts, chosen)
    watch = parts.ui.watch
    return collection.name, parts.preprocessing.preprocess(collection, chosen.preprocess, watch)


def train(parts: Components, run: Run, collection: ITDT) -> IGME:
    """Train the run's model, or go on with it, or find it finished."""
    watch = parts.ui.watch
    prepared = parts.preprocessing.preprocess(collection, run.chosen.preprocess, watch)
    return parts.training.train(prepared, run.chosen.train, run.folder / "training", watch)


def make_images(parts: Components, run: Run, model: IGME) -> list[StoredResult]:
    """Generate, enlarge, encode and keep; go on at the first image that is missing."""
    choices = _ask(parts.ui, run)
    seeds = choices.generate.chosen_seeds
    kept = _kept(parts.results_store, run, model)
    done = next((n for n, seed in enumerate(seeds) if seed not in kept), len(seeds))
    if done < len(seeds):
        side = model.resolution * choices.enhance.scale
        batch_size = max(1, IN_FLIGHT_BYTES // (3 * 4 * side**2))
        if choices.generate.source is not None:
            batch_size = 1  # what is made may be as large as the source
        missing = choices.generate.model_copy(
            update={"skip": done, "batch_size": choices.generate.batch_size or batch_size}
        )
        generated = parts.generation.generate(model, missing, parts.ui.watch)
        enlarged = parts.enhancement.enhance(generated, choices.enhance, parts.ui.watch)
        # Encoding and storing take turns with the next batch's enlargement, beside it.
        for image in overlapped(
            enlarged, lambda some: parts.conversion.convert(some, choices.convert)
        ):
            parts.results_store.keep(image, run.name)
            done += 1
            parts.ui.watch(ProgressEvent(stage="make images", done=done, total=len(seeds)))
    kept = _kept(parts.results_store, run, model)
    if lost := [seed for seed in seeds if seed not in kept]:
        raise AtelierError(
            f"run {run.name}: no image was kept for the seeds {format_seeds(tuple(lost))}; a "
            "component gave fewer than it was asked for, or the files were removed meanwhile"
        )
    return [kept[seed] for seed in seeds]


def _ask(ui: UserInterface, run: Run) -> Choices:
    """What the person chose; saved with the run, so that resuming asks for the same."""
    chosen = run.chosen
    proposed = Choices(generate=chosen.generate, enhance=chosen.enhance, convert=chosen.convert)
    choices = ui.ask(proposed)
    if choices != proposed:
        run.chosen = chosen.model_copy(update=dict(choices))
        run.save()
    return choices


def _kept(store: ResultsStore, run: Run, model: IGME) -> dict[int, StoredResult]:
    """What this run kept of this model, by seed, where the files are still there."""
    # Also what the person deleted meanwhile: it was made.
    query = ResultQuery(run=run.name, model_digest=model.digest, deleted="too", limit=1_000_000)
    return {
        result.record.origin.seed: result
        for result in store.find(query)
        if result.record.origin.kind == "generated" and result.path.exists()
    }


def write_contact_sheet(results: Sequence[StoredResult], path: Path) -> None:
    """All pictures on one, each at most 256 pixels wide; at most 100 of them."""
    import numpy as np
    from PIL import Image

    tiles = []
    for result in results[:100]:
        with Image.open(result.path) as image:
            image.thumbnail((256, 256), Image.Resampling.LANCZOS)
            tiles.append(np.asarray(image.convert("RGB")))
    with replacing(path) as temporary:
        contact_sheet(tiles).save(temporary)


def finish(parts: Components, run: Run, results: Sequence[StoredResult]) -> None:
    """The contact sheet, the mark that nothing is left, and where it all is."""
    sheet = run.folder / "contact-sheet.png"
    write_contact_sheet(results, sheet)
    run.is_finished = True
    run.save()
    width, height = results[0].width, results[0].height
    parts.ui.say(f"images:        {len(results)} of {width}x{height} in {results[0].path.parent}")
    parts.ui.say(f"contact sheet: {sheet}")


# ---------------------------------------------------------------- the command line

app = App(
    name=Path(sys.argv[0]).name,
    help=(
        "Learn from a folder of artworks and make new art. `run` goes the whole way; the other "
        "commands are its stages. Every setting is a flag, a TOML field (--preset) and an "
        "environment variable: --generate.count is ATELIER_GENERATE_COUNT."
    ),
    version_flags=[],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
results_app = App(name="results", help="What was made: list it, show its records, open it.")
app.command(results_app)
study_app = App(name="study", help="A paper's experiments made anew, as figures and as numbers.")
app.command(study_app)

_COMMON = Group("This command", sort_key=0)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    workspace: Annotated[
        Path,
        Parameter(
            group=_COMMON,
            env_var="ATELIER_WORKSPACE",
            show_env_var=True,
            help="The folder where Atelier keeps everything it makes.",
        ),
    ] = Path("workspace")
    preset: Annotated[
        tuple[str, ...],
        Parameter(
            group=_COMMON,
            negative=(),
            show_default=False,
            help=(
                "Settings from TOML: a file, or a preset by name; give it again for more. There "
                f"are: {', '.join(settings.preset_names())}."
            ),
        ),
    ] = ()
    component: Annotated[
        tuple[str, ...],
        Parameter(
            group=_COMMON,
            negative=(),
            show_default=False,
            help="Replace a component: name=package:factory, as enhancement=mine:make.",
        ),
    ] = ()


_RESUME = Annotated[
    bool,
    Parameter(
        group=_COMMON,
        negative=(),
        show_default=False,
        help="Go on with the newest unfinished run, or the one that --run names.",
    ),
]
_RUN = Annotated[str | None, Parameter(group=_COMMON, help="The run to go on with, by its name.")]
_MODEL = Annotated[
    str | None,
    Parameter(
        group=_COMMON,
        help="A model's folder, a run by name, or 'shipped'; else the newest model, else shipped.",
    ),
]
_PICTURES = Annotated[
    list[Path], Parameter(group=_COMMON, negative=(), help="Image files and folders of them.")
]
_OUTPUT = Annotated[
    Path | None,
    Parameter(group=_COMMON, help="Write into this folder instead of the results store."),
]

Command = Callable[..., None]


def _help_of(model: type[BaseModel], field: str) -> str:
    return model.model_fields[field].description or ""


def _command(
    *sections: str, group: App = app, below: settings.Layer | None = None
) -> Callable[[Command], Command]:
    """Register a command whose flags are the fields of these sections of the settings.

    `below` has the command's own defaults, where they are others than the default preset's.
    """
    options = {
        "train": {name: f.config for name, f in FAMILIES.items() if f.is_trainable},
        "generate": {name: family.options for name, family in FAMILIES.items()},
        "evaluate": {name: family.options for name, family in FAMILIES.items()},
    }
    models = settings.SECTIONS | settings.COMMANDS | {"find": ResultQuery}
    names = {("train", "family"): FAMILIES, ("enhance", "enhancer"): enhancer_names()}
    flags = flags_of(
        {name: models[name] for name in sections},
        options,
        settings.merge(settings.load_preset("default"), below or {}),
        names,
    )

    def register(function: Command) -> Command:
        group.command(with_flags(function, flags), name=function.__name__.removesuffix("_command"))
        return function

    return register


def _layer(common: Common, given: settings.Layer) -> settings.Layer:
    """What the person gave: presets, then environment, then flags."""
    presets = [settings.load_preset(name) for name in common.preset]
    replaced = {"components": _parse_pairs(common.component)} if common.component else {}
    return settings.merge(*presets, settings.from_environment(os.environ), given, replaced)


def _with_defaults(layer: settings.Layer) -> settings.RunSettings:
    return _chosen(settings.with_defaults(_take_over(layer)))


def _hear(parts: Components) -> None:
    """What the components log, the person sees."""

    class Handler(logging.Handler):
        said: ClassVar[set[str]] = set()

        def emit(self, record: logging.LogRecord) -> None:
            if (message := record.getMessage()) not in self.said:  # once is enough
                self.said.add(message)
                show = parts.ui.warn if record.levelno >= logging.WARNING else parts.ui.say
                show(message)

    log = logging.getLogger("atelier")
    log.handlers = [Handler()]
    log.setLevel(logging.INFO)


@contextmanager
def _assembled(
    common: Common, components: Mapping[str, str] | None = None
) -> Generator[Components]:
    """The components for one command; what they log as warnings the person sees."""
    parts = assemble(_workspace(common), components or {})
    _hear(parts)
    try:
        yield parts
    finally:
        parts.ui.close()


def _workspace(common: Common) -> Path:
    return common.workspace.expanduser().absolute()


def _resumed(common: Common, verb: str, name: str | None, layer: settings.Layer) -> Run | None:
    """The run to go on with, what was given adopted.

    Where there is none, None for a `run` that is fully described, so that one command line both
    starts and resumes; else an error.
    """
    workspace = _workspace(common)
    found = Run.find(workspace, verb, name)
    if found is not None:
        found.adopt(layer, _chosen)
    elif verb != "run" or not layer:
        raise AtelierError(f"{workspace}: no `{verb}` run here to resume; start one first")
    return found


def _begin(common: Common, verb: str, chosen: settings.RunSettings, collection: ITDT) -> Run:
    """A new run, once its settings are checked and its collection is known to be good."""
    name = f"{chosen.train.family}-{collection.name}"
    return Run.begin(_workspace(common), verb, chosen, name)


def _name(ui: UserInterface, run: Run) -> None:
    state = " (already finished)" if run.is_finished else ""
    ui.say(f"run:           {run.folder}{state}")


@_command("collect", "preprocess", "train", "generate", "enhance", "convert")
def run(
    *,
    resume: _RESUME = False,
    run: _RUN = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """From a folder of art to enlarged, stored images: the whole pipeline."""
    layer = _layer(common, given)
    current = _resumed(common, "run", run, layer) if resume or run else None
    chosen = current.chosen if current else _with_defaults(layer)
    with _assembled(common, chosen.components) as parts:
        check_images(parts, chosen, chosen.train.family)
        collection = collect(parts, chosen)
        current = current or _begin(common, "run", chosen, collection)
        _name(parts.ui, current)
        with exclusive(current.folder / ".lock"):
            model = train(parts, current, collection)
            finish(parts, current, make_images(parts, current, model))
            parts.ui.say(f"training:      {current.folder / 'training'} (curves, sample grids)")


@_command("collect")
def inspect_command(*, common: Common = Common(), given: settings.Layer) -> None:
    """The report on a collection: bad files, duplicates, balance of styles."""
    chosen = _with_defaults(_layer(common, given))
    with _assembled(common, chosen.components) as parts:
        collection = parts.training_store.collect(chosen.collect, parts.ui.watch)
    for line in report_lines(collection):
        print(line)


@_command("collect", "preprocess")
def preprocess(*, common: Common = Common(), given: settings.Layer) -> None:
    """Prepare a collection for training: square, small, RGB, in one array."""
    chosen = _with_defaults(_layer(common, given))
    with _assembled(common, chosen.components) as parts:
        _, prepared = _prepare(parts, chosen)
        parts.ui.say(f"prepared:      {prepared.num_images} images in {prepared.directory}")


@_command("collect", "preprocess", "train")
def train_command(
    *,
    resume: _RESUME = False,
    run: _RUN = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Train a model on a collection; --resume goes on, also to a longer --total-images."""
    layer = _layer(common, given)
    current = _resumed(common, "train", run, layer) if resume or run else None
    chosen = current.chosen if current else _with_defaults(layer)
    with _assembled(common, chosen.components) as parts:
        collection = collect(parts, chosen)
        current = current or _begin(common, "train", chosen, collection)
        _name(parts.ui, current)
        with exclusive(current.folder / ".lock"):
            model = train(parts, current, collection)
            current.is_finished = True
            current.save()
        parts.ui.say(f"model:         {model.directory}")
        if (curves := current.folder / "training" / "curves.png").exists():
            parts.ui.say(f"curves:        {curves}")


@_command("generate", "enhance", "convert")
def generate(
    *,
    model: _MODEL = None,
    resume: _RESUME = False,
    run: _RUN = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Make pictures with a trained model, enlarge them and keep them."""
    layer, workspace = _layer(common, given), _workspace(common)
    current = _resumed(common, "generate", run, layer) if resume or run else None
    if current is None:
        chosen = _with_defaults(layer)
        opened = IGME.open(find_model(workspace, model, chosen.generate.given))
    else:
        if model is not None:
            raise AtelierError("--model: a resumed run goes on with its own model; leave it out")
        chosen = current.chosen
        opened = IGME.open(current.model or find_model(workspace, None))
        if opened.digest != current.model_digest:
            raise AtelierError(
                f"{opened.directory}: was trained further since {current.name} was begun; "
                "start a new `generate`"
            )
    with _assembled(common, chosen.components) as parts:
        check_images(parts, chosen, opened.family)
        if current is None:
            name = f"{opened.family}-{opened.dataset_name}"
            current = Run.begin(workspace, "generate", chosen, name, opened)
        _name(parts.ui, current)
        parts.ui.say(f"model:         {opened.directory}")
        with exclusive(current.folder / ".lock"):
            finish(parts, current, make_images(parts, current, opened))


def find_model(workspace: Path, name: str | None, given: Iterable[str] = ()) -> Path:
    """A model's folder by path, by run or as it was adopted; 'shipped' is the project's own.

    Where no name is given: the newest of the workspace that reads what is `given` (a sketch, a
    picture, …), else the first of the project's own that does.
    """
    if name is not None:
        runs = [folder for folder in workspace.glob("runs/*") if is_named(folder, name)]
        here = [folder / "training" / "model" for folder in runs]
        here += [folder for folder in workspace.glob("models/*") if folder.name == name]
        return next((f for f in here if f.exists()), find_shipped(Path(name)))
    models = sorted((workspace / "runs").glob("[0-9]*-*/training/model/model.json"), reverse=True)
    folders = [*(path.parent for path in models), *SHIPPED_MODELS.values()]
    return next((folder for folder in folders if _reads(folder, given)), folders[0])


def _reads(model: Path, given: Iterable[str]) -> bool:
    family = FAMILIES.get(IGME.open(model).family)
    return family is None or all(family.reads(kind) for kind in given)


@_command("generate", "enhance")
def interpolate(
    *,
    between: Annotated[
        str, Parameter(group=_COMMON, help="Seeds to go through, as 3,7,12 or 0-4; at least two.")
    ],
    frames: Annotated[
        int, Parameter(group=_COMMON, help="Pictures from each seed to the next.")
    ] = 12,
    format: Annotated[
        Literal["webp", "gif"], Parameter(group=_COMMON, help="Format of the animation.")
    ] = "webp",
    frames_per_second: Annotated[
        float, Parameter(group=_COMMON, help="How fast the animation runs.")
    ] = 12.0,
    model: _MODEL = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Go from one seed's picture to another's: an animation, and all its frames on one sheet."""
    workspace, layer = _workspace(common), _layer(common, given)
    asked = {"seeds": between, "originality": False}
    chosen = _with_defaults(settings.merge(layer, {"generate": asked}))
    seeds = chosen.generate.chosen_seeds
    if len(seeds) < 2 or frames < 1 or frames_per_second <= 0:
        raise AtelierError("interpolate: give two seeds or more, and frames, as --between 3,7")
    opened = IGME.open(find_model(workspace, model))
    with _assembled(common, chosen.components) as parts:
        check_images(parts, chosen, opened.family)
        generated = _frames(parts, opened, chosen.generate, frames)
        enlarged = parts.enhancement.enhance(generated, chosen.enhance, parts.ui.watch)
        made = list(parts.conversion.convert(enlarged, ICS(format="png")))
        name = f"{opened.digest[:8]}-{'-'.join(map(str, seeds[:6]))}"
        folder = workspace / "interpolations"
        write_bytes(folder / f"{name}.{format}", animate(made, format, frames_per_second))
        write_bytes(folder / f"{name}-frames.png", strip(made, columns=frames))
        parts.ui.say(f"animation:     {folder / f'{name}.{format}'}")
        parts.ui.say(f"all frames:    {folder / f'{name}-frames.png'}")


def _frames(parts: Components, model: IGME, request: IGS, frames: int) -> Iterator[IGDT]:
    """Batches of one picture each, from seed to seed; the last seed's own picture ends them."""
    seeds = request.chosen_seeds
    steps = [
        (seed, {"towards_seed": following, "blend": n / frames})
        for seed, following in pairwise(seeds)
        for n in range(frames)
    ]
    steps.append((seeds[-1], {}))
    for done, (seed, options) in enumerate(steps):
        parts.ui.watch(ProgressEvent(stage="interpolate", done=done, total=len(steps)))
        changes = {"seeds": (seed,), "options": request.options | options}
        if request.style is None and options and FAMILIES[model.family].is_conditional:
            # Each seed has a style of its own then: it is gone through too, or the way would jump.
            styles = (model.styles[n % len(model.styles)] for n in (seed, options["towards_seed"]))
            changes |= dict(zip(("style", "towards_style"), styles, strict=True))
            changes["style_blend"] = options["blend"]
        yield from parts.generation.generate(model, request.model_copy(update=changes))
    parts.ui.watch(ProgressEvent(stage="interpolate", done=len(steps), total=len(steps)))


def _name_of(source: str) -> str:
    """Of an adopted model: the file's without its ending, the folder's, or the hub id's."""
    path = Path(source).expanduser()
    if path.suffix.lower() in (".pkl", ".pth"):
        return path.stem
    return path.resolve().name if path.exists() else path.name


@app.command(name="adopt")
def adopt_command(
    sources: Annotated[
        list[str],
        Parameter(group=_COMMON, negative=(), help=_help_of(Adoption, "sources")),
    ],
    *,
    name: Annotated[
        str | None, Parameter(group=_COMMON, help="Its name here; else the file's or folder's.")
    ] = None,
    family: Annotated[
        Adoptable, Parameter(group=_COMMON, help=_help_of(Adoption, "family"))
    ] = "auto",
    styles: Annotated[
        str | None, Parameter(group=_COMMON, help=_help_of(Adoption, "styles") + " As a,b,c.")
    ] = None,
    revision: Annotated[
        str | None, Parameter(group=_COMMON, help=_help_of(Adoption, "revision"))
    ] = None,
    variant: Annotated[
        str | None, Parameter(group=_COMMON, help=_help_of(Adoption, "variant"))
    ] = None,
    dtype: Annotated[str | None, Parameter(group=_COMMON, help=_help_of(Adoption, "dtype"))] = None,
    allow_pickles: Annotated[
        bool, Parameter(group=_COMMON, negative=(), help=_help_of(Adoption, "allow_pickles"))
    ] = False,
    common: Common = Common(),
) -> None:
    """Take in a model that was trained elsewhere, for `generate --model NAME`."""
    given = {
        "sources": sources,
        "family": family,
        "styles": styles.split(",") if styles else None,
        "revision": revision,
        "variant": variant,
        "dtype": dtype,
        "allow_pickles": allow_pickles or None,
    }
    given = {field: value for field, value in given.items() if value is not None}
    wanted = settings.validate(Adoption, given, "adopt")
    chosen_name = sanitize_filename(name or _name_of(sources[0]), platform="universal")
    if chosen_name in ("", ".", ".."):
        raise AtelierError(f"{name or sources[0]}: makes no name; give it a --name")
    folder = _workspace(common) / "models" / chosen_name
    if (folder / "model.json").exists():
        raise AtelierError(f"{folder}: a model of that name is here already; give it a --name")
    with _assembled(common) as parts:
        model = adopt(wanted, folder)
        parts.ui.say(f"model:         {folder} ({model.family}, {model.resolution} pixels)")
        parts.ui.say(f"make pictures: generate --model {chosen_name}")


@_command("collect", "evaluate")
def evaluate_command(
    *, model: _MODEL = None, common: Common = Common(), given: settings.Layer
) -> None:
    """Measure a model's pictures: Fréchet distance, KID, precision, recall, originality."""
    workspace, layer = _workspace(common), _layer(common, given)
    asked = settings.validate(EvaluationSettings, layer.pop("evaluate", {}), "evaluate")
    opened = IGME.open(find_model(workspace, model))
    layer = settings.merge(layer, {"preprocess": {"resolution": opened.resolution}})
    chosen = _with_defaults(layer)
    with _assembled(common, chosen.components) as parts:
        _, prepared = _prepare(parts, chosen)
        parts.ui.say(f"model:         {opened.directory}")
        features = workspace / "features"
        measured = (opened.digest[:12], prepared.digest[:8], asked.features, asked.against)
        folder = workspace / "evaluations" / "-".join(measured)
        found = evaluate(
            parts.generation, opened, prepared, asked, folder, features, parts.ui.watch
        )
        for measurement in found:
            parts.ui.say(measurement.line())
        parts.ui.say(f"in full:       {folder}")


@_command("collect", "preprocess", "train")
def compare_command(
    presets: Annotated[
        list[str],
        Parameter(group=_COMMON, negative=(), help="Presets to compare, by name or TOML file."),
    ],
    *,
    name: Annotated[
        str | None,
        Parameter(group=_COMMON, help="The comparison's folder; else the collection's name."),
    ] = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Train several presets under one budget: paper 002's Table 3 and Figs. 3 and 4.

    The same command again goes on where it was stopped.
    """
    layer = _layer(common, given)
    entries = {preset: _with_budget_of(layer, settings.load_preset(preset)) for preset in presets}
    first = next(iter(entries.values()))
    for preset, chosen in entries.items():
        if (chosen.collect, chosen.preprocess) != (first.collect, first.preprocess):
            raise AtelierError(
                f"preset {preset}: names another collection or resolution than the first; compare "
                "on one, as with --data and --resolution"
            )
    with _assembled(common, first.components) as parts:
        collection, prepared = _prepare(parts, first)
        watch = parts.ui.watch
        folder = _named_folder(common, "comparisons", name or collection)
        rows = [(Path(preset).stem, chosen.train) for preset, chosen in entries.items()]
        compare(parts.training, prepared, rows, folder, watch)
        parts.ui.say((folder / "table3.md").read_text(encoding="utf-8"))
        parts.ui.say(f"comparison:    {folder}")


def _with_budget_of(layer: settings.Layer, preset: settings.Layer) -> settings.RunSettings:
    """A preset under what was given, whose budget takes the place of the preset's own."""
    if {"total_images", "total_seconds"} & layer.get("train", {}).keys():
        for field in ("total_images", "total_seconds"):
            preset.get("train", {}).pop(field, None)
    return _with_defaults(settings.merge(preset, layer))


def _named_folder(common: Common, kind: str, name: str) -> Path:
    folder = _workspace(common) / kind / sanitize_filename(name, platform="universal")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_STUDY = Annotated[
    str | None, Parameter(group=_COMMON, help="The study's folder; else the collection's name.")
]


@_command("collect", "preprocess", "train", "search")
def search_command(
    *,
    name: _STUDY = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Look for good hyper-parameters in paper 002's Table 2, within a time budget.

    The same command again goes on with the study; a longer --search.total-seconds with it too.
    """
    layer = _layer(common, given)
    asked = settings.validate(SearchSettings, layer.pop("search", {}), "search")
    chosen = _with_defaults(settings.merge({"train": {"family": "wgan_gp"}}, layer))
    with _assembled(common, chosen.components) as parts:
        collection, prepared = _prepare(parts, chosen)
        watch = parts.ui.watch
        folder = _named_folder(common, "searches", name or collection)
        search(parts.training, prepared, chosen.train, asked, folder, watch)
        parts.ui.say((folder / "report.md").read_text(encoding="utf-8"))
        parts.ui.say(f"study:         {folder}")


_MODELS = Annotated[
    tuple[str, ...],
    Parameter(
        group=_COMMON,
        negative=(),
        show_default=False,
        help="Models: folders, runs and adopted models by name, 'shipped'.",
    ),
]
_ENLARGERS = Annotated[
    tuple[str, ...],
    Parameter(
        group=_COMMON,
        negative=(),
        show_default=False,
        help="An enlarger by name, or its weights file; give it again for more.",
    ),
]


@_command("benchmark")
def benchmark_command(
    models: _MODELS = (),
    *,
    enlarger: _ENLARGERS = (),
    name: Annotated[str, Parameter(group=_COMMON, help="The ledger's folder.")] = "ledger",
    again: Annotated[
        bool,
        Parameter(group=_COMMON, negative=(), help="Measure anew what was measured before."),
    ] = False,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Measure what models and enlargers cost: paper 003's Table 1, and advice."""
    workspace, layer = _workspace(common), _layer(common, given)
    asked = settings.validate(BenchmarkSettings, layer.pop("benchmark", {}), "benchmark")
    found = {model: find_model(workspace, model) for model in models}
    opened = {name: IGME.open(folder) for name, folder in _told_apart(found).items()}
    replaced: dict[str, str] = layer.get("components", {})
    own = [
        replaced.get(part, f"components.{part}:create") for part in ("generation", "enhancement")
    ]
    samples = [paint_picture(style, 0) for style in EMBEDDED_STYLES]
    with _assembled(common, replaced) as parts:
        folder = _named_folder(common, "benchmarks", name)
        makers = Makers(workspace, *own)
        benchmark(opened, enlarger, asked, folder, makers, samples, parts.ui.say, again=again)
        parts.ui.say((folder / "ledger.md").read_text(encoding="utf-8"))
        parts.ui.say(f"ledger:        {folder} (ledger.md, .csv, .json, .png, pictures)")


def _told_apart(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Models by short names: a folder's, a run's; what was asked for where two would agree."""
    names = {
        asked: folder.parts[-3] if folder.parts[-2:] == ("training", "model") else folder.name
        for asked, folder in folders.items()
        if len(Path(asked).parts) > 1
    }
    names = {asked: names.get(asked, asked) for asked in folders}
    counts = Counter(names.values())
    return {name if counts[name] == 1 else asked: folders[asked] for asked, name in names.items()}


_SKETCHES = "papers/sketch_diffusion"


@_command(
    "collect",
    "preprocess",
    "train",
    "study",
    group=study_app,
    below=settings.load_preset(_SKETCHES),
)
def sketch_command(
    *,
    name: _STUDY = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Paper 004: a drawing under noise, the paper's mask of noise, and our way of following it.

    Trains a model of each on one collection, then writes a report. The same command again goes on
    where it was stopped.
    """
    layer = settings.merge(settings.load_preset(_SKETCHES), _layer(common, given))
    asked = settings.validate(SketchStudySettings, layer.pop("study", {}), "study")
    chosen = _with_defaults(layer)
    with _assembled(common, chosen.components) as parts:
        collection, prepared = _prepare(parts, chosen)
        watch = parts.ui.watch
        folder = _named_folder(common, "studies", name or f"sketch-{collection}")
        models = train_methods(parts.training, prepared, chosen.train, folder, watch)
        features = _workspace(common) / "features"  # where the trainings have put them
        found = study_sketches(parts.generation, models, prepared, asked, folder, features, watch)
        parts.ui.say(claims_section(found.claims))
        parts.ui.say(f"report:        {folder / 'report.md'}")


@_command("enhance", "convert")
def enhance(
    pictures: _PICTURES,
    *,
    output: _OUTPUT = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Enlarge any pictures, with Real-ESRGAN; what is there already is passed over."""
    chosen = _with_defaults(_layer(common, given))
    with _assembled(common, chosen.components) as parts:
        task = Task("enhance", read_picture, own_file, chosen.enhance, chosen.convert)
        _work_on(pictures, parts, task, output)


@_command("convert")
def convert(
    pictures: _PICTURES,
    *,
    output: _OUTPUT = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Turn pictures into another file format; the record of our own goes with them."""
    chosen = _with_defaults(_layer(common, given))
    with _assembled(common, chosen.components) as parts:
        task = Task("convert", read_picture, own_file, IES(scale=1), chosen.convert)
        _work_on(pictures, parts, task, output)


@_command("generate", "enhance", "convert", below={"enhance": {"scale": 1}})
def rework(
    pictures: _PICTURES,
    *,
    model: _MODEL = None,
    output: _OUTPUT = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Turn your own pictures with a model, one result a file; what is there is passed over.

    CycleGAN turns them into another --style, Stable Diffusion paints them anew by --prompt, a VAE
    and StyleGAN2 show what they know of them, a sketch model paints over their lines.
    """
    if needless := {"source", "count", "seeds"} & given.get("generate", {}).keys():
        raise AtelierError(f"{min(needless)}: `rework` makes one picture a file; leave it out")
    below = {"generate": {"source": str(pictures[0])}, "enhance": {"scale": 1}}
    chosen = _with_defaults(settings.merge(below, _layer(common, given)))
    opened = IGME.open(find_model(_workspace(common), model, ["source"]))
    family = FAMILIES.get(opened.family)
    if family and not family.reads("source"):
        able = ", ".join(name for name, known in FAMILIES.items() if known.reads("source"))
        raise AtelierError(
            f"{opened.directory}: a {family.name} model makes nothing of a person's own picture; "
            f"name with --model one of the families {able}"
        )
    with _assembled(common, chosen.components) as parts:
        check_images(parts, chosen, opened.family)
        parts.ui.say(f"model:         {opened.directory}")
        work = Rework(parts.generation, opened, chosen.generate, read_picture, parts.ui.watch)
        task = Task("rework", work.read, work.file_of, chosen.enhance, chosen.convert)
        _work_on(pictures, parts, task, output)


def _work_on(pictures: Sequence[Path], parts: Components, task: Task, output: Path | None) -> None:
    suffix = SUFFIXES[MEDIA_TYPES[task.convert.format]]
    found = find_pictures([path.expanduser() for path in pictures])
    Errand(parts, task, read_record, suffix, output).run(found)


@_command("find", group=results_app)
def list_command(*, common: Common = Common(), given: settings.Layer) -> None:
    """What was made, newest first."""
    query = settings.validate(ResultQuery, given.get("find", {}), "results list")
    with _assembled(common) as parts:
        found = parts.results_store.find(query)
        if not found:
            parts.ui.say(f"{_workspace(common)}: no such results here")
    for result in found:
        origin = result.record.origin
        made = f"{origin.family} seed {origin.seed}" if origin.kind == "generated" else origin.name
        print(f"{result.id:>6}  {result.width}x{result.height}  {made}  {result.path}")


@results_app.command(name="show")
def show_result(which: str, *, common: Common = Common()) -> None:
    """The whole record of one result: its number, or any file that Atelier made."""
    if which.isdecimal():
        with _assembled(common) as parts:
            print(parts.results_store.get(int(which)).model_dump_json(indent=2))
    else:
        print(read_record(Path(which).expanduser()).model_dump_json(indent=2))


@results_app.command(name="open")
def open_result(which: int, *, common: Common = Common()) -> None:
    """Open one result, by its number, with the viewer of this machine."""
    with _assembled(common) as parts:
        path = parts.results_store.get(which).path
    if not path.exists():
        raise AtelierError(f"{path}: the file is gone; `results list` names the others")
    if not webbrowser.open(path.absolute().as_uri()):
        raise AtelierError(f"{path}: this machine names no viewer; open the file yourself")


# ---------------------------------------------------------------- jobs: the page and the API


class Desk:
    """What orders name, and how they become settings and are carried out, in one workspace."""

    def __init__(
        self, workspace: Path, components: Sequence[str], data: Sequence[Path] = ()
    ) -> None:
        self.workspace, self.parts = workspace, assemble(workspace, components)
        self.uploads = LocalUploads(workspace / "uploads")
        self.catalogue = WorkspaceCatalogue(workspace, self.uploads, data)

    def check(self, order: Order) -> None:
        """What an order could not be carried out with is refused before it waits."""
        self.catalogue.check(order)
        _with_defaults(self._layer(order))

    def _layer(self, order: Order) -> settings.Layer:
        """The settings of an order; its ids have become places."""
        if isinstance(order, GenerateOrder):
            inputs = {name: getattr(order, name) for name in INPUT_FILES}
            places = {name: self.uploads.path(i) for name, i in inputs.items() if i is not None}
            return dict(order.choices) | {
                "generate": order.choices.generate.model_copy(update=places)
            }
        if isinstance(order, InterpolateOrder):
            return dict(order.choices)
        if isinstance(order, EnhanceOrder):
            return {"enhance": order.enhance, "convert": order.convert}
        data = {"data": self.catalogue.collection_data(order.collection)}
        if isinstance(order, InspectOrder):
            return {"collect": order.collect.model_copy(update=data)}
        if order.preset is not None and order.preset not in settings.preset_names():
            there = ", ".join(settings.preset_names())
            raise AtelierError(f"preset {order.preset!r}: unknown; there are {there}")
        given: settings.Layer = {"collect": data}
        if order.start_from is not None:
            is_model = order.start_from != "none"
            start = self.catalogue.model_path(order.start_from) if is_model else "none"
            given["train"] = {"start_from": str(start)}
        preset = settings.load_preset(order.preset) if order.preset else {}
        return settings.merge(preset, cast(settings.Layer, order.settings), given)

    def __call__(self, job: Job, control: Control) -> None:
        """Carry a job out, or go on with it, with components that stay loaded."""
        order, ui = job.order, JobInterface(control)
        store = cast(ResultsStore, AnnouncedStore(self.parts.results_store, control))
        parts = replace(self.parts, ui=ui, results_store=store)
        _hear(parts)
        layer = self._layer(order)
        chosen = _with_defaults(layer)
        if isinstance(order, InspectOrder):
            found = parts.training_store.collect(chosen.collect, ui.watch)
            report: dict[str, Any] = {"lines": list(report_lines(found))}
            report |= found.model_dump(mode="json", exclude={"manifest", "source"})
            control.conclude(report)
            return
        model, collection, name = None, None, "enlarged"
        if isinstance(order, GenerateOrder | InterpolateOrder):
            model = IGME.open(self.catalogue.model_path(order.model))
            name = f"{model.family}-{model.dataset_name}"
        elif isinstance(order, TrainOrder):
            collection = collect(parts, chosen)
            name = f"{chosen.train.family}-{collection.name}"
        folder = self.workspace / "runs" / job.run if job.run else None
        if folder is not None and (folder / "run.json").exists():
            current = Run.open(folder)
        else:
            current = Run.begin(self.workspace, order.kind, chosen, name, model)
            control.began(current.name)
        with exclusive(current.folder / ".lock"):
            if collection is not None:
                control.conclude({"model": train(parts, current, collection).digest[:16]})
            elif isinstance(order, GenerateOrder):
                make_images(parts, current, cast(IGME, model))
            elif isinstance(order, InterpolateOrder):
                asked = {"seeds": order.between, "originality": False}
                request = current.chosen.generate.model_copy(update=asked)
                frames = _frames(parts, cast(IGME, model), request, order.frames)
                self._keep(parts, current, frames, job)
            else:
                self._keep(parts, current, self._pictures(cast(EnhanceOrder, order)), job)
            current.is_finished = True
            current.save()

    def _pictures(self, order: EnhanceOrder) -> Iterator[IGDT]:
        for upload_id in order.uploads:
            batch = read_picture(self.uploads.path(upload_id))
            named = {"name": self.uploads.get(upload_id).name}
            yield batch.model_copy(
                update={"origins": tuple(o.model_copy(update=named) for o in batch.origins)}
            )
        for result_id in order.results:
            yield read_picture(self.parts.results_store.get(result_id).path)

    def _keep(self, parts: Components, run: Run, batches: Iterator[IGDT], job: Job) -> None:
        """Enlarge, encode and keep; a resumed job passes over as many as it has kept."""
        missing = islice(batches, job.num_results, None)
        enlarged = parts.enhancement.enhance(missing, run.chosen.enhance, parts.ui.watch)
        for image in parts.conversion.convert(enlarged, run.chosen.convert):
            parts.results_store.keep(image, run.name)

    def convert(self, result: StoredResult, wanted: ICS) -> IODT:
        """A result in another format, with the record that it has."""
        drift = () if result.record.drift is None else (result.record.drift,)
        known = {"origins": (result.record.origin,), "drift": drift}
        enhancement = result.record.enhancement
        batch = IEDT(**dict(read_picture(result.path)) | known, enhancement=enhancement)
        return next(iter(self.parts.conversion.convert([batch], wanted)))


@app.command(name="ui")
def ui_command(
    *,
    host: Annotated[str, Parameter(group=_COMMON, help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, Parameter(group=_COMMON, help="Port; 0 takes a free one.")] = 7860,
    token: Annotated[
        str | None,
        Parameter(
            group=_COMMON,
            env_var="ATELIER_TOKEN",
            show_env_var=True,
            help="Password of the page and token of the API; needed at any address but loopback.",
        ),
    ] = None,
    name: Annotated[
        tuple[str, ...],
        Parameter(group=_COMMON, negative=(), help="A host name that the page is reached by."),
    ] = (),
    data: Annotated[
        tuple[Path, ...],
        Parameter(group=_COMMON, negative=(), help="A collection that may be learnt from."),
    ] = (),
    common: Common = Common(),
) -> None:
    """Open the page: train, generate, draw, watch, find. Programs use its /api."""
    workspace = _workspace(common)
    safety = Safety(host, token, name)
    desk, queue = Desk(workspace, common.component, data), create_queue(workspace)
    store = desk.parts.results_store
    if not isinstance(store, ResultsGallery):
        raise AtelierError("component results_store: has no pages, which the page needs")
    command = [sys.executable, __file__, "worker", "--workspace", str(workspace)]
    command += [word for pair in common.component for word in ("--component", pair)]
    keeper = WorkerKeeper(queue, command, workspace / "worker.log")
    backend = Backend(
        workspace=workspace,
        queue=queue,
        store=store,
        catalogue=desk.catalogue,
        uploads=desk.uploads,
        thumbnails=Thumbnails(workspace / "thumbnails"),
        check=desk.check,
        convert=desk.convert,
        enhancers=tuple(enhancer_names()),
        presets={preset: settings.load_preset(preset) for preset in settings.preset_names()},
        worker_trouble=lambda: keeper.trouble,
    )
    store.purge(older_than=timedelta(days=7))

    def ready(address: str) -> None:
        desk.parts.ui.say(f"page:          {address}")

    application = create_app(backend, safety)
    mount_page(application)
    with keeper:
        serve(application, host, port, ready)


@app.command(show=False)
def worker(*, common: Common = Common()) -> None:
    """Carry out the jobs of a workspace, until standard input is closed."""
    workspace = _workspace(common)
    desk = Desk(workspace, common.component)
    import_module("torch")  # while the person still chooses
    run_worker(create_queue(workspace), desk, sys.stdin.buffer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. A person's error is one line, no traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Asked to end politely, it ends as at Ctrl-C: with its state saved.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        words = " ".join(error.unused_tokens or ())
        return _fail(f"{words}: a value goes with a flag, as in --data FOLDER; see --help", code=2)
    except CycloptsError as error:
        return _fail(str(error).strip().replace("\n", " "), code=2)
    except AtelierError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read the list has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, sqlite3.OperationalError) as error:
        return _fail(_explain_os_error(error))
    except KeyboardInterrupt:
        can_resume = arguments[:1] and arguments[0] in ("run", "train", "generate")
        hint = f"; `{arguments[0]} --resume` goes on" if can_resume else ""
        print(f"stopped; nothing that was finished is lost{hint}", file=sys.stderr)
        return 130
    return 0


def _fail(line: str, code: int = 1) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code


def _explain_os_error(error: OSError | sqlite3.OperationalError) -> str:
    where = getattr(error, "filename", None) or "the workspace"
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "disk is full" in str(error):
        return f"{where}: the disk is full; free some space, or choose another --workspace"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "readonly" in str(error):
        return f"{where}: no permission; change it, or choose another --workspace"
    return f"{where}: {getattr(error, 'strerror', None) or error}"


if __name__ == "__main__":
    sys.exit(main())
