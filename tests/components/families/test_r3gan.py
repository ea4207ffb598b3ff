"""R3GAN: losses and penalties against closed forms, annealing, styles, augmentation."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from components.families.augment import SHIFT_FRACTION, augment
from components.families.draws import Draws
from components.families.port import Shape
from components.families.r3gan.config import R3GANConfig
from components.families.r3gan.method import (
    Discriminator,
    Generator,
    ResidualBlock,
    Trainer,
    initialise,
    relativistic_loss,
    zero_centred_penalty,
)
from components.families.trainer import Machine

CPU = torch.device("cpu")
SHAPE = Shape(resolution=16, num_styles=3)
TINY = {"batch_size": 4, "channels": 16, "max_channels": 32}


def trainer(**changes: object) -> Trainer:
    config = R3GANConfig.model_validate(TINY | changes)
    return Trainer(config, SHAPE, Machine(CPU, torch.float32, torch.Generator().manual_seed(0)))


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(4, 3, 16, 16, generator=rng) * 2 - 1, torch.tensor([0, 1, 2, 0])


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_the_loss_is_log_1_plus_exp_of_the_difference(better: float, worse: float) -> None:
    found = relativistic_loss(*torch.tensor([[better], [worse]], dtype=torch.float64))
    assert_close(found.item(), math.log1p(math.exp(worse - better)))


def test_the_penalty_of_a_linear_discriminator_is_its_squared_norm() -> None:
    weight = torch.randn(3 * 8 * 8, dtype=torch.float64)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    penalty = zero_centred_penalty(images.flatten(1) @ weight, images)
    assert_close(penalty, weight.square().sum().float())


def test_the_penalty_of_a_quadratic_discriminator_and_its_gradient() -> None:
    """D(x) = a‖x‖²/2 has the gradient a x: the penalty is a² E‖x‖², its derivative 2a E‖x‖²."""
    a = torch.tensor(0.5, requires_grad=True)
    images = torch.randn(7, 3, 4, 4, requires_grad=True)
    penalty = zero_centred_penalty(a * images.square().sum(dim=(1, 2, 3)) / 2, images)
    mean_square = images.detach().square().sum(dim=(1, 2, 3)).mean()
    assert_close(penalty, 0.25 * mean_square)
    (slope,) = torch.autograd.grad(penalty, a)
    assert_close(slope, mean_square)


def test_a_block_begins_as_the_identity() -> None:
    block = ResidualBlock(16, depth=4)
    initialise(block, torch.Generator().manual_seed(0))
    features = torch.randn(2, 16, 8, 8)
    assert_close(block(features), features, rtol=0, atol=0)


def discriminator_gradient(**changes: object) -> torch.Tensor:
    """The gradient of one step from the same weights and noise."""
    network = trainer(augment="none", **changes)
    network.step(*batch(), 1)
    gradients = [p.grad for p in network.discriminator.parameters() if p.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients])


STRONG = {"gamma": 100.0, "final_gamma": 100.0}  # so that rounding does not drown the penalty


@pytest.mark.parametrize("interval", [2, 4, 16])
def test_penalties_of_every_nth_step_are_n_times_as_heavy(interval: int) -> None:
    plain = discriminator_gradient(gamma=0.0, final_gamma=0.0)
    penalty = discriminator_gradient(penalty_interval=1, **STRONG) - plain
    assert penalty.norm() > 1e-3 * plain.norm()
    lazily = discriminator_gradient(penalty_interval=interval, **STRONG) - plain
    assert_close(lazily, interval * penalty, rtol=1e-3, atol=1e-3 * float(penalty.norm()))


def test_penalties_are_taken_every_nth_step_and_reported_until_the_next() -> None:
    network = trainer(penalty_interval=3)
    reported = [network.step(*batch(seed), 1)["r1_penalty"] for seed in range(7)]
    changes = [bool(before != after) for before, after in pairwise(reported)]
    assert changes == [False, False, True, False, False, True]


def test_rates_are_annealed_along_half_a_cosine() -> None:
    network = trainer(
        learning_rate=4e-4,
        final_learning_rate=2e-4,
        gamma=2,
        final_gamma=1,
        burn_in_images=100,
        discriminator_rate=3,
    )
    expected = {0: (4e-4, 2.0), 50: (3e-4, 1.5), 100: (2e-4, 1.0), 900: (2e-4, 1.0)}
    for images_seen, (rate, gamma) in expected.items():
        network.images_seen = images_seen
        assert network._anneal() == pytest.approx(gamma)
        for name, times in (("generator", 1), ("discriminator", 3)):
            found = network.optimisers[name].param_groups[0]["lr"]
            assert found == pytest.approx(times * rate)


def test_two_halves_accumulated_are_one_whole() -> None:
    """Without noise in between, gradients of two halves make the gradient of the whole."""
    whole, halves = trainer(augment="none"), trainer(augment="none")
    for network, parts in ((whole, 1), (halves, 2)):
        network.step(*batch(), parts)
    # Gradients, not weights: Adam's first step takes only their signs.
    for mine, theirs in zip(
        halves.discriminator.parameters(), whole.discriminator.parameters(), strict=True
    ):
        assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_a_style_is_a_matter_of_degree() -> None:
    generator = Generator(R3GANConfig.model_validate(TINY), SHAPE)
    initialise(generator, torch.Generator().manual_seed(0))
    z = torch.randn(1, 64).expand(3, -1)
    styles = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 1.0, 0]])
    first, between, second = generator.start(torch.cat([z, generator.style(styles)], dim=1))
    assert_close(between, (first + second) / 2)
    assert not torch.allclose(first, second)


def test_another_collections_styles_go_on_by_name_and_new_ones_begin_as_the_mean() -> None:
    trained = trainer()
    trained.step(*batch(), 1)
    config = R3GANConfig.model_validate(TINY)
    fresh = Trainer(
        config, Shape(16, 2), Machine(CPU, torch.float32, torch.Generator().manual_seed(1))
    )
    companions = {"discriminator": trained.discriminator.state_dict()}
    fresh.start_from(trained.generator.state_dict(), companions, [2, None], trained.config)
    for mine, theirs in (
        (fresh.generator, trained.generator),
        (fresh.discriminator, trained.discriminator),
    ):
        assert_close(mine.style.weight[:, 0], theirs.style.weight[:, 2])
        assert_close(mine.style.weight[:, 1], theirs.style.weight.mean(dim=1))


def test_the_discriminator_depends_on_the_style() -> None:
    network = Discriminator(R3GANConfig.model_validate(TINY), SHAPE)
    initialise(network, torch.Generator().manual_seed(0))
    images = batch()[0][:1].expand(3, -1, -1, -1)
    scores = network(images, torch.eye(3))
    assert scores.shape == (3,)
    assert scores.std() > 0


# ---------------------------------------------------------------- augmentation


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_none_is_the_images_themselves() -> None:
    images, _ = batch()
    assert augment(images, "none", Draws(rng())) is images


@given(st.integers(0, 1000))
def test_flips_mirror_or_leave(seed: int) -> None:
    images, _ = batch(seed)
    for image, seen in zip(images, augment(images, "flip", Draws(rng(seed))), strict=True):
        assert torch.equal(seen, image) or torch.equal(seen, image.flip(2))


@given(st.integers(0, 1000))
def test_shifts_are_whole_pixels_and_bring_in_grey(seed: int) -> None:
    images = torch.zeros(4, 1, 16, 16)
    images[:, :, 8, 8] = 1.0
    seen = augment(images.expand(-1, 3, -1, -1), "light", Draws(rng(seed)))
    reach = round(16 * SHIFT_FRACTION)
    for picture in seen[:, 0]:
        assert_close(picture.sum().item(), 1.0)
        row, column = divmod(int(picture.argmax()), 16)
        assert abs(row - 8) <= reach
        assert min(abs(column - 8), abs(15 - column - 8)) <= reach


@pytest.mark.parametrize("policy", ["flip", "light", "full"])
def test_gradients_pass_and_the_same_draws_give_the_same(policy: str) -> None:
    images = batch()[0].requires_grad_()
    seen = augment(images, policy, Draws(rng()))
    assert seen.shape == images.shape
    seen.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert_close(augment(images.detach(), policy, Draws(rng())), seen.detach(), rtol=0, atol=0)


def test_full_cuts_out_a_quarter_at_most_and_changes_colours() -> None:
    images = torch.full((64, 3, 16, 16), 0.3)
    images[:, 0] = 0.8
    seen = augment(images, "full", Draws(rng()))
    cut = (seen == 0).all(dim=1).float().mean(dim=(1, 2))
    # The hole is S/2 square, its centre anywhere; shifts bring in grey of their own.
    assert cut.max() <= 0.25 + 2 * SHIFT_FRACTION
    assert cut.mean() > 0.1
    middle = seen[:, :, 8, 8]
    assert middle.std(dim=0).min() > 0.05


def test_the_generator_is_a_module_whose_pictures_are_finite() -> None:
    generator: nn.Module = Generator(R3GANConfig(), Shape(64, 5))
    initialise(generator, rng())
    pictures = generator(torch.randn(2, 64), torch.eye(5)[:2])
    assert pictures.shape == (2, 3, 64, 64)
    assert torch.isfinite(pictures).all()
