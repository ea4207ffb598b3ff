"""Runs a network over pictures of any size: many small ones at once, large ones in tiles.

One forward pass always takes a batch of one fixed shape, the last one padded: a convolution rounds
otherwise for another batch size, so a picture would depend on its company. How large a batch is
follows from the picture's own size, the route's choice and the memory, never from how many there
are.

Neighbouring tiles overlap. Beside a cut edge a tile differs from the whole picture as far as a
pixel's influence reaches (`influence.py`): that band is dropped, and over a further `FEATHER`
pixels one tile fades into the next.
"""

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from components.common.memory import free_memory
from components.common.shortage import is_out_of_memory
from components.common.tensors import tensor_of
from components.enhancement.engines import Forward
from components.enhancement.influence import measured_context
from components.enhancement.weights import SCALE, Network
from interfaces.errors import AtelierError, UnavailableError
from interfaces.progress import Progress, ProgressEvent, silent

_log = logging.getLogger("atelier")

FEATHER = 8  # input pixels over which one tile fades into the next

_MIN_TILE = 16  # pixels; where not even that fits, smaller tiles will not help

# Bytes at the peak for one input pixel in float32, measured (benchmarks/RESULTS.md); a network
# that is not known is taken for the hungriest.
_BYTES_PER_PIXEL = {"SRVGGNetCompact": 1_200, "RRDBNet": 17_000}
_SHARE_OF_FREE_MEMORY = 0.25


@dataclass(frozen=True)
class _Axis:
    """Tiles along one side of a picture: all of one length, the first and last at its ends."""

    starts: Sequence[int]  # input pixels
    length: int  # input pixels
    weights: Sequence[np.ndarray]  # float32 (SCALE · length,) for each; they sum to 1 everywhere


def _axis(total: int, core: int, context: int) -> _Axis:
    """The fewest tiles of at most `core` pixels, and the overlap, that cover `total` pixels."""
    overlap = 2 * context + FEATHER
    if total <= core + overlap:
        return _Axis([0], total, [np.ones(total * SCALE, np.float32)])
    count = math.ceil((total - overlap) / core)
    length = math.ceil((total - overlap) / count) + overlap
    starts = [round(n * (total - length) / (count - 1)) for n in range(count)]
    ramps = [_ramp(length, context, n > 0, n < count - 1) for n in range(count)]
    whole = np.zeros(total * SCALE)
    for start, ramp in zip(starts, ramps, strict=True):
        whole[start * SCALE :][: len(ramp)] += ramp
    weights = [
        (ramp / whole[start * SCALE :][: len(ramp)]).astype(np.float32)
        for start, ramp in zip(starts, ramps, strict=True)
    ]
    return _Axis(starts, length, weights)


def _ramp(length: int, context: int, cut_before: bool, cut_behind: bool) -> np.ndarray:
    """0 beside a cut edge, rising over `FEATHER` to 1; 1 up to the picture's own edge."""
    position = (np.arange(length * SCALE) + 0.5) / SCALE  # input pixels from the tile's start
    rising = np.clip((position - context) / FEATHER, 0, 1)
    ramp = np.ones(length * SCALE)
    if cut_before:
        ramp = np.minimum(ramp, rising)
    if cut_behind:
        ramp = np.minimum(ramp, rising[::-1])
    return ramp


