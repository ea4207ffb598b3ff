"""Atelier: what people ask for, done through the ports of the eight components.

In Python and notebooks the verbs are functions:

    from atelier import train, generate, enhance

    model = train("paintings", total_seconds=600)
    pictures = generate(model, seeds="0-7")
    pictures.enhance(scale=4).save("out")

Importing this costs nothing: a verb is looked up when it is first named.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atelier.evaluating import Measured
    from atelier.interpolation import Interpolation
    from atelier.notebook.inquiries import Inspection, evaluate, inspect, replay, verify
    from atelier.notebook.pictures import Picture, Pictures
    from atelier.notebook.training import Training
    from atelier.notebook.verbs import (
        convert,
        enhance,
        export,
        generate,
        interpolate,
        rework,
        run,
        train,
    )

_PLACES = {
    "Inspection": "atelier.notebook.inquiries",
    "Interpolation": "atelier.interpolation",
    "Measured": "atelier.evaluating",
    "Picture": "atelier.notebook.pictures",
    "Pictures": "atelier.notebook.pictures",
    "Training": "atelier.notebook.training",
    "convert": "atelier.notebook.verbs",
    "enhance": "atelier.notebook.verbs",
    "evaluate": "atelier.notebook.inquiries",
    "export": "atelier.notebook.verbs",
    "generate": "atelier.notebook.verbs",
    "inspect": "atelier.notebook.inquiries",
    "interpolate": "atelier.notebook.verbs",
    "replay": "atelier.notebook.inquiries",
    "rework": "atelier.notebook.verbs",
    "run": "atelier.notebook.verbs",
    "train": "atelier.notebook.verbs",
    "verify": "atelier.notebook.inquiries",
}
"""Module of each public name."""

__all__ = [
    "Inspection",
    "Interpolation",
    "Measured",
    "Picture",
    "Pictures",
    "Training",
    "convert",
    "enhance",
    "evaluate",
    "export",
    "generate",
    "inspect",
    "interpolate",
    "replay",
    "rework",
    "run",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
