"""Training images from the memory-mapped array to batches on the device."""

import numpy as np
import torch
from torch import Tensor

from components.common.tensors import tensor_of

MAX_SHARE = 0.25
"""Largest share of a GPU's free memory for the images; networks and gradients need the rest."""


class Batches:
    """Batches of a prepared set; the whole set lies on the GPU where it fits.

    Pixels travel as bytes, a quarter of what floats would be, and become floats on the device.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, device: torch.device) -> None:
        """`images` uint8 (N, S, S, 3), a memory map; `labels` int64 (N,)."""
        self.device = device
        self.images: np.ndarray | Tensor = images
        self.labels: np.ndarray | Tensor = labels
        if device.type == "cuda" and self._fits(images.nbytes):
            self.images = tensor_of(np.array(images)).to(device)
            self.labels = tensor_of(labels).to(device)

    def _fits(self, num_bytes: int) -> bool:
        free, _ = torch.cuda.mem_get_info(self.device)
        return num_bytes < MAX_SHARE * free

    def take(self, places: np.ndarray) -> tuple[Tensor, Tensor]:
        """Images float32 (n, 3, S, S) in [-1, 1], channels last in memory, and labels (n,)."""
        if isinstance(self.images, Tensor) and isinstance(self.labels, Tensor):
            chosen = tensor_of(places).to(self.device)
            pixels, labels = self.images[chosen], self.labels[chosen]
        else:
            pixels = tensor_of(np.asarray(self.images[places])).to(self.device)
            labels = tensor_of(np.asarray(self.labels[places])).to(self.device)
        # (n, S, S, 3) seen as (n, 3, S, S) is channels last already: nothing is copied.
        return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0), labels
