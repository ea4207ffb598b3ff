"""Paper 004's experiments with drawings reproduced as figures and numbers, beside ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, FiniteFloat, ValidationError

from atelier.experiments.sketch.figures import (
    LABELS,
    PAPER_SIDE,
    PaperFigure,
    Studio,
    Subject,
    draw_sketch_curves,
    paper_figures,
    write_png,
)
from atelier.experiments.sketch.numbers import (
    METHODS,
    NUM_UNRELATED,
    Claim,
    Comparison,
    Method,
    Point,
    Ruler,
    SketchNumbers,
    claims,
    compare_curves,
)
from atelier.experiments.words import csv_table, markdown_table, spaced
from components.common.durable import write_text
from components.common.images import pixels_to_float
from components.families.drawing import strokes_of_pictures
from interfaces.contract import Message, Sha256
from interfaces.errors import NotFoundError, RefusedError
from interfaces.experiments import FIGURE_COUNT, SketchStudySettings
from interfaces.igdt import ImageGenerator
from interfaces.igme import IGME, Trainer, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import Progress, ProgressEvent, as_part

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StudiedModel(Message):
    """One of the three models, as far as a reader must know it."""

    digest: Sha256
    images_seen: int


class SketchStudy(Message):
    """All that a study found; its pictures and `report.md` lie beside it."""

    dataset_name: str
    dataset_digest: Sha256
    num_images: int
    num_held_out: int
    resolution: int
    models: dict[Method, StudiedModel]
    settings: SketchStudySettings
    drawings: tuple[Sha256, ...] = Field(description="Digests of the drawings' own files.")
    nearest: tuple[FiniteFloat, ...] = Field(
        description="From each to the nearest training picture, in the mean between two of them."
    )
    tolerance: FiniteFloat = Field(description="Of strokes, pixels.")
    training_distance: FiniteFloat = Field(description="Mean between two training pictures.")
    training_detail: FiniteFloat = Field(description="Mean square of their detail.")
    training_grain: FiniteFloat = Field(description="Mean square of what is finer.")
    figures: tuple[PaperFigure, ...]
    from_noise: SketchNumbers = Field(
        description="The baseline's pictures without a drawing, against each of the drawings."
    )
    points: tuple[Point, ...] = Field(description="Of the three curves.")
    comparison: Comparison | None = Field(description="None: no variety is reached by all three.")
    claims: tuple[Claim, ...]


def train_methods(
    trainer: Trainer,
    prepared: IPDT,
    settings: TrainingSettings,
    folder: Path,
    progress: Progress,
) -> dict[Method, IGME]:
    """A model of each method, alike in all but how a drawing is used.

    Each is trained in `folder/<method>/training`. The call can be killed and repeated: the trainer
    goes on with what it finds.
    """
    models: dict[Method, IGME] = {}
    for place, method in enumerate(METHODS, start=1):
        watch = as_part(progress, f"{method} ({place} of {len(METHODS)})")
        options = settings.options | {"conditioning": method}
        own = settings.model_copy(update={"options": options})
        models[method] = trainer.train(prepared, own, folder / method / "training", watch)
    return models


def study_sketches(
    generator: ImageGenerator,
    models: Mapping[Method, IGME],
    prepared: IPDT,
    settings: SketchStudySettings,
    folder: Path,
    cache: Path,
    progress: Progress,
) -> SketchStudy:
    """Reproduce paper 004's Figs. 4 to 16, and draw curves of fidelity over variety.

    `models` are three of sketch_diffusion that learnt from `prepared`, one of each conditioning.
    Writes into `folder` `report.md` with its pictures, `curves.csv` and `study.json`. The folder
    `cache` keeps each point of the curves as soon as it is found, so that a call that was broken
    off goes on with the next. Raises `AtelierError` where models and pictures do not belong
    together, or too few pictures with strokes were held out.
    """
    _check(models, prepared)
    bench = _bench(models["guided"], prepared, settings, folder, cache, progress)
    ruler, subjects, training = bench.ruler, bench.subjects, bench.training
    studio = _studio(generator, models, ruler, settings, folder, progress)
    shown = prepared.images()[training[np.arange(FIGURE_COUNT) * len(training) // FIGURE_COUNT]]
    figures = paper_figures(studio, subjects[0], subjects[1], shown, settings.guided_radius)
    made = studio.pictures("noised_image", None, studio.seeds(settings.seeds))
    from_noise = ruler.numbers([ruler.judge(made, subject.drawn) for subject in subjects])
    points = tuple(_points(studio, subjects, settings, _key(models, prepared, bench.places), cache))
    study = _study(bench, prepared, models, settings, figures, from_noise, points)
    _write(study, folder)
    return study


@dataclass(frozen=True)
class _Bench:
    """Measuring tools of a study, and the held-out pictures that serve as drawings."""

    ruler: Ruler
    subjects: list[Subject]
    places: NDArray[np.int64]
    """Places of the drawings in the prepared set."""
    training: NDArray[np.int64]
    """Places of the pictures that were learnt from."""
    features: NDArray[np.float32]
    """Features (N, F) of every picture of the prepared set."""
    num_held_out: int


def _bench(
    model: IGME,
    prepared: IPDT,
    settings: SketchStudySettings,
    folder: Path,
    cache: Path,
    progress: Progress,
) -> _Bench:
    from components.metrics import load_features, reference_features

    network = load_features("embedded", None, settings.device, progress)
    features = reference_features(prepared, network, cache, progress).numpy()
    training, held_out = prepared.split(model.held_out_fraction)
    ruler = Ruler.of(network, prepared.images(), features, training)
    places = _drawings(prepared, held_out, settings.drawings)
    subjects = [_subject(prepared, int(place), n, ruler, folder) for n, place in enumerate(places)]
    return _Bench(ruler, subjects, places, training, features, len(held_out))


def _study(
    bench: _Bench,
    prepared: IPDT,
    models: Mapping[Method, IGME],
    settings: SketchStudySettings,
    figures: tuple[PaperFigure, ...],
    from_noise: SketchNumbers,
    points: tuple[Point, ...],
) -> SketchStudy:
    """All that was found, with what it rests on and the claims judged by it."""
    ruler, learnt = bench.ruler, bench.features[bench.training]
    comparison = compare_curves(points)
    return SketchStudy(
        dataset_name=prepared.name,
        dataset_digest=prepared.digest,
        num_images=prepared.num_images,
        num_held_out=bench.num_held_out,
        resolution=prepared.resolution,
        models={
            method: StudiedModel(digest=model.digest, images_seen=model.images_seen)
            for method, model in models.items()
        },
        settings=settings,
        drawings=tuple(prepared.sources()[int(place)] for place in bench.places),
        nearest=tuple(_nearest(subject, learnt, ruler) for subject in bench.subjects),
        tolerance=ruler.tolerance,
        training_distance=ruler.training_distance,
        training_detail=ruler.training_detail,
        training_grain=ruler.training_grain,
        figures=figures,
        from_noise=from_noise,
        points=points,
        comparison=comparison,
        claims=claims(points, from_noise, comparison),
    )


def _studio(
    generator: ImageGenerator,
    models: Mapping[Method, IGME],
    ruler: Ruler,
    settings: SketchStudySettings,
    folder: Path,
    progress: Progress,
) -> Studio:
    return Studio(
        generator=generator,
        models=models,
        ruler=ruler,
        folder=folder,
        common={"steps": settings.steps, "sampler": settings.sampler},
        first_seed=settings.seed,
        device=settings.device,
        watch=_watch(settings, progress),
    )


def _check(models: Mapping[Method, IGME], prepared: IPDT) -> None:
    for method in METHODS:
        if method not in models:
            raise NotFoundError(f"study: there is no model of conditioning {method}; train one")
        model = models[method]
        found = model.config.get("conditioning")
        if model.family != "sketch_diffusion" or found != method:
            raise RefusedError(
                f"{model.directory}: is {model.family} of conditioning {found}; the study needs "
                f"sketch_diffusion of {method}"
            )
        if model.dataset_digest != prepared.digest:
            raise RefusedError(
                f"{model.directory}: did not learn from {prepared.name} as it is now; train it on "
                "that"
            )
    if len({models[method].held_out_fraction for method in METHODS}) > 1:
        raise RefusedError("study: the models held out other pictures each; train them alike")


def _drawings(prepared: IPDT, held_out: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Places of held-out pictures with strokes, by their digests: no order of the collection's."""
    sources = prepared.sources()
    first_of = {sources[int(place)]: int(place) for place in held_out[::-1]}
    found: list[int] = []
    for digest in sorted(first_of):
        place = first_of[digest]
        if strokes_of_pictures(pixels_to_float(prepared.images()[place][None])).any():
            found.append(place)
        if len(found) == count:
            return np.array(found)
    raise RefusedError(
        f"{prepared.name}: {len(found)} pictures with strokes were held out, and the study needs "
        f"{count}; ask for fewer drawings, or train with a larger held_out_fraction"
    )


