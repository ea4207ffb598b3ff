"""Settings for the variational autoencoder."""

from collections.abc import Collection, Mapping

from pydantic import Field

from components.families.latent import LatentOptions
from components.families.port import FamilyConfig, Loss
from interfaces.idle import Need

LOSSES = (
    Loss("loss", "loss", limit=None),
    Loss("reconstruction_loss", "reconstruction", limit=None),
    Loss("kl_divergence", "KL divergence", limit=100_000.0),
    Loss("sigma", "σ", limit=10.0),
)
"""Nats an image, which grow with the number of its pixels; σ is an error of pixels in [-1, 1]."""


class VAEConfig(FamilyConfig):
    """Widths of the networks, and the weight of the two halves of the bound."""

    batch_size: int = Field(default=32, ge=1, le=4096, description="Images in a batch.")
    latent_dim: int = Field(default=128, ge=1, le=4096, description="Latent size.")
    channels: int = Field(
        default=32,
        ge=8,
        le=1024,
        description="Channels at half the images' side; each halving below doubles them.",
    )
    max_channels: int = Field(default=256, ge=8, le=2048, description="Upper limit on channels.")
    blocks: int = Field(
        default=1, ge=1, le=8, description="Residual blocks at each size of the features."
    )
    beta: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description=(
            "Weight of the KL divergence: 1 is the bound itself; above, generated pictures gain "
            "and reconstructions lose."
        ),
    )
    free_bits: float = Field(
        default=0.05,
        ge=0,
        le=10,
        description="Nats that each latent number may carry unpenalised, on average.",
    )
    learning_rate: float = Field(default=5e-4, gt=0, le=10, description="Adam's learning rate.")

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The divergence that free bits are taken from."""
        return {"free_bits": Need("a beta over 0", self.beta > 0)}

    def check_resolution(self, resolution: int) -> None:
        """4×4 features are doubled until they have the images' side."""
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"resolution {resolution}: these networks make 8, 16, 32, 64, 128 …")


class Options(LatentOptions):
    """Options for generating with such a model."""

    spread: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description=(
            "With a source: 0 is its reconstruction; above, each seed varies it, at 1 as widely as "
            "the model is unsure of it."
        ),
    )

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The source that seeds vary."""
        return {**super().needs(given), "spread": Need("a source", "source" in given)}
