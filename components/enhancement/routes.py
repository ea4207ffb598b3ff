"""Choice of the best route for a network on this machine: measured once, and remembered."""

import functools
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from pydantic import BaseModel, FiniteFloat
from torch import Tensor

from components.common.devices import has_bfloat16_vectors, pick_dtype
from components.common.remembering import remembered
from components.common.tensors import tensor_of
from components.enhancement.engines import (
    ROUTES,
    Forward,
    Route,
    build,
    check_route,
    has_openvino,
)
from components.enhancement.weights import Network
from interfaces.errors import AtelierError

_log = logging.getLogger("atelier")

VISIBLE = 1
"""Levels of 255: a route that moves any rounded pixel further from float32 is not taken unasked."""

MADE_MEAN, MADE_HIGH = 0.5, 3.0
"""The same for pictures that a model made, where no original is to be kept: what the mean and the
99.9th percentile of the deviations must stay under, in levels of 255."""

MIN_GAIN = 1.05
"""Least gain in speed for which a route, or a larger batch, replaces the simpler one."""

SIDE = 64  # pixels of the pictures that are measured with: the size that is generated
_BATCHES = {"cpu": (1, 4), "cuda": (1, 4, 16), "mps": (1, 4)}  # pictures in one forward pass
_ROUNDS = 3
_PATIENCE = 0.5  # seconds a picture, beyond which a network counts as slow


@dataclass(frozen=True)
class Choice:
    """A route, and how many pixels one forward pass takes best."""

    route: Route
    pixels_at_once: int
    deviation: float  # largest, from float32, in levels of 255, over the pictures of the probe
    seconds_a_megapixel: float  # of input


def choose(asked: str, network: Network, device: torch.device, is_made: bool = False) -> Choice:
    """The route for a network: the one that was asked for, or with 'auto' the best.

    Best is the fastest of those that deviate little enough from float32 with these very weights,
    over four drawn pictures: invisibly (`VISIBLE`), or for pictures that a model made (`is_made`)
    less than `MADE_MEAN` and `MADE_HIGH`. The answer is kept in the person's cache. Routes that
    want half a minute of compiling are never tried unasked: they gained too little.
    """
    if asked != "auto":
        check_route(ROUTES[asked], device)
    routes = list(_candidates(device)) if asked == "auto" else [ROUTES[asked]]
    names = [route.name for route in routes]
    bounds = [MADE_MEAN, MADE_HIGH] if is_made else [VISIBLE]
    answer = remembered(
        "routes",
        device,
        [network.identity, names, bounds, MIN_GAIN],
        _Answer,
        lambda: _measure(routes, network, device, is_made),
    )
    return Choice(
        ROUTES[answer.route],
        answer.pixels_at_once,
        answer.deviation,
        answer.seconds_a_megapixel,
    )


class _Answer(BaseModel):
    """Measurements of a network's routes on one machine."""

    route: str
    pixels_at_once: int
    deviation: FiniteFloat
    seconds_a_megapixel: FiniteFloat
    deviations: dict[str, dict[str, float]]
    """Deviations from float32 of every route that was tried, in levels of 255."""


@dataclass(frozen=True)
class _Deviation:
    """Deviation of a route's pixels from float32's, in levels of 255."""

    mean: float
    high: float  # 99.9th percentile
    largest: float  # of rounded pixels

    def is_small(self, is_made: bool) -> bool:
        """Whether a route that deviates so may be taken unasked."""
        if is_made and self.mean < MADE_MEAN and self.high < MADE_HIGH:
            return True
        return self.largest <= VISIBLE


def _candidates(device: torch.device) -> Iterator[Route]:
    """Routes worth measuring, the simplest first."""
    yield ROUTES["float32"]
    if device.type != "cpu":
        yield ROUTES["float16"]
    reduced = has_bfloat16_vectors(device) or pick_dtype("auto", device) is torch.bfloat16
    if reduced:
        yield ROUTES["bfloat16"]
    if device.type == "cpu" and has_openvino():
        yield ROUTES["openvino"]
        if reduced:
            yield ROUTES["openvino-bfloat16"]


