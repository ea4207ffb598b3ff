"""The enhancement component: settings => a plan, made once; then batch by batch."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from components.common.download import DownloadError, fetch, weights_cache
from components.common.shipped import ENLARGER
from components.enhancement.drift import drift
from components.enhancement.official import (
    DEFAULT_ON_CPU,
    DEFAULT_ON_GPU,
    DENOISED,
    EMBEDDED,
    OFFICIAL,
    WITH_NOISE,
    name_of,
    names,
    twin_of,
)
from components.enhancement.resampling import lanczos
from components.enhancement.shim import MissingPackagesError
from interfaces.errors import AtelierError
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

_MAX_PIXELS = 400_000_000  # of one enlarged picture: 20 000 x 20 000, 4.8 GB in float32


@dataclass
class _Plan:
    """What the settings come to on this machine."""

    record: EnhancementRecord
    network: "Network | None" = None  # None: no network takes part
    device: "torch.device | None" = None
    runner: "TiledRunner | None" = None  # made when the first picture comes


class RealESRGANEnhancer:
    """Enlarges pictures with Real-ESRGAN's networks, or by plain resampling.

    Implements `interfaces.iedt.Enhancer`. Official weights are kept in `cache`.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or weights_cache()
        self._last_plan: tuple[Any, _Plan] | None = None

    def enhance(
        self, batches: Iterable[IGDT], settings: IES, progress: Progress = silent
    ) -> Iterator[IEDT]:
        """Enlarge lazily, batch by batch; see `interfaces.iedt.Enhancer.enhance`.

        Weights are found, downloaded where need be, checked and loaded before this returns, so
        what is wrong with them is said before a batch is taken. The record of every batch names
        what was done: a network and its route, 'lanczos', or 'none' where `settings.scale` is 1.
        Before the first picture of new weights, the routes are measured: seconds, once on a
        machine (`routes.choose`). Downloads and the tiles of large pictures are reported.
        """
        plan = self._plan(settings, progress)
        return (self._enlarge(batch, plan, settings, progress) for batch in batches)

    def planned(self, settings: IES) -> EnhancementRecord:
        """What the record of a picture enlarged with these settings says, but for the route.

        For whoever asks whether a picture was made so already. Finds and loads the weights, as
        `enhance` does.
        """
        return self._plan(settings, silent).record.model_copy(update={"route": None})

    def _enlarge(self, batch: IGDT, plan: _Plan, settings: IES, progress: Progress) -> IEDT:
        _check_size(batch, settings.scale)
        if plan.network is not None and plan.runner is None and settings.strength > 0:
            self._start(plan, settings)
        return _enlarge(batch, plan, progress)

    def _start(self, plan: _Plan, settings: IES) -> None:
        """Choose the route and make the network ready on it."""
        from components.enhancement.engines import build
        from components.enhancement.routes import choose
        from components.enhancement.runner import TiledRunner

        assert plan.network is not None and plan.device is not None
        choice = choose(settings.route, plan.network, plan.device)
        plan.record = plan.record.model_copy(update={"route": choice.route.name})
        plan.runner = TiledRunner(
            plan.network,
            build(choice.route, plan.network, plan.device),
            plan.device,
            settings.tile_pixels,
            choice.pixels_at_once,
        )

    def _plan(self, settings: IES, progress: Progress) -> _Plan:
        _check_names(settings)
        if settings.scale == 1:
            return _plain_plan("none", settings)
        if settings.enhancer == "lanczos":
            return _plain_plan("lanczos", settings)
        try:
            return self._network_plan(settings, progress)
        except (DownloadError, MissingPackagesError) as error:
            if settings.enhancer != "auto" or settings.weights is not None:
                raise
            return self._stand_in(settings, progress, error)

    def _stand_in(self, settings: IES, progress: Progress, error: AtelierError) -> _Plan:
        """What needs no download: this project's own network, else plain resampling."""
        if ENLARGER.is_file() and not isinstance(error, MissingPackagesError):
            _log.warning("enlarging with the embedded network instead: %s", error)
            embedded = settings.model_copy(update={"enhancer": EMBEDDED})
            return self._network_plan(embedded, progress)
        _log.warning("enlarging by plain resampling (lanczos) instead of a network: %s", error)
        return _plain_plan("lanczos", settings, is_fallback=True)

    def _network_plan(self, settings: IES, progress: Progress) -> _Plan:
        """The plan for a network, kept so that a check before a run loads it but once."""
        from components.common.devices import pick_device
        from components.enhancement.engines import ROUTES, check_route
        from components.enhancement.shim import network_classes
        from components.enhancement.weights import load_network

        network_classes()  # before a download that would be of no use without them
        device = pick_device(settings.device)
        if settings.route != "auto":
            check_route(ROUTES[settings.route], device)
        path = settings.weights or self._file(settings.enhancer, device, progress)
        twin = self._twin(path, settings, device, progress) if settings.denoise < 1 else None
        known = [settings, *(_state_of(file) for file in (path, twin) if file)]
        if self._last_plan is not None and self._last_plan[0] == known:
            return self._last_plan[1]
        network = load_network(path, twin, settings.denoise)
        record = EnhancementRecord(
            enhancer=_name(settings, path, network),
            weights_sha256=network.sha256,
            scale=settings.scale,
            strength=settings.strength,
            denoise=settings.denoise,
            twin_sha256=network.twin_sha256,
        )
        plan = _Plan(record, network, device)
        self._last_plan = known, plan
        return plan

    def _file(self, enhancer: str, device: "torch.device", progress: Progress) -> Path:
        name = _resolve(enhancer, device)
        if name == EMBEDDED:
            return ENLARGER
        return fetch(OFFICIAL[name], self.cache, progress)

    def _twin(self, path: Path, settings: IES, device: "torch.device", progress: Progress) -> Path:
        """The weights that keep noise and grain, which `settings.denoise` mixes in."""
        if settings.weights is None and _resolve(settings.enhancer, device) == DENOISED:
            return fetch(OFFICIAL[WITH_NOISE], self.cache, progress)
        twin = twin_of(path)
        if settings.weights is None or twin == path:
            raise AtelierError(
                f"denoise: {settings.denoise:g} was asked for, but only {DENOISED} has a twin to "
                "mix with; leave denoise at 1, or name that network"
            )
        return twin


