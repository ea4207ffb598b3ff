"""The VAE: its bound against torch.distributions, free bits, reconstructions, pictures from one."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.testing import assert_close

from components.families.port import Inputs, Request, Shape
from components.families.sampling import slerp
from components.families.trainer import Machine
from components.families.vae import method
from components.families.vae.config import Options, VAEConfig
from components.families.vae.method import VAE, Sampler, Trainer, square

CPU = torch.device("cpu")
SHAPE = Shape(resolution=16, num_styles=3)
TINY = {"batch_size": 4, "latent_dim": 8, "channels": 8, "max_channels": 16}


def trainer(**changes: object) -> Trainer:
    config = VAEConfig.model_validate(TINY | changes)
    return Trainer(config, SHAPE, Machine(CPU, torch.float32, torch.Generator().manual_seed(0)))


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Four pictures of four colours each."""
    colours = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(colours, 16), torch.tensor([0, 1, 2, 0])


@pytest.fixture(scope="module")
def learnt() -> Trainer:
    """A model that has seen the same four pictures 300 times, each colour field of a style."""
    known = trainer(free_bits=0.0, learning_rate=2e-3)
    for _ in range(300):
        known.step(*batch(), 1)
    return known


def sampler(known: Trainer) -> Sampler:
    return Sampler(known.vae, known.config)


numbers = st.lists(st.floats(-5, 5), min_size=4, max_size=4)


@given(numbers, numbers)
def test_the_divergence_is_that_of_two_normals(mu: list[float], log_var: list[float]) -> None:
    means, log_vars = (torch.tensor([row], dtype=torch.float64) for row in (mu, log_var))
    wanted = kl_divergence(Normal(means, (log_vars / 2).exp()), Normal(0.0, 1.0))
    assert_close(method.kl_divergence(means, log_vars), wanted)


def test_the_reconstruction_loss_is_the_normal_density_at_its_likeliest_width() -> None:
    images, mean = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    loss, sigma = method.reconstruction_loss(images, mean)

    def nats(width: torch.Tensor) -> torch.Tensor:
        return -Normal(mean, width).log_prob(images).sum(dim=(1, 2, 3)).mean()

    assert_close(loss, nats(sigma))
    assert nats(sigma * 0.99) > loss
    assert nats(sigma * 1.01) > loss


def test_the_loss_is_the_negative_bound_of_the_same_draw() -> None:
    """log p(x|z) - log q(z|x) + log p(z), its second half in expectation: paper 003's ELBO."""
    known = trainer(free_bits=0.0)
    images, labels = batch()
    noise = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    styles = F.one_hot(labels, 3).float()
    _, found = known.losses(images, styles, noise)
    mu, log_var = known.vae.encoder(images)
    posterior = Normal(mu, (log_var / 2).exp())
    mean = known.vae.decoder(mu + posterior.stddev * noise, styles)
    likelihood = Normal(mean, found["sigma"]).log_prob(images).sum(dim=(1, 2, 3))
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
    assert_close(found["loss"], -(likelihood - divergence).mean())
    assert_close(found["kl_divergence"], divergence.mean())


def test_beta_weighs_the_divergence() -> None:
    images, labels = batch()
    noise, styles = torch.randn(4, 8), F.one_hot(labels, 3).float()
    once, often = (
        trainer(free_bits=0.0, beta=beta).losses(images, styles, noise)[1] for beta in (1.0, 7.0)
    )
    assert_close(often["loss"] - once["loss"], 6 * once["kl_divergence"], rtol=1e-3, atol=1e-3)


def test_free_bits_cost_nothing_below_the_threshold_and_all_above() -> None:
    """The mean of each latent number over the batch counts, not each image's own."""
    divergence = torch.tensor([[0.0, 0.1, 3.0], [0.2, 0.5, 1.0]], requires_grad=True)
    loss = method.with_free_bits(divergence, 0.2)
    assert_close(loss, torch.tensor(0.2 + 0.3 + 2.0))
    (slope,) = torch.autograd.grad(loss, divergence)
    assert_close(slope, torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]))
    assert_close(method.with_free_bits(divergence, 0.0), divergence.mean(dim=0).sum())


