"""Tensors where torch gives no types: of arrays, of files, and of symmetric matrices."""

import numpy as np
import torch
from torch import Tensor

from components.common.narrowing import is_dict


def tensor_of(array: np.ndarray) -> Tensor:
    """The array's own memory as a tensor, of the same type and shape."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]


def tensors_by_name(value: object) -> dict[str, Tensor] | None:
    """Content of a file as a plain state dict, names => tensors; None where it is no such thing."""
    if not is_dict(value):
        return None
    tensors = {
        name: tensor
        for name, tensor in value.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    return tensors if len(tensors) == len(value) else None


def eigenvectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (F,) of a symmetric matrix (F, F), the largest last, and their vectors (F, F)."""
    return torch.linalg.eigh(matrix)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues (F,) of a symmetric matrix (F, F), the largest last."""
    return torch.linalg.eigvalsh(matrix)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
