"""ITDT: the images of a collection. From the training store to preprocessing.

By reference: the message names a folder with three JSON Lines files, each read one line at a
time, so that a million images never need a million objects in memory.

An image's place is a range of bytes in a file (the whole of it, a member of a zip or tar, a row of
a CIFAR-style binary), so whoever receives the message needs nothing of the store to read it.
"""

import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import Field, model_validator

from interfaces.contract import Contract, Message, Sha256, is_none
from interfaces.errors import DamagedError, NotFoundError
from interfaces.places import Place, Range, Url, read_range
from interfaces.progress import Progress

Pixel = Annotated[int, Field(ge=0, le=1_000_000)]
Side = Annotated[int, Field(ge=1, le=1_000_000)]

_Row = TypeVar("_Row", bound=Message)


class CollectionSettings(Message):
    """The collection to learn from, and what is taken of it."""

    data: str = Field(
        default="embedded",
        min_length=1,
        description=(
            "A folder, zip, tar, parquet, arrow, ArtBench-10 or shards ('set-{000..005}.tar'), by "
            "path or URL (s3://, gs://, hf://, https://); 'embedded' paints its own."
        ),
    )
    styles_csv: Path | None = Field(
        default=None,
        description="CSV file with columns file,style; by default folder names are the styles.",
    )
    min_side_pixels: int = Field(
        default=16, ge=1, description="Images with a shorter side are quarantined as tiny."
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        description="Images with more pixels are quarantined as oversized, without decoding.",
    )
    reserved: Literal["leave out", "take"] = Field(
        default="leave out",
        description=(
            "Images whose files say not to train on them: left out, or taken all the same, which "
            "the collection and the model then say."
        ),
    )


