"""IODT: an encoded image. From conversion to the results store."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from interfaces.contract import Contract, Seed, Sha256
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.record import Record

MediaType = Literal["image/png", "image/jpeg", "image/webp", "image/avif", "image/tiff"]

SUFFIXES: dict[MediaType, str] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/tiff": ".tif",
}


class IODT(Contract):
    """Interface of Output Data Transferring: one image file, not yet on disk.

    Sender: image conversion. Receiver: results store.
    """

    data: bytes = Field(min_length=1, description="The file, byte for byte.")
    sha256: Sha256 = Field(description="Digest of `data`.")
    media_type: MediaType = Field(description="What the bytes are.")
    width: int = Field(ge=1, description="Width, pixels.")
    height: int = Field(ge=1, description="Height, pixels.")
    record: Record = Field(description="Provenance; the file carries the same record.")

    @property
    def suffix(self) -> str:
        """What the file's name ends in: '.png'."""
        return SUFFIXES[self.media_type]

    @model_validator(mode="after")
    def _digest_holds(self) -> Self:
        if hashlib.sha256(self.data).hexdigest() != self.sha256:
            raise ValueError("sha256 is not the digest of data")
        return self


@runtime_checkable
class Converter(Protocol):
    """Image conversion's port: enlarged batches in, one encoded image at a time out."""

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        """Encode every image of every batch, in order, each with its record inside."""
        ...


class StoredResult(BaseModel):
    """One row of the results store: a file and what is known of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(ge=1, description="Number of the result, in the order of keeping.")
    path: Path = Field(description="The file.")
    sha256: Sha256 = Field(description="Digest of the file.")
    media_type: MediaType = Field(description="What the file is.")
    width: int = Field(ge=1, description="Width, pixels.")
    height: int = Field(ge=1, description="Height, pixels.")
    run: str = Field(description="The run that made it; empty where none did.")
    kept_at: datetime = Field(description="When it was kept, UTC.")
    record: Record = Field(description="Provenance.")


class ResultQuery(BaseModel):
    """Which results: every field that is given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str | None = Field(default=None, description="Made by this run.")
    family: str | None = Field(default=None, description="Made by a model of this family.")
    style: str | None = Field(default=None, description="Asked for in this style.")
    model_digest: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{1,64}$", description="Made by this model (first digits)."
    )
    first_seed: Seed | None = Field(default=None, description="Seed not below this.")
    last_seed: Seed | None = Field(default=None, description="Seed not above this.")
    most_drift: float | None = Field(
        default=None, ge=0, description="Moved by enlargement by at most so many levels of 255."
    )
    least_originality: float | None = Field(
        default=None, ge=0, description="At least so far from the nearest training image."
    )
    sort_by: Literal["newest", "drift", "originality"] = Field(
        default="newest", description="Newest first, or the least drift or originality first."
    )
    limit: int = Field(default=100, ge=1, le=1_000_000, description="At most so many.")


@runtime_checkable
class ResultsStore(Protocol):
    """The results store's port: files and an index of them that never disagree."""

    def keep(self, image: IODT, run: str) -> StoredResult:
        """Keep one image for good: when this returns, file and row survive a power cut.

        Keeping the same bytes for the same run again gives the result that is there already.
        """
        ...

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """The results that fit, in the order that `query.sort_by` names."""
        ...

    def get(self, result_id: int) -> StoredResult:
        """One result by its number. Raises `AtelierError` where there is none."""
        ...
