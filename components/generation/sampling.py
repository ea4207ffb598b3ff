"""Generation of pictures in batches, from a model's folder."""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from components.common.checkpoints import load_weights
from components.common.devices import pick_device
from components.common.durable import sha256_of
from components.common.images import float_to_pixels
from components.common.names import place_among
from components.common.shortage import is_out_of_memory
from components.families import FAMILIES, AnyFamily
from components.families.port import FamilyOptions, FamilySampler, Request, Shape
from components.families.requests import check_request
from components.families.sampling import SAMPLING_BATCH
from components.families.text import nearest_style
from components.generation.inputs import InputBytes, ingredients_of, open_inputs, read_inputs
from components.metrics import Neighbours, load_features
from interfaces.arrays import hand_over
from interfaces.batch import Carried, Ingredient
from interfaces.errors import DamagedError, RefusedError, UnavailableError
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.progress import Progress, ProgressEvent, silent
from interfaces.record import GeneratedOrigin

_log = logging.getLogger("atelier")

IN_FLIGHT_BYTES = 32 * 2**20
"""Upper limit on pixels handed on together, unless the person sets one."""

QUICK_SECONDS = 1.0
"""Seconds of a batch under which the next one is made larger."""


@dataclass(frozen=True)
class Neighbour:
    """The training image nearest to a picture, where the model knows its training set."""

    originality: float | None = None
    nearest_sha256: str | None = None


@dataclass(frozen=True)
class _Checked:
    """Settings that a model has been found to be able to carry out."""

    family: AnyFamily
    options: FamilyOptions
    settings: IGS
    """The request with the style that its words name, if they name one."""
    style: Tensor | None
    """Share of each style (K,), where one was asked for."""
    files: tuple[InputBytes, ...]

    def origin(self, model: IGME) -> dict[str, Any]:
        """Fields that the records of all pictures of the request have in common."""
        settings = self.settings
        return {
            "family": model.family,
            "model_digest": model.digest,
            "dataset_name": model.dataset_name,
            "dataset_digest": model.dataset_digest,
            "style": settings.style,
            "towards_style": settings.towards_style,
            "style_blend": settings.style_blend if settings.towards_style else None,
            "prompt": settings.prompt,
            "inputs": tuple(file.record for file in self.files),
            "options": self.options.model_dump(mode="json"),
        }


def _check(model: IGME, settings: IGS) -> _Checked:
    family = _family_of(model)
    options = check_request(family, model.styles, settings)
    if settings.prompt is not None and family.names_style_in_words:
        settings = _with_style_in_words(settings, settings.prompt, model.styles)
    settings = _with_the_models_spelling(model, settings)
    return _Checked(family, options, settings, _style_of(model, settings), open_inputs(settings))


