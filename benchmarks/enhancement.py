"""Enlarging, against the stock `RealESRGANer` on the same weights."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Ratio, compare
from components.enhancement import RealESRGANEnhancer
from components.enhancement.shim import network_classes
from components.images import float_to_pixels
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.record import FileOrigin

NUM_PICTURES = 16


def benchmark() -> Iterator[Ratio]:
    """16 pictures of 64×64 by the compact network with seeded weights."""
    network_classes()  # the shim first: the stock package does not import without it
    from realesrgan import RealESRGANer
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    torch.manual_seed(0)
    network = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=32, upscale=4)
    batch = _batch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compact.pth"
        torch.save({"params": network.state_dict()}, path)
        stock = RealESRGANer(scale=4, model_path=str(path), model=network, tile=0, half=False)
        pictures = float_to_pixels(batch.images)[..., ::-1].copy()  # it wants BGR
        settings = IES(scale=4, weights=path)
        enhancer = RealESRGANEnhancer()
        stream = enhancer.enhance(iter(lambda: batch, None), settings)

        yield compare(
            f"enlarge {NUM_PICTURES} of 64×64, compact, against RealESRGANer",
            lambda: [stock.enhance(picture) for picture in pictures],
            lambda: next(stream),
        )


def _batch() -> IGDT:
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (NUM_PICTURES, 3, 64, 64)).astype(np.float32)
    origins = tuple(FileOrigin(name=f"{n}.png", sha256="0" * 64) for n in range(NUM_PICTURES))
    return IGDT(images=images, origins=origins)