def _subject(prepared: IPDT, place: int, number: int, ruler: Ruler, folder: Path) -> Subject:
    pixels = np.array(prepared.images()[place])
    path = folder / "drawings" / f"{number + 1:02}.png"
    write_png(path, pixels)
    style = prepared.styles[int(prepared.labels()[place])]
    return Subject(path=path, style=style, pixels=pixels, drawn=ruler.drawn(pixels))


def _nearest(subject: Subject, training: NDArray[np.float32], ruler: Ruler) -> float:
    apart = np.linalg.norm(training - subject.drawn.features, axis=1)
    return float(apart.min()) / ruler.training_distance


def _watch(settings: SketchStudySettings, progress: Progress) -> Callable[[int, str], None]:
    """Counts the pictures that were made."""
    others = 7 * FIGURE_COUNT + 10 + settings.seeds
    total = others + len(list(_plan(settings))) * settings.drawings * settings.seeds
    done = 0

    def watch(made: int, note: str) -> None:
        nonlocal done
        done += made
        progress(ProgressEvent(stage="study", done=done, total=total, note=note))

    return watch


# ---------------------------------------------------------------- the curves


def _plan(settings: SketchStudySettings) -> Iterator[tuple[Method, float, float]]:
    """Method, intensity or radius, and guidance of each point."""
    for intensity in settings.intensities:
        yield "noised_image", float(intensity), 1.0
    for radius in settings.radii:
        yield "radius_mask", radius, 1.0
    for guidance in settings.sketch_guidances:
        for radius in settings.radii:
            yield "guided", radius, guidance


