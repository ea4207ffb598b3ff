"""Reach of a pixel's visible influence: the margin that neighbouring tiles must share."""

import logging

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from components.common.remembering import remembered
from components.common.tensors import tensor_of
from components.enhancement.engines import Forward
from components.enhancement.routes import probe_pictures
from components.enhancement.weights import SCALE, Network

_log = logging.getLogger("atelier")

TOLERANCE = 0.1
"""Levels of 255 that a tile may differ from the whole picture where it is kept."""

_MOST = 96  # pixels; a network that looks further is cut there, and says so
_HEIGHT = 64
_SAFETY = 8  # pixels on top of what the one probe shows


def measured_context(network: Network, forward: Forward, device: torch.device) -> int:
    """Pixels beside a tile's cut edge that come out otherwise than in the whole picture.

    In theory they are `network.reach`, for RRDBNet about 350; in effect far fewer. A picture is
    computed whole and without its left part; how far from the cut the two still differ by more
    than `TOLERANCE`, and `_SAFETY` more, is the answer. Kept in the person's cache.
    """
    if network.reach is not None and network.reach <= _SAFETY:
        return network.reach
    answer = remembered(
        "influence",
        device,
        [network.identity, TOLERANCE, _SAFETY],
        _Context,
        lambda: _Context(context=_measure(network, forward)),
    )
    return answer.context


class _Context(BaseModel):
    context: int
    """Pixels."""


def _measure(network: Network, forward: Forward) -> int:
    pictures = tensor_of(probe_pictures(1, 4 * _HEIGHT))[:, :, :_HEIGHT]
    cut = 64
    picture = pictures[..., : cut + _MOST + 16].contiguous()
    whole = forward(picture)[..., cut * SCALE :]
    part = forward(picture[..., cut:].contiguous())
    differs = _by_column(whole, part) > TOLERANCE
    context = int(np.flatnonzero(differs).max(initial=-1)) + 1 + _SAFETY
    if context > _MOST:
        _log.warning(
            "%s: looks further than %d pixels, so tiles may differ visibly from the whole picture",
            network.architecture,
            _MOST,
        )
    return min(context, _MOST, network.reach or _MOST)


def _by_column(whole: Tensor, part: Tensor) -> np.ndarray:
    """Largest difference in levels of 255, for each column of input pixels."""
    difference = (whole.clamp(0, 1) - part.clamp(0, 1)).abs().amax(dim=(0, 1, 2)) * 255
    return difference.reshape(-1, SCALE).amax(dim=1).numpy()
