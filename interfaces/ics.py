"""ICS: what a person chose for conversion. From the UI to conversion."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from interfaces.contract import Contract, Offers, is_false, is_none


def _usual_name(value: object) -> object:
    return {"jpg": "jpeg", "tif": "tiff"}.get(value, value) if isinstance(value, str) else value


AnimationFormat = Literal["webp", "gif"]

ImageFormat = Annotated[
    str,
    BeforeValidator(_usual_name),
    StringConstraints(pattern=r"^[a-z0-9]{1,16}$"),
    Offers(("png", "jpeg", "webp", "avif", "tiff")),
]
"""A file format by its usual name; another converter may know others."""


AUTOMATIC = "auto"
"""A watermark's id that is made of the picture itself."""

WatermarkId = Annotated[str, StringConstraints(pattern=r"^(auto|[01][0-9a-f]{15})$")]
"""61 bits as hexadecimal digits, or `AUTOMATIC`."""


class ICS(Contract):
    """Interface of Converting Settings: which file format, how much loss.

    Sender: user interface. Receiver: image conversion.
    """

    format: ImageFormat = Field(default="png", description="File format of the results.")
    quality: int = Field(
        default=92,
        ge=1,
        le=100,
        description="Quality of JPEG, WebP and AVIF: 100 is closest to the original.",
    )
    lossless: bool = Field(
        default=False,
        description="Write WebP without loss. PNG and TIFF always are lossless; JPEG never is.",
    )
    sign: bool = Field(
        default=True,
        exclude_if=lambda value: value is True,
        description="Sign the file: content credentials (C2PA) with the person's certificate.",
    )
    publish: bool = Field(
        default=False,
        exclude_if=is_false,
        description=(
            "Disclose only what the law requires: prompts, names, settings and the "
            "metadata of a person's own file are left out."
        ),
    )
    forbid_training: bool = Field(
        default=False,
        exclude_if=is_false,
        description="State that the picture may not be used to train models or for data mining.",
    )
    watermark: WatermarkId | None = Field(
        default=None,
        exclude_if=is_none,
        description=(
            "Mark the pixels invisibly (TrustMark, from 256 pixels): auto, or the id to write, 16 "
            "hexadecimal digits that begin with 0 or 1."
        ),
    )
    prompt_writer: str | None = Field(
        default=None,
        max_length=200,
        exclude_if=is_none,
        description="Name of the prompt's author (IPTC AIPromptWriterName).",
    )

    def recorded(self) -> dict[str, Any]:
        """The settings that a picture's record keeps: all but a person's name."""
        return self.model_dump(mode="json", exclude={"schema_version", "prompt_writer"})
