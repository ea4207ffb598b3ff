"""Quality of a model's pictures against a collection: the `evaluate` command."""

import json
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, ValidationError

from components.common.durable import replacing, write_text
from components.common.images import float_to_pixels, pair_sheet
from components.families import FAMILIES
from interfaces.contract import Message, explain
from interfaces.errors import RefusedError
from interfaces.igdt import ImageGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.ipdt import IPDT
from interfaces.measurement import EvaluationSettings, Figures
from interfaces.progress import Progress, ProgressEvent, within
from interfaces.record import Origin

if TYPE_CHECKING:
    from torch import Tensor

    from components.metrics import Reference

NUM_PAIRS = 24


class Evaluation(Message):
    """A model's figures beside those of real pictures in its place."""

    figures: Figures = Field(description="Of the model's pictures.")
    floor: Figures | None = Field(
        description="Of as many real pictures, or as many as there are; None of too few."
    )

    def lines(self) -> list[str]:
        """The figures as a person reads them."""
        found = [measurement.line() for measurement in self.figures.overall]
        if self.floor is not None:
            found.append(self.floor.floor_line())
        styles = dict.fromkeys(one.style for one in self.figures.by_style if one.style)
        return found + [self._style_line(style) for style in styles]

    def _style_line(self, style: str) -> str:
        told: list[str] = []
        figures = [one for one in self.figures.by_style if one.style == style]
        for one in figures:
            real = self.floor.find(one.metric, style) if self.floor else None
            told.append(one.short() + (f" (real: {real.value:.4f})" if real else ""))
        return f"{style}, {figures[0].num_real} pictures of either: {', '.join(told)}"


def evaluate(
    generator: ImageGenerator,
    model: IGME,
    prepared: IPDT,
    settings: EvaluationSettings,
    folder: Path,
    cache: Path,
    progress: Progress,
) -> Evaluation:
    """Measure `settings.count` pictures of a model against a prepared set.

    Pictures are asked for in the proportions of the styles compared with, so that a model is not
    blamed for another mix of styles. Writes `evaluation.json` into `folder`, and `nearest.png` (the
    least original pictures beside their nearest) where the model knows its training set. Raises
    `AtelierError` where the two have no style or no size in common.
    """
    if prepared.resolution != model.resolution:
        raise RefusedError(
            f"{prepared.name} was prepared at {prepared.resolution} pixels, the model makes "
            f"{model.resolution}; prepare it at {model.resolution}"
        )
    reference = _reference(
        prepared, settings, model.held_out_fraction, settings.count, cache, progress
    )
    counts = np.bincount(prepared.labels()[reference.places], minlength=len(prepared.styles))
    try:
        requests = _requests(model, prepared.styles, counts, settings)
    except ValidationError as error:
        raise RefusedError(explain(error, "evaluate")) from error
    ends = [0, *accumulate(request.count for request in requests)]
    made = [
        _pictures(generator, model, request, within(progress, before, ends[-1]))
        for request, before in zip(requests, ends, strict=False)
    ]
    pixels = np.concatenate([part for part, _ in made])
    features = reference.network.extract(pixels, progress)
    found = _evaluated(reference, features, _labels(requests, prepared.styles), cache)
    _write(folder, {"model_digest": model.digest}, settings, found)
    _write_nearest(folder, prepared, pixels, [near for _, part in made for near in part])
    return found


def evaluate_pictures(
    made: IPDT,
    prepared: IPDT,
    settings: EvaluationSettings,
    folder: Path,
    cache: Path,
    progress: Progress,
) -> Evaluation:
    """Measure all pictures of one prepared set against all of another, whatever made them.

    Where the two have styles of the same names, those are compared style by style; where they have
    none, each style of the second is looked for among all pictures of the first. Writes
    `evaluation.json` into `folder`. Raises `RefusedError` where their sizes differ.
    """
    from components.metrics import reference_features

    if made.resolution != prepared.resolution:
        raise RefusedError(
            f"{made.name} was prepared at {made.resolution} pixels, {prepared.name} at "
            f"{prepared.resolution}; prepare both at one size"
        )
    settings = settings.model_copy(update={"against": "all"})
    reference = _reference(prepared, settings, 0.0, made.num_images, cache, progress)
    features = reference_features(made, reference.network, cache, progress)
    found = _evaluated(reference, features, _shared_labels(made, prepared.styles), cache)
    _write(folder, {"generated_digest": made.digest}, settings, found)
    return found


def _shared_labels(made: IPDT, styles: Sequence[str]) -> np.ndarray | None:
    """Each picture's place in the other set's styles, -1 where it has no such style.

    None where the two sets share no style.
    """
    if not set(made.styles) & set(styles):
        return None
    places = [styles.index(style) if style in styles else -1 for style in made.styles]
    return np.array(places)[made.labels()]


