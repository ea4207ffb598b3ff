"""Training steps, against the plain loop of PyTorch's DCGAN example.

    python -m benchmarks training
    ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks training      # a CPU without bfloat16

What was predicted, changed and measured stands in benchmarks/RESULTS.md.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Ratio, compare
from components.common.devices import keep_freed_memory
from components.common.images import pixels_to_float
from components.families import FAMILIES
from components.families.augment import augment
from components.families.paper002 import method as paper002
from components.families.port import Shape
from components.families.r3gan import method as r3gan
from components.families.trainer import Machine
from components.training.arithmetic import choose_dtype
from components.training.batches import Batches
from components.training.ema import AveragedNetwork
from components.training.order import ImageOrder

NUM_IMAGES = 512
CPU = torch.device("cpu")
SHAPE = Shape(resolution=64, num_styles=5)
FAMILIES_MEASURED = ("dcgan", "wgan_gp", "r3gan")


def benchmark() -> Iterator[Ratio]:
    """512 images of 64×64 through each family as it is by default.

    The reference trains the same networks with the same losses as most code does: a DataLoader
    over a float tensor, channels first, float32, Adam as it comes, a forward pass of its own for
    real and for generated images, no average.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (NUM_IMAGES, 64, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, SHAPE.num_styles, NUM_IMAGES)
    for name in FAMILIES_MEASURED:
        theirs = _plain(name, pixels, labels)  # before memory is kept, which helps both
        mine, dtype = _ours(name, pixels, labels)
        ratio = compare(f"train {name} ({str(dtype)[6:]}) against a plain loop", theirs, mine)
        print(
            f"{name}: {NUM_IMAGES / ratio.reference_seconds:.0f} images/s plain, "
            f"{NUM_IMAGES / ratio.our_seconds:.0f} ours"
        )
        yield ratio


def _ours(name: str, pixels: np.ndarray, labels: np.ndarray) -> tuple[Callable[[], None], Any]:
    keep_freed_memory()
    family = FAMILIES[name]
    config = family.config()
    dtype = choose_dtype("auto", family, config, SHAPE, CPU)
    rng = torch.Generator().manual_seed(0)
    trainer = family.method().build_trainer(config, SHAPE, Machine(CPU, dtype, rng))
    averaged = AveragedNetwork(trainer.network, 10_000)
    order = ImageOrder(labels, 0, is_balanced=False)
    batches = Batches(pixels, labels, CPU)

    def run() -> None:
        for position in range(0, NUM_IMAGES, config.batch_size):
            trainer.step(*batches.take(order.take(position, config.batch_size)), 1)
            averaged.update(trainer.network, config.batch_size, position + 1)

    return run, dtype


def _plain(name: str, pixels: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    family = FAMILIES[name]
    config: Any = family.config()
    rng = torch.Generator().manual_seed(0)
    trainer: Any = family.method().build_trainer(config, SHAPE, Machine(CPU, torch.float32, rng))
    for network in (trainer.generator, trainer.discriminator):
        network.to(memory_format=torch.contiguous_format)
    betas = (0.0, 0.99) if name == "r3gan" else (config.beta1, config.beta2)
    optimisers = [
        torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=betas)
        for network in (trainer.generator, trainer.discriminator)
    ]
    dataset = TensorDataset(torch.from_numpy(pixels_to_float(pixels)), torch.from_numpy(labels))
    loader = DataLoader(dataset, batch_size=config.batch_size, shuffle=True)
    step = _plain_r3gan if name == "r3gan" else _plain_paper002
    counter = [0]

    def run() -> None:
        for images, chosen in loader:
            step(trainer, optimisers, images, chosen, counter[0])
            counter[0] += 1

    return run


def _plain_paper002(
    trainer: paper002.Trainer, optimisers: list[Any], real: Tensor, labels: Tensor, step: int
) -> None:
    """The step as PyTorch's DCGAN example writes it, with this family's losses."""
    config, G, D = trainer.config, trainer.generator, trainer.discriminator
    D.zero_grad()
    fake = G(torch.randn(len(real), config.latent_dim))
    loss = paper002.discriminator_loss(config.loss, D(real), D(fake.detach()))
    if config.gradient_correction == "penalty":
        mix = torch.rand(len(real), 1, 1, 1)
        penalty = paper002.gradient_penalty(D, real, fake.detach(), mix)
        loss = loss + config.penalty_weight * penalty
    loss.backward()
    optimisers[1].step()
    if step % config.discriminator_iterations == 0:
        G.zero_grad()
        paper002.generator_loss(config.loss, D(fake)).backward()
        optimisers[0].step()


def _seen(trainer: r3gan.Trainer, images: Tensor) -> Tensor:
    """Augmented, and channels first in memory, as a plain loop has them."""
    return augment(images, trainer.augment, trainer.machine.draws).contiguous()


def _plain_r3gan(
    trainer: r3gan.Trainer, optimisers: list[Any], real: Tensor, labels: Tensor, step: int
) -> None:
    """The paper's algorithm, each penalty as lazily as ours, with draws of its own for both."""
    config, G, D = trainer.config, trainer.generator, trainer.discriminator
    styles = F.one_hot(labels, SHAPE.num_styles).float()
    is_penalised = step % config.penalty_interval == 0
    D.zero_grad()
    fake = G(torch.randn(len(real), config.latent_dim), styles).detach()
    seen = [_seen(trainer, images).requires_grad_(is_penalised) for images in (real, fake)]
    real_logits, fake_logits = (D(images, styles) for images in seen)
    loss = r3gan.relativistic_loss(real_logits, fake_logits)
    if is_penalised:
        penalties = (
            r3gan.zero_centred_penalty(logits, images)
            for logits, images in zip((real_logits, fake_logits), seen, strict=True)
        )
        loss = loss + config.penalty_interval * config.gamma / 2 * sum(penalties)
    loss.backward()
    optimisers[1].step()
    G.zero_grad()
    fake = G(torch.randn(len(real), config.latent_dim), styles)
    fake_logits = D(_seen(trainer, fake), styles)
    with torch.no_grad():
        real_logits = D(_seen(trainer, real), styles)
    r3gan.relativistic_loss(fake_logits, real_logits).backward()
    optimisers[0].step()
