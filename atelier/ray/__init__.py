"""Generation, enhancement and conversion over Ray, on this machine's processors or a cluster's.

    python pipeline.py generate --ray                           # this machine
    RAY_ADDRESS=head:6379 python pipeline.py generate --ray     # a cluster

Each of the three is a component like any other, and can take its place alone:
`--component enhancement=atelier.ray:enhancement`. Making one imports Ray, and raises
`UnavailableError` where it is not installed; the cluster is joined when the first picture is
wanted.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from interfaces.errors import UnavailableError

if TYPE_CHECKING:
    from atelier.ray.components import RayConverter, RayEnhancer, RayGenerator

REPLACEMENTS = {
    "generation": "atelier.ray:generation",
    "enhancement": "atelier.ray:enhancement",
    "conversion": "atelier.ray:conversion",
}
"""Replacements that `--ray` makes, by the component's name."""


def generation(workspace: Path) -> "RayGenerator":
    """The generator whose pictures are made by a cluster's workers."""
    _check_installed()
    from atelier.ray.components import RayGenerator

    return RayGenerator(workspace)


def enhancement(workspace: Path) -> "RayEnhancer":
    """The enhancer whose pictures are enlarged by a cluster's workers."""
    _check_installed()
    from atelier.ray.components import RayEnhancer

    return RayEnhancer(workspace)


def conversion(workspace: Path) -> "RayConverter":
    """The converter whose files are encoded by a cluster's workers."""
    _check_installed()
    from atelier.ray.components import RayConverter

    return RayConverter(workspace)


def _check_installed() -> None:
    try:
        import ray  # pyright: ignore[reportUnusedImport]  # noqa: F401
    except ImportError as error:
        raise UnavailableError("--ray: Ray is not installed; pip install 'atelier[ray]'") from error
