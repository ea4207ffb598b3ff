"""ICS: what a person chose for conversion. From the UI to conversion."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from interfaces.contract import Contract, Offers


def _usual_name(value: Any) -> Any:
    return {"jpg": "jpeg", "tif": "tiff"}.get(value, value) if isinstance(value, str) else value


ImageFormat = Annotated[
    str,
    BeforeValidator(_usual_name),
    StringConstraints(pattern=r"^[a-z0-9]{1,16}$"),
    Offers(("png", "jpeg", "webp", "avif", "tiff")),
]
"""A file format by its usual name; another converter may know others."""


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
