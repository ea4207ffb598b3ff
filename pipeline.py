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
import json
import logging
import signal
import sqlite3
import sys
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import App, CycloptsError, Group, Parameter

import settings
from components.conversion import read_record
from components.durable import replacing, write_bytes, write_text
from components.enhancement import RealESRGANEnhancer, find_pictures, read_picture
from components.families import FAMILIES
from components.images import contact_sheet
from components.training_store import report_lines
from components.ui import flags_of, with_flags
from interfaces.errors import AtelierError
from interfaces.iedt import Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME, Trainer
from interfaces.iodt import IODT, Converter, ResultQuery, ResultsStore, StoredResult
from interfaces.ipdt import IPDT, Preprocessor
from interfaces.itdt import ITDT, TrainingStore
from interfaces.progress import ProgressEvent
from interfaces.ui import Choices, UserInterface

if not hasattr(settings, "RunSettings"):
    raise ImportError(
        f"{settings.__file__} hides Atelier's own `settings`; run the `atelier` command, or start "
        "python from another folder (importing from `components` works from anywhere)"
    )

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
        made[name] = _load_factory(name, place)(workspace)
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


def _load_factory(name: str, place: str) -> Callable[[Path], Any]:
    module_name, _, factory_name = place.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that nothing here hides an installed package
    try:
        return getattr(import_module(module_name), factory_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise AtelierError(
            f"component {name}: cannot load {place!r} ({error}); write it as package:factory"
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


# ---------------------------------------------------------------- runs

# How long a training lasts may change when it is gone on with; nothing else may.
_FREE_WHEN_RESUMED = {"train.total_images", "train.total_seconds"}


class Run:
    """One pass through the pipeline and its folder: `0001-dcgan-embedded`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            saved = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            self.verb: str = saved["verb"]
            self.is_finished: bool = saved["is_finished"]
            self.model: Path | None = Path(saved["model"]) if saved["model"] else None
            self.settings = settings.resolve(saved["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AtelierError(
                f"{folder}: not a readable run ({error}); move it away or start a new one"
            ) from error

    @property
    def name(self) -> str:
        """The folder's name, which the results store files its pictures under."""
        return self.folder.name

    def save(self, *, is_finished: bool) -> None:
        """Note the settings and whether anything is left to do."""
        self.is_finished = is_finished
        saved = {
            "verb": self.verb,
            "is_finished": is_finished,
            "model": str(self.model) if self.model else None,
            "settings": self.settings.model_dump(mode="json"),
        }
        write_text(self.folder / "run.json", json.dumps(saved, indent=2) + "\n")

    @classmethod
    def begin(
        cls, workspace: Path, verb: str, chosen: settings.RunSettings, model: IGME | None = None
    ) -> "Run":
        """A new folder with the next number; the settings are saved before anything starts."""
        family = model.family if model else chosen.train.family
        collection = model.dataset_name if model else Path(chosen.collect.data).stem
        run = cls.__new__(cls)
        run.folder = _numbered_folder(workspace / "runs", f"{family}-{collection or 'collection'}")
        run.verb, run.settings = verb, chosen
        run.model = model.directory.absolute() if model else None
        run.save(is_finished=False)
        return run

    @classmethod
    def all(cls, workspace: Path) -> "list[Run]":
        """Every run of a workspace, oldest first. A folder without run.json was never begun."""
        folders = sorted((workspace / "runs").glob("[0-9]*-*"))
        return [cls(folder) for folder in folders if (folder / "run.json").exists()]

    @classmethod
    def resume(cls, workspace: Path, verb: str, name: str | None, given: settings.Layer) -> "Run":
        """The run to go on with: the one named, or the newest of this verb.

        Raises `AtelierError` where there is none, or where `given` asks for anything else than
        the run was begun with (a training's length may change).
        """
        runs = [run for run in cls.all(workspace) if run.verb == verb and name in (None, run.name)]
        if not runs:
            which = f"run {name!r}" if name else f"`{verb}` run"
            raise AtelierError(f"{workspace / 'runs'}: no {which} here to resume; start one first")
        run = runs[-1]
        wanted = _chosen(settings.merge(run.settings.model_dump(mode="json"), given))
        before, after = (_flat(s.model_dump(mode="json")) for s in (run.settings, wanted))
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        if refused := sorted(changed - _FREE_WHEN_RESUMED):
            differences = (
                f"{key} was {before.get(key)!r}, not {after.get(key)!r}" for key in refused
            )
            raise AtelierError(
                f"{run.folder}: was begun with other settings ({'; '.join(differences)}); "
                "resume it without these, or start a new run"
            )
        if changed:
            run.settings = wanted
            run.save(is_finished=False)
        return run


def _numbered_folder(parent: Path, suffix: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        taken = [int(p.name[:4]) for p in parent.iterdir() if p.name[:4].isdecimal()]
        folder = parent / f"{max(taken, default=0) + 1:04d}-{suffix}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue  # another process took the number
        return folder


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"seed": 0}} => {"train.seed": 0}."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        is_table = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{name}.") if is_table else {f"{prefix}{name}": value}
    return flat