def _points(
    studio: Studio,
    subjects: Sequence[Subject],
    settings: SketchStudySettings,
    key: Mapping[str, object],
    cache: Path,
) -> Iterator[Point]:
    """Each point of the plan, made or found in the cache."""
    for method, setting, guidance in _plan(settings):
        asked = dict(key) | {
            "model": studio.models[method].digest,
            "settings": [settings.seeds, settings.seed, settings.steps, settings.sampler],
            "point": [method, setting, guidance],
            "ruler": [studio.ruler.network.sha256, studio.ruler.tolerance],
        }
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        path = cache / "sketch_study" / f"{name}.json"
        point = _read(path)
        if point is None:
            point = _point(studio, subjects, settings.seeds, method, setting, guidance)
            write_text(path, point.model_dump_json() + "\n")
        else:
            studio.watch(point.numbers.pictures, method)
        yield point


def _key(
    models: Mapping[Method, IGME], prepared: IPDT, places: NDArray[np.int64]
) -> dict[str, object]:
    """Facts that a point depends on besides its model and its settings."""
    fraction = models["guided"].held_out_fraction
    return {"prepared": prepared.digest, "held out": fraction, "drawings": places.tolist()}


def _read(path: Path) -> Point | None:
    """A point of an earlier call; a damaged file is none."""
    try:
        return Point.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _point(
    studio: Studio,
    subjects: Sequence[Subject],
    count: int,
    method: Method,
    setting: float,
    guidance: float,
) -> Point:
    options = {"intensity" if method == "noised_image" else "radius": setting}
    if method == "guided":
        options["sketch_guidance"] = guidance
    judged = [
        studio.ruler.judge(
            studio.pictures(method, subject, studio.seeds(count), **options), subject.drawn
        )
        for subject in subjects
    ]
    return studio.ruler.point(method, setting, guidance, judged)


