"""Measured figures, each with the circumstances that let it be trusted and compared.

A Fréchet distance alone says nothing: it depends on how many images were compared, how they were
resized, by which network's features and in which arithmetic. These go with every figure.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, FiniteFloat, ValidationInfo, field_validator

from interfaces.contract import Message, Seed, Sha256
from interfaces.errors import RefusedError
from interfaces.igs import Device

Metric = Literal["frechet", "kid", "precision", "recall", "coverage"]
Features = Literal["embedded", "imagenet", "inception"]
Against = Literal["training", "held-out", "all"]

FID_WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Digest of the published Inception weights: figures of these are FIDs as papers print them."""

FEW_IMAGES = 2048
"""Number of images below which the covariance of Inception's 2048 features is singular."""

_NAMES: dict[Metric, str] = {
    "frechet": "Fréchet distance",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
}

_WHOSE: dict[Features, str] = {
    "embedded": "embedded",
    "imagenet": "imagenet",
    "inception": "inception, other weights",
}

_CAUTIONS: dict[Features, str] = {
    "embedded": "It rests on the project's own features: it is no FID of the literature.",
    "imagenet": "It rests on EfficientNet-Lite1's features: it is no FID of the literature.",
    "inception": "It rests on weights that were not published: it is no FID of the literature.",
}


class Measurement(Message):
    """One figure, with its interval and all that it depends on."""

    metric: Metric = Field(description="'frechet' is FID where the features are published.")
    value: FiniteFloat = Field(description="The figure.")
    low: FiniteFloat = Field(description="Lower end of its 95 % interval.")
    high: FiniteFloat = Field(description="Upper end of its 95 % interval.")
    num_generated: int = Field(ge=2, description="Generated images.")
    num_real: int = Field(ge=2, description="Real images.")
    against: Against = Field(description="Which real images: learnt from, held out, or all.")
    dataset_digest: Sha256 = Field(description="Digest of the prepared set of real images (IPDT).")
    features: Features = Field(description="Whose features.")
    features_sha256: Sha256 = Field(description="Digest of the feature network's weights.")
    resizer: str = Field(description="How pictures are brought to the network's size.")
    precision: str = Field(description="Arithmetic: of the features, then of the distance.")
    style: str | None = Field(default=None, description="One style only, where it is named.")

    @property
    def has_few_images(self) -> bool:
        """True where a Fréchet distance says more of the sample's size than of the pictures."""
        return min(self.num_generated, self.num_real) < FEW_IMAGES

    @property
    def name(self) -> str:
        """Name as people use it: 'FID' is said of the published Inception weights alone."""
        if self.features_sha256 == FID_WEIGHTS_SHA256:
            return "FID" if self.metric == "frechet" else _NAMES[self.metric]
        return f"{_NAMES[self.metric]} ({_WHOSE[self.features]})"

    @property
    def caution(self) -> str:
        """Warning against misreading the figure: a sentence, empty where it is an FID."""
        return "" if self.features_sha256 == FID_WEIGHTS_SHA256 else _CAUTIONS[self.features]

    def short(self) -> str:
        """The figure alone, as a person reads it; KID in thousandths."""
        return f"{_NAMES[self.metric]}{self._unit} {self._told(self.value)}"

    @property
    def _unit(self) -> str:
        return " in 10⁻³" if self.metric == "kid" else ""

    def _told(self, figure: float) -> str:
        scaled = 1000 * figure if self.metric == "kid" else figure
        return f"{scaled:.2f}" if self.metric in ("frechet", "kid") else f"{scaled:.4f}"

    def line(self) -> str:
        """The figure as a person reads it, with what it rests on; KID in thousandths."""
        value, low, high = map(self._told, (self.value, self.low, self.high))
        text = (
            f"{self.name}{self._unit}: {value} [{low}, {high}] "
            f"({self.num_generated} generated, {self.num_real} real {self.against}"
            f"{f', {self.style}' if self.style else ''})"
        )
        if self.metric == "frechet" and self.has_few_images:
            text += f"; biased: under {FEW_IMAGES} images"
        return text

    def check_comparable(self, other: Self) -> None:
        """Raise `RefusedError` where the two figures were measured in unlike ways."""
        mine, theirs = (
            measurement.model_dump(exclude={"value", "low", "high"})
            for measurement in (self, other)
        )
        unlike = [f"{k}: {v!r} and {theirs[k]!r}" for k, v in mine.items() if v != theirs[k]]
        if unlike:
            raise RefusedError(
                f"two figures of {self.metric} cannot be compared ({'; '.join(unlike)}); measure "
                "both in the same way"
            )


class Figures(Message):
    """Measured figures of one set of pictures, as a whole and style by style."""

    overall: tuple[Measurement, ...] = Field(description="Of all pictures.")
    by_style: tuple[Measurement, ...] = Field(
        description="Of each style with enough pictures, as many generated as real ones."
    )

    def floor_line(self) -> str:
        """Figures of real pictures against others, as a person reads them beside a model's."""
        first = self.overall[0]
        told = ", ".join(one.short() for one in self.overall)
        return f"Real against real ({first.num_generated} and {first.num_real} pictures): {told}"

    def find(self, metric: Metric, style: str | None = None) -> Measurement | None:
        """The figure of a metric, of all pictures or of a style; None where it is not there."""
        figures = self.overall if style is None else self.by_style
        return next((one for one in figures if (one.metric, one.style) == (metric, style)), None)


class EvaluationSettings(Message):
    """Settings for measuring a model's pictures."""

    count: int = Field(
        default=10_000, ge=4, le=1_000_000, description="How many pictures to make and measure."
    )
    seed: Seed = Field(default=0, description="Seed of the first picture.")
    against: Against = Field(
        default="training",
        description=(
            "Real images to compare with: those the model learnt from, those held out, or all."
        ),
    )
    features: Features = Field(
        default="embedded",
        description=(
            "Which features to compare: those of the project's own encoder, of EfficientNet-Lite1 "
            "trained on ImageNet (recognises objects), or of Inception (the published FID)."
        ),
    )
    inception_weights: Path | None = Field(
        default=None, description="Inception weights of your own instead of the published ones."
    )
    device: Device = Field(default="auto", description="Where the networks run.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="The family's own options when it generates."
    )

    @field_validator("inception_weights")
    @classmethod
    def _are_inceptions(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and info.data.get("features") != "inception":
            raise ValueError("has an effect only with features 'inception'")
        return path