def _chosen(layer: settings.Layer) -> settings.RunSettings:
    """Checked settings whose paths hold from any folder."""
    chosen = settings.resolve(layer)
    family = chosen.train.family
    if family in FAMILIES:
        settings.validate(FAMILIES[family].config, chosen.train.options)
    elif "training" not in chosen.components:  # a replaced trainer may know others
        raise AtelierError(f"train.family: {family!r} is unknown; there are {', '.join(FAMILIES)}")
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
    return chosen.model_copy(update={"collect": collect, "enhance": enhance})


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


def prepare(parts: Components, chosen: settings.RunSettings) -> IPDT:
    """Inspect and prepare the collection."""
    collection = collect(parts, chosen)
    return parts.preprocessing.preprocess(collection, chosen.preprocess, parts.ui.watch)


def train(parts: Components, run: Run) -> IGME:
    """Train the run's model, or go on with it, or find it finished."""
    prepared = prepare(parts, run.settings)
    folder = run.folder / "training"
    return parts.training.train(prepared, run.settings.train, folder, parts.ui.watch)


def make_images(parts: Components, run: Run, model: IGME) -> list[StoredResult]:
    """Generate, enlarge, encode and keep; go on at the first image that is missing."""
    chosen = run.settings
    choices = parts.ui.ask(
        Choices(generate=chosen.generate, enhance=chosen.enhance, convert=chosen.convert)
    )
    seeds = choices.generate.chosen_seeds
    kept = _kept(parts.results_store, run)
    done = next((n for n, seed in enumerate(seeds) if seed not in kept), len(seeds))
    if done < len(seeds):
        side = model.resolution * choices.enhance.scale
        batch_size = max(1, IN_FLIGHT_BYTES // (3 * 4 * side**2))
        missing = choices.generate.model_copy(
            update={"skip": done, "batch_size": choices.generate.batch_size or batch_size}
        )
        generated = parts.generation.generate(model, missing)
        enlarged = parts.enhancement.enhance(generated, choices.enhance)
        for image in parts.conversion.convert(enlarged, choices.convert):
            parts.results_store.keep(image, run.name)
            done += 1
            parts.ui.watch(ProgressEvent(stage="make images", done=done, total=len(seeds)))
    kept = _kept(parts.results_store, run)
    return [kept[seed] for seed in seeds]


def _kept(store: ResultsStore, run: Run) -> dict[int, StoredResult]:
    """The run's results whose files are still there, by seed."""
    results = store.find(ResultQuery(run=run.name, limit=1_000_000))
    return {
        result.record.origin.seed: result
        for result in results
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
    run.save(is_finished=True)
    width, height = results[0].width, results[0].height
    parts.ui.say(f"images:        {len(results)} of {width}x{height} in {results[0].path.parent}")
    parts.ui.say(f"contact sheet: {sheet}")


# ---------------------------------------------------------------- the command line

app = App(
    name="pipeline.py",
    help=(
        "Learn from a folder of artworks and make new art. `run` goes the whole way; the other "
        "commands are its stages. Every flag is also a TOML field (--preset) and an environment "
        "variable: --generate.count is ATELIER_GENERATE_COUNT."
    ),
    version_flags=[],
    result_action="return_value",
)
results_app = App(name="results", help="What was made: list it, show its records, open it.")
app.command(results_app)

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
            help="Settings from TOML: a file, or a preset by name; give it again for more.",
        ),
    ] = ()
    component: Annotated[
        tuple[str, ...],
        Parameter(
            group=_COMMON,
            negative=(),
            help="Replace a component: name=package:factory, as enhancement=mine:make.",
        ),
    ] = ()


_RESUME = Annotated[
    bool,
    Parameter(
        group=_COMMON, negative=(), help="Go on with the newest run, or the one --run names."
    ),
]
_RUN = Annotated[str | None, Parameter(group=_COMMON, help="The run to resume, by its name.")]
_PICTURES = Annotated[
    list[Path], Parameter(group=_COMMON, negative=(), help="Image files and folders of them.")
]
_OUTPUT = Annotated[
    Path | None,
    Parameter(group=_COMMON, help="Write into this folder instead of the results store."),
]


