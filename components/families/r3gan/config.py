"""Settings for R3GAN.

The defaults are the paper's recipe at a size that a laptop trains: its networks for 64×64 have
some hundred million weights, these have about two million each.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import Field

from components.families.latent import LatentOptions
from components.families.port import FamilyConfig
from interfaces.idle import Need

Augmentation = Literal["none", "flip", "light", "full"]


class R3GANConfig(FamilyConfig):
    """Widths of the networks, the loss's penalties and how they are annealed."""

    batch_size: int = Field(default=32, ge=2, le=4096, description="Images in a batch.")
    latent_dim: int = Field(default=64, ge=1, le=4096, description="Latent size.")
    channels: int = Field(
        default=48,
        ge=16,
        le=1024,
        multiple_of=16,
        description="Channels at half the images' side; each halving below doubles them.",
    )
    max_channels: int = Field(
        default=256, ge=16, le=2048, multiple_of=16, description="Upper limit on channels."
    )
    blocks: int = Field(
        default=1, ge=1, le=8, description="Residual blocks at each size of the features."
    )
    learning_rate: float = Field(
        default=2e-4, gt=0, le=10, description="Adam's learning rate at the beginning."
    )
    final_learning_rate: float = Field(
        default=1e-5, gt=0, le=10, description="Adam's learning rate after the burn-in."
    )
    discriminator_rate: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="The discriminator's learning rate in units of the generator's.",
    )
    gamma: float = Field(
        default=0.15, ge=0, description="Weight of the R1 and R2 penalties at the beginning."
    )
    final_gamma: float = Field(
        default=0.05, ge=0, description="Weight of the R1 and R2 penalties after the burn-in."
    )
    burn_in_images: int = Field(
        default=650_000,
        ge=0,
        description="Images over which learning rate and γ go from first to final (half a cosine).",
    )
    penalty_interval: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Steps between two R1 and R2 penalties; each is multiplied by this number.",
    )
    augment: Augmentation = Field(
        default="light",
        description=(
            "What the discriminator sees real and generated images through: flips; light adds "
            "shifts; full adds colour and cut-outs, for sets of a few hundred."
        ),
    )

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The burn-in, and the penalties, that others belong to."""
        burns_in, is_penalised = self.burn_in_images > 0, max(self.gamma, self.final_gamma) > 0
        return {
            "learning_rate": Need("burn_in_images over 0", burns_in),
            "gamma": Need("burn_in_images over 0", burns_in),
            "penalty_interval": Need("a gamma or final_gamma over 0", is_penalised),
        }

    @classmethod
    def adapted(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The model's own networks; slow steps and strong augmentation, as small sets need."""
        return config | {
            "learning_rate": 1e-4,
            "final_learning_rate": 5e-5,
            "gamma": 0.5,
            "final_gamma": 0.2,
            "burn_in_images": 50_000,
            "augment": "full",
        }

    def check_resolution(self, resolution: int) -> None:
        """4×4 features are doubled until they have the images' side."""
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"resolution {resolution}: these networks make 8, 16, 32, 64, 128 …")


class Options(LatentOptions):
    """Options for generating with such a model."""
