"""Image enhancement: pictures ×4 or ×16 by Real-ESRGAN's networks (IGDT and IES to IEDT).

Nothing here imports torch before `RealESRGANEnhancer.enhance` is called with a network.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.common.download import weights_cache
from components.enhancement.enhancer import RealESRGANEnhancer
from components.enhancement.official import OFFICIAL, names
from components.enhancement.sources import Source, is_here, locate
from interfaces.iedt import Enhancer
from interfaces.progress import Progress, silent

if TYPE_CHECKING:
    from components.enhancement.weights import Network

__all__ = [
    "OFFICIAL",
    "RealESRGANEnhancer",
    "absent_names",
    "create",
    "names",
    "open_network",
]


def create(workspace: Path) -> Enhancer:
    """The component as the pipeline uses it.

    It keeps nothing in `workspace`: official weights lie in the person's cache folder, shared by
    all projects (see `download.weights_cache`).
    """
    return RealESRGANEnhancer()


def absent_names() -> list[str]:
    """Names of the networks whose weights are not on this machine and would be downloaded."""
    return [name for name in names() if not is_here(name, weights_cache())]


def open_network(name: str, progress: Progress = silent) -> "Network":
    """Load a ×4 network, by its name or from a weights file, onto the CPU.

    Its weights are downloaded where no copy is at hand. Raises `AtelierError` for what is no such
    network.
    """
    from components.enhancement.weights import load_network

    is_known = name in names()
    source = locate(name, weights_cache(), progress) if is_known else Source(Path(name), "own file")
    return load_network(source.path, published=source.published)
