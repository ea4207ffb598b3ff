"""The enhancement component: settings => a plan, made once; then batch by batch."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from components.common.download import DownloadError, weights_cache
from components.common.images import MAX_ENLARGED_PIXELS
from components.common.shipped import ENLARGER
from components.enhancement.choice import BEST, PASSES, Choice, weigh
from components.enhancement.drift import drift
from components.enhancement.official import (
    DENOISED,
    EMBEDDED,
    WITH_NOISE,
    name_of,
    names,
    twin_of,
)
from components.enhancement.resampling import lanczos
from components.enhancement.sources import Source, locate
from components.enhancement.transparency import bled
from interfaces.arrays import hand_over
from interfaces.contract import refuse_unless_offered
from interfaces.errors import AtelierError, RefusedError
from interfaces.idle import Need, idle
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.progress import Progress, silent
from interfaces.record import EnhancementRecord

if TYPE_CHECKING:
    import torch

    from components.enhancement.runner import TiledRunner
    from components.enhancement.weights import Network

_log = logging.getLogger("atelier")


_MAX_LOADED = 3  # networks kept for the next plan: the best, the quick one, and a person's own

TYPICAL_PIXELS = 64 * 64
"""Input pixels of a request whose size is not known: one generated picture."""


_Find = Callable[[str], Source]
"""A network's name => its weights on this machine, downloaded if necessary."""


@dataclass(frozen=True)
class _Loaded:
    """A network with what a record says of it."""

    name: str
    network: "Network"
    origin: str


@dataclass
class _Plan:
    """Plan for carrying out the settings on this machine."""

    record: EnhancementRecord
    networks: tuple[_Loaded, ...] = ()  # one for each pass; none for plain resampling
    device: "torch.device | None" = None
    runners: "dict[bool, _Runners]" = field(default_factory=dict[bool, "_Runners"])
    """Runners for pictures that a model made (True) and for a person's own; made on first use."""


@dataclass(frozen=True)
class _Runners:
    """A plan's networks, ready to run."""

    passes: "tuple[TiledRunner, ...]"
    route: str


