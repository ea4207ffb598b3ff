"""IEDT: enlarged images. From enhancement to conversion."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field, FiniteFloat, model_validator

from interfaces.batch import ImageBatch
from interfaces.contract import Many
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.progress import Progress, silent
from interfaces.record import EnhancementRecord


class IEDT(ImageBatch):
    """Interface of Enhance Data Transferring: images after enlargement.

    Sender: image enhancement. Receiver: image conversion.
    """

    enhancement: EnhancementRecord = Field(description="How the batch was enlarged.")
    drift: Many[Annotated[FiniteFloat, Field(ge=0)]] = Field(
        default=(),
        description=(
            "How far enlargement moved each picture, in levels of 255: root mean square "
            "difference between the picture, reduced back, and the input; empty where not measured."
        ),
    )

    @model_validator(mode="after")
    def _one_drift_an_image(self) -> Self:
        if self.drift and len(self.drift) != len(self):
            raise ValueError(f"{len(self)} images but {len(self.drift)} drifts")
        return self


LOOK_AHEAD = 8
"""Batches that an enhancer may hold at once, so that it may work on several in parallel."""


@runtime_checkable
class Enhancer(Protocol):
    """Image enhancement's port: batches in, the same batches enlarged, one for one."""

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        """Enlarge lazily: at most `LOOK_AHEAD` batches are taken beyond those given back.

        Order, origins and carried blocks come out as they went in; height and width are
        multiplied by `settings.scale`. Downloads and the tiles of large pictures are reported to
        `progress`. `pixels` are the input pixels of the whole request, where they are known: an
        enhancer may weigh quality against time by them. Raises `AtelierError` for weights that are
        missing, damaged or of no known network, before the first batch.
        """
        ...

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        """The record of a picture enlarged with these settings, less its route.

        It is the check before a run, and answers whether a picture was enlarged so already. Raises
        what `enhance` raises before its first batch.
        """
        ...
