"""Image generation: a model (IGME) and settings (IGS) in, batches of images (IGDT) out.

    from components.generation import create

    for batch in create(workspace).generate(IGME.open(folder), IGS(seeds="0-15")):
        ...  # batch.images is float32 (N, 3, H, W) in [-1, 1]

Torch is imported by the first call, not by this door.
"""

from collections.abc import Iterator
from pathlib import Path

from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS


class LocalGenerator:
    """Generates on this machine, in this process. The port is `interfaces.igdt.ImageGenerator`."""

    def generate(self, model: IGME, settings: IGS) -> Iterator[IGDT]:
        """One image a seed, in bounded batches; see the port for the promises."""
        from components.generation.sampling import generate

        return generate(model, settings)


def create(workspace: Path) -> LocalGenerator:
    """The component as the pipeline makes it; it keeps no files."""
    return LocalGenerator()


__all__ = ["LocalGenerator", "create"]
