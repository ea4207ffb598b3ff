"""Measures of generated pictures: FID, KID, precision, recall, coverage, originality.

    from components.metrics import load_features, measure, reference_features, rows

    network = load_features("embedded")
    features = reference_features(prepared, network, workspace / "cache")
    held_out = features[rows(prepared, "held-out", 0.1)]
    figures = measure(
        network.extract(pixels), held_out,
        network=network, against="held-out", dataset_digest=prepared.digest,
    )

A shared room: training measures itself with it, generation finds nearest training images, the
`evaluate` command asks it. Torch is imported by the first use of a name, not by this door.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.metrics.features import FeatureNetwork, load_features
    from components.metrics.judging import Reference
    from components.metrics.measuring import measure
    from components.metrics.originality import Neighbours
    from components.metrics.reference import reference_features, rows

_MODULES = {
    "FeatureNetwork": "features",
    "Neighbours": "originality",
    "Reference": "judging",
    "load_features": "features",
    "measure": "measuring",
    "reference_features": "reference",
    "rows": "reference",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "FeatureNetwork",
    "Neighbours",
    "Reference",
    "load_features",
    "measure",
    "reference_features",
    "rows",
]
