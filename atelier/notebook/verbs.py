"""The verbs: train, run, generate, enhance, convert, export, as functions of Python's own types.

Any other setting of a verb is a keyword with its flag's name: `generate(truncation=0.7)` goes
into the family's options, `train(family="r3gan")` into the training's settings.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atelier.assembly import assemble
from atelier.choices import check_generation, choose
from atelier.exporting import ExportFormat
from atelier.exporting.writing import is_enlarger, write_export
from atelier.hearing import hear
from atelier.models import pick_model
from atelier.notebook.pictures import Pictures
from atelier.notebook.training import Training
from atelier.running import Begin, go_whole_way, train_model, whole_way
from atelier.runs import Run
from atelier.workspace import Workspace
from components.common.durable import write_bytes
from components.conversion import find_pictures, read_picture
from interfaces.components import Components
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME, TrainingSettings
from interfaces.igs import IGS
from interfaces.places import Url, expanded, fetched, place_of
from settings import Layer, RunSettings, load_preset, merge

AnyModel = IGME | Training | str | Path | None
"""A model; what `train` returned; a run's or model's name or folder; None: the default."""

_OF_THE_SHOW = "atelier.notebook.watching:create"
"""The user interface that shows progress in a notebook."""


def train(
    data: str | Path | None = None,
    *,
    workspace: str | Path = "workspace",
    preset: str | Iterable[str] = (),
    resolution: int | None = None,
    **settings: Any,
) -> Training:
    """Train a model on a collection: a folder, an archive, a table; None is the embedded one.

    `settings` are those of `pipeline.py train --help`, such as `total_images`, `total_seconds`,
    `family`, `start_from` and `seed`; what is no such name goes into the family's options. Raises
    `AtelierError` for what cannot work, before anything is trained.
    """
    chosen = choose(_layer(data, preset, resolution, _sorted(settings, TrainingSettings)))
    with _parts(workspace, chosen) as (place, parts):
        trained, model = train_model(parts, chosen, _beginning(place, "train", chosen))
    return Training(trained.folder, model)


def run(
    data: str | Path | None = None,
    *,
    workspace: str | Path = "workspace",
    preset: str | Iterable[str] = (),
    resolution: int | None = None,
    generate: Mapping[str, Any] | None = None,
    enhance: Mapping[str, Any] | None = None,
    convert: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Path]:
    """Go the whole way: train, generate, enlarge, encode, keep; returns the first 100 files.

    `settings` are the training's, as in `train`; the other three hold what each stage is to do:
    `run(generate={"count": 16}, enhance={"scale": 4})`.
    """
    layer = _layer(data, preset, resolution, _sorted(settings, TrainingSettings))
    given = {"generate": generate, "enhance": enhance, "convert": convert}
    asked = {name: dict(fields) for name, fields in given.items() if fields}
    chosen = choose(merge(layer, asked))
    with _parts(workspace, chosen) as (place, parts):
        begin = _beginning(place, "run", chosen)
        _, results = go_whole_way(parts, chosen, begin, whole_way())
    return [fetched(result.path) for result in results]


def generate(
    model: AnyModel = None,
    seeds: str | Iterable[int] = "0-7",
    *,
    style: str | None = None,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> Pictures:
    """Make one picture for each seed, in memory: nothing is kept until they are saved.

    `seeds` are numbers, or text such as "0-15" or "3,7,12". `settings` are those of `pipeline.py
    generate --help`, such as `sketch`, `source` and `prompt`; what is no such name goes into the
    family's options. Without a style each seed chooses one.
    """
    text = seeds if isinstance(seeds, str) else ",".join(map(str, seeds))
    asked = _sorted(settings | {"seeds": text, "style": style}, IGS)
    chosen = choose({"generate": asked})
    with _parts(workspace, chosen) as (place, parts):
        opened = _opened(model, place, chosen.generate)
        check_generation(chosen, opened.family, opened.styles)
        made = parts.generation.generate(opened, chosen.generate, parts.ui.watch)
        return Pictures(list(made))


def enhance(
    pictures: Pictures | str | Path | Iterable[str | Path],
    scale: int = 4,
    *,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> Pictures:
    """Enlarge each side of pictures by `scale` (1, 4 or 16); files and folders are read first.

    `settings` are those of `pipeline.py enhance --help`, such as `enhancer` and `strength`.
    """
    chosen = choose({"enhance": _given(settings) | {"scale": scale}})
    with _parts(workspace, chosen) as (_, parts):
        batches = _batches(pictures, scale)
        enlarged = parts.enhancement.enhance(batches, chosen.enhance, parts.ui.watch)
        return Pictures(list(enlarged))


def convert(
    pictures: Pictures | str | Path | Iterable[str | Path],
    folder: str | Path,
    format: str = "png",
    *,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> list[Path]:
    """Write a numbered file for each picture into a folder, its record inside; nothing is replaced.

    `format` is png, jpeg, webp, avif or tiff; `settings` are `quality` and `lossless`.
    """
    chosen = choose({"convert": _given(settings) | {"format": format}})
    written: list[Path] = []
    with _parts(workspace, chosen) as (_, parts):
        for number, image in enumerate(
            parts.conversion.convert(_enlarged(pictures, parts), chosen.convert)
        ):
            path = expanded(Path(folder)) / f"{number:04d}{image.suffix}"
            if path.exists():
                raise FileExistsError(f"{path}: is there already; name another folder")
            write_bytes(path, image.data)
            written.append(path)
    return written


def export(
    model: AnyModel,
    to: ExportFormat,
    folder: str | Path,
    *,
    workspace: str | Path = "workspace",
) -> list[Path | Url]:
    """Write a model, or an enlarger by its name or weights file, for other programs.

    `to` is onnx, torchscript, safetensors, hub-folder, or atelier for another Atelier; `folder` is
    a new or empty one, by path or URL. Returns the files. Raises `AtelierError` for a folder that
    holds something, and for what cannot be exported so.
    """
    target = expanded(folder) if isinstance(folder, Path) else place_of(folder)
    with _parts(workspace, choose({})) as (place, parts):
        named = isinstance(model, str | Path) and is_enlarger(str(model))
        what = str(model) if named else _opened(model, place, IGS())
        return list(write_export(what, to, target, parts.ui.watch).files)


@contextmanager
def _parts(workspace: str | Path, chosen: RunSettings) -> Generator[tuple[Workspace, Components]]:
    """The workspace, and components whose progress a notebook shows."""
    place = Workspace(Path(workspace))
    parts = assemble(place.root, {"ui": _OF_THE_SHOW} | chosen.components)
    hear(parts.ui)
    try:
        yield place, parts
    finally:
        parts.ui.close()


def _beginning(place: Workspace, verb: str, chosen: RunSettings) -> Begin:
    """A function begins a new run every time; its folder stands in what it returns."""
    return lambda name: Run.begin(place, verb, chosen, name)


def _layer(
    data: str | Path | None, preset: str | Iterable[str], resolution: int | None, train: Layer
) -> Layer:
    names = [preset] if isinstance(preset, str) else list(preset)
    given: Layer = {"train": train}
    if data is not None:
        given["collect"] = {"data": str(data)}
    if resolution is not None:
        given["preprocess"] = {"resolution": resolution}
    return merge(*map(load_preset, names), given)


def _sorted(settings: Mapping[str, Any], model: type[TrainingSettings] | type[IGS]) -> Layer:
    """Keywords of the stage's own settings, and the rest as the family's options."""
    own = {name: value for name, value in settings.items() if name in model.model_fields}
    others = {name: value for name, value in settings.items() if name not in model.model_fields}
    options = {**own.pop("options", {}), **others}
    return _given(own) | ({"options": options} if options else {})


def _given(settings: Mapping[str, Any]) -> Layer:
    """What was given at all; a `Path` as text, as flags have it."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in settings.items()
        if value is not None
    }