def test_with_free_bits_the_encoder_tells_what_it_may_under_any_beta() -> None:
    told = {}
    for free_bits in (0.0, 1.0):
        known = trainer(free_bits=free_bits, learning_rate=2e-3, beta=1000.0)
        for _ in range(60):
            told[free_bits] = float(known.step(*batch(), 1)["kl_divergence"])
    assert told[0.0] < 0.1
    assert 1.0 < told[1.0] < 1.5 * 8  # eight latent numbers, a nat each


def test_reconstructions_become_those_of_the_pictures(learnt: Trainer) -> None:
    images, labels = batch()
    fresh = trainer()
    errors = [
        (
            torch.cat(
                [
                    sampler(known).sample(Request([0], row[None], Options(), Inputs(source=image)))
                    for image, row in zip(images, torch.eye(3)[labels], strict=True)
                ]
            )
            - images
        )
        .square()
        .mean()
        for known in (fresh, learnt)
    ]
    assert errors[1] < 0.1 * errors[0]
    assert errors[1] < 0.2 * images.var()


def test_a_prior_picture_is_its_seeds_own_latent_decoded() -> None:
    known = trainer()
    z = torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(s)) for s in (7, 8)])
    styles = torch.eye(3)[:2]
    with torch.no_grad():
        wanted = known.vae.decoder(z, styles).clamp(-1, 1)
        tamer = known.vae.decoder(0.5 * z, styles).clamp(-1, 1)
    assert_close(sampler(known).sample(Request([7, 8], styles, Options())), wanted)
    assert_close(sampler(known).sample(Request([7, 8], styles, Options(truncation=0.5))), tamer)


def test_without_a_source_it_samples() -> None:
    styles, options = torch.eye(3)[:2], Options(towards_seed=9, blend=0.3)
    picture = sampler(trainer())
    made = picture.sample(Request([3, 4], styles, options, Inputs()))
    assert_close(made, picture.sample(Request([3, 4], styles, options)), rtol=0, atol=0)


def test_seeds_vary_a_source_only_as_far_as_the_spread_says(learnt: Trainer) -> None:
    image = batch()[0][0]
    seeds, styles = list(range(11)), torch.eye(3)[[0] * 11]

    def varied(spread: float) -> torch.Tensor:
        options = Options(spread=spread)
        return sampler(learnt).sample(Request(seeds, styles, options, Inputs(source=image)))

    assert_close(varied(0.0), varied(0.0)[:1].expand(11, -1, -1, -1), rtol=0, atol=0)
    spreads = [varied(spread).std(dim=0).mean() for spread in (0.5, 1.0, 4.0)]
    assert 0 < spreads[0] < spreads[1] < spreads[2]


def test_a_varied_source_depends_on_its_seed_alone(learnt: Trainer) -> None:
    image = batch()[0][0]
    seeds, styles = list(range(11)), torch.eye(3)[[seed % 3 for seed in range(11)]]
    asked: Any = Options(spread=1.0), Inputs(source=image)
    together = sampler(learnt).sample(Request(seeds, styles, *asked))
    for seed in (0, 4, 10):
        alone = sampler(learnt).sample(Request([seed], styles[seed : seed + 1], *asked))
        assert_close(alone[0], together[seed], rtol=0, atol=0)


