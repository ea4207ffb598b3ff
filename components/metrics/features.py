"""Pictures => features: the encoder that comes with us, EfficientNet-Lite1, or Inception."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from components.common import encoder
from components.common.devices import pick_device
from components.common.download import fetch, weights_cache
from components.common.efficientnet import NUM_POOLED
from components.common.images import pixels_to_float
from components.common.shipped import ENCODER
from components.common.tensors import tensor_of
from components.metrics import efficientnet, inception
from interfaces.errors import RefusedError
from interfaces.measurement import Features
from interfaces.progress import Progress, ProgressEvent, silent

BATCH_SIZE = 32
"""Pictures computed at once: always this many, since a convolution's last bits depend on it."""


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that looks at pictures, and all that its features depend on."""

    name: Features
    sha256: str
    """Digest of its weights' file."""
    resizer: str
    """Way of bringing pictures to its size, in words."""
    num_features: int
    module: nn.Module
    """(N, 3, S, S) as `prepare` gives them => (N, num_features)."""
    prepare: Callable[[np.ndarray], Tensor]
    """Pixels uint8 (N, H, W, 3) => what the module takes, on the CPU."""
    device: torch.device

    @torch.inference_mode()
    def extract(self, pixels: np.ndarray, progress: Progress = silent) -> Tensor:
        """Pictures uint8 (N, H, W, 3), 0 to 255 => features float32 (N, F) on the CPU.

        A picture's features depend on it alone, to the last bit: not on its company or place.
        """
        found = torch.empty(len(pixels), self.num_features)
        for start in range(0, len(pixels), BATCH_SIZE):
            batch = pixels[start : start + BATCH_SIZE]
            found[start : start + len(batch)] = self._features(batch)
            done = start + len(batch)
            progress(ProgressEvent(stage="measure", done=done, total=len(pixels), note=self.name))
        return found

    def _features(self, pixels: np.ndarray) -> Tensor:
        padded = np.zeros((BATCH_SIZE, *pixels.shape[1:]), dtype=np.uint8)
        padded[: len(pixels)] = pixels
        images = self.prepare(padded).to(self.device, memory_format=torch.channels_last)
        # Not TF32, which a GPU would take for convolutions unasked: features are float32.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return self.module(images)[: len(pixels)].float().cpu()


def load_features(
    name: Features,
    inception_weights: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> FeatureNetwork:
    """The named network on a device ('auto', 'cpu', 'cuda', 'mps').

    'inception' takes the file that is given, with whose own digest its figures are marked, or the
    published one, which is downloaded at the first use. Raises `AtelierError` where the weights are
    missing, damaged or of another network, or the device is not there.
    """
    if name == "embedded":
        return embedded_features(device=device)
    if name == "imagenet":
        return imagenet_features(device)
    if name == "inception":
        path = inception_weights or fetch(inception.PUBLISHED, weights_cache(), progress)
        return inception_features(path, device)
    raise RefusedError(f"features {name}: there are {', '.join(get_args(Features))}; choose one")


def imagenet_features(device: str = "auto") -> FeatureNetwork:
    """EfficientNet-Lite1 (1280 features) with the installed package's weights."""
    size = efficientnet.RESOLUTION
    return FeatureNetwork(
        name="imagenet",
        sha256=efficientnet.LITE1.sha256,
        resizer=f"bicubic to {size}, antialiased; (pixel - 127) / 128",
        num_features=NUM_POOLED,
        module=_placed(efficientnet.load_lite1(), device),
        prepare=efficientnet.prepare,
        device=pick_device(device),
    )


def inception_features(path: Path, device: str = "auto") -> FeatureNetwork:
    """FID's Inception network (2048 features) with the weights of a file."""
    module, sha256 = inception.load_inception(path)
    size = inception.RESOLUTION
    return FeatureNetwork(
        name="inception",
        sha256=sha256,
        resizer=f"bilinear to {size}, not antialiased",
        num_features=inception.NUM_FEATURES,
        module=_placed(module, device),
        prepare=inception.prepare,
        device=pick_device(device),
    )


def embedded_features(
    path: Path = ENCODER, sha256: str = encoder.SHA256, device: str = "auto"
) -> FeatureNetwork:
    """Our own encoder (384 features) with weights of a known digest."""
    module = encoder.load_encoder(path, sha256)
    size = encoder.RESOLUTION
    return FeatureNetwork(
        name="embedded",
        sha256=sha256,
        resizer=f"bicubic to {size}, antialiased",
        num_features=encoder.NUM_FEATURES,
        module=_placed(module, device),
        prepare=_prepare_for_encoder,
        device=pick_device(device),
    )


def _placed(module: nn.Module, device: str) -> nn.Module:
    module.eval().requires_grad_(False)
    return module.to(  # type: ignore[call-overload]
        device=pick_device(device), memory_format=torch.channels_last
    )


def _prepare_for_encoder(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) => float32 (N, 3, 64, 64), -1 to 1."""
    return encoder.as_seen(tensor_of(pixels_to_float(pixels)))