def _measure(routes: list[Route], network: Network, device: torch.device, is_made: bool) -> _Answer:
    batches = _BATCHES[device.type]
    exact = build(ROUTES["float32"], network, device)
    pictures = tensor_of(probe_pictures(max(batches)))
    rounds = _ROUNDS
    exact(pictures[:1])  # the first is the warm-up
    if _seconds(exact, pictures[:1]) > _PATIENCE:
        # Of slow networks one picture fills a processor, shows the deviation and is timed well.
        pictures, batches, rounds = pictures[:1], (1,), 1
    reference = _levels(exact, pictures)
    usable: dict[str, Forward] = {}
    deviations: dict[str, _Deviation] = {}
    for route in routes:
        try:
            forward = exact if route.name == "float32" else build(route, network, device)
        except AtelierError as error:
            if len(routes) == 1:
                raise
            _log.debug("%s", error)
            continue
        deviations[route.name] = deviation = _apart(_levels(forward, pictures), reference)
        if deviation.is_small(is_made) or len(routes) == 1:
            usable[route.name] = forward
    seconds = _time(usable, pictures, batches, rounds)
    name, batch = _best(seconds)
    _log.info("%s", _in_words(name, batch, seconds))
    return _Answer(
        route=name,
        pixels_at_once=batch * SIDE * SIDE,
        deviation=deviations[name].largest,
        seconds_a_megapixel=1e6 * seconds[name, batch] / SIDE**2,
        deviations={name: asdict(deviation) for name, deviation in deviations.items()},
    )


def _in_words(name: str, batch: int, seconds: dict[tuple[str, int], float]) -> str:
    """Result of the measurement, in words for the person who waited for it."""
    plain = seconds.get(("float32", min(size for _, size in seconds)), seconds[name, batch])
    gain = plain / seconds[name, batch]
    than = f", {gain:.1f} times as fast as the plain way" if gain >= MIN_GAIN else ""
    together = f" with {batch} pictures at once" if batch > 1 else ""
    best = "best " if len({route for route, _ in seconds}) > 1 else ""
    return f"measured for this machine: the enlarger runs {best}as {name}{together}{than}"


def _time(
    usable: dict[str, Forward], pictures: Tensor, batches: tuple[int, ...], rounds: int
) -> dict[tuple[str, int], float]:
    """Seconds a picture of each (route, batch): the best of alternating rounds.

    The best and not the middle one, since whatever else the machine does only ever slows it down.
    """
    spent: dict[tuple[str, int], list[float]] = {
        (name, batch): [] for name in usable for batch in batches
    }
    for _ in range(rounds):
        for (name, batch), times in spent.items():
            times.append(_seconds(usable[name], pictures[:batch]) / batch)
    return {pair: min(times) for pair, times in spent.items()}


def _seconds(forward: Forward, pictures: Tensor) -> float:
    begun = time.perf_counter()
    forward(pictures)
    return time.perf_counter() - begun


def _best(seconds: dict[tuple[str, int], float]) -> tuple[str, int]:
    """The fastest, but of two about as fast the one that comes first: simpler, or smaller."""
    best = next(iter(seconds))
    for pair, took in seconds.items():
        if took * MIN_GAIN < seconds[best]:
            best = pair
    return best


def _levels(forward: Forward, pictures: Tensor) -> Tensor:
    """Results in levels of 255, not rounded, one picture at a time."""
    results = [forward(pictures[place : place + 1]) for place in range(len(pictures))]
    return torch.cat(results).clamp(0, 1) * 255


def _apart(levels: Tensor, reference: Tensor) -> _Deviation:
    apart = (levels - reference).abs().numpy()
    return _Deviation(
        mean=float(apart.mean()),
        high=float(np.quantile(apart, 0.999)),
        largest=float((levels.round() - reference.round()).abs().max()),
    )


@functools.cache
def probe_pictures(count: int, side: int = SIDE) -> np.ndarray:
    """Drawn pictures to measure with, float32 (count, 3, side, side) in [0, 1].

    Their spectrum falls as that of natural pictures does (amplitude about 1/frequency: Field, 1987,
    "Relations between the statistics of natural images …"), with hard edges and grain on top.
    """
    rng = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.maximum(np.hypot(rows, columns), 1 / side)
    spectrum = np.fft.rfft2(rng.standard_normal((count, 3, side, side))) / frequency
    ground = np.fft.irfft2(spectrum, (side, side))
    ground = 0.5 + 0.18 * ground / ground.std(axis=(1, 2, 3), keepdims=True)
    y, x = np.mgrid[:side, :side] / side
    for picture in ground:
        for _ in range(6):
            angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
            beyond = np.cos(angle) * x + np.sin(angle) * y > offset * (
                np.cos(angle) + np.sin(angle)
            )
            picture += beyond * rng.uniform(-0.2, 0.2, (3, 1, 1))
    grain = 0.02 * rng.standard_normal(ground.shape)  # pyright: ignore[reportUnknownVariableType]
    return np.clip(ground + grain, 0, 1).astype(np.float32)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType, reportUnknownVariableType]
