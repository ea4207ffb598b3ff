"""Settings for the three models of paper 002: its Table 2, field by field.

Table 2 is a search space. The paper does not say which values each model ended with, nor its
layers: the defaults here are our reconstruction. «DCGAN» follows Radford et al. 2015 without its
special weight initialisation, «DCGAN-WI» adds it (we read WI as weight initialisation), «WGAN-GP»
follows Gulrajani et al. 2017.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Field

from components.families.latent import LatentOptions
from components.families.port import FamilyConfig
from interfaces.contract import WholeNumber
from interfaces.idle import Need

Activation = Literal["linear", "relu", "leaky_relu", "tanh"]
Normalisation = Literal["none", "batch", "layer"]


class Table2Config(FamilyConfig):
    """Hyper-parameters of paper 002, Table 2, in its order; then what the table leaves open."""

    latent_dim: int = Field(
        default=128, ge=1, le=4096, description="Latent size: 100, 128 or 256 in the paper."
    )
    learning_rate: float = Field(
        default=2e-4, gt=0, le=10, description="Learning rate: 1e-3 to 1e-5 in the paper."
    )
    batch_size: int = Field(
        default=64, ge=2, le=4096, description="Images in a batch: 64, 128 or 256 in the paper."
    )
    loss: Literal["bce", "wasserstein"] = Field(
        default="bce", description="Binary cross-entropy or Wasserstein-1 distance."
    )
    generator_activation: Activation = Field(
        default="relu", description="Activation inside the generator."
    )
    discriminator_activation: Activation = Field(
        default="leaky_relu", description="Activation inside the discriminator; leaky slope 0.2."
    )
    output_activation: Literal["linear", "tanh"] = Field(
        default="tanh", description="Activation of the generator's last layer."
    )
    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="Optimiser of both.")
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Adam's β1: 0.0 or 0.5.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Adam's β2: 0.9 or 0.999.")
    fully_connected: bool = Field(
        default=False,
        description="A fully connected first (generator) and last (discriminator) layer.",
    )
    generator_normalisation: Normalisation = Field(
        default="batch", description="Normalisation of the generator's convolutions."
    )
    discriminator_normalisation: Normalisation = Field(
        default="batch", description="Normalisation of the discriminator's convolutions."
    )
    kernel_size: Annotated[Literal[3, 4, 5], WholeNumber] = Field(
        default=4, description="Side of the strided convolutions, pixels."
    )
    gradient_correction: Literal["none", "clipping", "penalty"] = Field(
        default="none", description="Weight clipping (WGAN) or gradient penalty (WGAN-GP)."
    )
    discriminator_iterations: int = Field(
        default=1, ge=1, le=100, description="Discriminator updates for each generator update."
    )
    weight_init: Literal["glorot_normal", "normal", "uniform"] = Field(
        default="glorot_normal",
        description="First weights: Glorot normal, Normal(0, 0.02) or Uniform(±0.02·√3).",
    )
    bias: bool = Field(default=False, description="Biases in the convolutions.")

    generator_channels: int = Field(
        default=64, ge=4, le=1024, description="Channels of the generator's widest feature map."
    )
    discriminator_channels: int = Field(
        default=64, ge=4, le=1024, description="Channels of the discriminator's first feature map."
    )
    clip_value: float = Field(
        default=0.01, gt=0, description="Weights are clipped to ± this under 'clipping'."
    )
    penalty_weight: float = Field(
        default=10.0, ge=0, description="λ of the gradient penalty under 'penalty'."
    )

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The optimiser and the correction that numbers of theirs belong to."""
        is_adam, correction = self.optimiser == "adam", self.gradient_correction
        return {
            "beta1": Need("optimiser 'adam'", is_adam),
            "beta2": Need("optimiser 'adam'", is_adam),
            "clip_value": Need("gradient_correction 'clipping'", correction == "clipping"),
            "penalty_weight": Need("gradient_correction 'penalty'", correction == "penalty"),
        }

    def check_resolution(self, resolution: int) -> None:
        """4×4 features are doubled until they have the images' side."""
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"resolution {resolution}: these networks make 8, 16, 32, 64, 128 …")


class DCGANConfig(Table2Config):
    """«DCGAN»: transposed convolutions, batch normalisation, binary cross-entropy."""


class DCGANWIConfig(Table2Config):
    """«DCGAN-WI»: the same, first weights from Normal(0, 0.02)."""

    weight_init: Literal["glorot_normal", "normal", "uniform"] = Field(
        default="normal",
        description="First weights: Glorot normal, Normal(0, 0.02) or Uniform(±0.02·√3).",
    )


class WGANGPConfig(Table2Config):
    """«WGAN-GP»: Wasserstein-1 distance, gradient penalty, five critic updates for one."""

    learning_rate: float = Field(
        default=1e-4, gt=0, le=10, description="Learning rate: 1e-3 to 1e-5 in the paper."
    )
    loss: Literal["bce", "wasserstein"] = Field(
        default="wasserstein", description="Binary cross-entropy or Wasserstein-1 distance."
    )
    beta1: float = Field(default=0.0, ge=0, lt=1, description="Adam's β1: 0.0 or 0.5.")
    beta2: float = Field(default=0.9, ge=0, lt=1, description="Adam's β2: 0.9 or 0.999.")
    discriminator_normalisation: Normalisation = Field(
        default="layer",
        description=(
            "Normalisation of the critic's convolutions; batch normalisation would tie the "
            "images of a batch together, which the penalty forbids."
        ),
    )
    gradient_correction: Literal["none", "clipping", "penalty"] = Field(
        default="penalty", description="Weight clipping (WGAN) or gradient penalty (WGAN-GP)."
    )
    discriminator_iterations: int = Field(
        default=5, ge=1, le=100, description="Critic updates for each generator update."
    )


class Options(LatentOptions):
    """Options for generating with such a model."""