class RealESRGANEnhancer:
    """Enlarges pictures with Real-ESRGAN's networks, or by plain resampling.

    Implements `interfaces.iedt.Enhancer`. Official weights are kept in `cache`.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or weights_cache()
        self._plans: list[tuple[Any, _Plan]] = []  # the last one alone
        self._loaded: dict[Any, _Loaded] = {}  # the newest last

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        """Enlarge lazily, batch by batch; see `interfaces.iedt.Enhancer.enhance`.

        Weights are found, downloaded where need be, checked and loaded before this returns, so
        what is wrong with them is said before a batch is taken. The record of every batch names
        what was done: the networks and their routes, 'lanczos', or 'none' where `settings.scale`
        is 1. Before the first picture of new weights, the routes are measured: seconds, once on a
        machine (`routes.choose`).

        `pixels` are the input pixels of the whole request, where they are known: 'auto' weighs by
        them whether the best network can be waited for (`choice.weigh`).
        """
        plan = self._plan(settings, progress, pixels)
        for fault in _idle(settings, plan):
            _log.warning("%s", fault)
        return (self._enlarge(batch, plan, settings, progress) for batch in batches)

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        """Record of a picture enlarged with these settings, except the route.

        It serves callers that ask whether a picture was made so before. Finds and loads the
        weights, as `enhance` does with the same `pixels`.
        """
        return self._plan(settings, silent, pixels).record

    def _enlarge(self, batch: IGDT, plan: _Plan, settings: IES, progress: Progress) -> IEDT:
        _check_size(batch, settings.scale)
        if not plan.networks or settings.strength == 0:
            return _enlarged(batch, plan.record, (), progress)
        is_made = all(origin.kind != "file" for origin in batch.origins)
        if is_made not in plan.runners:
            plan.runners[is_made] = self._runners(plan, settings, is_made)
        runners = plan.runners[is_made]
        record = plan.record.model_copy(update={"route": runners.route})
        return _enlarged(batch, record, runners.passes, progress)

    def _runners(self, plan: _Plan, settings: IES, is_made: bool) -> _Runners:
        """Choose the routes and make the networks ready on them."""
        from components.enhancement.engines import build
        from components.enhancement.routes import choose
        from components.enhancement.runner import TiledRunner

        assert plan.device is not None
        runners: dict[str, TiledRunner] = {}
        routes: dict[str, str] = {}
        for loaded in dict.fromkeys(plan.networks):
            choice = choose(settings.route, loaded.network, plan.device, is_made)
            routes[loaded.name] = choice.route.name
            runners[loaded.name] = TiledRunner(
                loaded.network,
                build(choice.route, loaded.network, plan.device),
                plan.device,
                settings.tile_pixels,
                choice.pixels_at_once,
            )
        passes = tuple(runners[loaded.name] for loaded in plan.networks)
        return _Runners(passes, _joined(routes.values()))

    def _plan(self, settings: IES, progress: Progress, pixels: int | None) -> _Plan:
        _check_names(settings)
        if settings.scale == 1:
            return _plain_plan("none", settings)
        if settings.enhancer == "lanczos":
            return _plain_plan("lanczos", settings)
        try:
            return self._network_plan(settings, progress, pixels)
        except DownloadError as error:
            if settings.enhancer != "auto" or settings.weights is not None:
                raise
            return self._stand_in(settings, progress, error)

    def _stand_in(self, settings: IES, progress: Progress, error: AtelierError) -> _Plan:
        """Plan that needs no download: this project's own network, else plain resampling."""
        if ENLARGER.is_file():
            _log.warning("enlarging with the embedded network instead: %s", error)
            embedded = settings.model_copy(update={"enhancer": EMBEDDED})
            return self._network_plan(embedded, progress, None)
        _log.warning("enlarging by plain resampling (lanczos) instead of a network: %s", error)
        return _plain_plan("lanczos", settings, is_fallback=True)

    def _network_plan(self, settings: IES, progress: Progress, pixels: int | None) -> _Plan:
        """The plan for networks, kept so that a check before a run does not load them twice."""
        from components.common.devices import pick_device
        from components.enhancement.engines import ROUTES, check_route

        device = pick_device(settings.device)
        if settings.route != "auto":
            check_route(ROUTES[settings.route], device)

        def find(name: str) -> Source:
            return locate(name, self.cache, progress)

        networks = self._networks(settings, pixels or TYPICAL_PIXELS, device, find)
        known = settings, networks
        for last, plan in self._plans:
            if last == known:
                return plan
        plan = _Plan(_record(settings, networks), networks, device)
        self._plans = [(known, plan)]
        if why := _why(settings, networks):
            _log.info("enlarging with %s, %s", plan.record.enhancer.replace("+", " and "), why)
        return plan

    def _networks(
        self, settings: IES, pixels: int, device: "torch.device", find: _Find
    ) -> tuple[_Loaded, ...]:
        """The network of each pass."""
        if settings.weights is not None:
            given = (self._load(settings, Source(settings.weights, "own file"), find),)
            return given * PASSES[settings.scale]
        if settings.enhancer == "auto" and settings.denoise == 1:
            choice = weigh(
                settings.scale, pixels, lambda name: self._speed(name, settings, device, find)
            )
            _say(choice)
            chosen = choice.networks
        else:
            name = DENOISED if settings.enhancer == "auto" else settings.enhancer
            chosen = _by_pass(name, settings.scale)
        return tuple(self._named(name, settings, find) for name in chosen)

    def _speed(self, name: str, settings: IES, device: "torch.device", find: _Find) -> float:
        """Seconds for a million input pixels, measured once on a machine."""
        from components.enhancement.routes import choose

        network = self._named(name, settings, find).network
        return choose(settings.route, network, device, is_made=True).seconds_a_megapixel

    def _named(self, name: str, settings: IES, find: _Find) -> _Loaded:
        return self._load(settings, find(name), find, name)

    def _load(self, settings: IES, source: Source, find: _Find, name: str | None = None) -> _Loaded:
        """A network, loaded only once while its files stay unchanged."""
        from components.enhancement.weights import load_network

        twin = _twin(source.path, settings, find) if settings.denoise < 1 else None
        files = [source.path, twin.path] if twin else [source.path]
        key = (settings.denoise, *(_state_of(file) for file in files))
        if key not in self._loaded:
            published = {**source.published, **(twin.published if twin else {})}
            network = load_network(
                source.path, twin.path if twin else None, settings.denoise, published
            )
            called = name or name_of(network.sha256) or source.path.stem
            self._loaded[key] = _Loaded(called, network, source.origin)
            while len(self._loaded) > _MAX_LOADED:
                del self._loaded[next(iter(self._loaded))]
        return self._loaded[key]


