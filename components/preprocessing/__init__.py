"""Image preprocessing: every picture of a collection as one square RGB size (paper 002, data).

preprocessor = create(pathlib.Path("workspace"))
prepared = preprocessor.preprocess(collection, PreprocessingSettings(resolution=64), silent)
prepared.images()  # uint8 (N, 64, 64, 3), a memory map
"""

from pathlib import Path

from components.preprocessing.preprocessor import LocalPreprocessor
from components.preprocessing.transform import centre_square, prepare

__all__ = ["LocalPreprocessor", "centre_square", "create", "prepare"]


def create(workspace: Path) -> LocalPreprocessor:
    """The preprocessor that keeps its prepared sets in `workspace`."""
    return LocalPreprocessor(workspace)
