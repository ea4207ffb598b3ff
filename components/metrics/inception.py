"""The Inception network of published FIDs: its shape, its weights, its 2048 features.

FID (Heusel et al. 2017, arXiv 1706.08500) is defined on one set of weights, TensorFlow's of
2015-12-05. It differs from torchvision's network in its pools alone, so that is all we change.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.common.download import PublishedFile
from components.common.tensors import tensor_of
from components.common.vision import import_torchvision
from interfaces.errors import DamagedError, RefusedError, unreadable
from interfaces.measurement import FID_WEIGHTS_SHA256

# The file's name ends with the beginning of its SHA-256, as torch hub's convention has it. The
# whole digest is quoted by public repositories, which pin this address with it or torch-fidelity's
# identical file, weights-inception-2015-12-05-6726825d.pth.
PUBLISHED = PublishedFile(
    "inception FID weights",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    FID_WEIGHTS_SHA256,
)

RESOLUTION = 299
"""Side of the pictures it looks at, pixels."""

NUM_FEATURES = 2048

_NUM_CLASSES = 1008  # of the published classifier, which FID does not use
_CLASSIFIERS = ("fc.", "AuxLogits.")


def load_inception(path: Path) -> tuple[nn.Module, str]:
    """The network with a file's weights, and the file's SHA-256.

    The network takes `prepare`'s pictures and gives features (N, 2048). Raises `AtelierError` where
    the file is missing, damaged, holds code, or holds other weights than this network's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(error)(
            f"{path}: cannot read the inception weights ({error.strerror}); check the path"
        ) from error
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises nearly anything on hostile bytes
        raise DamagedError(
            f"{path}: refused, it is damaged or holds more than plain tensors "
            f"({type(error).__name__}); download it again from {PUBLISHED.url}"
        ) from error
    return _with_weights(content, path), hashlib.sha256(data).hexdigest()


def prepare(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) => float32 (N, 3, 299, 299) in [-1, 1], as `pytorch-fid` does it.

    Bilinear between pixel centres, without smoothing first.
    """
    images = tensor_of(np.ascontiguousarray(np.moveaxis(pixels, -1, -3))).float() / 255
    size = (RESOLUTION, RESOLUTION)
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False) * 2 - 1


def _with_weights(content: Any, path: Path) -> nn.Module:
    with torch.device("meta"):  # no time and no random numbers for weights that are replaced
        network = _network()
    try:
        state = {k: v for k, v in content.items() if not k.startswith(_CLASSIFIERS)}
        _check_finite(state)
        network.load_state_dict(state, assign=True)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise RefusedError(
            f"{path}: not the weights of FID's inception network; give a copy of {PUBLISHED.url}"
        ) from error
    return network.float().eval().requires_grad_(False)


def _check_finite(state: Mapping[str, Tensor]) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise ValueError("not finite")


def _network() -> nn.Module:
    """Torchvision's network with FID's pools, without classifier."""
    theirs = import_torchvision().models.inception
    inner = _with_pool(theirs.InceptionE, _average_pool)
    last = _with_pool(theirs.InceptionE, _max_pool)

    def with_its_pool(channels: int) -> nn.Module:
        return last(channels) if channels == NUM_FEATURES else inner(channels)

    network: nn.Module = theirs.Inception3(
        num_classes=_NUM_CLASSES,
        aux_logits=False,
        transform_input=False,
        inception_blocks=[
            theirs.BasicConv2d,
            _with_pool(theirs.InceptionA, _average_pool),
            theirs.InceptionB,
            _with_pool(theirs.InceptionC, _average_pool),
            theirs.InceptionD,
            with_its_pool,
            theirs.InceptionAux,
        ],
        init_weights=False,
    )
    network.fc = nn.Identity()
    return network


def _with_pool(block: Any, pool: Callable[[Tensor], Tensor]) -> Any:
    """A block whose last branch pools by `pool`; its own, computed too, costs 5 % in all."""

    class Block(block):
        def _forward(self, x: Tensor) -> list[Tensor]:
            return [*block._forward(self, x)[:-1], self.branch_pool(pool(x))]

    return Block


def _average_pool(features: Tensor) -> Tensor:
    """Average pooling as in TensorFlow, which does not count the padding."""
    return F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)


def _max_pool(features: Tensor) -> Tensor:
    """The last block's, in the published network alone."""
    return F.max_pool2d(features, 3, stride=1, padding=1)
