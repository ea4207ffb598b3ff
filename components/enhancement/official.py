"""The networks that have a name, and where to get their weights.

Their licence is BSD-3-Clause, as their publisher says (github.com/xinntao/Real-ESRGAN).

Upstream publishes no digests, so each one here is quoted from a public package registry that pins
the same release files (`DIGESTS`). No published digest, no entry.
"""

from pathlib import Path

from components.common.download import PublishedFile
from components.common.shipped import ENLARGER

_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download"

DIGESTS = (
    "Arch User Repository, package python-realesrgan 0.3.0-1, PKGBUILD "
    "(github.com/archlinux/aur, branch python-realesrgan)"
)
"""Source in which every digest in `OFFICIAL` is published."""

OFFICIAL = {
    weights.name: weights
    for weights in (
        PublishedFile(  # RRDBNet, 23 blocks: photographs and paintings; slow on a CPU
            "realesrgan-x4plus",
            f"{_RELEASES}/v0.1.0/RealESRGAN_x4plus.pth",
            "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        ),
        PublishedFile(  # RRDBNet, 6 blocks: drawings
            "realesrgan-x4plus-anime",
            f"{_RELEASES}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
            "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        ),
        PublishedFile(  # SRVGGNetCompact, 32 layers: general pictures, about 15 times faster
            "realesr-general-x4v3",
            f"{_RELEASES}/v0.2.5.0/realesr-general-x4v3.pth",
            "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        ),
        PublishedFile(  # its twin, which leaves noise and grain as they are
            "realesr-general-wdn-x4v3",
            f"{_RELEASES}/v0.2.5.0/realesr-general-wdn-x4v3.pth",
            "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        ),
        PublishedFile(  # SRVGGNetCompact, 16 layers: line art, fastest
            "realesr-animevideov3",
            f"{_RELEASES}/v0.2.5.0/realesr-animevideov3.pth",
            "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        ),
    )
}

X4PLUS = "realesrgan-x4plus"
"""The network for paintings: what is best where time allows it."""

DENOISED, WITH_NOISE = "realesr-general-x4v3", "realesr-general-wdn-x4v3"
"""The twins between which `IES.denoise` goes."""

EMBEDDED = "embedded"
"""Name of the project's own compact network (MIT), which needs no download."""


def names() -> list[str]:
    """Names of the networks that can be asked for; 'embedded' where its file is there."""
    return [*([EMBEDDED] if ENLARGER.is_file() else []), *OFFICIAL]


def name_of(sha256: str) -> str | None:
    """Published name of the weights with this digest; None where they are not official ones."""
    return next((w.name for w in OFFICIAL.values() if w.sha256 == sha256), None)


def twin_of(path: Path) -> Path:
    """Path of the twin of a person's own copy: beside it, under upstream's naming.

    Upstream's `inference_realesrgan.py` names it so. It need not be there.
    """
    return path.with_name(path.name.replace(DENOISED, WITH_NOISE))
