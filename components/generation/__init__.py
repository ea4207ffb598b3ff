"""Image generation: a model (IGME) and settings (IGS) in, batches of images (IGDT) out.

    from components.generation import create

    for batch in create(workspace).generate(IGME.open(folder), IGS(seeds="0-15")):
        ...  # batch.images is float32 (N, 3, H, W) in [-1, 1]

Torch is imported by the first call, not by this door.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.progress import Progress, silent
from interfaces.record import GeneratedOrigin

if TYPE_CHECKING:
    from components.generation.sampling import Generation


class LocalGenerator:
    """Generates on this machine, in this process. The port is `interfaces.igdt.ImageGenerator`.

    The newest model stays loaded, so that asking it again costs no loading.
    """

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        """One image a seed, in bounded batches; see the port for the promises.

        `progress` hears of the steps of a picture that takes many.
        """
        return self._generation.generate(model, settings, progress)

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        """The origin of the first picture, except what is found in its pixels.

        It serves callers that ask whether a picture was made so before, from any source, which may
        be left out. Raises what `generate` raises for a model or settings that cannot be used.
        """
        return self._generation.planned(model, settings)

    @cached_property
    def _generation(self) -> "Generation":
        from components.generation.sampling import Generation

        return Generation()


def create(workspace: Path) -> LocalGenerator:
    """The component as the pipeline makes it; it keeps no files."""
    return LocalGenerator()


__all__ = ["LocalGenerator", "create"]
