"""Teach the embedded enlarger again: a compact ×4 network, on paintings.

    python docs/shipped/make_enlarger.py paintings-128.zip paintings-224.zip WORKSPACE \
        OUTPUT.safetensors

The network is Real-ESRGAN's SRVGGNetCompact (Wang et al., 2021), here of 32 features and 12
convolutions, taught from the beginning. It learns to restore crops that were reduced by four, from
paintings of 128 pixels a side and of 224. Some of the larger ones are kept out, to measure with
(measure_enlarger.py), and so is every picture of either file that is the same painting.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import copy
import hashlib
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.checkpoints import save_weights
from components.common.devices import has_bfloat16_vectors, keep_freed_memory
from components.enhancement.shim import network_classes
from components.preprocessing import create as create_preprocessor
from components.training_store import create as create_store
from interfaces.ipdt import PreprocessingSettings
from interfaces.itdt import CollectionSettings
from interfaces.progress import silent

FEATURES, CONVOLUTIONS = 32, 12
HELD_OUT = 300
"""Paintings of the 224-pixel file that are measured with at the end, and nothing is learnt from."""

WATCHED = 64
"""Further ones that are not learnt from: choices and progress are judged on them."""

SAME = 0.98
"""Correlation of two pictures' thumbnails from which on they count as one painting."""

STEPS, STEPS_OF_CYCLE = 12_000, 18_000
"""The cycle of the learning rate is laid out for more steps than are gone: see the card."""

BATCH_SIZE = 16  # half of it from each file
CROP = 96  # pixels of the large side
LEARNING_RATE = 1e-3
AVERAGE = 0.999
REPORT_EVERY = 1000  # steps


def main(small: str, large: str, workspace: Path, output: Path) -> None:
    """Train, and write the averaged weights every so often with their digest."""
    keep_freed_memory()
    pictures, held_out, watched = load(small, large, workspace)
    print(f"learns from {[len(images) for images in pictures]}; {len(held_out)} held out")

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = network_classes()[1](num_feat=FEATURES, num_conv=CONVOLUTIONS, upscale=4)
    network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=STEPS_OF_CYCLE, pct_start=0.05
    )
    has_bfloat16 = has_bfloat16_vectors(torch.device("cpu"))
    started = time.monotonic()

    for step in range(1, STEPS + 1):
        truth = crops(pictures, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16):
            found = network(reduced(truth, rng))
        loss = torch.sqrt((found - truth).square() + 1e-6).mean()  # Charbonnier
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        follow(average, network, min(AVERAGE, step / (step + 10)))
        if step % REPORT_EVERY == 0:
            decibels = psnr_of(average, watched)
            print(
                f"step {step}: loss {loss.item():.4f}; watched {decibels:.3f} dB; "
                f"{time.monotonic() - started:.0f} s, of this process "
                f"{time.process_time():.0f} s; {save_weights(output, average.state_dict())}",
                flush=True,
            )


def load(
    small: str, large: str, workspace: Path
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Pictures to learn from, of either size, those held out, and those to watch: uint8 NHWC."""
    loaded = [read(small, 128, workspace), read(large, 224, workspace)]
    order = in_order(loaded[1][1])
    held_out, watched = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + WATCHED]
    kept_out = [loaded[1][1][place] for place in (*held_out, *watched)]
    their_thumbnails = thumbnails(loaded[1][0][np.concatenate([held_out, watched])])
    training = []
    for images, names in loaded:
        alike = (thumbnails(images) @ their_thumbnails.T).max(axis=1)
        training.append(images[~np.isin(names, kept_out) & (alike < SAME)])
    large_images = loaded[1][0]
    return training, large_images[held_out], large_images[watched]


def read(data: str, side: int, workspace: Path) -> tuple[np.ndarray, list[str]]:
    """A collection's pictures uint8 (N, side, side, 3), and their names, 'style/artist_title'."""
    collection = create_store(workspace).collect(CollectionSettings(data=data), silent)
    prepared = create_preprocessor(workspace).preprocess(
        collection, PreprocessingSettings(resolution=side), silent
    )
    return prepared.images(), [image.name.rpartition(".")[0] for image in collection.images()]


def in_order(names: list[str]) -> np.ndarray:
    """Places of the names in the order of their SHA-256: a shuffle that anybody can repeat."""
    return np.array(
        sorted(range(len(names)), key=lambda place: hashlib.sha256(names[place].encode()).digest())
    )


def thumbnails(images: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 3) => (N, 768): 16×16 pixels, mean 0 and length 1, to be correlated."""
    cell = images.shape[1] // 16
    small = np.stack([i.reshape(16, cell, 16, cell, 3).mean(axis=(1, 3)).ravel() for i in images])
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def crops(pictures: list[np.ndarray], rng: np.random.Generator) -> Tensor:
    """Crops, as many from each file, turned and mirrored: (BATCH_SIZE, 3, CROP, CROP), 0 to 1."""
    found = []
    for images in pictures:
        for place in rng.integers(len(images), size=BATCH_SIZE // len(pictures)):
            top, left = rng.integers(images.shape[1] - CROP + 1, size=2)
            crop = images[place, top : top + CROP, left : left + CROP]
            crop = np.rot90(crop, int(rng.integers(4)))
            found.append(crop if rng.random() < 0.5 else crop[:, ::-1])
    batch = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)  # lies in channels_last already
    return batch.float() / 255


def reduced(images: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 3, H, W) => (N, 3, H/4, W/4): bicubic, area or bilinear, some with a little noise."""
    kind = rng.choice(["bicubic", "area", "bilinear"], p=[0.6, 0.2, 0.2])
    if kind == "area":
        small = F.avg_pool2d(images, 4)
    else:
        small = F.interpolate(images, scale_factor=0.25, mode=str(kind), antialias=True)
    noise = torch.rand(len(images), 1, 1, 1).sub(0.5).clamp_min(0) * (4 / 255)  # up to 2 levels
    return (small + noise * torch.randn_like(small)).clamp(0, 1)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, share: float) -> None:
    """Each averaged weight keeps `share` of itself, and takes the rest from the network's."""
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - share)


@torch.no_grad()
def psnr_of(network: nn.Module, pixels: np.ndarray) -> float:
    """Mean PSNR in dB over RGB of pictures uint8 (N, H, W, 3), reduced by four and enlarged."""
    truth = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    small = F.interpolate(truth, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)
    errors = (network(small).clamp(0, 1) - truth).square().mean(dim=(1, 2, 3))
    return float((-10 * torch.log10(errors)).mean())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
