"""The training data store: finds the images of a collection and vouches for them.

A collection is a folder, a zip, a tar (compressed or not), parquet files with image bytes,
ArtBench-10 as folders or in its CIFAR-style binary form, or 'embedded', which the project paints.

    store = create(pathlib.Path("workspace"))
    collection = store.collect(CollectionSettings(data="~/paintings"), silent)
    print("\\n".join(report_lines(collection)))
"""

from pathlib import Path

from components.training_store.choices import choices_place, read_choices, write_choices
from components.training_store.embedded import STYLES as EMBEDDED_STYLES
from components.training_store.embedded import paint_picture
from components.training_store.report import UNBALANCED_RATIO, report_lines
from components.training_store.store import LocalTrainingStore

__all__ = [
    "EMBEDDED_STYLES",
    "UNBALANCED_RATIO",
    "LocalTrainingStore",
    "choices_place",
    "create",
    "paint_picture",
    "read_choices",
    "report_lines",
    "write_choices",
]


def create(workspace: Path) -> LocalTrainingStore:
    """The store that keeps its manifests, unpacked archives and own paintings in `workspace`."""
    return LocalTrainingStore(workspace)
