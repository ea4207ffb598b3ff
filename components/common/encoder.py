"""The embedded encoder: a small network of our own that says how alike two pictures are.

It was taught on paintings to tell their style and their painter (docs/shipped/make_encoder.py), and
what it computes on the way to that answer is what we measure with. Its distances are for watching a
training and for finding neighbours; they are no published FID.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.common.checkpoints import load_weights
from components.common.shipped import ENCODER, REPRESENTATION

SHA256 = "2bfc52c2860891f99326bcf35286a0fd2d534f295526e2422576db4d01c740c9"
"""The shipped encoder's digest: other weights are not it."""

REPRESENTATION_SHA256 = "5f587c9d144305280f594871d5a181e57415e6b19c77760d582de1bbcfb9ba7f"
"""Digest of the shipped projection."""

RESOLUTION = 64
"""Side of the pictures it looks at, pixels; others are resized first."""

WIDTHS = (32, 64, 128, 192)
NUM_FEATURES = WIDTHS[1] + WIDTHS[2] + WIDTHS[3]


class Stage(nn.Module):
    """Half the side: a residual block of two 3×3 convolutions with batch normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) => (N, outputs, H/2, W/2)."""
        branch = F.relu(self.first_norm(self.first(features)))
        branch = self.second_norm(self.second(branch))
        return F.relu(branch + self.skip(F.avg_pool2d(features, 2)))


class Encoder(nn.Module):
    """Pictures (N, 3, 64, 64) in [-1, 1] => features (N, 384): texture, parts and the whole.

    The means of the three stages' maps, each scaled to unit variance over the paintings that
    taught it (`scale`), so that no stage drowns the others.
    """

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 4, stride=2, padding=1)
        self.stages = nn.ModuleList(Stage(inputs, outputs) for inputs, outputs in pairwise(WIDTHS))
        self.register_buffer("scale", torch.ones(NUM_FEATURES))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of 16, 8 and 4 pixels a side."""
        features = F.relu(self.stem(images))
        found: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 64, 64) => (N, 384)."""
        pooled = [features.float().mean(dim=(2, 3)) for features in self.maps(images)]
        return torch.cat(pooled, dim=1) * self.scale


def as_seen(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] => (N, 3, 64, 64) as the encoder takes them; if so: untouched."""
    size = (RESOLUTION, RESOLUTION)
    if images.shape[2:] == size:
        return images
    images = F.interpolate(images, size=size, mode="bicubic", antialias=True)
    return images.clamp(-1, 1)  # bicubic overshoots at edges


def load_encoder(path: Path = ENCODER, sha256: str = SHA256) -> Encoder:
    """The frozen encoder, with weights of a known digest."""
    network = Encoder()
    network.load_state_dict(load_weights(path, sha256))
    return network.eval().requires_grad_(False)


class Representation(nn.Module):
    """Representation of a picture in 64 numbers: the encoder's features where paintings vary most.

    The principal components of the features of the paintings that ship a model, each scaled to unit
    variance over them (docs/shipped/make_representation.py).
    """

    mean: Tensor
    projection: Tensor

    SIZE = 64

    def __init__(self) -> None:
        super().__init__()
        self.encoder = load_encoder()
        known = load_weights(REPRESENTATION, REPRESENTATION_SHA256)
        self.register_buffer("mean", known["mean"])
        self.register_buffer("projection", known["projection"])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] => (N, SIZE), float32."""
        return (self.encoder(as_seen(images)).float() - self.mean) @ self.projection
