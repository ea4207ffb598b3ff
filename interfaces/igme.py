"""IGME: a trained model. From training to generation.

By reference: a folder with `model.json` (this message, less the folder's own place) and
`weights.safetensors`; it can be moved, shared and published as it is.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, runtime_checkable

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    StringConstraints,
    model_validator,
)

from interfaces.contract import Contract, Many, Message, Offers, Seed, Sha256, is_false, is_none
from interfaces.errors import NotFoundError
from interfaces.idle import Need, idle
from interfaces.igs import Device
from interfaces.ipdt import IPDT
from interfaces.itdt import Rights
from interfaces.measurement import Features, Measurement
from interfaces.progress import Progress

FREE_WHEN_RESUMED = frozenset(
    {
        "total_images",
        "total_seconds",
        "checkpoint_seconds",
        "sample_seconds",
        "tensorboard",
        "track",
    }
)
"""Settings that may differ between a training and its continuation: how long, how often saved."""


def _none_by_name(value: object) -> object:
    return None if value == "none" else value


StartFrom = Annotated[Path | None, BeforeValidator(_none_by_name)]
"""A model's folder, or None: 'none' in TOML and on the command line, which have no other word."""


MODEL_FILE = "model.json"
"""The description in a model's folder, which is written last: without it there is no model."""


class TrainingSettings(Message):
    """Settings of a training, whatever its family."""

    family: str = Field(default="dcgan", min_length=1, description="Published method to train.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="The family's own hyper-parameters (its Config)."
    )
    start_from: StartFrom = Field(
        default=None,
        description=(
            "A trained model's folder or URL to start from, 'shipped-sketch', 'shipped-sketch-128' "
            "or 'shipped' for the project's own, or 'none'; its family and the shape of its "
            "networks are taken over. With a family or another resolution the default is 'none'."
        ),
    )
    total_images: int | None = Field(
        default=None, ge=1, description="Stop after this many images seen. Exactly repeatable."
    )
    total_seconds: float | None = Field(
        default=None, gt=0, description="Stop after this many seconds of training."
    )
    seed: Seed = Field(
        default=0, description="Fixes the initial weights, the order of images and the noise."
    )
    device: Device = Field(default="auto", description="Where the network trains.")
    precision: Annotated[str, Offers(("auto", "float32", "bfloat16"))] = Field(
        default="auto",
        min_length=1,
        max_length=40,
        description=(
            "Arithmetic of the networks; auto is bfloat16 where the hardware multiplies matrices "
            "in it, or where a short trial shows it to be quicker."
        ),
    )
    accumulate: int = Field(
        default=1, ge=1, le=1024, description="Batches whose gradients make one update."
    )
    ema_halflife_images: float = Field(
        default=10_000.0,
        ge=0,
        description="Half-life of the averaged generator weights, images seen; 0 turns it off.",
    )
    ema_ramp_up: float | None = Field(
        default=None,
        gt=0,
        le=1,
        exclude_if=is_none,
        description=(
            "Largest half-life of that average as a share of the images seen so far: 0.05, or 0.5 "
            "beside a critic, if left out. 1 suits a training that changes little of a good model."
        ),
    )
    style_balanced: bool = Field(
        default=False, description="Draw each style equally often, however few images it has."
    )
    cluster_balanced: bool = Field(
        default=False,
        exclude_if=is_false,
        description=(
            "Draw each group of images that look alike equally often, however few it has; the "
            "embedded encoder's features make the groups."
        ),
    )
    held_out_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description=(
            "Share of the images that is never learnt from; the training is measured against them "
            "and over-fitting shows on them. The images' own digests choose them."
        ),
    )
    measure_images: int = Field(
        default=50_000,
        ge=0,
        description="Images seen between two measurements of the pictures made; 0: never.",
    )
    measure_count: int = Field(
        default=1000, ge=16, le=100_000, description="Pictures made for a measurement."
    )
    measure_features: Features = Field(
        default="embedded", description="Whose features the measurements rest on, as in `evaluate`."
    )
    checkpoint_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds between checkpoints: the most that a stop can lose.",
    )
    sample_seconds: float = Field(
        default=60.0, gt=0, description="Time between sample grids and curves, seconds."
    )
    guardian: Literal["off", "watch", "act"] = Field(
        default="act",
        description=(
            "What to do about trouble (NaN, divergence, collapse, over-fitting): 'act' goes back "
            "to the last good state with a remedy, 'watch' only reports it."
        ),
    )
    guardian_images: int = Field(
        default=5_000, ge=1, description="Images seen between two checks by the guardian."
    )
    guardian_tries: int = Field(
        default=3, ge=0, le=100, description="How often the guardian goes back before it gives up."
    )
    tensorboard: bool = Field(default=False, description="Write TensorBoard event files too.")
    track: Annotated[str, Offers(("mlflow", "trackio", "wandb"))] | None = Field(
        default=None,
        min_length=1,
        max_length=40,
        exclude_if=is_none,
        description="Follow the training in MLflow, trackio or Weights & Biases too, offline.",
    )

    @property
    def trackers(self) -> list[str]:
        """Packages that the training is followed in, by name."""
        return [*(["tensorboard"] if self.tensorboard else []), *filter(None, [self.track])]

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.total_images is None and self.total_seconds is None:
            raise ValueError("give a budget: total_images, total_seconds or both")
        if self.style_balanced and self.cluster_balanced:
            raise ValueError("balance by style or by cluster: style_balanced or cluster_balanced")
        return self

    def idle(self) -> list[str]:
        """Settings that were chosen but have no effect beside the rest, each in a sentence."""
        is_measured = Need("a measure_images over 0", self.measure_images > 0)
        return idle(
            self,
            {
                "measure_count": is_measured,
                "measure_features": is_measured,
                "guardian_images": Need("a guardian", self.guardian != "off"),
                "guardian_tries": Need("a guardian that acts", self.guardian == "act"),
            },
        )


