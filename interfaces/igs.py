"""IGS: what a person chose for generation. From the UI to generation."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from interfaces.contract import MAX_SEED, Contract, Many, Offers, Seed

Device = Annotated[str, Field(min_length=1, max_length=40), Offers(("auto", "cpu", "cuda", "mps"))]
"""Device that a network runs on; another component may know other names."""

InputFile = Literal["sketch", "source", "towards_source", "mask"]
INPUT_FILES: tuple[InputFile, ...] = get_args(InputFile)
"""The fields of IGS that name a person's own file."""

MAX_IMAGES = 1_000_000

MAX_BATCH_SIZE = 4096
"""Images that are handed on together, at most."""


def parse_seeds(value: object) -> object:
    """'0-15,40' or 7 or [1, 2] => the seeds, in the order they were named, each once."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        return value
    seeds: dict[int, None] = {}
    for part in value.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError("seeds are whole numbers and ranges, as in '0-15,40'")
        low, high = int(first), int(last or first)
        if not 0 <= high - low < MAX_IMAGES:
            raise ValueError(f"the range {part} is empty or over {MAX_IMAGES} long")
        seeds.update(dict.fromkeys(range(low, high + 1)))
        if len(seeds) > MAX_IMAGES:  # before the next range: a request may name thousands
            raise ValueError(f"seeds: over {MAX_IMAGES} are named")
    return tuple(seeds)


def format_seeds(seeds: tuple[int, ...]) -> str:
    """The shortest text that `parse_seeds` reads back as these seeds."""
    parts: list[str] = []
    start = 0
    for end in range(1, len(seeds) + 1):
        if end == len(seeds) or seeds[end] != seeds[end - 1] + 1:
            first, last = seeds[start], seeds[end - 1]
            parts.append(str(first) if first == last else f"{first}-{last}")
            start = end
    return ",".join(parts)


SeedList = Annotated[
    Many[Seed],
    BeforeValidator(parse_seeds, json_schema_input_type=str),
    PlainSerializer(format_seeds, when_used="json"),
    Field(min_length=1, max_length=MAX_IMAGES),
]


class IGS(Contract):
    """Interface of Generating Settings: how many pictures, which seeds, what style.

    Sender: user interface. Receiver: image generation.
    """

    count: int = Field(default=16, ge=1, le=MAX_IMAGES, description="How many images to make.")
    seed: Seed = Field(
        default=0, description="Seed of the first image; the others follow it, one by one."
    )
    seeds: SeedList | None = Field(
        default=None,
        description="Which seeds, as '0-15,40'; overrides `count` and `seed`.",
    )
    skip: int = Field(
        default=0,
        ge=0,
        le=MAX_IMAGES,
        description="Number of images to skip at the start: a resumed request has them already.",
    )
    style: str | None = Field(default=None, description="A style by name, if the model has styles.")
    towards_style: str | None = Field(
        default=None, description="A second style by name, to mix with `style`."
    )
    style_blend: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="How far from `style` (0) to `towards_style` (1).",
    )
    prompt: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="What the pictures should show, in words, for a family that reads them.",
    )
    sketch: Path | None = Field(
        default=None, description="A drawing for the pictures to follow, for a family that can."
    )
    source: Path | None = Field(
        default=None, description="A picture to rework, for a family that can."
    )
    towards_source: Path | None = Field(
        default=None, description="A second picture, to go towards from `source` by `blend`."
    )
    mask: Path | None = Field(
        default=None,
        description="Where `source` is repainted: white is new, black is kept; of the same shape.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description=(
            "Images handed on together, at most; sized to the memory if left out. Changes no pixel."
        ),
    )
    device: Device = Field(default="auto", description="Where the network runs.")
    originality: bool = Field(
        default=True,
        description=(
            "Find each picture's nearest training image, where the model knows its training set."
        ),
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The family's own options; checked by the family when generation starts.",
    )

    @model_validator(mode="after")
    def _seeds_are_in_range(self) -> Self:
        if self.seeds is None and self.seed + self.count > MAX_SEED + 1:
            raise ValueError(f"seed: the last of {self.count} seeds would be over {MAX_SEED}")
        return self

    @model_validator(mode="after")
    def _mixes_two_styles(self) -> Self:
        if self.towards_style is not None and self.style is None:
            raise ValueError("towards_style: name the style to start from too (style)")
        if self.towards_style is None and self.style_blend != 0.5:
            raise ValueError("style_blend: has an effect only with towards_style; leave it out")
        return self

    @model_validator(mode="after")
    def _goes_with_a_source(self) -> Self:
        for name in ("mask", "towards_source"):
            if getattr(self, name) is not None and self.source is None:
                raise ValueError(f"{name}: name the picture it goes with as well (source)")
        return self

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the inputs asked for besides seeds, such as 'prompt' and 'sketch'."""
        return tuple(name for name in ("prompt", *INPUT_FILES) if getattr(self, name) is not None)

    @property
    def asked_for(self) -> frozenset[str]:
        """The inputs that are `given`, and 'style' where one is named."""
        return frozenset((*self.given, *(() if self.style is None else ("style",))))

    @property
    def chosen_seeds(self) -> tuple[int, ...]:
        """The seeds asked for, in order."""
        return self.seeds or tuple(range(self.seed, self.seed + self.count))

    @property
    def num_chosen(self) -> int:
        """Number of the seeds asked for."""
        return len(self.seeds) if self.seeds else self.count
