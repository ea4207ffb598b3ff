"""Parts of torch that have no types: tensors of arrays, and figures of symmetric matrices."""

import numpy as np
import torch
from torch import Tensor


def tensor_of(array: np.ndarray) -> Tensor:
    """The array's own memory as a tensor, of the same type and shape."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]


def eigenvectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (F,) of a symmetric matrix (F, F), the largest last, and their vectors (F, F)."""
    return torch.linalg.eigh(matrix)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues (F,) of a symmetric matrix (F, F), the largest last."""
    return torch.linalg.eigvalsh(matrix)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