def _twin(path: Path, settings: IES, find: _Find) -> Source:
    """The weights that keep noise and grain, which `settings.denoise` mixes in."""
    if settings.weights is None and settings.enhancer in ("auto", DENOISED):
        return find(WITH_NOISE)
    twin = twin_of(path)
    if settings.weights is None or twin == path:
        raise RefusedError(
            f"denoise: {settings.denoise:g} was asked for, but only {DENOISED} has a twin to "
            "mix with; leave denoise at 1, or name that network"
        )
    return Source(twin, "own file")


def _why(settings: IES, networks: tuple[_Loaded, ...]) -> str:
    """Reason for the choice of networks, in words; '' where `_say` has given it."""
    if settings.weights is not None:
        return f"your own weights {settings.weights}"
    if settings.enhancer != "auto":
        return f"as asked (weights: {_joined(loaded.origin for loaded in networks)})"
    if settings.denoise < 1:
        return "the network that can keep noise and grain"
    if all(loaded.name == BEST for loaded in networks):
        return "the best network, which is quick enough here for what was asked"
    return ""


def _say(choice: Choice) -> None:
    """Log one line where a quicker network takes over, with what that saves."""
    if choice.saved:
        _log.warning(
            "enlarging with %s, since %s alone would take about %d s here; this takes about %d s "
            "(--enhancer %s takes the better one all the same)",
            _joined(choice.networks).replace("+", " and "),
            BEST,
            choice.seconds_of_best,
            choice.seconds,
            BEST,
        )


def _joined(words: Iterable[str]) -> str:
    """The words joined by '+' in order, each once, as where every pass is the same."""
    return "+".join(dict.fromkeys(words))


def _by_pass(enhancer: str, scale: int) -> tuple[str, ...]:
    """'x4plus' => that network for each pass; 'x4plus+embedded' => one for each of two."""
    named = enhancer.split("+")
    return tuple(named) if len(named) > 1 else tuple(named) * PASSES[scale]


def _record(settings: IES, networks: tuple[_Loaded, ...]) -> EnhancementRecord:
    first, *others = dict.fromkeys(networks)
    return EnhancementRecord(
        enhancer=_joined(loaded.name for loaded in networks),
        weights_sha256=first.network.sha256,
        second_sha256=others[0].network.sha256 if others else None,
        weights_from=_joined(loaded.origin for loaded in networks),
        weights_precision=_joined(loaded.network.precision for loaded in networks),
        scale=settings.scale,
        strength=settings.strength,
        denoise=settings.denoise,
        twin_sha256=first.network.twin_sha256,
    )


def _state_of(file: Path) -> tuple[Path, int, int] | None:
    """Stamp of a file's contents; None where it cannot be read, which loading will report."""
    try:
        found = file.stat()
    except OSError:
        return None
    return file, found.st_mtime_ns, found.st_size


