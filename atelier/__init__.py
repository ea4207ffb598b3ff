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
    from atelier.notebook.pictures import Picture, Pictures
    from atelier.notebook.training import Training
    from atelier.notebook.verbs import convert, enhance, export, generate, run, train

_PLACES = {
    "Picture": "atelier.notebook.pictures",
    "Pictures": "atelier.notebook.pictures",
    "Training": "atelier.notebook.training",
    **dict.fromkeys(
        ("convert", "enhance", "export", "generate", "run", "train"), "atelier.notebook.verbs"
    ),
}

__all__ = [
    "Picture",
    "Pictures",
    "Training",
    "convert",
    "enhance",
    "export",
    "generate",
    "run",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
