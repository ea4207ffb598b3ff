"""IGDT: generated images. From generation to enhancement."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from interfaces.batch import ImageBatch
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.progress import Progress, silent
from interfaces.record import GeneratedOrigin


class IGDT(ImageBatch):
    """Interface of Generated Data Transferring: images as the model made them.

    Sender: image generation. Receiver: image enhancement. A person's own picture enters the
    system here too, with a `FileOrigin`.
    """


@runtime_checkable
class ImageGenerator(Protocol):
    """Image generation's port: a model and seeds in, bounded batches out."""

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        """One image a seed, in the order of `settings.chosen_seeds`, less the first `skip`.

        A picture depends on the model, its seed, the style and the options alone. Steps of a
        picture that takes many are reported to `progress`. Raises `AtelierError` for a missing or
        damaged model, an unknown style or unusable options, before the first batch.
        """
        ...

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        """The origin of the first picture that `generate` would make, less what pixels decide.

        That is all but `originality` and `nearest_sha256`; a source that was not named is left
        out. It answers whether a picture was made so already, and raises what `generate` raises.
        """
        ...