def _opened(model: AnyModel, place: Workspace, request: IGS) -> IGME:
    if isinstance(model, Training):
        return model.model
    if isinstance(model, IGME):
        return model
    return pick_model(place, None if model is None else str(model), request).model


def _batches(pictures: Pictures | str | Path | Iterable[str | Path], scale: int) -> Iterable[IGDT]:
    if isinstance(pictures, Pictures):
        return [_as_generated(batch) for batch in pictures.batches]
    named = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    found = find_pictures(expanded(Path(each)) for each in named)
    return (read_picture(path, scale) for path in found)


def _as_generated(batch: IGDT | IEDT) -> IGDT:
    """A batch as enhancement takes it; an enlarged one may be enlarged once more."""
    if isinstance(batch, IGDT):
        return batch
    return IGDT(
        images=batch.images, origins=batch.origins, alpha=batch.alpha, carried=batch.carried
    )


def _enlarged(
    pictures: Pictures | str | Path | Iterable[str | Path], parts: Components
) -> Iterable[IEDT]:
    """Batches as conversion takes them: those enlarged as they are, others as they came."""
    if isinstance(pictures, Pictures) and all(isinstance(b, IEDT) for b in pictures.batches):
        return [batch for batch in pictures.batches if isinstance(batch, IEDT)]
    return parts.enhancement.enhance(_batches(pictures, 1), IES(scale=1), parts.ui.watch)
