"""The three models of paper 002 against closed forms and against torch's own losses."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from components.families.paper002.config import DCGANWIConfig, Table2Config, WGANGPConfig
from components.families.paper002.method import (
    Discriminator,
    Generator,
    Trainer,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    initialise,
)
from components.families.port import Shape
from components.families.trainer import Machine

LOGITS = torch.tensor([-3.0, -0.5, 0.0, 1.5, 40.0])


def test_bce_is_torchs() -> None:
    real, fake = LOGITS, LOGITS.flip(0) - 1
    ones, zeros = torch.ones(5), torch.zeros(5)
    bce = F.binary_cross_entropy_with_logits
    assert_close(discriminator_loss("bce", real, fake), bce(real, ones) + bce(fake, zeros))
    assert_close(generator_loss("bce", fake), bce(fake, ones))


def test_wasserstein_is_the_difference_of_means() -> None:
    assert_close(discriminator_loss("wasserstein", LOGITS, LOGITS + 2), torch.tensor(2.0))
    assert_close(generator_loss("wasserstein", LOGITS), -LOGITS.mean())


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    weight = critic[1].weight
    real, fake = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    penalty = gradient_penalty(critic, real, fake, torch.rand(5, 1, 1, 1))
    # The gradient is the weight everywhere, so the penalty is (‖w‖ - 1)² whatever the images.
    assert_close(penalty, (weight.norm() - 1).square())
    penalty.backward()
    expected = 2 * (weight.norm() - 1) * weight / weight.norm()
    assert_close(weight.grad, expected.detach())


@pytest.mark.parametrize("kernel_size", [3, 4, 5])
@pytest.mark.parametrize("fully_connected", [False, True])
@pytest.mark.parametrize("resolution", [8, 32, 64])
def test_shapes_at_every_resolution(
    kernel_size: int, fully_connected: bool, resolution: int
) -> None:
    config = Table2Config(
        kernel_size=kernel_size,
        fully_connected=fully_connected,
        generator_channels=8,
        discriminator_channels=8,
        latent_dim=10,
    )
    images = Generator(config, Shape(resolution, 1))(torch.randn(2, 10))
    assert images.shape == (2, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert Discriminator(config, Shape(resolution, 1))(images).shape == (2,)


@pytest.mark.parametrize("resolution", [4, 60, 65])
def test_a_resolution_that_does_not_double_is_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=str(resolution)):
        Generator(Table2Config(), Shape(resolution, 1))


@pytest.mark.parametrize(
    ("weight_init", "deviation"),
    [("normal", 0.02), ("uniform", 0.02), ("glorot_normal", math.sqrt(2 / (64 * 16 + 32 * 16)))],
)
def test_first_weights_have_the_named_spread(weight_init: str, deviation: float) -> None:
    layer = nn.Conv2d(64, 32, 4)
    initialise(layer, weight_init, torch.Generator().manual_seed(0))
    assert_close(layer.weight.std().item(), deviation, rtol=0.02, atol=0)
    assert_close(layer.weight.mean().item(), 0.0, rtol=0, atol=deviation * 0.02)
    if weight_init == "uniform":
        assert layer.weight.abs().max() <= 0.02 * math.sqrt(3)
    assert layer.bias is not None
    assert not layer.bias.any()


def _trainer(config: Table2Config) -> Trainer:
    rng = torch.Generator().manual_seed(0)
    return Trainer(config, Shape(16, 1), Machine(torch.device("cpu"), torch.float32, rng))


def test_clipping_holds_every_weight() -> None:
    config = Table2Config(
        gradient_correction="clipping",
        loss="wasserstein",
        clip_value=0.005,
        generator_channels=8,
        discriminator_channels=8,
    )
    trainer = _trainer(config)
    trainer.step(torch.rand(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64), 1)
    assert all(p.abs().max() <= 0.005 for p in trainer.discriminator.parameters())


def test_the_generator_moves_every_fifth_step() -> None:
    trainer = _trainer(WGANGPConfig(generator_channels=8, discriminator_channels=8))
    moved = []
    for _ in range(10):
        before = [p.clone() for p in trainer.generator.parameters()]
        trainer.step(torch.rand(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64), 1)
        after = trainer.generator.parameters()
        moved.append(any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)))
    assert moved == [False, False, False, False, True] * 2


def test_the_critic_of_wgan_gp_scores_each_image_by_itself() -> None:
    critic = Discriminator(WGANGPConfig(discriminator_channels=8), Shape(16, 1))
    images = torch.rand(4, 3, 16, 16)
    alone = torch.cat([critic(images[n : n + 1]) for n in range(4)])
    assert_close(critic(images), alone)


def test_weight_initialisation_is_what_dcgan_wi_adds() -> None:
    plain = Table2Config().model_dump()
    assert DCGANWIConfig().model_dump() == plain | {"weight_init": "normal"}
