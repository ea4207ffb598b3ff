"""IEDT: enlarged images. From enhancement to conversion."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field, FiniteFloat, model_validator

from interfaces.batch import ImageBatch
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.record import EnhancementRecord


class IEDT(ImageBatch):
    """Interface of Enhance Data Transferring: images after enlargement.

    Sender: image enhancement. Receiver: image conversion.
    """

    enhancement: EnhancementRecord = Field(description="How the batch was enlarged.")
    drift: tuple[Annotated[FiniteFloat, Field(ge=0)], ...] = Field(
        default=(),
        description=(
            "How far enlargement moved each picture, in levels of 255: root mean square of what "
            "the picture, reduced back, differs from the one that came; empty where not measured."
        ),
    )

    @model_validator(mode="after")
    def _one_drift_an_image(self) -> Self:
        if self.drift and len(self.drift) != len(self):
            raise ValueError(f"{len(self)} images but {len(self.drift)} drifts")
        return self


@runtime_checkable
class Enhancer(Protocol):
    """Image enhancement's port: batches in, the same batches enlarged, one for one."""

    def enhance(self, batches: Iterable[IGDT], settings: IES) -> Iterator[IEDT]:
        """Enlarge lazily: takes the next batch only when its own last one was taken.

        Order, origins and carried blocks come out as they went in; height and width are
        multiplied by `settings.scale`. Raises `AtelierError` for weights that are missing,
        damaged or of no known network, before the first batch.
        """
        ...
