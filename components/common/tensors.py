"""Tensors of arrays."""

import numpy as np
import torch
from torch import Tensor


def tensor_of(array: np.ndarray) -> Tensor:
    """The array's own memory as a tensor, of the same type and shape."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]