# ---------------------------------------------------------------- what is written


def _write(study: SketchStudy, folder: Path) -> None:
    draw_sketch_curves(folder / "curves.png", study.points, study.from_noise)
    write_text(folder / "curves.csv", csv_table([_flat(point) for point in study.points]))
    write_text(folder / "study.json", study.model_dump_json(indent=2) + "\n")
    write_text(folder / "report.md", report(study))


def _flat(point: Point) -> dict[str, object]:
    fields = point.model_dump(exclude={"numbers", "by_drawing"})
    return fields | point.numbers.model_dump()


def report(study: SketchStudy) -> str:
    """The whole report, as Markdown; its pictures lie beside it."""
    parts = [
        f"# Drawings that survive: paper 004 on {study.dataset_name}",
        claims_section(study.claims),
        _what_it_rests_on(study),
        _how_to_read(study),
        *(_figure_section(figure) for figure in study.figures),
        _curves_section(study),
    ]
    return "\n\n".join(parts) + "\n"


def claims_section(found: Sequence[Claim]) -> str:
    """Markdown section that says which of the paper's claims, and of ours, hold."""
    num = sum(claim.holds for claim in found)
    rows = [
        f"| {claim.name} | {'yes' if claim.holds else '**no**'} | {claim.figures} | {claim.rule} |"
        for claim in found
    ]
    # By hand: sentences read from the left, in every column.
    table = ["| claim | holds | found | holds when |", "| --- | --- | --- | --- |", *rows]
    return (
        f"## The claims\n\n{num} of {len(found)} hold. The first five are the paper's, the last is "
        "ours; figures are means over the drawings and seeds of the curves.\n\n"
    ) + "\n".join(table)


def _what_it_rests_on(study: SketchStudy) -> str:
    settings = study.settings
    seen = {method: spaced(model.images_seen) for method, model in study.models.items()}
    learnt = (
        f"each saw {seen['guided']} images"
        if len(set(seen.values())) == 1
        else "they saw different numbers of images, so their curves cannot be compared fairly: "
        + ", ".join(f"{method} {count}" for method, count in seen.items())
    )
    last = settings.seed + FIGURE_COUNT - 1
    return (
        "## What it rests on\n\n"
        f"- Pictures: {study.dataset_name}, {study.num_images} of {study.resolution}×"
        f"{study.resolution}; {study.num_held_out} of them were held out of training, and all "
        "drawings below are of these.\n"
        f"- Models: three of sketch_diffusion; {learnt}.\n"
        f"- Pictures are made by {settings.sampler} in {settings.steps} steps from full noise, "
        "fewer from less. In the figures the seeds are "
        f"{settings.seed} to {last}; in the curves each point is {settings.drawings} drawings × "
        f"{settings.seeds} seeds, from {settings.seed} on, the same at every point.\n"
        f"- Radii are in pixels at {PAPER_SIDE}×{PAPER_SIDE}; here one of 7 is "
        f"{7 * study.resolution / PAPER_SIDE:g} pixels. They grow with the resolution.\n"
        "- Drawings are given as pictures: under the noise lies the drawing itself, and what "
        "counts as drawn is found in it as in training. They were not learnt from: the nearest "
        f"training picture lies {min(study.nearest):.2f} to {max(study.nearest):.2f} mean "
        "distances away, by features."
    )


def _how_to_read(study: SketchStudy) -> str:
    return (
        "## How to read the numbers\n\n"
        f"- **kept**: the share of the drawing's strokes that have a stroke of the picture within "
        f"{study.tolerance:g} pixels; **near**: the share of the picture's strokes that have one "
        "of the drawing's. **overlap** is their harmonic mean.\n"
        f"- **fidelity** is the overlap corrected for chance, (overlap - chance) / (1 - chance), "
        f"where chance is the overlap that unrelated pictures have ({NUM_UNRELATED} of the "
        "training set at most): 0 is chance, 1 is perfect, less than 0 is worse than chance.\n"
        "- **feature distance**: from the drawing's own picture, in the project's own features, "
        "divided by the mean distance between two training pictures "
        f"({study.training_distance:.3g}).\n"
        "- **stability** is the mean distance in features between two pictures of one drawing: the "
        "lower, the more stable. **variety** is that, divided by the mean distance between two "
        "training pictures: 1 is as varied as the training set.\n"
        "- **detail**: the energy of structure of a few pixels (between blurs of σ = 1 and 4 "
        "pixels of 64), divided by that of the training pictures; **grain**: the same of what is "
        "finer, where much more than 1 is noise that was left over."
    )


