"""Training steps, against the plain loop of PyTorch's DCGAN example."""

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Ratio, compare
from components.devices import pick_dtype
from components.families import FAMILIES
from components.families.paper002.config import Table2Config
from components.families.paper002.method import (
    Trainer,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from components.images import pixels_to_float
from components.training.ema import AveragedNetwork
from components.training.order import ImageOrder

NUM_IMAGES = 256
CPU = torch.device("cpu")


def benchmark() -> Iterator[Ratio]:
    """256 images of 64×64 through each family, at 32 channels, batches of 32.

    The reference runs the same networks and losses as most code does: a DataLoader over a float
    tensor, channels first, float32, no average.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 64, 64, 3), dtype=np.uint8)
    for name in ("dcgan", "wgan_gp"):
        plain = _trainer(name, torch.float32)
        for network in (plain.generator, plain.discriminator):
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        ours = _trainer(name, pick_dtype("auto", CPU))
        averaged = AveragedNetwork(ours.network, 10_000)
        order = ImageOrder(np.zeros(NUM_IMAGES, np.int64), 0, is_balanced=False)
        loader = DataLoader(
            TensorDataset(torch.from_numpy(pixels_to_float(pixels))), batch_size=32, shuffle=True
        )

        def theirs(trainer: Trainer = plain, batches: DataLoader = loader) -> None:
            for (images,) in batches:
                _plain_step(trainer, images)

        def mine(
            trainer: Trainer = ours,
            averaged: AveragedNetwork = averaged,
            order: ImageOrder = order,
        ) -> None:
            for position in range(0, NUM_IMAGES, 32):
                images = torch.from_numpy(pixels_to_float(pixels[order.take(position, 32)]))
                trainer.step(images, torch.zeros(32, dtype=torch.int64), 1)
                averaged.update(trainer.network, 32, position)

        yield compare(f"train {name} on {NUM_IMAGES} images, against a plain loop", theirs, mine)


def _trainer(name: str, dtype: torch.dtype) -> Trainer:
    family = FAMILIES[name]
    config = family.config.model_validate(
        {"generator_channels": 32, "discriminator_channels": 32, "batch_size": 32}
    )
    rng = torch.Generator().manual_seed(0)
    return Trainer(cast(Table2Config, config), 64, CPU, dtype, rng)


def _plain_step(trainer: Trainer, real: torch.Tensor) -> None:
    """The step as PyTorch's DCGAN example writes it, with this family's losses."""
    config, G, D = trainer.config, trainer.generator, trainer.discriminator
    optimisers = trainer.optimisers
    D.zero_grad()
    fake = G(torch.randn(len(real), config.latent_dim))
    loss = discriminator_loss(config.loss, D(real), D(fake.detach()))
    if config.gradient_correction == "penalty":
        mix = torch.rand(len(real), 1, 1, 1)
        loss = loss + config.penalty_weight * gradient_penalty(D, real, fake.detach(), mix)
    loss.backward()
    optimisers["discriminator"].step()
    trainer.num_steps += 1
    if trainer.num_steps % config.discriminator_iterations == 0:
        G.zero_grad()
        generator_loss(config.loss, D(fake)).backward()
        optimisers["generator"].step()