class Generation:
    """Requests carried out; the newest model stays loaded for the next one."""

    def __init__(self) -> None:
        self._loaded: tuple[Any, _Loaded] | None = None

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        """Check everything, then return the iterator that makes the pictures."""

        def tell(done: int, total: int) -> None:
            progress(ProgressEvent(stage="one picture", done=done, total=total, unit="steps"))

        if reason := _family_of(model).why_not(settings.given):
            raise RefusedError(reason)
        request = _check(model, settings)
        inputs = replace(
            read_inputs(request.files, settings.prompt, model.resolution),
            has_own_style=request.style is None and settings.source is not None,
        )
        loaded = self._load(model, request)

        def sample(seeds: Sequence[int], styles: Tensor) -> Tensor:
            wanted = Request(seeds, styles, request.options, inputs, tell)
            return loaded.sampler.sample(wanted)

        settings, style, side = request.settings, request.style, model.resolution
        pixels = side**2 if inputs.source is None else max(side**2, inputs.source[0].numel())
        if inputs.has_own_style:
            style = torch.full((len(model.styles),), 1 / len(model.styles))
        most = settings.batch_size or max(1, IN_FLIGHT_BYTES // (3 * 4 * pixels))
        chosen = {*settings.given, *request.options.model_dump(exclude_none=True)}
        is_slow = not request.family.one_by_one.isdisjoint(chosen)
        sizes = _Sizes(1 if is_slow else SAMPLING_BATCH, most)
        originality = loaded.originality if settings.originality else None
        batches = _batches(
            model, settings, sizes, sample, request.origin(model), style, originality
        )
        ingredients = ingredients_of(request.files)
        return _carrying(batches, ingredients) if ingredients else batches

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        """The origin of the first picture, except what is found in its pixels.

        It serves callers that ask whether a picture was made so before, from any source, which may
        be left out. Checks and loads what `generate` does.
        """
        request = _check(model, settings)
        self._load(model, request)
        return GeneratedOrigin(seed=settings.chosen_seeds[0], index=0, **request.origin(model))

    def _load(self, model: IGME, request: _Checked) -> "_Loaded":
        known = (model, request.settings.device, _state_of(model.weights_path))
        if self._loaded is None or self._loaded[0] != known:
            self._loaded = None  # before loading, so that two never lie in memory
            self._loaded = known, _Loaded(model, request.family, request.settings.device)
        return self._loaded[1]


class _Loaded:
    """A model on its device, and what measures its pictures' originality once that is asked."""

    def __init__(self, model: IGME, family: AnyFamily, device: str) -> None:
        self.sampler = _load(model, family, device)
        self._model = model
        self._device = device

    @cached_property
    def originality(self) -> Callable[[Tensor], list[Neighbour]] | None:
        """None where the model's folder does not carry its training set's features."""
        return _originality(self._model, self._device)


def _state_of(file: Path) -> tuple[int, int] | None:
    """Stamp of a file's contents; None where it cannot be read, which loading will report."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _carrying(batches: Iterator[IGDT], ingredients: tuple[Ingredient, ...]) -> Iterator[IGDT]:
    """The batches, with the credentials of the files that all their pictures were made from."""
    carried = Carried(ingredients=ingredients)
    for batch in batches:
        yield batch.model_copy(update={"carried": (carried,) * len(batch)})


def _batches(
    model: IGME,
    settings: IGS,
    sizes: "_Sizes",
    sample: Callable[[Sequence[int], Tensor], Tensor],
    origin: dict[str, Any],
    style: Tensor | None,
    originality: Callable[[Tensor], list[Neighbour]] | None,
) -> Iterator[IGDT]:
    every_style = torch.eye(len(model.styles))
    chosen = settings.chosen_seeds
    start = settings.skip
    while start < len(chosen):
        seeds = chosen[start : start + sizes.now]
        # Where no style was asked for, the seed chooses one, so that it alone fixes the picture.
        rows = [every_style[seed % len(every_style)] if style is None else style for seed in seeds]
        with sizes.growing():
            images = _made(sample, seeds, torch.stack(rows), model)
        found = originality(images) if originality else [Neighbour()] * len(seeds)
        origins = tuple(
            GeneratedOrigin(seed=seed, index=n, **origin, **asdict(neighbour))
            for n, (seed, neighbour) in enumerate(zip(seeds, found, strict=True), start)
        )
        yield IGDT(images=hand_over(images.numpy()), origins=origins)
        start += len(seeds)


class _Sizes:
    """Number of pictures that are made and handed on together: few where each takes long.

    Finished pictures are kept soon, and a person soon sees how far the work is.
    """

    def __init__(self, first: int, most: int) -> None:
        self.now = min(first, most)
        self._most = most

    @contextmanager
    def growing(self) -> Generator[None]:
        """Wrap the making of `now` pictures: if it was quick, twice as many the next time."""
        begun = time.monotonic()
        yield
        if time.monotonic() - begun < QUICK_SECONDS:
            self.now = min(2 * self.now, self._most)


def _made(
    sample: Callable[[Sequence[int], Tensor], Tensor],
    seeds: Sequence[int],
    styles: Tensor,
    model: IGME,
) -> Tensor:
    """The family's pictures; what it cannot do is refused in one line."""
    try:
        return sample(seeds, styles)
    except ValueError as error:
        raise RefusedError(f"{model.family}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UnavailableError(
            f"{model.family}: there is not enough memory; ask for smaller pictures, or choose "
            "another --device"
        ) from error


def _originality(model: IGME, device: str) -> Callable[[Tensor], list[Neighbour]] | None:
    path = model.neighbours_path
    if not path.exists():
        return None
    if model.neighbours_sha256 not in (None, sha256_of(path)):
        raise DamagedError(
            f"{path}: not the file that model.json vouches for; copy the model again, or leave "
            "this file out and do without originality"
        )
    neighbours = Neighbours.load(path)
    network = load_features("embedded", device=device)

    def measure(images: Tensor) -> list[Neighbour]:
        features = network.extract(float_to_pixels(images.numpy()))
        distances, places = neighbours.nearest(features)
        figures = neighbours.originality(distances).numpy().tolist()
        return [
            # Rounded, so that a file's bytes do not hang on a distance's last bits.
            Neighbour(round(figure, 4), neighbours.source(place))
            for figure, place in zip(figures, places.numpy().tolist(), strict=True)
        ]

    return measure


def _family_of(model: IGME) -> AnyFamily:
    if model.family not in FAMILIES:
        raise RefusedError(
            f"{model.directory}: a model of the family {model.family!r}, which this version does "
            f"not know; it knows {', '.join(FAMILIES)}"
        )
    return FAMILIES[model.family]


def _with_style_in_words(settings: IGS, prompt: str, styles: Sequence[str]) -> IGS:
    """Settings with the style that the words name, for a family that knows no language."""
    found = nearest_style(prompt, styles)
    assert found is not None, "checked before"
    style, sentence = found
    _log.info("%s; this model understands no more of the words", sentence)
    return settings.model_copy(update={"style": style})


def _style_of(model: IGME, settings: IGS) -> Tensor | None:
    """Share of each style (K,), their sum 1; None where none was asked for."""
    if settings.style is None:
        return None
    style = torch.zeros(len(model.styles))
    blend = settings.style_blend if settings.towards_style else 0.0
    style[model.styles.index(settings.style)] += 1.0 - blend
    style[model.styles.index(settings.towards_style or settings.style)] += blend
    return style


def _with_the_models_spelling(model: IGME, settings: IGS) -> IGS:
    """The settings with the styles as the model spells them, which records say."""
    named = {field: getattr(settings, field) for field in ("style", "towards_style")}
    places = {
        field: place_among(name, model.styles) for field, name in named.items() if name is not None
    }
    spelled = {field: model.styles[place] for field, place in places.items() if place is not None}
    return settings.model_copy(update=spelled)


def _load(model: IGME, family: AnyFamily, device_name: str) -> FamilySampler[Any]:
    method = family.method()
    path: Path = model.weights_path
    weights = load_weights(path, model.weights_sha256)
    try:
        config = family.config.model_validate(model.config)
        network = method.build_network(config, Shape(model.resolution, len(model.styles)))
        network.load_state_dict(weights)
    except (ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(
            f"{model.directory}: its description and its weights do not belong together "
            f"({reason}); copy the model again"
        ) from error
    try:
        return method.build_sampler(network.to(pick_device(device_name)), config)
    except ValueError as error:
        raise DamagedError(f"{model.directory}: {error}") from error
