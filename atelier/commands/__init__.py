"""The command line: one file a group of verbs, flags made from the settings models."""

from atelier.commands import (
    collections,
    experiments,
    generating,
    models,
    own_files,
    page,
    results,
    training,
)
from atelier.commands.frame import app
from atelier.handlers import replay

__all__ = [
    "app",
    "collections",
    "experiments",
    "generating",
    "models",
    "own_files",
    "page",
    "replay",
    "results",
    "training",
]