def _check_names(settings: IES) -> None:
    refuse_unless_offered(settings, "enhance")
    known = ["auto", "lanczos", *names()]
    parts = settings.enhancer.split("+")
    unknown = [part for part in parts if part not in (known if len(parts) == 1 else names())]
    if unknown:
        raise RefusedError(
            f"enhancer: {unknown[0]!r} is not known; choose one of {', '.join(known)}"
        )
    if len(parts) > 1 and len(parts) != PASSES.get(settings.scale):
        raise RefusedError(
            f"enhancer: {settings.enhancer!r} names {len(parts)} networks, one for each pass of "
            f"×16, but scale is {settings.scale}; name one network, or choose scale 16"
        )
    if settings.enhancer != "auto" and settings.weights is not None:
        raise RefusedError(
            f"weights: {settings.weights} was given, and the enhancer {settings.enhancer!r} named; "
            "leave one of them out"
        )


def _idle(settings: IES, plan: _Plan) -> list[str]:
    """Settings that were chosen but have no effect on this plan, each in a sentence."""
    network = Need("a network", bool(plan.networks))
    return idle(
        settings,
        {
            "weights": Need("a scale over 1", settings.scale > 1),
            "denoise": network,
            "strength": network,
            "tile_pixels": network,
            "route": network,
        },
    )


def _plain_plan(
    enhancer: Literal["none", "lanczos"], settings: IES, is_fallback: bool = False
) -> _Plan:
    record = EnhancementRecord(
        enhancer=enhancer,
        weights_sha256=None,
        is_fallback=is_fallback,
        scale=settings.scale,
        strength=0.0,  # the network's share, and there is no network
    )
    return _Plan(record)


def _enlarged(
    batch: IGDT, record: EnhancementRecord, passes: "tuple[TiledRunner, ...]", progress: Progress
) -> IEDT:
    alpha, before = batch.alpha, batch.images
    if alpha is not None and record.scale > 1:
        before = bled(before, alpha)
        alpha = lanczos(alpha, record.scale, low=0, high=1)
    images = _enlarge_colours(before, record, passes, progress)
    return IEDT(
        images=hand_over(images),
        origins=batch.origins,
        alpha=None if alpha is None else hand_over(alpha),
        carried=batch.carried,
        enhancement=record,
        drift=drift(before, images),
    )


def _check_size(batch: IGDT, scale: int) -> None:
    """Refuse a canvas too large for the memory, which would end in a kill without a message."""
    height, width = (side * scale for side in batch.images.shape[2:])
    if height * width > MAX_ENLARGED_PIXELS:
        raise RefusedError(
            f"an image of {width} x {height} pixels would not fit into memory (at most "
            f"{MAX_ENLARGED_PIXELS:,} in all); choose a smaller scale or reduce the picture first"
        )


def _enlarge_colours(
    images: np.ndarray,
    record: EnhancementRecord,
    passes: "tuple[TiledRunner, ...]",
    progress: Progress,
) -> np.ndarray:
    """float32 (N, 3, H, W) in [-1, 1] => the same, scale times as high and wide."""
    scale, strength = record.scale, np.float32(record.strength)
    if scale == 1:
        return images
    if not passes:
        return lanczos(images, scale, low=-1, high=1)
    enlarged = _run_networks(images, passes, progress)
    if strength < 1:
        for image, after in zip(images, enlarged, strict=True):  # one plain picture at a time
            plain = lanczos(image[None], scale, low=-1, high=1)[0]
            after -= plain
            after *= strength
            after += plain
    return np.clip(enlarged, -1, 1, out=enlarged)


def _run_networks(
    images: np.ndarray, passes: "tuple[TiledRunner, ...]", progress: Progress
) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] => four times as high and wide in each pass."""
    pictures = (images + 1) / 2  # [-1, 1] => [0, 1], as the networks were trained
    for runner in passes:
        pictures = runner.enlarge(pictures, progress)
    pictures *= 2  # in place: a large picture is held as few times as can be
    pictures -= 1
    return pictures