def _command(*sections: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command whose flags are the fields of these sections of the settings."""
    options = {
        "train": {name: family.config for name, family in FAMILIES.items()},
        "generate": {name: family.options for name, family in FAMILIES.items()},
    }
    models = {name: settings.SECTIONS[name] for name in sections}
    flags = flags_of(models, options, settings.load_preset("default"))

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        app.command(with_flags(function, flags), name=function.__name__.removesuffix("_command"))
        return function

    return register


def _start(common: Common, given: settings.Layer) -> tuple[Path, Components, settings.Layer]:
    """The workspace, the components, and what the person gave: presets, environment, flags."""
    presets = [settings.load_preset(name) for name in common.preset]
    layer = settings.merge(*presets, settings.from_environment(os.environ), given)
    named = settings.merge(layer.pop("components", {}), _parse_pairs(common.component))
    workspace = common.workspace.expanduser().absolute()
    parts = assemble(workspace, named)
    if isinstance(parts.enhancement, RealESRGANEnhancer):
        parts.enhancement.progress = parts.ui.watch  # downloads, and tiles of large pictures
    _show_warnings(parts.ui)
    if named:
        layer["components"] = named
    return workspace, parts, layer


def _with_defaults(layer: settings.Layer) -> settings.RunSettings:
    return _chosen(settings.with_defaults(layer))


def _show_warnings(ui: UserInterface) -> None:
    """What components log as warnings, the person sees."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            ui.warn(record.getMessage())

    logging.getLogger("atelier").handlers = [Handler(logging.WARNING)]


@_command("collect", "preprocess", "train", "generate", "enhance", "convert")
def run(
    *,
    resume: _RESUME = False,
    run: _RUN = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """From a folder of art to enlarged, stored images: the whole pipeline."""
    workspace, parts, layer = _start(common, given)
    if resume and (run or Run.all(workspace)):
        current = Run.resume(workspace, "run", run, layer)
    else:
        current = Run.begin(workspace, "run", _with_defaults(layer))
    parts.ui.say(f"run:           {current.folder}")
    finish(parts, current, make_images(parts, current, train(parts, current)))


@_command("collect")
def inspect_command(*, common: Common = Common(), given: settings.Layer) -> None:
    """The report on a collection: bad files, duplicates, balance of styles."""
    _, parts, layer = _start(common, given)
    collection = parts.training_store.collect(_with_defaults(layer).collect, parts.ui.watch)
    parts.ui.close()
    for line in report_lines(collection):
        print(line)


@_command("collect", "preprocess")
def preprocess(*, common: Common = Common(), given: settings.Layer) -> None:
    """Prepare a collection for training: square, small, RGB, in one array."""
    _, parts, layer = _start(common, given)
    prepared = prepare(parts, _with_defaults(layer))
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
    workspace, parts, layer = _start(common, given)
    if resume:
        current = Run.resume(workspace, "train", run, layer)
    else:
        current = Run.begin(workspace, "train", _with_defaults(layer))
    parts.ui.say(f"run:           {current.folder}")
    model = train(parts, current)
    current.save(is_finished=True)
    parts.ui.say(f"model:         {model.directory}")
    parts.ui.say(f"curves:        {current.folder / 'training' / 'curves.png'}")


@_command("generate", "enhance", "convert")
def generate(
    *,
    model: Annotated[
        str | None,
        Parameter(group=_COMMON, help="A model's folder, or a run by name; else the newest model."),
    ] = None,
    resume: _RESUME = False,
    run: _RUN = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Make pictures with a trained model, enlarge them and keep them."""
    workspace, parts, layer = _start(common, given)
    if resume:
        current = Run.resume(workspace, "generate", run, layer)
        opened = IGME.open(current.model or find_model(workspace, model))
    else:
        chosen = _with_defaults(layer)
        opened = IGME.open(find_model(workspace, model))
        current = Run.begin(workspace, "generate", chosen, opened)
    finish(parts, current, make_images(parts, current, opened))


def find_model(workspace: Path, name: str | None) -> Path:
    """A model's folder by path or by run; the newest of the workspace where no name is given."""
    if name is not None:
        in_run = workspace / "runs" / name / "training" / "model"
        return in_run if (in_run / "model.json").exists() else Path(name).expanduser()
    models = sorted((workspace / "runs").glob("[0-9]*-*/training/model/model.json"))
    if not models:
        raise AtelierError(
            f"{workspace}: no model here yet; train one with `pipeline.py train`, or name a "
            "model's folder with --model"
        )
    return models[-1].parent


@_command("enhance", "convert")
def enhance(
    pictures: _PICTURES,
    *,
    output: _OUTPUT = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Enlarge any pictures, with Real-ESRGAN."""
    _, parts, layer = _start(common, given)
    chosen = _with_defaults(layer)
    opened = _read_pictures(parts.ui, pictures, "enhance")
    enlarged = parts.enhancement.enhance(opened, chosen.enhance)
    _keep_all(parts, parts.conversion.convert(enlarged, chosen.convert), output)


@_command("convert")
def convert(
    pictures: _PICTURES,
    *,
    output: _OUTPUT = None,
    common: Common = Common(),
    given: settings.Layer,
) -> None:
    """Turn pictures into another file format; the record of our own goes with them."""
    _, parts, layer = _start(common, given)
    chosen = _with_defaults(layer)
    opened = _read_pictures(parts.ui, pictures, "convert")
    as_they_are = parts.enhancement.enhance(opened, IES(scale=1))
    _keep_all(parts, parts.conversion.convert(as_they_are, chosen.convert), output)


def _read_pictures(ui: UserInterface, paths: Sequence[Path], stage: str) -> Iterator[IGDT]:
    """One picture at a time; a bad file is named and passed over."""
    found = find_pictures(paths)
    num_bad = 0
    for done, path in enumerate(found):
        ui.watch(ProgressEvent(stage=stage, done=done, total=len(found), note=path.name))
        try:
            yield read_picture(path)
        except AtelierError as error:
            ui.warn(str(error))
            num_bad += 1
    ui.watch(ProgressEvent(stage=stage, done=len(found), total=len(found)))
    if num_bad == len(found):
        raise AtelierError("none of these could be read as a picture; name image files or folders")


def _keep_all(parts: Components, images: Iterator[IODT], output: Path | None) -> None:
    places = [_keep_one(parts.results_store, image, output) for image in images]
    if places:
        parts.ui.say(f"images:        {len(places)} in {places[-1].parent}")


def _keep_one(store: ResultsStore, image: IODT, output: Path | None) -> Path:
    origin = image.record.origin
    if output is None:
        return store.keep(image, "").path
    stem = Path(origin.name).stem if origin.kind == "file" else f"{origin.seed:06d}"
    path = output / f"{stem}.{image.media_type.removeprefix('image/')}"
    write_bytes(path, image.data)
    return path


@results_app.command(name="list")
def list_results(
    *,
    query: Annotated[ResultQuery, Parameter(name="*")] = ResultQuery(),  # noqa: B008
    common: Common = Common(),
) -> None:
    """What was made, newest first."""
    _, parts, _ = _start(common, {})
    for result in parts.results_store.find(query):
        origin = result.record.origin
        made = f"{origin.family} seed {origin.seed}" if origin.kind == "generated" else origin.name
        print(f"{result.id:>6}  {result.width}x{result.height}  {made}  {result.path}")


@results_app.command(name="show")
def show_result(which: str, *, common: Common = Common()) -> None:
    """The whole record of one result: its number, or any file that Atelier made."""
    _, parts, _ = _start(common, {})
    if which.isdecimal():
        print(parts.results_store.get(int(which)).model_dump_json(indent=2))
    else:
        print(read_record(Path(which)).model_dump_json(indent=2))


@results_app.command(name="open")
def open_result(which: int, *, common: Common = Common()) -> None:
    """Open one result, by its number, with the viewer of this machine."""
    _, parts, _ = _start(common, {})
    path = parts.results_store.get(which).path
    if not path.exists():
        raise AtelierError(f"{path}: the file is gone; `results list` names the others")
    if not webbrowser.open(path.absolute().as_uri()):
        raise AtelierError(f"{path}: this machine names no viewer; open the file yourself")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. A person's error is one line, no traceback."""
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(str(error).strip().replace("\n", " "), code=2)
    except AtelierError as error:
        return _fail(str(error))
    except (OSError, sqlite3.OperationalError) as error:
        return _fail(_explain_os_error(error))
    except KeyboardInterrupt:
        return _fail("stopped; nothing that was finished is lost, --resume goes on", code=130)
    return 0


def _fail(line: str, code: int = 1) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code


def _explain_os_error(error: OSError | sqlite3.OperationalError) -> str:
    where = getattr(error, "filename", None) or "the workspace"
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(error):
        return f"{where}: the disk is full; free some space, or choose another --workspace"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "readonly" in str(error):
        return f"{where}: no permission; change it, or choose another --workspace"
    return f"{where}: {getattr(error, 'strerror', None) or error}"


if __name__ == "__main__":
    sys.exit(main())