def _names_no_other_file(name: str) -> str:
    if name.lower() in ("weights", "neighbours", "model"):
        raise ValueError(f"{name!r} is the name of another of the model's files")
    return name


CompanionName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$"), AfterValidator(_names_no_other_file)
]
"""A network's name, and its file's stem: it leads to no other folder."""

_IDENTITY = (
    "family",
    "config",
    "weights_sha256",
    "resolution",
    "styles",
    "dataset_name",
    "dataset_digest",
    "neighbours_sha256",
)
"""Fields that a picture depends on, or that its record names or was measured with."""


def _sha256_of(identity: object) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class IGME(Contract):
    """Interface of Generative Model Extraction: a model worth sampling.

    Sender: model training. Receiver: image generation.
    """

    directory: Path = Field(description="Folder with model.json and weights.safetensors.")
    family: str = Field(min_length=1, description="Published method: 'wgan_gp'.")
    config: dict[str, Any] = Field(description="The family's Config: fixes the networks' shape.")
    weights_sha256: Sha256 = Field(description="Digest of weights.safetensors.")
    resolution: int = Field(ge=8, le=1024, description="Side of the images it makes, pixels.")
    companions: dict[CompanionName, Sha256] = Field(
        default_factory=dict,
        description="Digests of the files of networks trained beside it: 'discriminator'.",
    )
    styles: Many[str] = Field(min_length=1, description="Styles it learnt, in label order.")
    dataset_name: str = Field(description="Name of the collection it learnt from.")
    dataset_digest: Sha256 | None = Field(
        description="Digest of the prepared set it learnt from (IPDT); None: learnt elsewhere."
    )
    rights: Rights | None = Field(
        default=None,
        exclude_if=is_none,
        description="Images of the collection that say not to train on them (ITDT); None: none.",
    )
    images_seen: int = Field(ge=0, description="Training images shown to it, repeats counted.")
    style_counts: Many[int] = Field(
        default=(), description="Images it learnt from, for each of `styles`."
    )
    held_out_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the set that was kept from it (IPDT.split)."
    )
    neighbours_sha256: Sha256 | None = Field(
        default=None,
        exclude_if=is_none,
        description="Digest of neighbours.safetensors; None: unknown, or there is none.",
    )
    metrics: dict[str, FiniteFloat] = Field(
        default_factory=dict, description="Figures of its training: losses, seconds."
    )
    measurements: Many[Measurement] = Field(
        default=(), description="How good its pictures were found at the end of training."
    )

    @property
    def digest(self) -> str:
        """SHA-256 over all of the model that its pictures' records depend on."""
        return _sha256_of({name: getattr(self, name) for name in _IDENTITY})

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests that the model is known by: its own, then the one that earlier versions gave it.

        Earlier records, runs and jobs hold the latter, which covers family, config and weights
        only. A copy under another collection's name has it too, so a choice between models is made
        by `digest`, and by this one where no model has that digest.
        """
        return self.digest, _sha256_of([self.family, self.config, self.weights_sha256])

    def is_known_as(self, digest: str | None) -> bool:
        """True for its digest, in this version's or an earlier one's way of making it."""
        return digest in self.digests

    @property
    def weights_path(self) -> Path:
        """The weights file."""
        return self.directory / "weights.safetensors"

    @property
    def neighbours_path(self) -> Path:
        """Compact features of its training set, for originality; not every model has them."""
        return self.directory / "neighbours.safetensors"

    def companion_path(self, name: str) -> Path:
        """Weights of a network that was trained beside it, for another training to start from.

        Raises `NotFoundError` where there is no such network.
        """
        if name not in self.companions:
            raise NotFoundError(f"{self.directory}: no {name!r} was trained beside this model")
        return self.directory / f"{name}.safetensors"

    def manifest(self) -> str:
        """The text of `model.json`: the message without its place, as indented JSON."""
        return self.model_dump_json(exclude={"directory"}, indent=2) + "\n"

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The model in a folder.

        Raises `NotFoundError` where there is none, `DamagedError` where its description cannot be
        read, `RefusedError` where a newer version wrote it.
        """
        try:
            return cls.load(directory / MODEL_FILE, directory=directory)
        except NotFoundError as error:
            raise NotFoundError(
                f"{directory}: no model here ({MODEL_FILE} is missing); train one first"
            ) from error


def is_model(folder: Path) -> bool:
    """Whether a folder holds a whole model; whether it can be read shows when it is opened."""
    return (folder / MODEL_FILE).is_file()


@runtime_checkable
class Trainer(Protocol):
    """Model training's port: a prepared set in, a model out."""

    def train(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress
    ) -> IGME:
        """Train in the folder `run`; go on with what an earlier call left there.

        The model is left in `run/model`, and can be moved from there.

        The settings are saved before training starts, and going on with others is refused, each
        difference named. Raises `AtelierError` for an unknown family or unusable settings.
        """
        ...
