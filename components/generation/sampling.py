"""From a model's folder to batches of pictures."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from components.checkpoints import load_weights
from components.devices import pick_device
from components.families import FAMILIES, Family
from components.families.port import FamilyOptions, FamilySampler, GuidedSampler, Shape
from components.families.text import nearest_style
from components.generation.inputs import read_inputs
from components.images import float_to_pixels
from components.metrics import Neighbours, load_features
from interfaces.contract import explain
from interfaces.errors import AtelierError
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.record import GeneratedOrigin

_log = logging.getLogger("atelier")

IN_FLIGHT_BYTES = 32 * 2**20
"""Pixels handed on together where the person does not say: bounds memory, keeps progress lively."""


@dataclass(frozen=True)
class Neighbour:
    """The training image nearest to a picture, where the model knows its training set."""

    originality: float | None = None
    nearest_sha256: str | None = None


def generate(model: IGME, settings: IGS) -> Iterator[IGDT]:
    """Check everything, then return the iterator that makes the pictures."""
    family = _family_of(model)
    options = _checked_options(family, settings)
    settings = _with_style_in_words(model, family, settings)
    style = _style_of(model, family, settings)
    inputs, files = read_inputs(model, family, settings)
    sampler = _load(model, family, settings.device)
    sample = partial(sampler.sample, options=options)
    if family.takes:
        guided = cast(GuidedSampler, sampler)
        sample = partial(guided.sample_from, options=options, inputs=inputs)
    originality = _originality(model, settings)
    origin = {
        "family": model.family,
        "model_digest": model.digest,
        "dataset_name": model.dataset_name,
        "dataset_digest": model.dataset_digest,
        "style": settings.style,
        "towards_style": settings.towards_style,
        "style_blend": settings.style_blend if settings.towards_style else None,
        "prompt": settings.prompt,
        "inputs": files,
        "options": options.model_dump(mode="json"),
    }
    side = model.resolution
    pixels = side**2 if inputs.source is None else max(side**2, inputs.source[0].numel())
    batch_size = settings.batch_size or max(1, IN_FLIGHT_BYTES // (3 * 4 * pixels))
    if style is None and inputs.source is not None:
        style = torch.full((len(model.styles),), 1 / len(model.styles))  # the source has its own
    return _batches(model, settings, batch_size, sample, origin, style, originality)


def _batches(
    model: IGME,
    settings: IGS,
    batch_size: int,
    sample: Callable[[Sequence[int], Tensor], Tensor],
    origin: dict[str, Any],
    style: Tensor | None,
    originality: Callable[[Tensor], list[Neighbour]] | None,
) -> Iterator[IGDT]:
    every_style = torch.eye(len(model.styles))
    chosen = settings.chosen_seeds
    for start in range(settings.skip, len(chosen), batch_size):
        seeds = chosen[start : start + batch_size]
        # Where no style was asked for, the seed chooses one, so that it alone fixes the picture.
        rows = [every_style[seed % len(every_style)] if style is None else style for seed in seeds]
        images = _made(sample, seeds, torch.stack(rows), model)
        found = originality(images) if originality else [Neighbour()] * len(seeds)
        origins = tuple(
            GeneratedOrigin(seed=seed, index=n, **origin, **asdict(neighbour))
            for n, (seed, neighbour) in enumerate(zip(seeds, found, strict=True), start)
        )
        yield IGDT(images=images.numpy(), origins=origins)


def _made(
    sample: Callable[[Sequence[int], Tensor], Tensor],
    seeds: Sequence[int],
    styles: Tensor,
    model: IGME,
) -> Tensor:
    """The family's pictures; what it cannot do comes as one line for a person."""
    try:
        return sample(seeds, styles)
    except ValueError as error:
        raise AtelierError(f"{model.family}: {error}") from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise AtelierError(
            f"{model.family}: the memory does not suffice; ask for smaller pictures, or choose "
            "another --device"
        ) from error


def _originality(model: IGME, settings: IGS) -> Callable[[Tensor], list[Neighbour]] | None:
    """What measures originality, where the model's folder carries its training set's features."""
    path = model.neighbours_path
    if not settings.originality or not path.exists():
        return None
    neighbours = Neighbours.load(path)
    network = load_features("embedded", device=settings.device)

    def measure(images: Tensor) -> list[Neighbour]:
        features = network.extract(float_to_pixels(images.numpy()))
        distances, places = neighbours.nearest(features)
        figures = neighbours.originality(distances).tolist()
        return [
            # Rounded, so that a file's bytes do not hang on a distance's last bits.
            Neighbour(round(figure, 4), neighbours.source(place))
            for figure, place in zip(figures, places.tolist(), strict=True)
        ]

    return measure


def _family_of(model: IGME) -> Family:
    if model.family not in FAMILIES:
        raise AtelierError(
            f"{model.directory}: a model of the family {model.family!r}, which this version does "
            f"not know; it knows {', '.join(FAMILIES)}"
        )
    return FAMILIES[model.family]


def _checked_options(family: Family, settings: IGS) -> FamilyOptions:
    try:
        return family.options.model_validate(settings.options)
    except ValidationError as error:
        raise AtelierError(explain(error, f"options of {family.name}")) from error


def _with_style_in_words(model: IGME, family: Family, settings: IGS) -> IGS:
    """Where a family knows styles but no language, the style that the words name, if they do."""
    if settings.prompt is None or "prompt" in family.takes or not family.is_conditional:
        return settings
    if settings.style is not None:
        raise AtelierError("prompt: this model reads a style in it and no more; leave one out")
    found = nearest_style(settings.prompt, model.styles)
    if found is None:
        raise AtelierError(
            f"prompt {settings.prompt!r}: names none of the styles that this model knows; it knows "
            f"{', '.join(model.styles)}"
        )
    style, sentence = found
    _log.info("%s; this model understands no more of the words", sentence)
    return settings.model_copy(update={"style": style})


def _style_of(model: IGME, family: Family, settings: IGS) -> Tensor | None:
    """How much of each style (K,), its sum 1; None where none was asked for."""
    if settings.style is None:
        return None
    if not family.is_conditional:
        raise AtelierError(
            f"style {settings.style!r}: a {family.name} model cannot be asked for a style; leave "
            "style out"
        )
    style = torch.zeros(len(model.styles))
    blend = settings.style_blend if settings.towards_style else 0.0
    style[_place_of(model, settings.style)] += 1.0 - blend
    style[_place_of(model, settings.towards_style or settings.style)] += blend
    return style


def _place_of(model: IGME, style: str) -> int:
    if style not in model.styles:
        raise AtelierError(
            f"style {style!r}: this model does not know it; it knows {', '.join(model.styles)}"
        )
    return model.styles.index(style)


def _load(model: IGME, family: Family, device_name: str) -> FamilySampler:
    method = family.method()
    path: Path = model.weights_path
    weights = load_weights(path, model.weights_sha256)
    try:
        config = family.config.model_validate(model.config)
        network = method.build_network(config, Shape(model.resolution, len(model.styles)))
        network.load_state_dict(weights)
    except (ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise AtelierError(
            f"{model.directory}: its description and its weights do not belong together "
            f"({reason}); copy the model again"
        ) from error
    try:
        return method.build_sampler(network.to(pick_device(device_name)), config)
    except ValueError as error:
        raise AtelierError(f"{model.directory}: {error}") from error