class TrainingImage(Message):
    """One good image: where its bytes lie and what they are."""

    name: str = Field(description="Path inside the collection, with forward slashes.")
    file: Place = Field(description="The file that holds the bytes, by path or URL.")
    version: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Version of a remote file, as its server tells it; None for a local one.",
    )
    offset: int = Field(default=0, ge=0, description="Where in `file` the bytes begin.")
    length: int = Field(ge=1, description="How many bytes lie there.")
    compression: Literal["none", "deflate"] = Field(
        default="none", description="How the bytes are packed (zip members: raw deflate)."
    )
    encoding: Literal["image file", "rgb planes"] = Field(
        default="image file",
        description="An image file, or bare uint8 planes (3, height, width), as CIFAR stores them.",
    )
    style: str = Field(description="Name of the style.")
    width: int = Field(ge=1, description="Width as shown (after EXIF rotation), pixels.")
    height: int = Field(ge=1, description="Height as shown, pixels.")
    mode: str = Field(description="Pixel format in the file, as Pillow names it: 'CMYK'.")
    sha256: Sha256 = Field(description="Digest of the unpacked bytes.")
    reservation: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="What in the file says not to train on it; None: nothing does.",
    )
    crop: tuple[Pixel, Pixel, Side] | None = Field(
        default=None,
        exclude_if=is_none,
        description="The square to learn from: left, upper, side in pixels; None: the middle.",
    )

    def read_bytes(self) -> bytes:
        """The image's bytes, unpacked. Raises `AtelierError` where they cannot be read."""
        try:
            data = self._packed_bytes()
            return zlib.decompress(data, wbits=-15) if self.compression == "deflate" else data
        except (OSError, zlib.error, NotFoundError) as error:
            raise DamagedError(
                f"{self.file}: cannot read {self.name} any more ({error}); "
                "was the collection changed? Run the command again to inspect it again"
            ) from error

    @property
    def remote_range(self) -> Range | None:
        """The bytes to fetch; None where they lie on this machine."""
        if isinstance(self.file, Url):
            return Range(self.file, self.version or "", self.offset, self.length)
        return None

    def _packed_bytes(self) -> bytes:
        if (wanted := self.remote_range) is not None:
            return read_range(wanted)
        assert isinstance(self.file, Path)
        with open(self.file, "rb", opener=_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError("a pipe, socket or device, not a file")
            stream.seek(self.offset)
            return stream.read(self.length)


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe too is opened without waiting for who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class PictureChoice(Message):
    """A person's choices for one picture of a collection."""

    is_excluded: bool = Field(default=False, description="True: it is not learnt from.")
    style: str | None = Field(
        default=None, min_length=1, max_length=80, description="Its style; None: as it was found."
    )
    crop: tuple[Pixel, Pixel, Side] | None = Field(
        default=None,
        description="The square that is learnt from: left, upper, side, pixels as shown.",
    )


class CollectionChoices(Message):
    """A person's choices for the pictures of a collection; its files are never changed."""

    pictures: dict[str, PictureChoice] = Field(
        default_factory=dict[str, PictureChoice],
        description="By path inside the collection; what is not named stays as it was found.",
    )


FileFault = Literal[
    "corrupt",
    "truncated",
    "tiny",
    "oversized",
    "unreadable",
    "not an image",
    "unsupported",
    "reserved",
]
"""Reason for not using a file, apart from a person's choice."""


class QuarantinedFile(Message):
    """One file that is not used, and why."""

    name: str = Field(description="Path inside the collection, with forward slashes.")
    reason: Literal[FileFault, "excluded"] = Field(
        description="Kind of fault; 'reserved': the file says not to train on it; 'excluded': a "
        "person took it out."
    )
    detail: str = Field(description="What exactly was found, for a person.")


class Duplicate(Message):
    """Two images of the collection that are the same, or nearly so. Both are used."""

    name: str = Field(description="The later image.")
    of: str = Field(description="The earlier image it repeats.")
    kind: Literal["exact", "near"] = Field(description="Same bytes, or nearly the same picture.")
    distance: int = Field(ge=0, le=64, description="Bits in which the perceptual hashes differ.")


class Rights(Message):
    """Decision about images whose files say not to train on them."""

    num_reserved: int = Field(ge=1, description="Number of such images.")
    decision: Literal["left out", "taken"] = Field(
        description="Whether they were left out, or taken because a person said so."
    )


class ITDT(Contract):
    """Interface of Training Data Transferring: a collection, inspected.

    Sender: training data store. Receiver: image preprocessing.
    """

    name: str = Field(min_length=1, description="Short name of the collection.")
    source: str = Field(description="What the person named as the collection.")
    manifest: Path = Field(
        description="Folder with images.jsonl, quarantined.jsonl and duplicates.jsonl."
    )
    num_images: int = Field(ge=1, description="Good images: lines of images.jsonl.")
    images_per_style: dict[str, int] = Field(
        min_length=1, description="Good images of each style, styles in alphabetical order."
    )
    num_quarantined: int = Field(ge=0, description="Files put aside: lines of quarantined.jsonl.")
    num_exact_duplicates: int = Field(ge=0, description="Images with the bytes of an earlier one.")
    num_near_duplicates: int = Field(ge=0, description="Images nearly the same as an earlier one.")
    digest: Sha256 = Field(
        description="Digest over every image's name, style and digest, in order."
    )
    rights: Rights | None = Field(
        default=None,
        exclude_if=is_none,
        description="Images that say not to train on them, and what became of them; None: none.",
    )
    choices: CollectionChoices | None = Field(
        default=None,
        exclude_if=is_none,
        description="What a person chose for single pictures; None: nothing.",
    )

    @model_validator(mode="after")
    def _counts_agree(self) -> "ITDT":
        if sum(self.images_per_style.values()) != self.num_images:
            raise ValueError("images_per_style must add up to num_images")
        if list(self.images_per_style) != sorted(self.images_per_style):
            raise ValueError("styles must be in alphabetical order")
        return self

    @property
    def styles(self) -> tuple[str, ...]:
        """Style names; a style's label is its place here."""
        return tuple(self.images_per_style)

    def images(self) -> Iterator[TrainingImage]:
        """The good images, one at a time, in the manifest's order."""
        return _read_lines(self.manifest / "images.jsonl", TrainingImage)

    def quarantined(self) -> Iterator[QuarantinedFile]:
        """The files put aside, one at a time."""
        return _read_lines(self.manifest / "quarantined.jsonl", QuarantinedFile)

    def duplicates(self) -> Iterator[Duplicate]:
        """The repeated images, one at a time."""
        return _read_lines(self.manifest / "duplicates.jsonl", Duplicate)


def _read_lines(path: Path, row: type[_Row]) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield row.model_validate_json(line)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: not a readable manifest ({error}); inspect again") from error


@runtime_checkable
class TrainingStore(Protocol):
    """The training data store's port: find the images of a collection and vouch for them."""

    def collect(self, settings: CollectionSettings, progress: Progress) -> ITDT:
        """Inspect a collection and write its manifest.

        A bad file is quarantined and never stops it. Raises `AtelierError` where the collection
        is missing, is of no known kind, or holds not one good image.
        """
        ...
