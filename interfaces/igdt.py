"""IGDT: generated images. From generation to enhancement."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from interfaces.batch import ImageBatch
from interfaces.igme import IGME
from interfaces.igs import IGS


class IGDT(ImageBatch):
    """Interface of Generated Data Transferring: images as the model made them.

    Sender: image generation. Receiver: image enhancement. A person's own picture enters the
    system here too, with a `FileOrigin`.
    """


@runtime_checkable
class ImageGenerator(Protocol):
    """Image generation's port: a model and seeds in, bounded batches out."""

    def generate(self, model: IGME, settings: IGS) -> Iterator[IGDT]:
        """One image a seed, in the order of `settings.chosen_seeds`.

        A picture depends on the model, its seed, the style and the options alone. Raises
        `AtelierError` for a missing or damaged model, an unknown style or unusable options, before
        the first batch.
        """
        ...
