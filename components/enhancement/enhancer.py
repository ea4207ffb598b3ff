"""The enhancement component: settings => a plan, made once; then batch by batch."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from components.download import DownloadError, fetch, weights_cache
from components.enhancement.official import DEFAULT_ON_CPU, DEFAULT_ON_GPU, OFFICIAL, name_of
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


@dataclass(frozen=True)
class _Plan:
    """What the settings come to on this machine."""

    record: EnhancementRecord
    runner: "TiledRunner | None" = None  # None: no network takes part


class RealESRGANEnhancer:
    """Enlarges pictures with Real-ESRGAN's networks, or by plain resampling.

    Implements `interfaces.iedt.Enhancer`. `progress` hears of downloads and of the tiles of large
    pictures; it may be set at any time. Official weights are kept in `cache`.
    """

    def __init__(self, cache: Path | None = None, progress: Progress = silent) -> None:
        self.cache = cache or weights_cache()
        self.progress = progress

    def enhance(self, batches: Iterable[IGDT], settings: IES) -> Iterator[IEDT]:
        """Enlarge lazily, batch by batch; see `interfaces.iedt.Enhancer.enhance`.

        Weights are found, downloaded where need be, checked and loaded before this returns, so
        what is wrong with them is said before a batch is taken. The record of every batch names
        what was done: a network, 'lanczos', or 'none' where `settings.scale` is 1.
        """
        plan = self._plan(settings)
        return (_enlarge(batch, plan) for batch in batches)

    def _plan(self, settings: IES) -> _Plan:
        _check_names(settings)
        if settings.scale == 1:
            return _plain_plan("none", settings)
        if settings.enhancer == "lanczos":
            return _plain_plan("lanczos", settings)
        try:
            return self._network_plan(settings)
        except (DownloadError, MissingPackagesError) as error:
            if settings.enhancer != "auto" or settings.weights is not None:
                raise
            _log.warning("enlarging by plain resampling (lanczos) instead of a network: %s", error)
            return _plain_plan("lanczos", settings, is_fallback=True)

    def _network_plan(self, settings: IES) -> _Plan:
        from components.devices import pick_device
        from components.enhancement.runner import TiledRunner
        from components.enhancement.shim import network_classes
        from components.enhancement.weights import load_network

        network_classes()  # before a download that would be of no use without them
        device = pick_device(settings.device)
        path = settings.weights or self._official_file(settings.enhancer, device)
        network = load_network(path)
        record = EnhancementRecord(
            enhancer=_name(settings, path, network),
            weights_sha256=network.sha256,
            scale=settings.scale,
            strength=settings.strength,
        )
        return _Plan(record, TiledRunner(network, device, settings.tile_pixels, self.progress))

    def _official_file(self, enhancer: str, device: "torch.device") -> Path:
        default = DEFAULT_ON_CPU if device.type == "cpu" else DEFAULT_ON_GPU
        name = default if enhancer == "auto" else enhancer
        return fetch(OFFICIAL[name], self.cache, self.progress)


def _check_names(settings: IES) -> None:
    known = ["auto", "lanczos", *OFFICIAL]
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


def _enlarge(batch: IGDT, plan: _Plan) -> IEDT:
    scale = plan.record.scale
    _check_size(batch, scale)
    alpha = batch.alpha
    if alpha is not None and scale > 1:
        alpha = lanczos(alpha, scale, low=0, high=1)
    return IEDT(
        images=_enlarge_colours(batch.images, plan),
        origins=batch.origins,
        alpha=alpha,
        carried=batch.carried,
        enhancement=plan.record,
    )


def _check_size(batch: IGDT, scale: int) -> None:
    """Refuse what the canvas has no room for, since a system out of memory kills without a word."""
    height, width = (side * scale for side in batch.images.shape[2:])
    if height * width > _MAX_PIXELS:
        raise AtelierError(
            f"an image of {width} x {height} pixels would not fit into memory (at most "
            f"{_MAX_PIXELS:,} in all); choose a smaller scale or reduce the picture first"
        )


def _enlarge_colours(images: np.ndarray, plan: _Plan) -> np.ndarray:
    """float32 (N, 3, H, W) in [-1, 1] => the same, scale times as high and wide."""
    scale, strength = plan.record.scale, np.float32(plan.record.strength)
    if scale == 1:
        return images
    enlarged = np.empty((*images.shape[:2], *(side * scale for side in images.shape[2:])), "f4")
    for place, image in enumerate(images):
        if plan.runner is None or strength == 0:
            enlarged[place] = _resample(image, scale)
        elif strength == 1:
            enlarged[place] = _run_network(image, scale, plan.runner)
        else:
            plain = _resample(image, scale)
            enlarged[place] = plain + strength * (_run_network(image, scale, plan.runner) - plain)
    return np.clip(enlarged, -1, 1, out=enlarged)


def _resample(image: np.ndarray, scale: int) -> np.ndarray:
    return lanczos(image[None], scale, low=-1, high=1)[0]


def _run_network(image: np.ndarray, scale: int, runner: "TiledRunner") -> np.ndarray:
    """(3, H, W) in [-1, 1] => ×4 in one pass, ×16 in two."""
    picture = (image + 1) / 2  # [-1, 1] => [0, 1], as the networks were trained
    for _ in range({4: 1, 16: 2}[scale]):
        picture = runner.enlarge(picture)
    picture *= 2  # in place: a large picture is held as few times as can be
    picture -= 1
    return picture
