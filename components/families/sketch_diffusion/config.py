"""Settings for sketch-guided diffusion.

The defaults are a network of eight million weights for 64×64, which a laptop trains in hours.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from components.families.latent import BLEND, TOWARDS_SEED
from components.families.port import FamilyConfig, FamilyOptions
from interfaces.contract import is_none
from interfaces.idle import Need

Conditioning = Literal["none", "noised_image", "radius_mask", "guided"]
Schedule = Literal["sixteen", "continuous"]
SamplerName = Literal["ddim", "ddpm", "dpmpp_2m"]
RepresentationName = Literal["none", "embedded"]

ADAPTING: dict[str, Any] = {
    "batch_size": 8,
    "warm_up_images": 300,
    "anneal_images": 20_000,
    "frechet": 0.0,
    "detail_only": False,
}
"""Options of a training that starts from a model; measured in docs/studies/diffusion.md."""
BESIDE_CRITIC: dict[str, Any] = {
    "learning_rate": 1e-4,
    "final_learning_rate": 3e-5,
    "perceptual": 0.5,
    "adversarial": 0.5,
}
"""Further ones where the model knows such works: without its critic it would lose its touch."""
ALONE: dict[str, Any] = {
    "learning_rate": 3e-4,
    "final_learning_rate": 1e-4,
    "perceptual": 0.0,
    "adversarial": 0.0,
}
"""The same where they are new to it: many quick steps teach more than a few beside a critic."""
GROWING: dict[str, Any] = {
    "batch_size": 8,
    "detail_channels": 48,
    "detail_only": True,
    "learning_rate": 5e-4,
    "final_learning_rate": 5e-4,
    "warm_up_images": 160,
    "noise_shift": 2.0,
    "perceptual": 0.5,
    "adversarial": 0.0,
    "frechet": 0.0,
}
"""Options of a training at twice the resolution of the model that it starts from."""
INTENSITIES = 16
"""Noise intensities of paper 004: 0 replaces the picture wholly, 15 is the weakest."""


class SketchDiffusionConfig(FamilyConfig):
    """The network's sizes, its noise, and how it is shown a drawing."""

    batch_size: int = Field(default=32, ge=1, le=4096, description="Images in a batch.")
    conditioning: Conditioning = Field(
        default="guided",
        description=(
            "How a drawing is followed: none (the paper's baseline), noised_image (begin with the "
            "drawing under noise), radius_mask (the paper's method), guided (strokes shown to the "
            "network, ours)."
        ),
    )
    schedule: Schedule = Field(
        default="sixteen",
        description="Noise levels to learn: the paper's sixteen intensities, or all between them.",
    )
    patch: int = Field(
        default=2, ge=1, le=8, description="Side of the squares that the network sees as one pixel."
    )
    channels: int = Field(
        default=64,
        ge=16,
        le=1024,
        multiple_of=16,
        description="Channels at the largest features; each halving below doubles them.",
    )
    max_channels: int = Field(
        default=256, ge=16, le=2048, multiple_of=16, description="Upper limit on channels."
    )
    blocks: int = Field(
        default=2, ge=1, le=8, description="Residual blocks at each size, down and up again."
    )
    smallest: int = Field(
        default=8, ge=2, le=64, description="Side of the smallest features, which have attention."
    )
    middle: int = Field(
        default=1,
        ge=1,
        le=32,
        description="Pairs of attention and blocks at the smallest features.",
    )
    largest_attention: int = Field(
        default=0,
        ge=0,
        le=64,
        description=(
            "Side of the largest features that have attention behind each block; 0: only the "
            "smallest have attention."
        ),
    )
    detail_channels: int = Field(
        default=0,
        ge=0,
        le=1024,
        multiple_of=16,
        description=(
            "Channels of a further level for pictures twice as large as the network's own, which "
            "adds their detail; 0: none. A model without it can be started from."
        ),
    )
    detail_blocks: int = Field(
        default=3, ge=1, le=32, description="detail_channels: residual blocks of that level."
    )
    detail_only: bool = Field(
        default=False,
        description="detail_channels: train that level alone; the network stays as it is.",
    )
    learning_rate: float = Field(
        default=8e-4, gt=0, le=1, description="Adam's learning rate at the beginning."
    )
    final_learning_rate: float = Field(
        default=5e-5, gt=0, le=1, description="Adam's learning rate at the end."
    )
    warm_up_images: int = Field(
        default=1_000,
        ge=0,
        description="Images over which the learning rate rises from 0.",
    )
    anneal_images: int = Field(
        default=1_000_000,
        ge=1,
        description="Images over which the rate falls to its final one (half a cosine).",
    )
    representation: RepresentationName = Field(
        default="none",
        description=(
            "What the network is told of each picture besides its style: nothing, or what the "
            "embedded encoder sees in it. New pictures then begin near a work learnt from."
        ),
    )
    noise_shift: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="continuous: over 1, strong noise is learnt more often; under 1, weak noise.",
    )
    perceptual: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description=(
            "Weight of the distance in a classifier's features beside the squared error; 0: none."
        ),
    )
    perceptual_noise: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="perceptual: largest noise at which it counts; above, it would cost variety.",
    )
    adversarial: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description=(
            "Weight of a critic that rewards denoised pictures that look like paintings; 0: none. "
            "It teaches brushwork, which the squared error smooths away."
        ),
    )
    adversarial_noise: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="adversarial: largest noise at which the critic is applied.",
    )
    frechet: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description=(
            "adversarial: weight of the Fréchet distance between many pictures and paintings in a "
            "classifier's features; 0: none. It teaches the variety that a critic cannot see."
        ),
    )
    style_dropout: float = Field(
        default=0.1, ge=0, le=1, description="Share of images that are learnt without their style."
    )
    sketch_dropout: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Share of images that are learnt without their strokes.",
    )
    min_radius: float = Field(
        default=1.0, ge=0, le=512, description="Smallest radius in training, pixels."
    )
    max_radius: float = Field(
        default=12.0, ge=0, le=512, description="Largest radius in training, pixels."
    )
    fewest_lines: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="guided: smallest share of a picture's lines that is shown in training, about.",
    )
    flip: bool = Field(default=True, description="Mirror images left to right at random.")

    @model_validator(mode="after")
    def _radii_are_in_order(self) -> Self:
        if self.min_radius > self.max_radius:
            raise ValueError("min_radius: is over max_radius")
        return self

    @model_validator(mode="after")
    def _detail_is_under_noise(self) -> Self:
        if self.detail_channels and not self.takes_detail:
            raise ValueError(
                "detail_channels: needs schedule 'continuous' and another conditioning than "
                "'radius_mask'"
            )
        return self

    @model_validator(mode="after")
    def _levels_and_batches_suffice(self) -> Self:
        if self.schedule == "sixteen" and self.noise_shift != 1:
            raise ValueError("noise_shift: needs schedule 'continuous'; the sixteen levels are set")
        if self.adversarial and self.batch_size == 1:
            raise ValueError("batch_size: needs 2 or more with an adversarial over 0")
        return self

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """The strokes and the perceptual distance that others belong to."""
        strokes = Need("conditioning 'guided' or 'radius_mask'", self.takes_strokes)
        return {
            "perceptual_noise": Need("a perceptual over 0", self.perceptual > 0),
            "adversarial_noise": Need("an adversarial over 0", self.adversarial > 0),
            "frechet": Need("an adversarial over 0", self.adversarial > 0),
            "detail_blocks": Need("a detail_channels over 0", self.detail_channels > 0),
            "detail_only": Need("a detail_channels over 0", self.detail_channels > 0),
            "sketch_dropout": strokes,
            "min_radius": strokes,
            "max_radius": strokes,
            "fewest_lines": Need("conditioning 'guided'", self.conditioning == "guided"),
        }

    @classmethod
    def adapted(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The model's own network; `completed` adds what depends on the pictures."""
        own = {name: value for name, value in config.items() if name not in ALONE}
        return own | ADAPTING

    @classmethod
    def completed(cls, options: dict[str, Any], is_familiar: Callable[[], bool]) -> dict[str, Any]:
        """Quick steps for what is new, steps beside the critic for what is familiar."""
        given = cls.model_validate(options)
        if "adversarial" in options:
            has_critic = given.adversarial > 0
        else:
            has_critic = given.batch_size > 1 and is_familiar()
        return (BESIDE_CRITIC if has_critic else ALONE) | options

    @classmethod
    def grown(cls, config: dict[str, Any]) -> dict[str, Any] | None:
        """A level of detail around the network, which stays as it is; twice the radii."""
        before = cls.model_validate(config)
        if before.detail_channels or not before.takes_detail:
            return None
        radii = {"min_radius": 2 * before.min_radius, "max_radius": 2 * before.max_radius}
        return config | GROWING | (radii if before.takes_strokes else {})

    @property
    def takes_detail(self) -> bool:
        """Whether averages of 2×2 pixels under noise are what the network learns to clean."""
        return self.schedule == "continuous" and self.conditioning != "radius_mask"

    @property
    def takes_strokes(self) -> bool:
        """Whether strokes are taken from the pictures that are learnt."""
        return self.conditioning in ("radius_mask", "guided")

    def inner_resolution(self, resolution: int) -> int:
        """Side of the pictures that the network without its level of detail cleans."""
        return resolution // 2 if self.detail_channels else resolution

    def check_resolution(self, resolution: int) -> None:
        """Patches, then halvings down to `smallest`, which must come out even."""
        if self.detail_channels and resolution % 2:
            raise ValueError(f"resolution {resolution}: must be even for a level of detail")
        side, left = divmod(self.inner_resolution(resolution), self.patch)
        while side > self.smallest and side % 2 == 0:
            side //= 2
        if left or side > self.smallest or side < 2:
            raise ValueError(
                f"resolution {resolution}: patches of {self.patch}, then halvings, must lead to "
                f"features of at most {self.smallest}×{self.smallest}"
            )


def _is_half(value: object) -> bool:
    """True for 0.5: `exclude_if` of a share that says nothing then."""
    return value == 0.5


class Options(FamilyOptions):
    """Options for generating with such a model.

    Radii are in pixels at the training resolution, so they grow with it: 7 at 64×64 is 14 at
    128×128, about a ninth of the side at either.
    """

    steps: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description=(
            "Network evaluations from noise to picture (left out: 8; 16 for a model that learnt "
            "sixteen intensities)."
        ),
    )
    shift: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description=(
            "Over 1, more of the steps are at strong noise, under 1 at weak noise; for a model "
            "that learnt continuous noise levels (2.5 if left out; 5 with a level of detail)."
        ),
    )
    sampler: SamplerName = Field(
        default="dpmpp_2m",
        description=(
            "ddim and dpmpp_2m (second order: fewer steps) add no noise on the way; ddpm does."
        ),
    )
    guidance: float = Field(
        default=1.0,
        ge=0,
        le=20,
        description="How strongly the style is followed; 1 is as it was learnt.",
    )
    sketch_guidance: float | None = Field(
        default=None,
        ge=0,
        le=20,
        description="guided: how strongly strokes are followed; 1: as learnt (4 if left out).",
    )
    representation_guidance: float | None = Field(
        default=None,
        ge=0,
        le=20,
        exclude_if=is_none,
        description=(
            "How strongly a picture follows the work that it starts near, for a model trained "
            "with a representation; 1, as learnt, if left out. Over 1: more variety, at "
            "twice the time."
        ),
    )
    radius: float | None = Field(
        default=None,
        ge=0,
        le=512,
        description=(
            "Distance from the drawing, pixels at the training resolution. radius_mask: how far "
            "around it noise is laid (7 if left out); guided: how far lines may stray (3)."
        ),
    )
    source_strength: float | None = Field(
        default=None,
        gt=0,
        le=1,
        exclude_if=is_none,
        description=(
            "source: repaint it, starting from this much noise. 0.3 changes the brushwork, 0.7 "
            "the subject as well. If left out, `rework` takes 0.5, and `generate` follows only the "
            "lines."
        ),
    )
    source_size: int | None = Field(
        default=None,
        ge=8,
        le=1024,
        exclude_if=is_none,
        description=(
            "source_strength: shorter side at which the source is repainted, pixels; by default "
            "its own, at most 256. A smaller one, down to the model's, gives a freer picture."
        ),
    )
    intensity: float | None = Field(
        default=None,
        ge=0,
        le=15,
        description=(
            "Noise over the drawing: 0 replaces it wholly, 15 is the weakest; noised_image (8 if "
            "left out) and radius_mask (0 if left out)."
        ),
    )

    # Left out of records where it is not used, so that those of earlier versions stay as they are.
    towards_seed: int | None = Field(
        default=None, ge=0, le=2**63 - 1, exclude_if=is_none, description=TOWARDS_SEED
    )
    blend: float = Field(default=0.5, ge=0, le=1, exclude_if=_is_half, description=BLEND)

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """An end to go towards, and a source to paint anew."""
        return {
            "blend": Need("towards_seed", self.towards_seed is not None),
            "source_size": Need("source_strength", self.source_strength is not None),
        }

    def for_rework(self) -> Self:
        """Half noise over the source, unless its lines are to be followed."""
        guides = [getattr(self, name) for name in Guides._fields]
        if self.source_strength is not None or any(guide is not None for guide in guides):
            return self
        return self.model_copy(update={"source_strength": 0.5})

    def for_drawing(self, conditioning: Conditioning) -> "Guides":
        """Guides under a conditioning, with its defaults for those that were not chosen.

        Raises `ValueError` for a chosen one that has no meaning there.
        """
        defaults = GUIDES[conditioning]
        chosen: dict[str, float] = {}
        for name in Guides._fields:
            value = getattr(self, name)
            if value is None:
                continue
            if name not in defaults:
                raise ValueError(
                    f"{name}: has no meaning for a model of conditioning {conditioning!r}; "
                    "leave it out"
                )
            chosen[name] = value
        return Guides(**(defaults | chosen))


class Guides(NamedTuple):
    """Settings for following a drawing."""

    radius: float = 0.0
    intensity: float = 0.0
    sketch_guidance: float = 1.0


GUIDES: dict[Conditioning, dict[str, float]] = {
    "none": {},
    "noised_image": {"intensity": 8.0},
    "radius_mask": {"radius": 7.0, "intensity": 0.0},
    "guided": {"radius": 3.0, "sketch_guidance": 4.0},
}
"""Guides that have a meaning under each conditioning, with their defaults."""
