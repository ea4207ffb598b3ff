"""The one place that imports torchvision, which may need help beside a CPU build of torch.

Its compiled extension may not load there; its Python side then stops at "operator torchvision::nms
does not exist", because it attaches shape rules to two operators that nobody declared. Declaring
the two schemas is enough: nothing here calls them.
"""

import importlib
from typing import Any


def import_torchvision() -> Any:
    """The package. Raises `ImportError` where it is not installed."""
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
        return importlib.import_module("torchvision")