def _resolve(enhancer: str, device: "torch.device") -> str:
    """'auto' => the name of the network that suits the device."""
    if enhancer != "auto":
        return enhancer
    return DEFAULT_ON_CPU if device.type == "cpu" else DEFAULT_ON_GPU


def _state_of(file: Path) -> tuple[Path, int, int] | None:
    """What changes when a file does; None where it cannot be read, which loading will tell."""
    try:
        found = file.stat()
    except OSError:
        return None
    return file, found.st_mtime_ns, found.st_size


def _check_names(settings: IES) -> None:
    known = ["auto", "lanczos", *names()]
    if settings.enhancer not in known:
        raise AtelierError(
            f"enhancer: {settings.enhancer!r} is not known; choose one of {', '.join(known)}"
        )
    if settings.enhancer != "auto" and settings.weights is not None:
        raise AtelierError(
            f"weights: {settings.weights} was given, and the enhancer {settings.enhancer!r} named; "
            "leave one of them out"
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


def _name(settings: IES, path: Path, network: "Network") -> str:
    """What the person calls the network, else what its digest says, else its file's name."""
    if settings.enhancer != "auto":
        return settings.enhancer
    return name_of(network.sha256) or path.stem


def _enlarge(batch: IGDT, plan: _Plan, progress: Progress) -> IEDT:
    scale = plan.record.scale
    alpha = batch.alpha
    if alpha is not None and scale > 1:
        alpha = lanczos(alpha, scale, low=0, high=1)
    images = _enlarge_colours(batch.images, plan, progress)
    return IEDT(
        images=images,
        origins=batch.origins,
        alpha=alpha,
        carried=batch.carried,
        enhancement=plan.record,
        drift=drift(batch.images, images),
    )


def _check_size(batch: IGDT, scale: int) -> None:
    """Refuse what the canvas has no room for, since a system out of memory kills without a word."""
    height, width = (side * scale for side in batch.images.shape[2:])
    if height * width > _MAX_PIXELS:
        raise AtelierError(
            f"an image of {width} x {height} pixels would not fit into memory (at most "
            f"{_MAX_PIXELS:,} in all); choose a smaller scale or reduce the picture first"
        )


def _enlarge_colours(images: np.ndarray, plan: _Plan, progress: Progress) -> np.ndarray:
    """float32 (N, 3, H, W) in [-1, 1] => the same, scale times as high and wide."""
    scale, strength = plan.record.scale, np.float32(plan.record.strength)
    if scale == 1:
        return images
    if plan.runner is None or strength == 0:
        return lanczos(images, scale, low=-1, high=1)
    enlarged = _run_network(images, scale, plan.runner, progress)
    if strength < 1:
        for image, after in zip(images, enlarged, strict=True):  # one plain picture at a time
            plain = lanczos(image[None], scale, low=-1, high=1)[0]
            after -= plain
            after *= strength
            after += plain
    return np.clip(enlarged, -1, 1, out=enlarged)


def _run_network(
    images: np.ndarray, scale: int, runner: "TiledRunner", progress: Progress
) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] => ×4 in one pass, ×16 in two."""
    pictures = (images + 1) / 2  # [-1, 1] => [0, 1], as the networks were trained
    for _ in range({4: 1, 16: 2}[scale]):
        pictures = runner.enlarge(pictures, progress)
    pictures *= 2  # in place: a large picture is held as few times as can be
    pictures -= 1
    return pictures
