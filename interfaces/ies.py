"""IES: what a person chose for enhancement. From the UI to enhancement."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from interfaces.contract import Contract, WholeNumber
from interfaces.igs import Device


class IES(Contract):
    """Interface of Enhancing Settings: how much larger, by which network.

    Sender: user interface. Receiver: image enhancement.
    """

    scale: Annotated[Literal[1, 4, 16], WholeNumber] = Field(
        default=4,
        description="Enlargement of each side: 4 (64 to 256), 16 (64 to 1024), 1 leaves as is.",
    )
    enhancer: str = Field(
        default="auto",
        min_length=1,
        description=(
            "A Real-ESRGAN network by its published name, 'lanczos' for plain resampling, or "
            "'auto': the network that suits the device, and lanczos (with a warning) where its "
            "weights cannot be had."
        ),
    )
    weights: Path | None = Field(
        default=None, description="A weights file (.pth, .safetensors) of your own."
    )
    strength: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the network's picture against a plain resampling: 1 is all network.",
    )
    tile_pixels: int = Field(
        default=256,
        ge=32,
        le=4096,
        description="Side of the tiles that a larger picture is cut into, in input pixels.",
    )
    device: Device = Field(default="auto", description="Where the network runs.")
