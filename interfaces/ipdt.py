"""IPDT: the prepared set. From preprocessing to training.

By reference: a folder with `images.npy`, uint8 (N, S, S, 3), read as a memory map,
`labels.npy`, int64 (N,), and `sources.txt`, the digest of each image's file, a line each.
"""

from pathlib import Path
from tokenize import TokenError
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import Field

from interfaces.contract import Contract, Many, Message, Sha256, is_none
from interfaces.errors import DamagedError
from interfaces.itdt import ITDT, Rights
from interfaces.progress import Progress

_Number = TypeVar("_Number", np.uint8, np.int64)

_MALFORMED = (
    OSError,
    ValueError,
    ArithmeticError,
    SyntaxError,
    MemoryError,
    RecursionError,
    TokenError,
)
"""Errors that numpy raises for a malformed header, since it reads one as Python."""


USUAL_TRANSFORM = "centre crop, bicubic, rgb8"
"""The largest square from the middle, resampled with a bicubic filter, as 8-bit RGB."""


class PreprocessingSettings(Message):
    """Settings for preparing pictures: paper 002, section on data."""

    resolution: int = Field(
        default=64, ge=8, le=1024, description="Side of the square training images, pixels."
    )


class IPDT(Contract):
    """Interface of Processed Data Transferring: square RGB images of one size.

    Sender: image preprocessing. Receiver: model training.
    """

    directory: Path = Field(description="Folder with images.npy, labels.npy and sources.txt.")
    name: str = Field(min_length=1, description="Short name of the collection.")
    num_images: int = Field(ge=1, description="N, the number of images.")
    resolution: int = Field(ge=8, le=1024, description="S, the side of each image, pixels.")
    styles: Many[str] = Field(
        min_length=1, description="Style names; labels.npy holds places in this list."
    )
    transform: str = Field(
        default=USUAL_TRANSFORM, min_length=1, description="What was done to each picture."
    )
    source_digest: Sha256 = Field(description="Digest of the collection (ITDT).")
    digest: Sha256 = Field(description="Digest of images.npy and labels.npy.")
    rights: Rights | None = Field(
        default=None,
        exclude_if=is_none,
        description="Images of the collection that say not to train on them (ITDT); None: none.",
    )

    def images(self) -> NDArray[np.uint8]:
        """Pixels as a read-only memory map: uint8 (N, S, S, 3), RGB, 0 to 255."""
        shape = (self.num_images, self.resolution, self.resolution, 3)
        return self._load("images.npy", shape, np.uint8)

    def labels(self) -> NDArray[np.int64]:
        """Places in `styles`: int64 (N,)."""
        labels = np.array(self._load("labels.npy", (self.num_images,), np.int64))
        if labels.min() < 0 or labels.max() >= len(self.styles):
            raise DamagedError(f"{self.directory / 'labels.npy'}: a label names no style")
        return labels

    def split(self, held_out_fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the images to learn from, and of those held out: two int64 arrays.

        Each image's own digest decides, so that its place in the collection, its copies and what
        else is there play no part.
        """
        drawn = np.array([int(digest[:8], 16) / 2**32 for digest in self.sources()])
        is_held_out = drawn < held_out_fraction
        return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)

    def sources(self) -> list[str]:
        """SHA-256 of the file behind each image, in order: N of them."""
        path = self.directory / "sources.txt"
        try:
            digests = path.read_text(encoding="ascii").split()
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path}: not readable ({error}); prepare again") from error
        if len(digests) != self.num_images:
            raise DamagedError(f"{path}: {len(digests)} lines for {self.num_images} images")
        return digests

    def _load(self, name: str, shape: tuple[int, ...], dtype: type[_Number]) -> NDArray[_Number]:
        """A file's array as a memory map: what its header claims takes no memory."""
        path = self.directory / name
        try:
            with np.errstate(over="raise"):
                array = open_memmap(path, mode="r")
        except _MALFORMED as error:
            raise DamagedError(f"{path}: not a readable array ({error}); prepare again") from error
        if array.shape != shape or array.dtype != dtype:
            raise DamagedError(
                f"{path}: holds {array.dtype} {array.shape}, the message says "
                f"{np.dtype(dtype)} {shape}; prepare again"
            )
        return array


@runtime_checkable
class Preprocessor(Protocol):
    """Image preprocessing's port: one square RGB size for every picture of a collection."""

    def preprocess(
        self, collection: ITDT, settings: PreprocessingSettings, progress: Progress
    ) -> IPDT:
        """Prepare every good image, in the manifest's order.

        An interrupted call goes on where it stopped; a finished one is found again by content.
        Raises `AtelierError` where an image's bytes are no longer those that were inspected.
        """
        ...