def _reference(
    prepared: IPDT,
    settings: EvaluationSettings,
    held_out_fraction: float,
    count: int,
    cache: Path,
    progress: Progress,
) -> "Reference":
    from components.metrics import Reference, load_features, rows

    places = rows(prepared, settings.against, held_out_fraction)
    network = load_features(
        settings.features, settings.inception_weights, settings.device, progress
    )
    return Reference.open(prepared, network, places, settings.against, count, cache, progress)


def _evaluated(
    reference: "Reference", features: "Tensor", labels: np.ndarray | None, cache: Path
) -> Evaluation:
    return Evaluation(
        figures=reference.figures(features, labels), floor=reference.floor(len(features), cache)
    )


def _labels(requests: Sequence[IGS], styles: Sequence[str]) -> np.ndarray | None:
    """Each picture's place in the styles; None where no style was asked for."""
    labels = [
        np.full(request.count, styles.index(request.style))
        for request in requests
        if request.style is not None
    ]
    return np.concatenate(labels) if labels else None


def _write(
    folder: Path, whose: dict[str, str], settings: EvaluationSettings, found: Evaluation
) -> None:
    """`evaluation.json`: the figures, and all that they depend on."""
    content = whose | {
        "settings": settings.model_dump(mode="json"),
        "measurements": [one.model_dump(mode="json") for one in found.figures.overall],
        "by_style": [one.model_dump(mode="json") for one in found.figures.by_style],
        "floor": found.floor.model_dump(mode="json") if found.floor else None,
    }
    write_text(folder / "evaluation.json", json.dumps(content, indent=2) + "\n")


def _requests(
    model: IGME, styles: Sequence[str], counts: np.ndarray, settings: EvaluationSettings
) -> list[IGS]:
    """Requests to the generator: each style gets its share, and seeds follow one another."""
    asked = partial(IGS, device=settings.device, options=settings.options)
    # A family that is not in the table is the generator's to know, or to name as unknown.
    if model.family not in FAMILIES or not FAMILIES[model.family].is_conditional:
        return [asked(count=settings.count, seed=settings.seed)]
    compared = [style for style, count in zip(styles, counts, strict=True) if count]
    known = [style for style in compared if style in model.styles]
    if not known:
        raise RefusedError(
            f"the model knows {', '.join(model.styles)} and the pictures compared with have "
            f"{', '.join(compared)}: no style in common to compare"
        )
    shares = np.array([counts[styles.index(style)] for style in known], dtype=float)
    ends = np.rint(np.cumsum(shares) / shares.sum() * settings.count).astype(int)
    starts = [0, *ends[:-1]]
    return [
        asked(count=int(end - start), seed=settings.seed + int(start), style=style)
        for style, start, end in zip(known, starts, ends, strict=True)
        if end > start
    ]


def _pictures(
    generator: ImageGenerator, model: IGME, request: IGS, progress: Progress
) -> tuple[np.ndarray, list[tuple[float, str] | None]]:
    """Pixels (n, S, S, 3), and of each picture its originality and its nearest's digest."""
    parts: list[np.ndarray] = []
    nearest: list[tuple[float, str] | None] = []
    for batch in generator.generate(model, request):
        parts.append(float_to_pixels(batch.images))
        nearest.extend(map(_nearest_of, batch.origins))
        progress(
            ProgressEvent(
                stage="generate", done=len(nearest), total=request.count, note=request.style or ""
            )
        )
    return np.concatenate(parts), nearest


def _nearest_of(origin: Origin) -> tuple[float, str] | None:
    if origin.kind != "generated" or origin.originality is None or origin.nearest_sha256 is None:
        return None
    return origin.originality, origin.nearest_sha256


def _write_nearest(
    folder: Path,
    prepared: IPDT,
    pixels: np.ndarray,
    nearest: Sequence[tuple[float, str] | None],
) -> None:
    place_of = {digest: place for place, digest in enumerate(prepared.sources())}
    pairs = sorted(
        (near[0], n, place_of[near[1]])
        for n, near in enumerate(nearest)
        if near is not None and near[1] in place_of
    )[:NUM_PAIRS]
    # Of an earlier evaluation, it would not belong to these figures.
    (folder / "nearest.png").unlink(missing_ok=True)
    if pairs:
        made, real = (np.array([pair[n] for pair in pairs]) for n in (1, 2))
        with replacing(folder / "nearest.png") as temporary:
            pair_sheet(pixels[made], prepared.images()[real]).save(temporary)
