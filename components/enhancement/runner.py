"""Runs a network over pictures of any size: in tiles, in bounded memory, one after another.

Pictures run one at a time although they come in batches. A convolution may use another algorithm,
and so round otherwise, for another batch size. On CPUs, float32 pictures in a batch differed from
single ones in the last bits with channels first, and with channels last where oneDNN has no AVX2;
that is a whole level of 255 for some pixels after rounding. One at a time, a picture cannot depend
on its neighbours, on any device. Batches would have saved a fifth to a quarter of the time.
"""

import itertools
import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from components.enhancement.weights import SCALE, Network
from interfaces.errors import AtelierError
from interfaces.progress import Progress, ProgressEvent

_log = logging.getLogger("atelier")

_SMALLEST_TILE = 16  # pixels; where not even that fits, smaller tiles will not help


class _Region(NamedTuple):
    """A rectangle of the input, pixels; bottom and right are past its end."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def side(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)

    def split(self, tile: int) -> "Iterator[_Region]":
        """Cut into the fewest nearly equal parts of at most `tile` pixels a side."""
        rows = _cuts(self.top, self.bottom, tile)
        columns = _cuts(self.left, self.right, tile)
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(columns):
                yield _Region(top, left, bottom, right)


def _cuts(start: int, end: int, tile: int) -> list[int]:
    parts = -(-(end - start) // tile)
    return [start + (end - start) * part // parts for part in range(parts + 1)]


class TiledRunner:
    """A network on a device, over tiles that shrink when memory runs out."""

    def __init__(
        self, network: Network, device: torch.device, tile_pixels: int, progress: Progress
    ) -> None:
        # Channels last is 1.2 to 2 times as fast in oneDNN's convolutions.
        self._memory_format = (
            torch.channels_last if device.type == "cpu" else torch.contiguous_format
        )
        self._module = network.module.to(device)
        self._module.to(memory_format=self._memory_format)  # pyright: ignore[reportCallIssue]
        self._context = network.context
        self._device = device
        self._tile = tile_pixels
        self._progress = progress

    def enlarge(self, picture: np.ndarray) -> np.ndarray:
        """float32 RGB (3, H, W) in [0, 1] => float32 (3, 4H, 4W) in [0, 1].

        A picture wider or higher than a tile is cut into tiles. Each is run with the pixels around
        it that its result depends on, and only its own part is kept, so there is no seam.
        Raises `AtelierError` where even a small tile does not fit into memory.
        """
        _, height, width = picture.shape
        canvas = np.empty((3, height * SCALE, width * SCALE), np.float32)
        pending = list(_Region(0, 0, height, width).split(self._tile))
        done = 0
        while pending:
            region = pending[0]
            try:
                self._fill(canvas, picture, region)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._shrink(region)
                pending = [part for region in pending for part in region.split(self._tile)]
                continue
            pending.pop(0)
            done += 1
            if done + len(pending) > 1:
                total = done + len(pending)
                self._progress(ProgressEvent(stage="enlarge", done=done, total=total, unit="tiles"))
        return canvas

    def _fill(self, canvas: np.ndarray, picture: np.ndarray, region: _Region) -> None:
        """Run one tile with its surroundings and put its own part on the canvas."""
        _, height, width = picture.shape
        top, left = max(region.top - self._context, 0), max(region.left - self._context, 0)
        bottom = min(region.bottom + self._context, height)
        right = min(region.right + self._context, width)
        enlarged = self._forward(torch.from_numpy(picture[None, :, top:bottom, left:right].copy()))
        rows = slice((region.top - top) * SCALE, (region.bottom - top) * SCALE)
        columns = slice((region.left - left) * SCALE, (region.right - left) * SCALE)
        canvas[
            :,
            region.top * SCALE : region.bottom * SCALE,
            region.left * SCALE : region.right * SCALE,
        ] = enlarged[0, :, rows, columns].numpy()

    @torch.inference_mode()
    def _forward(self, tile: Tensor) -> Tensor:
        enlarged = self._module(tile.to(self._device, memory_format=self._memory_format))
        # NaN survives clamping, so it is caught here and never becomes a black picture.
        enlarged = enlarged.clamp(0, 1).cpu()
        if not torch.isfinite(enlarged).all():
            raise AtelierError("the network's result holds values that are not numbers; use others")
        return enlarged

    def _shrink(self, region: _Region) -> None:
        tile = min(self._tile, region.side) // 2
        if tile < _SMALLEST_TILE:
            raise AtelierError(
                f"{self._device}: not enough memory to enlarge even {region.side} pixels at once; "
                "close other programs or choose another device"
            )
        _log.warning("%s: out of memory, going on with tiles of %d pixels", self._device, tile)
        self._tile = tile
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA has a class for it; MPS and the CPU allocator only have words."""
    words = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "out of memory" in words
        or "can't allocate memory" in words
    )
