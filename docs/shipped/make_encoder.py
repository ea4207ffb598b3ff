"""Teach the embedded encoder again: styles and painters of the paintings.

    python docs/shipped/make_encoder.py paintings-128.zip WORKSPACE OUTPUT.safetensors

The painter is the file's name up to the first underscore. A tenth of the pictures is held out, by
the same rule as in training, and tells how well it learnt.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.checkpoints import save_weights
from components.common.encoder import WIDTHS, Encoder
from components.common.images import pixels_to_float
from components.preprocessing import create as create_preprocessor
from components.training_store import create as create_store
from interfaces.ipdt import PreprocessingSettings
from interfaces.itdt import CollectionSettings
from interfaces.progress import silent

EPOCHS = 12
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
MIN_WORKS = 10
"""Painters with fewer pictures are one class, 'other'."""


def main(data: str, workspace: Path, output: Path) -> None:
    """Train, and write the weights after every epoch with their digest."""
    collection = create_store(workspace).collect(CollectionSettings(data=data), silent)
    prepared = create_preprocessor(workspace).preprocess(
        collection, PreprocessingSettings(resolution=64), silent
    )
    images, styles = prepared.images(), torch.from_numpy(prepared.labels())
    painters = painter_labels([image.name for image in collection.images()])
    training, held_out = prepared.split(0.1)

    torch.manual_seed(0)
    encoder = Encoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    heads = nn.ModuleList(
        nn.Linear(WIDTHS[-1], int(labels.max()) + 1) for labels in (styles, painters)
    )
    optimiser = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], weight_decay=0.05)
    total = EPOCHS * (len(training) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=total)
    rng = np.random.default_rng(0)
    started = time.monotonic()

    for epoch in range(EPOCHS):
        encoder.train()
        shuffled = rng.permutation(training)
        for batch in shuffled[: len(shuffled) // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE):
            seen = varied(torch.from_numpy(pixels_to_float(images[batch])))
            found = answers(encoder, heads, seen)
            loss = sum(
                F.cross_entropy(logits, labels[batch], label_smoothing=0.1)
                for logits, labels in zip(found, (styles, painters), strict=True)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        right = accuracy(encoder, heads, images, held_out, (styles, painters))
        print(
            f"epoch {epoch + 1}: loss {loss.item():.3f}; of those held out, styles right "
            f"{right[0]:.3f}, painters {right[1]:.3f}; {time.monotonic() - started:.0f} s",
            flush=True,
        )
        standardise(encoder, images, training)
        print(save_weights(output, encoder.state_dict()), flush=True)


def painter_labels(names: list[str]) -> Tensor:
    """A number for each painter, 0 for those with few works: (N,)."""
    painters = np.array([name.rpartition("/")[2].partition("_")[0] for name in names])
    known, counts = np.unique(painters, return_counts=True)
    frequent = {name: n for n, name in enumerate(known[counts >= MIN_WORKS], start=1)}
    return torch.tensor([frequent.get(name, 0) for name in painters])


def varied(images: Tensor) -> Tensor:
    """Mirrored, moved, a little brighter or darker: what does not change who painted it."""
    count = len(images)
    images = torch.where(torch.rand(count, 1, 1, 1) < 0.5, images.flip(3), images)
    scale = 1 - 0.3 * torch.rand(count)
    shift = (2 * torch.rand(2, count) - 1) * (1 - scale)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, 0, 2], theta[:, 1, 2] = scale, scale, *shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    images = images * (0.8 + 0.4 * torch.rand(count, 1, 1, 1))
    images = images + 0.2 * (torch.rand(count, 1, 1, 1) - 0.5)
    return images.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def answers(encoder: Encoder, heads: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """Logits of the style and of the painter, from the last stage's features."""
    pooled = F.dropout(encoder.maps(images)[-1].mean(dim=(2, 3)), 0.2, encoder.training)
    return [head(pooled) for head in heads]


@torch.no_grad()
def accuracy(
    encoder: Encoder,
    heads: nn.ModuleList,
    images: np.ndarray,
    which: np.ndarray,
    truths: tuple[Tensor, Tensor],
) -> list[float]:
    """The share of pictures whose style, and whose painter, is named rightly."""
    encoder.eval()
    right = [0, 0]
    for batch in np.array_split(which, max(1, len(which) // 256)):
        found = answers(encoder, heads, torch.from_numpy(pixels_to_float(images[batch])))
        for n, (logits, labels) in enumerate(zip(found, truths, strict=True)):
            right[n] += int((logits.argmax(dim=1) == labels[batch]).sum())
    return [count / len(which) for count in right]


@torch.no_grad()
def standardise(encoder: Encoder, images: np.ndarray, which: np.ndarray) -> None:
    """Set `scale`, so that each feature varies by 1 over the paintings."""
    encoder.eval()
    encoder.scale.fill_(1.0)
    parts = np.array_split(which[::4], len(which) // 1024 + 1)
    found = [encoder(torch.from_numpy(pixels_to_float(images[part]))) for part in parts]
    encoder.scale.copy_(1.0 / torch.cat(found).std(dim=0).clamp_min(1e-3))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
