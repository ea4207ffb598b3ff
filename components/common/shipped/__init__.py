"""Files shipped inside the wheel: trained models, the embedded encoder and enlarger.

Each is listed with size, digest and licence in docs/shipped/README.md, and how to make it again.
"""

from pathlib import Path

from interfaces.places import expanded

_HERE = Path(__file__).parent

ENCODER = _HERE / "encoder.safetensors"
"""Weights of `components.common.encoder.Encoder`."""

REPRESENTATION = _HERE / "representation.safetensors"
"""The projection of `components.common.encoder.Representation`."""

ENLARGER = _HERE / "enlarger.safetensors"
"""Weights of the ×4 enlarger that the project trained itself."""

SHIPPED_MODELS = {
    "shipped-sketch": _HERE / "sketch",
    "shipped-sketch-128": _HERE / "sketch_128",
    "shipped": _HERE / "paintings",
}
"""The models that come with the project, by their names in settings, in the order of choice.

'shipped-sketch' is a diffusion model that paints with and without a drawing, 'shipped-sketch-128'
the same with a level of detail around it, at twice the resolution; 'shipped' is an R3GAN.
"""

REPAINTER = "shipped-sketch-128"
"""The one of them that repaints a person's picture: its windows are larger, so fewer."""


def find_shipped(model: Path) -> Path:
    """A model's folder as settings name it => where it lies: see `SHIPPED_MODELS`."""
    return SHIPPED_MODELS.get(str(model)) or expanded(model)