class TiledRunner:
    """A network on a device, over batches and tiles that shrink when memory runs out."""

    def __init__(
        self,
        network: Network,
        forward: Forward,
        device: torch.device,
        tile_pixels: int,
        pixels_at_once: int,
    ) -> None:
        self._network = network
        self._forward = forward
        self._device = device
        self._tile = tile_pixels
        self._pixels_at_once = pixels_at_once
        self._context: int | None = None
        self._num_whole = 0  # pictures that the last pass has finished

    def enlarge(self, pictures: np.ndarray, progress: Progress = silent) -> np.ndarray:
        """float32 RGB (N, 3, H, W) in [0, 1] => float32 (N, 3, 4H, 4W) in [0, 1].

        Raises `AtelierError` where even a small tile does not fit into memory, and where the
        network gives what are not numbers. When memory runs out, batches, then tiles are halved
        and the pictures that are not whole yet begun anew.
        """
        count, _, height, width = pictures.shape
        canvas = np.empty((count, 3, height * SCALE, width * SCALE), np.float32)
        done = 0
        while done < count:
            try:
                self._fill(canvas[done:], pictures[done:], progress)
                done = count
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                done += self._num_whole
                self._shrink(height, width)
        # Weights of overlapping tiles sum to one up to the last bit.
        return np.clip(canvas, 0, 1, out=canvas)

    def _fill(self, canvas: np.ndarray, pictures: np.ndarray, progress: Progress) -> None:
        """All tiles of all pictures, in order; `_num_whole` counts the pictures that are done."""
        self._num_whole = 0
        rows, columns = self._axes(*pictures.shape[2:])
        tiles = list(itertools.product(range(len(rows.starts)), range(len(columns.starts))))
        jobs = [(n, row, column) for n in range(len(pictures)) for row, column in tiles]
        batch_size = self._batch_size(rows.length, columns.length)

        def tell(done: int) -> None:
            if len(tiles) > 1:
                progress(ProgressEvent(stage="enlarge", done=done, total=len(jobs), unit="tiles"))

        tell(0)
        for start in range(0, len(jobs), batch_size):
            group = jobs[start : start + batch_size]
            batch = np.zeros((batch_size, 3, rows.length, columns.length), np.float32)
            for place, (n, row, column) in enumerate(group):
                top, left = rows.starts[row], columns.starts[column]
                batch[place] = pictures[n, :, top : top + rows.length, left : left + columns.length]
            enlarged = self._run(batch)
            for tile, (n, row, column) in zip(enlarged, group, strict=False):
                _lay(canvas[n], tile, rows, columns, row, column)
            done = start + len(group)
            self._num_whole = done // len(tiles)
            tell(done)

    def _axes(self, height: int, width: int) -> tuple[_Axis, _Axis]:
        affordable = self._affordable_side()
        if max(height, width) <= min(self._tile, affordable):
            return _axis(height, self._tile, 0), _axis(width, self._tile, 0)
        if self._context is None:
            self._context = measured_context(self._network, self._forward, self._device)
        overlap = 2 * self._context + FEATHER
        core = max(min(self._tile, affordable - overlap), _MIN_TILE)
        return _axis(height, core, self._context), _axis(width, core, self._context)

    def _affordable_side(self) -> int:
        """Side of the largest tile, with all that surrounds it, for the memory that is free."""
        hungriest = max(_BYTES_PER_PIXEL.values())
        bytes_per_pixel = _BYTES_PER_PIXEL.get(self._network.architecture, hungriest)
        affordable = free_memory(self._device) * _SHARE_OF_FREE_MEMORY / bytes_per_pixel
        return math.isqrt(int(affordable))

    def _batch_size(self, height: int, width: int) -> int:
        at_once = min(self._pixels_at_once, self._affordable_side() ** 2)
        return max(1, at_once // (height * width))

    def _run(self, batch: np.ndarray) -> np.ndarray:
        enlarged = self._forward(tensor_of(batch)).clamp(0, 1)
        # NaN survives clamping, so it is caught here and never becomes a black picture.
        if not torch.isfinite(enlarged).all():
            raise AtelierError("the network's result holds values that are not numbers; use others")
        return enlarged.numpy()

    def _shrink(self, height: int, width: int) -> None:
        """Half of what was tried: half the pictures or, for one alone, half the tile's side."""
        rows, columns = self._axes(height, width)
        batch_size = self._batch_size(rows.length, columns.length)
        if batch_size > 1:
            self._pixels_at_once = batch_size // 2 * rows.length * columns.length
            what = f"batches of {batch_size // 2}"
        else:
            self._tile = min(self._tile, max(height, width)) // 2
            if self._tile < _MIN_TILE:
                raise UnavailableError(
                    f"{self._device}: not enough memory to enlarge even {2 * self._tile} pixels at "
                    "once; close other programs or choose another device"
                )
            what = f"tiles of {self._tile} pixels"
        _log.warning("%s: out of memory, going on with %s", self._device, what)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _lay(
    canvas: np.ndarray, tile: np.ndarray, rows: _Axis, columns: _Axis, row: int, column: int
) -> None:
    """Add a tile (3, h, w) to its picture's canvas (3, H, W), weighted where tiles overlap."""
    if len(rows.starts) == len(columns.starts) == 1:
        canvas[:] = tile
        return
    if row == column == 0:
        canvas[:] = 0
    top, left = rows.starts[row] * SCALE, columns.starts[column] * SCALE
    height, width = tile.shape[1:]
    weights = rows.weights[row][:, None] * columns.weights[column]
    canvas[:, top : top + height, left : left + width] += tile * weights
