"""Settings for CycleGAN.

The defaults are the paper's recipe with half its channels and batches of eight: a size that a
laptop trains at 64×64. The paper has 64 channels, one image of each style in a batch, and nine
blocks from 256×256 on.
"""

from collections.abc import Collection, Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from components.families.port import FamilyConfig, FamilyOptions
from interfaces.idle import Need

Upsampling = Literal["nearest", "transposed"]


class CycleGANConfig(FamilyConfig):
    """The two styles, widths of the networks, weights of the losses, and the learning rate."""

    batch_size: int = Field(
        default=8,
        ge=2,
        le=4096,
        description="Images in a batch, both styles together: a discriminator needs both.",
    )
    first_style: int = Field(
        default=0, ge=0, description="Label of one of the two styles, counted from 0."
    )
    second_style: int = Field(
        default=1, ge=0, description="Label of the other; images of further styles are passed over."
    )
    channels: int = Field(
        default=32, ge=4, le=512, description="Channels of the generators at the images' own size."
    )
    blocks: int = Field(
        default=6,
        ge=1,
        le=32,
        description="Residual blocks of a generator; the paper has 6 at 128 pixels, 9 at 256.",
    )
    upsampling: Upsampling = Field(
        default="nearest",
        description=(
            "How generators double the size: nearest (repeated pixels, then a convolution), or the "
            "paper's transposed convolutions, which leave a grid."
        ),
    )
    discriminator_channels: int = Field(
        default=32, ge=4, le=512, description="Channels of the discriminators' first layer."
    )
    discriminator_layers: int = Field(
        default=3,
        ge=1,
        le=6,
        description="Halvings in a discriminator: with 3 it judges patches of 70×70, with 2 34×34.",
    )
    lambda_cycle: float = Field(
        default=10.0, ge=0, le=1000, description="Weight of the cycle loss: there and back again."
    )
    lambda_identity: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Weight, in units of `lambda_cycle`, of leaving the other style as it is.",
    )
    pool_size: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Earlier generated images kept for each discriminator; 0: only the newest.",
    )
    learning_rate: float = Field(default=2e-4, gt=0, le=10, description="Adam's learning rate.")
    constant_images: int = Field(
        default=0, ge=0, description="Images before the learning rate begins to fall."
    )
    decay_images: int = Field(
        default=0,
        ge=0,
        description="Images over which it then falls to 0, in a straight line; 0: it stays.",
    )

    @model_validator(mode="after")
    def _styles_differ(self) -> Self:
        if self.first_style == self.second_style:
            raise ValueError("second_style: must be another one than first_style")
        return self

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The cycle loss, and the fall of the learning rate, that others belong to."""
        return {
            "lambda_identity": Need("a lambda_cycle over 0", self.lambda_cycle > 0),
            "constant_images": Need("decay_images over 0", self.decay_images > 0),
        }

    def made_styles(self, num_styles: int) -> tuple[int, ...]:
        """The two, of however many a collection has."""
        return self.first_style, self.second_style

    def check_resolution(self, resolution: int) -> None:
        """Any size of which a discriminator keeps a patch."""
        least = max(8, 3 * 2**self.discriminator_layers)
        if resolution < least:
            raise ValueError(
                f"resolution {resolution}: at least {least} for {self.discriminator_layers} "
                "discriminator_layers"
            )


class Options(FamilyOptions):
    """No options: the source and the style asked for determine the picture."""
