"""The official Real-ESRGAN networks by their published names, and where to get their weights.

Upstream publishes no digests, so each one here is quoted from a public package registry that pins
the same release files: the Arch User Repository, package `python-realesrgan` 0.3.0-1, PKGBUILD
(github.com/archlinux/aur, branch python-realesrgan). No published digest, no entry.
All are BSD-3-Clause, ×4.
"""

from components.download import PublishedFile

_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download"


OFFICIAL = {
    weights.name: weights
    for weights in (
        PublishedFile(  # RRDBNet, 23 blocks: photographs and paintings; wants a GPU
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
        PublishedFile(  # SRVGGNetCompact, 16 layers: line art, fastest
            "realesr-animevideov3",
            f"{_RELEASES}/v0.2.5.0/realesr-animevideov3.pth",
            "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        ),
    )
}

DEFAULT_ON_CPU = "realesr-general-x4v3"
DEFAULT_ON_GPU = "realesrgan-x4plus"


def name_of(sha256: str) -> str | None:
    """Published name of the weights with this digest; None where they are nobody's official."""
    return next((w.name for w in OFFICIAL.values() if w.sha256 == sha256), None)
