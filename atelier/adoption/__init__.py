"""Adoption: a network that was trained elsewhere becomes a model (IGME) like any other.

    from atelier.adoption import Adoption, adopt

    model = adopt(Adoption(sources=("network.pkl",)), Path("models/faces"))

Nothing in a foreign file is run. Torch is imported by the call, not by this door.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from components.families.stable_diffusion.config import Precision
from interfaces.contract import CommaList, Message
from interfaces.igme import IGME

Adoptable = Literal["auto", "stylegan2", "cyclegan", "stable_diffusion"]


class Adoption(Message):
    """A person's description of a model that was trained elsewhere."""

    sources: tuple[str, ...] = Field(
        min_length=1,
        max_length=2,
        description=(
            "A StyleGAN2-ADA network (.pkl); both generators of a CycleGAN (.pth, the one to the "
            "second style first); a diffusers pipeline's folder or hub id."
        ),
    )
    family: Adoptable = Field(
        default="auto", description="What it is; auto decides by the file's suffix."
    )
    styles: Annotated[tuple[str, ...], CommaList] = Field(
        default=(), description="Names of its labels, in their order; by default invented."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit on the hub.")
    variant: str | None = Field(default=None, description="Variant of the weights: 'fp16'.")
    dtype: Precision = Field(
        default="auto",
        description="A pipeline's arithmetic; auto is float16 on a GPU and float32 on a CPU.",
    )
    allow_pickles: bool = Field(
        default=False,
        description="Also take pipelines whose weights are pickles, which can run code.",
    )


def adopt(wanted: Adoption, directory: Path) -> IGME:
    """Read, check and keep it as a model in a folder. Raises `AtelierError` in one line."""
    from atelier.adoption.reading import adopt_into

    return adopt_into(wanted, directory)


__all__ = ["Adoptable", "Adoption", "adopt"]
