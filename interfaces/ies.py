"""IES: what a person chose for enhancement. From the UI to enhancement."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from interfaces.contract import Contract, Offers
from interfaces.igs import Device

ROUTES = (
    "auto",
    "float32",
    "float16",
    "bfloat16",
    "compiled",
    "compiled-bfloat16",
    "openvino",
    "openvino-bfloat16",
)
"""Ways to compute a network: its arithmetic, and whether by torch, its compiler or OpenVINO."""


MAX_SCALE = 256
"""Upper limit on the scale: no enlarger goes further, so more is a typing error."""


class IES(Contract):
    """Interface of Enhancing Settings: how much larger, by which network.

    Sender: user interface. Receiver: image enhancement.
    """

    scale: Annotated[int, Offers((1, 4, 16))] = Field(
        default=4,
        ge=1,
        le=MAX_SCALE,
        description="Enlargement of each side: 1 (none), 4 (64 to 256) or 16 (64 to 1024).",
    )
    enhancer: str = Field(
        default="auto",
        min_length=1,
        description=(
            "Which network enlarges. 'auto' is realesrgan-x4plus, or the quicker 'embedded' where "
            "that would take minutes; 'lanczos' is plain resampling without a network; two names "
            "joined by '+' are the two passes of ×16."
        ),
    )
    weights: Path | None = Field(
        default=None, description="A weights file (.pth, .safetensors) of your own."
    )
    denoise: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description=(
            "How much realesr-general-x4v3 removes noise and grain: 1 is all it can, 0 keeps them "
            "as its twin realesr-general-wdn-x4v3 does; between them, the two networks are mixed."
        ),
    )
    strength: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the network in a blend with resampling: 1 is the network alone.",
    )
    tile_pixels: int = Field(
        default=1024,
        ge=32,
        le=4096,
        description=(
            "Largest side of the tiles that a larger picture is cut into, in input pixels; they "
            "are smaller where memory is short."
        ),
    )
    route: Annotated[str, Offers(ROUTES)] = Field(
        default="auto",
        min_length=1,
        max_length=40,
        description=(
            "How the network is computed. 'auto' measures once on this machine and takes the "
            "fastest that moves no pixel by more than 1 level of 255 from float32, or for pictures "
            "that a model made, by less than half a level in the mean and 3 in all but a "
            "thousandth; the other values force a route, and 'openvino' needs that package."
        ),
    )
    device: Device = Field(default="auto", description="Where the network runs.")
