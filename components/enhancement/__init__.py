"""Image enhancement: pictures ×4 or ×16 by Real-ESRGAN's networks (IGDT and IES to IEDT).

Nothing here imports torch before `RealESRGANEnhancer.enhance` is called with a network.
"""

from pathlib import Path

from components.enhancement.enhancer import RealESRGANEnhancer
from components.enhancement.official import OFFICIAL, names
from interfaces.iedt import Enhancer

__all__ = [
    "OFFICIAL",
    "RealESRGANEnhancer",
    "create",
    "names",
]


def create(workspace: Path) -> Enhancer:
    """The component as the pipeline uses it.

    It keeps nothing in `workspace`: official weights lie in the person's cache folder, shared by
    all projects (see `download.weights_cache`).
    """
    return RealESRGANEnhancer()
