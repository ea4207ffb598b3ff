# pyright: standard
"""Settings for a published pipeline, when it is adopted and when it generates."""

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_serializer, model_validator

from components.families.port import FamilyConfig, FamilyOptions
from interfaces.places import expanded

Precision = Literal["auto", "float32", "float16", "bfloat16"]
LowMemory = Literal["off", "slices", "offload", "sequential"]

SHA256 = r"^[0-9a-f]{64}$"


class StableDiffusionConfig(FamilyConfig):
    """The pipeline: its name, and the digest over all files that are loaded."""

    pipeline: str = Field(
        min_length=1,
        description="Its hub id, or the name of its folder as diffusers saves it.",
    )
    revision: str | None = Field(
        default=None, description="Commit of the hub's repository; None for a folder."
    )
    files_sha256: str = Field(
        pattern=SHA256, description="Digest over the weights and settings that are loaded."
    )
    variant: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Which of several sets of weights, by the part of their names: 'fp16'.",
    )
    dtype: Precision = Field(
        default="auto", description="Arithmetic; auto is float16 on a GPU and float32 on a CPU."
    )
    allow_pickles: bool = Field(
        default=False,
        description="Read weights and LoRA files that are pickles, where there are no safetensors.",
    )


class Options(FamilyOptions):
    """Options for generating with such a model; None is the pipeline's own default."""

    negative_prompt: str | None = Field(
        default=None, max_length=2000, description="What the pictures must not show, in words."
    )
    guidance: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="How closely the prompt is followed (classifier-free guidance).",
    )
    steps: int | None = Field(
        default=None, ge=1, le=1000, description="Steps of denoising; more take longer."
    )
    scheduler: str | None = Field(
        default=None,
        pattern=r"^\w+$",
        description="The sampler by its diffusers name: 'EulerDiscreteScheduler'.",
    )
    source_strength: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="How much of the source is repainted: small keeps it, 1 forgets it.",
    )
    width: int | None = Field(
        default=None,
        ge=8,
        le=8192,
        description="Width, pixels; a source is resized to it. One side alone keeps its shape.",
    )
    height: int | None = Field(
        default=None, ge=8, le=8192, description="Height, pixels; as for `width`."
    )
    extend_left: int = Field(
        default=0, ge=0, le=4096, description="Pixels to add at the left of the source."
    )
    extend_right: int = Field(
        default=0, ge=0, le=4096, description="Pixels to add at the right of the source."
    )
    extend_top: int = Field(default=0, ge=0, le=4096, description="Pixels to add above the source.")
    extend_bottom: int = Field(
        default=0, ge=0, le=4096, description="Pixels to add below the source."
    )
    lora: Path | None = Field(
        default=None, description="A LoRA file (safetensors) applied to the pipeline's weights."
    )
    lora_scale: float = Field(default=1.0, ge=-10, le=10, description="How strong the LoRA is.")
    lora_sha256: str | None = Field(
        default=None,
        pattern=SHA256,
        description="SHA-256 of the LoRA's file: computed if left out; another file is refused.",
    )
    low_memory: LowMemory = Field(
        default="off",
        description=(
            "Use less memory, more slowly: attention and decoding in slices; offload, sequential: "
            "each network, or each layer, is also on the GPU only while it works."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _knows_the_lora(cls, values: Any) -> Any:
        """A picture's record then says which LoRA made it, whatever becomes of the path."""
        if not isinstance(values, dict) or not isinstance(values.get("lora"), str | Path):
            return values  # what is no path, the field's own check reports
        path = expanded(Path(values["lora"]))
        if path.exists() and not path.is_file():
            raise ValueError(f"lora {path}: not a file")
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ValueError(f"lora {path}: cannot be read ({error.strerror})") from error
        if values.get("lora_sha256") not in (None, found):
            raise ValueError(f"lora {path}: is another file than the one asked for (SHA-256)")
        return values | {"lora": str(path), "lora_sha256": found}

    @model_validator(mode="after")
    def _a_scale_has_a_lora(self) -> Self:
        if self.lora is None and self.lora_scale != 1:
            raise ValueError("lora_scale: only with a lora; name its file as well")
        return self

    @field_serializer("lora", when_used="json")
    def _name_of(self, lora: Path | None) -> str | None:
        """A record holds the file's name and digest, no path of this machine."""
        return None if lora is None else lora.name

    @property
    def extension(self) -> tuple[int, int, int, int]:
        """Pixels to paint on: left, right, top, bottom."""
        return self.extend_left, self.extend_right, self.extend_top, self.extend_bottom