_COLUMNS: dict[str, Callable[[SketchNumbers], str]] = {
    "pictures": lambda numbers: str(numbers.pictures),
    "kept": lambda numbers: f"{numbers.kept:.2f}",
    "near": lambda numbers: f"{numbers.near:.2f}",
    "overlap (chance)": lambda numbers: f"{numbers.overlap:.2f} ({numbers.chance:.2f})",
    "fidelity": lambda numbers: f"{numbers.fidelity:.3f}",
    "feature distance": lambda numbers: f"{numbers.feature_distance:.2f}",
    "stability": lambda numbers: _optional(numbers.spread, 3),
    "variety": lambda numbers: _optional(numbers.variety, 3),
    "detail": lambda numbers: f"{numbers.detail:.2f}",
    "grain": lambda numbers: f"{numbers.grain:.2f}",
}


def _optional(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _figure_section(figure: PaperFigure) -> str:
    parts = [f"## {figure.title}"]
    for sheet in figure.sheets:
        parts += [f"![{sheet.file}]({sheet.file})", sheet.caption]
    if figure.numbers:
        rows = [
            ["", *_COLUMNS],
            *(
                [label, *(tell(numbers) for tell in _COLUMNS.values())]
                for label, numbers in figure.numbers.items()
            ),
        ]
        parts.append(markdown_table(rows).rstrip())
    return "\n\n".join(parts)


def _curves_section(study: SketchStudy) -> str:
    nothing = study.from_noise
    parts = [
        "## Fidelity over variety",
        "![curves.png](curves.png)",
        "Each dot is one intensity (baseline) or one radius; the broad line behind is the upper "
        "envelope: what is reached by that method's best settings, or by mixing two of them. All "
        "points are in `curves.csv`. The star is the baseline without a drawing: its pictures have "
        f"fidelity {nothing.fidelity:.3f}, since they know how such pictures look, and variety "
        f"{_optional(nothing.variety, 3)}.",
        _comparison(study.comparison),
    ]
    for method in METHODS:
        rows = [
            [_setting(method), *_COLUMNS],
            *(
                [_told(point), *(tell(point.numbers) for tell in _COLUMNS.values())]
                for point in study.points
                if point.method == method
            ),
        ]
        parts += [f"### {LABELS[method]}", markdown_table(rows).rstrip()]
    return "\n\n".join(parts)


def _setting(method: Method) -> str:
    return "intensity" if method == "noised_image" else "radius"


def _told(point: Point) -> str:
    strength = f", sketch_guidance {point.sketch_guidance:g}" if point.sketch_guidance != 1 else ""
    return f"{point.setting:g}{strength}"


def _comparison(found: Comparison | None) -> str:
    """Fidelity at equal variety, and which curve lies above."""
    if found is None:
        return "No variety is reached by all three, so they cannot be compared at equal variety."
    rows = [
        ["fidelity at variety", *(f"{variety:.3f}" for variety in found.varieties), "mean"],
        *(
            [
                LABELS[method],
                *(f"{value:.3f}" for value in found.fidelity[method]),
                f"**{found.mean_fidelity[method]:.3f}**",
            ]
            for method in METHODS
        ),
    ]
    best = max(METHODS, key=lambda method: found.mean_fidelity[method])
    leads = "; ".join(
        f"over {method} {lead.value:+.3f}, 95 % interval {lead.low:+.3f} to {lead.high:+.3f}"
        for method, lead in found.lead.items()
    )
    return (
        f"{markdown_table(rows)}\nThe range is what all three reach. The mean is the area under "
        f"the envelope over it, by its width; {best} has the most. The lead of guided: {leads} "
        "(jackknife over drawings)."
    )
