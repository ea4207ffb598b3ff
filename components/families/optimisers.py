"""Optimisers that a training can be stopped and resumed with exactly."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Adam (Kingma, Ba 2015, arXiv 1412.6980) in one pass over the weights, where torch can."""
    parameters = list(parameters)
    is_fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=is_fused)


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Go on from a saved state, whose tensors may lie otherwise in memory than the weights do.

    The fused kernels walk weights and moments in the order in which they lie: contiguous moments
    beside channels_last weights would be paired wrongly, without an error.
    """
    optimiser.load_state_dict(dict(state))
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)
