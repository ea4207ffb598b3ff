"""Settings for StyleGAN2.

The defaults are the papers' recipe at a size that a laptop trains at 64×64: about three million
weights in each network.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import Field

from components.families.latent import LatentOptions
from components.families.port import FamilyConfig
from interfaces.idle import Need

Augmentation = Literal["none", "ada"]
Noise = Literal["constant", "seed", "none"]

SMALLEST, LARGEST = 8, 1024
"""Sides of images, pixels."""

FIRST_MIXED_LAYER = 4


class StyleGAN2Config(FamilyConfig):
    """Widths of the networks, the regularisers and the augmentation."""

    batch_size: int = Field(default=32, ge=2, le=4096, description="Images in a batch.")
    latent_dim: int = Field(default=256, ge=1, le=4096, description="Latent size (z).")
    w_dim: int = Field(default=256, ge=1, le=4096, description="Size of the mapped latent (w).")
    mapping_layers: int = Field(
        default=2, ge=1, le=16, description="Layers from z to w: 2 in ADA's recipe, 8 before."
    )
    mapping_rate: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="The mapping's learning rate, in units of the others'.",
    )
    conditional: bool = Field(default=True, description="Whether the networks know the styles.")
    channel_base: int = Field(
        default=2048,
        ge=8,
        le=2**20,
        description="Channels at features of side r are this divided by r.",
    )
    channel_max: int = Field(default=256, ge=1, le=4096, description="Upper limit on channels.")
    activation_limit: float | None = Field(
        default=None,
        gt=0,
        description="Clamp the generator's features to ± this, as published networks do.",
    )
    style_layers: int = Field(
        default=2, ge=1, le=16, description="Layers of the discriminator's mapping of the style."
    )
    deviation_group: int = Field(
        default=4, ge=1, le=64, description="Images compared in the mini-batch's deviation."
    )
    learning_rate: float = Field(default=2.5e-3, gt=0, le=10, description="Adam's learning rate.")
    r1_gamma: float = Field(default=0.05, ge=0, description="Weight of the R1 penalty.")
    r1_interval: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Steps between two R1 penalties; each is multiplied by this number.",
    )
    path_length: float = Field(
        default=1.0,
        ge=0,
        description="Weight of the path length's regulariser, in units of the paper's choice.",
    )
    path_length_interval: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Steps between two path length penalties; each is multiplied by this number.",
    )
    mixing: float = Field(
        default=0.9, ge=0, le=1, description="Share of pictures that learn from two latents."
    )
    augment: Augmentation = Field(
        default="ada", description="ada: as much augmentation as over-fitting calls for."
    )
    ada_target: float = Field(
        default=0.6,
        ge=-1,
        le=1,
        description="Mean sign of the real images' scores that augmentation aims at.",
    )
    ada_images: int = Field(
        default=500_000, ge=1, description="Images over which augmentation can go from none to all."
    )

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The terms and the augmentation that the others belong to."""
        is_adaptive = self.augment == "ada"
        return {
            "style_layers": Need("conditional", self.conditional),
            "r1_interval": Need("an r1_gamma over 0", self.r1_gamma > 0),
            "path_length_interval": Need("a path_length over 0", self.path_length > 0),
            "ada_target": Need("augment 'ada'", is_adaptive),
            "ada_images": Need("augment 'ada'", is_adaptive),
        }

    @classmethod
    def adapted(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The model's own networks, in slower steps; augmentation adapts itself."""
        return config | {"learning_rate": 1e-3}

    def check_resolution(self, resolution: int) -> None:
        """4×4 features are doubled until they have the images' side."""
        if not SMALLEST <= resolution <= LARGEST or resolution & (resolution - 1):
            raise ValueError(
                f"resolution {resolution}: these networks make 8, 16, 32, 64, 128, 256, 512, 1024"
            )
        if self.channel_base < resolution:
            raise ValueError(
                f"channel_base {self.channel_base}: leaves no channel at side {resolution}; "
                f"choose {resolution} or more"
            )

    def widths(self, resolution: int) -> list[int]:
        """Channels at sides 4, 8, … resolution."""
        sides = (2**n for n in range(2, int(math.log2(resolution)) + 1))
        return [min(self.channel_base // side, self.channel_max) for side in sides]


class Options(LatentOptions):
    """Options for generating with such a model.

    Truncation and the way towards another seed are taken in w, where the paper takes them.
    """

    truncation_layers: int | None = Field(
        default=None,
        ge=1,
        le=18,
        description="How many of the coarsest layers to truncate; or all.",
    )
    mix_seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="The finer layers follow this seed: its colours and textures.",
    )
    mix_from_layer: int = Field(
        default=FIRST_MIXED_LAYER,
        ge=1,
        le=17,
        description="The first layer that follows `mix_seed`; 0 is 4×4.",
    )
    noise: Noise = Field(
        default="constant",
        description="Fine detail: the model's own for every picture, from the seed, or none.",
    )
    projection_steps: int = Field(
        default=200, ge=1, le=10_000, description="Steps of the search for `source` in w."
    )

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The seed, the truncation and the source that the others belong to."""
        return {
            **super().needs(given),
            "mix_from_layer": Need("mix_seed", self.mix_seed is not None),
            "truncation_layers": Need("a truncation under 1", self.truncation < 1),
            "projection_steps": Need("a source", "source" in given),
        }
