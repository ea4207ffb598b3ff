"""The common part of IGDT and IEDT: a bounded batch of pictures, each with its origin."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from interfaces.arrays import AlphaPlanes, Blob, Images, is_array
from interfaces.contract import Contract, Many, Message, Sha256
from interfaces.record import Origin


class Ingredient(Message):
    """Content credentials (C2PA) that a file brought, to be kept in those of what is made of it."""

    relationship: Literal["parentOf", "inputTo"] = Field(
        description="'parentOf': the file was opened and changed; 'inputTo': a model took it in."
    )
    sha256: Sha256 = Field(description="Digest of the file as it was read.")
    archive: Blob = Field(
        description="Its manifests, and how they were found, as a C2PA ingredient archive."
    )


class Carried(Message):
    """Contents of a person's own file beside its colours, to be kept through every step."""

    bit_depth: Literal[8, 16] = Field(default=8, description="Bits per colour in the file.")
    mode: str = Field(default="RGB", description="Pixel format of the file, as Pillow names it.")
    icc_profile: Blob | None = Field(
        default=None, description="ICC profile of the colours; a PNG's gAMA and cHRM become one."
    )
    exif: Blob | None = Field(default=None, description="EXIF block, orientation set upright.")
    xmp: Blob | None = Field(default=None, description="XMP packet, byte for byte.")
    iptc: Blob | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Captions, as an IPTC-IIM block.",
    )
    text: dict[str, str] = Field(
        default_factory=dict,
        description="Text chunks of a PNG; the comment of a JPEG or GIF, as 'Comment'.",
    )
    ingredients: Many[Ingredient] = Field(
        default=(),
        exclude_if=lambda value: not value,
        description="Credentials of the files that the picture was made from.",
    )


class ImageBatch(Contract):
    """A bounded batch of pictures of one size, each with its origin."""

    images: Images = Field(description="float32 (N, 3, H, W), RGB, finite, in [-1, 1].")
    origins: Many[Origin] = Field(
        min_length=1, description="Where each picture came from: seed and model, or a file."
    )
    alpha: AlphaPlanes | None = Field(
        default=None,
        description="Opacity, float32 (N, 1, H, W) in [0, 1]; None where all is opaque.",
    )
    carried: Many[Carried] | None = Field(
        default=None, description="What people's own files held beside colours; one an image."
    )

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        count, _, height, width = self.images.shape
        if len(self.origins) != count:
            raise ValueError(f"{count} images but {len(self.origins)} origins")
        if self.alpha is not None and self.alpha.shape != (count, 1, height, width):
            raise ValueError(f"alpha {self.alpha.shape} does not fit images {self.images.shape}")
        if self.carried is not None and len(self.carried) != count:
            raise ValueError(f"{count} images but {len(self.carried)} carried blocks")
        return self

    def __len__(self) -> int:
        return len(self.origins)

    def __eq__(self, other: object) -> bool:
        # Pydantic's own comparison asks arrays for a truth value, which they do not have.
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((value, getattr(other, name)) for name, value in self)
        return all(np.array_equal(a, b) if is_array(a) else a == b for a, b in pairs)