def test_the_way_from_a_source_ends_at_the_seeds_picture(learnt: Trainer) -> None:
    image = batch()[0][0]
    styles = torch.eye(3)[:1]
    picture = sampler(learnt)
    start, middle, end = (
        picture.sample(
            Request([0], styles, Options(towards_seed=5, blend=blend), Inputs(source=image))
        )
        for blend in (0.0, 0.5, 1.0)
    )
    assert_close(start, picture.sample(Request([0], styles, Options(), Inputs(source=image))))
    assert_close(end, picture.sample(Request([5], styles, Options())))
    mu, _, _ = picture._seen(image)
    z = torch.randn(8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert_close(middle, learnt.vae.decoder(slerp(mu, z, 0.5)[None], styles).clamp(-1, 1))


def test_the_way_between_two_sources_begins_and_ends_at_their_reconstructions(
    learnt: Trainer,
) -> None:
    images, _ = batch()
    any_style = torch.full((1, 3), 1 / 3)
    picture = sampler(learnt)

    def between(blend: float) -> torch.Tensor:
        both = Inputs(source=images[0], towards_source=images[1], has_own_style=True)
        return picture.sample(Request([0], any_style, Options(blend=blend), both))

    for blend, image in ((0.0, images[0]), (1.0, images[1])):
        one = Inputs(source=image, has_own_style=True)
        alone = picture.sample(Request([0], any_style, Options(), one))
        assert_close(between(blend), alone)
    middle = between(0.5)
    assert not torch.allclose(middle, between(0.0), atol=0.05)
    assert not torch.allclose(middle, between(1.0), atol=0.05)


def test_where_no_style_is_asked_for_the_likeliest_is_taken(learnt: Trainer) -> None:
    """Another style would explain the picture less well."""
    picture, image = sampler(learnt), batch()[0][1]
    even = torch.full((1, 3), 1 / 3)
    chosen = picture.sample(Request([0], even, Options(), Inputs(source=image, has_own_style=True)))
    each = picture.sample(Request([0] * 3, torch.eye(3), Options(), Inputs(source=image)))
    errors = (each - image).square().mean(dim=(1, 2, 3))
    assert_close(chosen[0], each[errors.argmin()])
    assert errors.max() > errors.min()  # a style that is asked for is painted
    mixed = picture.sample(Request([0], even, Options(), Inputs(source=image)))
    assert not torch.allclose(mixed, chosen, atol=1e-3)  # and so is as much of each


def test_two_ends_of_a_way_are_refused() -> None:
    images, _ = batch()
    both = Inputs(source=images[0], towards_source=images[1])
    with pytest.raises(ValueError, match="two ends"):
        sampler(trainer()).sample(Request([0], torch.eye(3)[:1], Options(towards_seed=5), both))


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_source_of_any_size_becomes_the_models_square(height: int, width: int) -> None:
    made = square(torch.full((3, height, width), 0.25), 16)
    assert_close(made, torch.full((1, 3, 16, 16), 0.25))


def test_the_middle_of_a_source_is_taken() -> None:
    wide = torch.cat([torch.ones(3, 16, 8), torch.rand(3, 16, 16), torch.ones(3, 16, 8)], dim=2)
    assert_close(square(wide, 16)[0], wide[:, :, 8:24], rtol=0, atol=0)
    assert_close(square(wide.mT, 16)[0], wide.mT[:, 8:24], rtol=0, atol=0)


def test_a_new_style_begins_as_the_mean_of_the_known() -> None:
    trained, fresh = trainer(), trainer()
    fresh.start_from(trained.network.state_dict(), {}, [2, None, 0], trained.config)
    before, after = trained.vae.decoder.style.weight, fresh.vae.decoder.style.weight
    assert_close(after[:, [0, 2]], before[:, [2, 0]])
    assert_close(after[:, 1], before.mean(dim=1))


@pytest.mark.parametrize("resolution", [8, 32])
def test_other_sizes(resolution: int) -> None:
    vae = VAE(VAEConfig.model_validate(TINY), Shape(resolution, 1))
    mu, _ = vae.encoder(torch.zeros(2, 3, resolution, resolution))
    assert vae.decoder(mu, torch.ones(2, 1)).shape == (2, 3, resolution, resolution)


@pytest.mark.parametrize("resolution", [4, 24])
def test_sizes_it_cannot_make_are_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"resolution {resolution}"):
        VAE(VAEConfig(), Shape(resolution, 1))
