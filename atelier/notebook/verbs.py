"""The verbs that make something, as functions of Python's own types.

Any other setting of a verb is a keyword with its flag's name: `generate(truncation=0.7)` goes
into the family's options, `train(family="r3gan")` into the training's settings.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atelier.choices import check_generation, choose
from atelier.exporting import ExportFormat
from atelier.exporting.writing import is_enlarger, write_export
from atelier.interpolation import (
    OF_THE_WAY,
    Interpolation,
    check_way,
    layer_between,
    write_interpolation,
)
from atelier.notebook.given import (
    AnyModel,
    given_settings,
    layer_of,
    named_paths,
    opened_model,
    parts_for,
    sorted_settings,
)
from atelier.notebook.pictures import Pictures
from atelier.notebook.training import Training
from atelier.own_files.reworking import (
    check_reads_pictures,
    open_rework,
    refuse_needless,
    settings_of_rework,
)
from atelier.running import Begin, go_whole_way, train_model, whole_way
from atelier.runs import Run
from atelier.workspace import Workspace
from components.common.durable import write_bytes
from components.conversion import find_pictures, read_picture
from interfaces.components import Components
from interfaces.errors import RefusedError
from interfaces.ics import AnimationFormat
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import TrainingSettings
from interfaces.igs import IGS
from interfaces.iodt import check_conversion
from interfaces.places import Url, expanded, fetched, place_of
from settings import RunSettings, merge


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
    chosen = choose(layer_of(data, preset, resolution, sorted_settings(settings, TrainingSettings)))
    with parts_for(workspace, chosen) as (place, parts):
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
    layer = layer_of(data, preset, resolution, sorted_settings(settings, TrainingSettings))
    given = {"generate": generate, "enhance": enhance, "convert": convert}
    asked = {name: dict(fields) for name, fields in given.items() if fields}
    chosen = choose(merge(layer, asked))
    with parts_for(workspace, chosen) as (place, parts):
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
    asked = sorted_settings(settings | {"seeds": _seeds_in_words(seeds), "style": style}, IGS)
    chosen = choose({"generate": asked})
    with parts_for(workspace, chosen) as (place, parts):
        opened = opened_model(model, place, chosen.generate)
        check_generation(chosen, opened.family, opened.styles)
        made = parts.generation.generate(opened, chosen.generate, parts.ui.watch)
        return Pictures(list(made))


def interpolate(
    between: str | Iterable[int],
    model: AnyModel = None,
    *,
    frames: int = 12,
    format: AnimationFormat = "webp",
    frames_per_second: float = 12.0,
    scale: int | None = None,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> Interpolation:
    """Morph each seed's picture into the next one's: an animation, and all its frames on one sheet.

    `between` are two seeds or more, as numbers or as "3,7,12"; `frames`, 1 or more, is how many
    pictures lie from each to the next. The files hold H x W pixels of the model, each side times
    `scale`; they are written into the workspace, over those of the same way. `settings` are those
    of `pipeline.py interpolate --help`. Raises `AtelierError` for what the way decides itself
    (seeds, count and their kind), and for what the model's family cannot do.
    """
    if decided := set(OF_THE_WAY) & settings.keys():
        raise RefusedError(f"interpolate: {min(decided)} is said by `between`; leave it out")
    asked = {"generate": sorted_settings(settings, IGS)}
    enlarged = {"enhance": given_settings({"scale": scale})}
    chosen = choose(merge(asked, enlarged, layer_between(_seeds_in_words(between))))
    check_way(chosen.generate, frames, frames_per_second)
    with parts_for(workspace, chosen) as (place, parts):
        opened = opened_model(model, place, chosen.generate)
        return write_interpolation(parts, place, opened, chosen, frames, format, frames_per_second)


def _seeds_in_words(seeds: str | Iterable[int]) -> str:
    return seeds if isinstance(seeds, str) else ",".join(map(str, seeds))


def rework(
    pictures: str | Path | Iterable[str | Path],
    model: AnyModel = None,
    *,
    workspace: str | Path = "workspace",
    **settings: Any,
) -> Pictures:
    """Make a new picture from each of a person's own, in memory: nothing is kept until saved.

    `pictures` are files and folders. Each comes back as the model makes it, in its size for models
    of one size, with what the file held beside its pixels. `settings` are those of `pipeline.py
    rework --help`, such as `prompt`, `style` and `source_strength`. Raises `AtelierError` for a
    model that reads no pictures, and for the first file that it can do nothing with.
    """
    found = list(find_pictures(map(expanded, named_paths(pictures))))
    asked = {"generate": sorted_settings(settings, IGS)}
    refuse_needless(asked)
    chosen = settings_of_rework(asked, found[0])
    with parts_for(workspace, chosen) as (place, parts):
        opened = opened_model(model, place, chosen.generate, repaints=True)
        check_reads_pictures(opened)
        work = open_rework(parts, place, opened, chosen)
        return Pictures([work.read(path) for path in found])


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
    chosen = choose({"enhance": given_settings(settings) | {"scale": scale}})
    with parts_for(workspace, chosen) as (_, parts):
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

    `format` is png, jpeg, webp, avif or tiff; `settings` are others of
    conversion. Raises `RefusedError` for a file that is there already.
    """
    chosen = choose({"convert": given_settings(settings) | {"format": format}})
    written: list[Path] = []
    with parts_for(workspace, chosen) as (_, parts):
        check_conversion(parts.conversion, chosen.convert)
        for number, image in enumerate(
            parts.conversion.convert(_enlarged(pictures, parts), chosen.convert)
        ):
            path = expanded(Path(folder)) / f"{number:04d}{image.suffix}"
            if path.exists():
                raise RefusedError(f"{path}: is there already; name another folder")
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
    with parts_for(workspace, choose({})) as (place, parts):
        named = isinstance(model, str | Path) and is_enlarger(str(model))
        what = str(model) if named else opened_model(model, place, IGS())
        return list(write_export(what, to, target, parts.ui.watch).files)


def _beginning(place: Workspace, verb: str, chosen: RunSettings) -> Begin:
    """A function begins a new run every time; its folder stands in what it returns."""
    return lambda name: Run.begin(place, verb, chosen, name)


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
