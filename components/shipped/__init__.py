"""What comes with the project, inside the wheel: a trained model and the embedded encoder.

Each is listed with size, digest and licence in docs/shipped/README.md, and how to make it again.
"""

from pathlib import Path

_HERE = Path(__file__).parent

ENCODER = _HERE / "encoder.safetensors"
"""Weights of `components.metrics.encoder.Encoder`."""

SHIPPED = "shipped"
"""The name by which settings call the shipped model."""


def find_shipped(model: Path) -> Path:
    """A model's folder as settings name it => where it lies: 'shipped' is the project's own."""
    return _HERE / "paintings" if model == Path(SHIPPED) else model.expanduser()
