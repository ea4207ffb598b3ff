"""StyleGAN2: layers, losses and control against closed forms and other libraries."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import upfirdn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from components.families.draws import Draws
from components.families.port import Inputs, Request, Shape
from components.families.stylegan2 import adaptive
from components.families.stylegan2.adaptive import adjusted, augment
from components.families.stylegan2.config import Options, StyleGAN2Config
from components.families.stylegan2.method import (
    Sampler,
    Trainer,
    mix,
    path_lengths,
    path_weight,
    r1_penalty,
    truncate,
)
from components.families.stylegan2.networks import (
    Convolution,
    Discriminator,
    Generator,
    Linear,
    blur,
    downsample,
    initialise,
    minibatch_deviation,
    modulated_convolution,
    upsample,
)
from components.families.stylegan2.projection import project, pyramid_distance
from components.families.trainer import Machine

CPU = torch.device("cpu")
SHAPE = Shape(resolution=16, num_styles=3)
TINY = {"batch_size": 4, "latent_dim": 24, "w_dim": 24, "channel_max": 16}


def trainer(**changes: object) -> Trainer:
    config = StyleGAN2Config.model_validate(TINY | changes)
    return Trainer(config, SHAPE, Machine(CPU, torch.float32, torch.Generator().manual_seed(0)))


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3, 16, 16, generator=rng(seed)) * 2 - 1, torch.tensor([0, 1, 2, 0])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampler(**changes: object) -> Sampler:
    """Over a network whose noise shows and whose average w is not 0."""
    config = StyleGAN2Config.model_validate(TINY | changes)
    network = Generator(config, SHAPE)
    initialise(network, rng())
    network.w_avg.normal_(generator=rng(1))
    for layer in network.synthesis.layers:
        nn.init.constant_(layer.strength, 0.3)  # type: ignore[arg-type]
    return Sampler(network.requires_grad_(False), config)


def pictures(made: Sampler, seeds: list[int], **options: object) -> Tensor:
    styles = torch.eye(3)[[seed % 3 for seed in seeds]]
    return made.sample(Request(seeds, styles, Options.model_validate(options)))


def latents(seed: int) -> Tensor:
    return torch.randn(1, 24, generator=rng(seed))


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize(("up", "kernel"), [(False, 1), (False, 3), (True, 3)])
def test_modulating_what_goes_in_and_out_is_a_kernel_for_each_image(
    up: bool, demodulate: bool, kernel: int
) -> None:
    """Against N grouped convolutions with the kernels of eq. 1 and 3 written out."""
    features = torch.randn(5, 6, 8, 8, dtype=torch.float64)
    weight = torch.randn(4, 6, kernel, kernel, dtype=torch.float64)
    styles = torch.randn(5, 6, dtype=torch.float64)
    kernels = weight * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels / (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    found = modulated_convolution(features, weight, styles, demodulate=demodulate, up=up)
    for image, own, made in zip(features, kernels, found, strict=True):
        if up:
            wanted = F.conv_transpose2d(image[None], own.transpose(0, 1), stride=2)
            wanted = blur(wanted, 1) * 4
        else:
            wanted = F.conv2d(image[None], own, padding=kernel // 2)
        assert_close(made, wanted[0])


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 100))
def test_filters_are_scipys(height: int, width: int, seed: int) -> None:
    images = torch.randn(1, 1, 2 * height, 2 * width, generator=rng(seed), dtype=torch.float64)
    taps = [1 / 8, 3 / 8, 3 / 8, 1 / 8]

    def filtered(up: int, gain: float) -> Tensor:
        rows = upfirdn([tap * gain for tap in taps], images[0, 0].numpy(), up=up, axis=0)
        both = upfirdn([tap * gain for tap in taps], rows, up=up, axis=1)
        return torch.from_numpy(both)

    # Scipy gives all that a filter touches; what hangs over is cut off on both sides alike.
    assert_close(upsample(images)[0, 0], filtered(up=2, gain=2)[1:-1, 1:-1])
    assert_close(downsample(images)[0, 0], filtered(up=1, gain=1)[2:-2:2, 2:-2:2])
    for padding in range(4):
        cut = 3 - padding
        whole = filtered(up=1, gain=1)
        rows, columns = (slice(cut, side - cut) for side in whole.shape)
        assert_close(blur(images, padding)[0, 0], whole[rows, columns])


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_the_filters_own_gradients_are_right_twice(padding: int) -> None:
    images = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: blur(x, padding), (images,))
    assert torch.autograd.gradgradcheck(lambda x: blur(x, padding), (images,))


def test_a_picture_of_one_colour_stays_so_but_for_its_edges() -> None:
    ones = torch.ones(1, 3, 8, 8)
    assert_close(upsample(ones)[:, :, 2:-2, 2:-2], torch.ones(1, 3, 12, 12))
    assert_close(downsample(ones)[:, :, 1:-1, 1:-1], torch.ones(1, 3, 2, 2))


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_learning_rates_are_equalised(rate: float) -> None:
    """Outputs have variance 1 whatever the rate; a step in weights counts `rate` times."""
    layer = Linear(400, 300, bias=0.5, rate=rate)
    initialise(layer, rng())
    features = torch.randn(200, 400, generator=rng(1))
    made = layer(features) - 0.5 * rate
    assert made.std().item() == pytest.approx(1, abs=0.02)
    wanted = features @ layer.weight.T * (rate / math.sqrt(400)) + rate * 0.5
    assert_close(layer(features), wanted)
    before = layer(features)
    with torch.no_grad():
        layer.weight += 1.0
    moved = features.sum(dim=1, keepdim=True) * rate / 20
    assert_close(layer(features) - before, moved.expand(-1, 300), rtol=1e-3, atol=1e-3)


def test_a_convolution_keeps_variance_at_its_beginning() -> None:
    layer = Convolution(64, 128, 3)
    initialise(layer, rng())
    made = layer(torch.randn(4, 64, 16, 16, generator=rng(1)))
    assert made.std().item() == pytest.approx(1, abs=0.1)


def test_deviation_is_of_each_groups_own_images() -> None:
    features = torch.randn(6, 2, 4, 4)
    features[3:] = features[3:4]  # the second three are one image
    extra = minibatch_deviation(features, 3)
    assert_close(extra[:, :2], features)
    first = features[:3].std(dim=0, unbiased=False).mean()
    assert_close(extra[:3, 2], first.expand(3, 4, 4), rtol=1e-4, atol=1e-4)
    assert_close(extra[3:, 2], torch.full((3, 4, 4), 1e-4))  # √ε


def test_deviation_takes_the_largest_group_that_divides_the_batch() -> None:
    features = torch.randn(6, 2, 4, 4)
    assert_close(minibatch_deviation(features, 4), minibatch_deviation(features, 3))
    assert_close(minibatch_deviation(features[:1], 4)[:, 2], torch.full((1, 4, 4), 1e-4))


def test_config_f_has_the_papers_sizes() -> None:
    """StyleGAN2's paper: 30 million weights in the generator at 1024×1024."""
    config = StyleGAN2Config(
        latent_dim=512,
        w_dim=512,
        mapping_layers=8,
        channel_base=32768,
        channel_max=512,
        conditional=False,
    )
    assert config.widths(1024) == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    with torch.device("meta"):
        generator = Generator(config, Shape(1024, 1))
        discriminator = Discriminator(config, Shape(1024, 1))
    counts = [sum(p.numel() for p in net.parameters()) for net in (generator, discriminator)]
    assert counts == [30_370_060, 29_012_513]
    assert generator.synthesis.num_ws == 18


def test_sizes_that_cannot_be_made_are_refused() -> None:
    config = StyleGAN2Config()
    for resolution in (4, 48, 2048):
        with pytest.raises(ValueError, match="these networks make"):
            config.check_resolution(resolution)
    with pytest.raises(ValueError, match="channel_base 64"):
        StyleGAN2Config(channel_base=64).check_resolution(128)


# ---------------------------------------------------------------- losses


def test_r1_of_a_linear_discriminator_is_its_squared_norm() -> None:
    weight = torch.randn(3 * 8 * 8)
    images = torch.randn(5, 3, 8, 8, requires_grad=True)
    assert_close(r1_penalty(images.flatten(1) @ weight, images), weight.square().sum())


def test_path_lengths_of_a_linear_generator_are_those_of_its_transpose() -> None:
    """G(w) = A w: ‖J_wᵀ y‖ = ‖Aᵀ y‖, over the side as we scale it."""
    matrix = torch.randn(3 * 8 * 8, 7)
    w = torch.randn(4, 7, requires_grad=True)
    noise = torch.randn(4, 3, 8, 8)
    found = path_lengths((w @ matrix.T).reshape(4, 3, 8, 8), w, noise)
    assert_close(found, (noise.flatten(1) @ matrix).norm(dim=1) / 8)


def test_the_path_lengths_weight_is_the_papers() -> None:
    """γ = ln 2 / (r² (ln r - ln 2)); our lengths are over r, so r² goes."""
    for side in (64, 1024):
        wanted = math.log(2) / (side**2 * (math.log(side) - math.log(2)))
        assert path_weight(side) == pytest.approx(wanted * side**2)


def test_the_running_mean_of_lengths_follows_and_is_penalised_against() -> None:
    model = trainer(path_length_interval=1)
    metrics = model.step(*batch(), 1)
    assert 0 < model.path_mean < 0.05 * math.sqrt(metrics["path_penalty"])


def test_r1_is_taken_every_so_many_steps_and_so_many_times_as_heavy() -> None:
    gradients: list[Tensor] = []
    for every, gamma in ((1, 0.0), (1, 1.0), (3, 1.0)):
        model = trainer(r1_gamma=gamma, r1_interval=every, augment="none")
        model.step(*batch(), 1)
        found = [p.grad.flatten() for p in model.discriminator.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    without, once, thrice = gradients
    assert_close(thrice - without, 3 * (once - without), rtol=1e-3, atol=1e-4)
    assert (once - without).abs().max() > 1e-3


# ---------------------------------------------------------------- augmentation


SIGN = st.floats(-1, 1)


@given(st.floats(0, 1), SIGN, SIGN, st.integers(1, 1000), st.integers(1000, 10**6))
def test_p_goes_up_and_down_at_one_speed_and_stays_in_its_bounds(
    p: float, sign: float, target: float, images: int, full: int
) -> None:
    step = images / full * ((sign > target) - (sign < target))
    assert adjusted(p, sign, target, images, full) == pytest.approx(min(1, max(0, p + step)))


def test_without_probability_the_images_are_themselves() -> None:
    images, _ = batch()
    assert augment(images, 0.0, Draws(rng())) is images


def test_p_is_the_share_of_images_that_is_touched() -> None:
    """The product over all draws, counting those that come out as doing nothing."""
    images = torch.rand(4000, 3, 8, 8, generator=rng(1))
    seen = augment(images, 0.02, Draws(rng()))
    touched = (seen != images).flatten(1).any(dim=1).float().mean().item()
    # Flip ½, turn ¾, shift ¾ (up to ±1 pixel each way, rounded), light's flip ½; eight others.
    wanted = 1 - (1 - 0.01) * (1 - 0.015) ** 2 * (1 - 0.01) * (1 - 0.02) ** 8
    assert touched == pytest.approx(wanted, rel=0.1)


def test_images_are_shifted_both_ways_or_not_at_all() -> None:
    """Appendix B gates each shift once, not once for each axis."""
    draws = adaptive._Sometimes(4000, 0.5, Draws(rng()))
    across, down = draws.both(lambda count: torch.randn(count, generator=rng(1)))
    assert ((across != 0) == (down != 0)).all()
    assert (across != 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = adaptive._rotation(torch.full((4,), turns * math.pi / 2))
    monkeypatch.setattr(adaptive, "_geometry", lambda *_: matrix)
    monkeypatch.setattr(adaptive, "_colour", lambda count, *_: torch.eye(4).repeat(count, 1, 1))
    images, _ = batch()
    assert_close(augment(images, 0.5, Draws(rng())), images.rot90(turns, (2, 3)), rtol=0, atol=1e-5)


def test_shifts_are_whole_pixels_and_mirror_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = adaptive._translation(torch.full((4,), 2 / 16), torch.zeros(4))
    monkeypatch.setattr(adaptive, "_geometry", lambda *_: matrix)
    monkeypatch.setattr(adaptive, "_colour", lambda count, *_: torch.eye(4).repeat(count, 1, 1))
    images, _ = batch()
    seen = augment(images, 0.5, Draws(rng()))
    assert_close(seen[:, :, :, :-2], images[:, :, :, 2:], rtol=0, atol=1e-5)
    assert_close(seen[:, :, :, -2:], images[:, :, :, -2:].flip(3), rtol=0, atol=1e-5)


@given(st.integers(0, 1000))
def test_grey_stays_grey_and_one_colour_one_colour(seed: int) -> None:
    """Hue and saturation turn and stretch about the grey axis; moves mirror at the edges."""
    level = torch.rand(4, 1, 1, 1, generator=rng(seed)) * 2 - 1
    seen = augment(level.expand(-1, 3, 16, 16), 1.0, Draws(rng(seed)))
    assert_close(seen, seen[:, :1, :1, :1].expand_as(seen), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 1000))
def test_colours_are_turned_and_stretched_but_not_mixed_into_grey(seed: int) -> None:
    """C = s·R about the axis: contrast³ × saturation², up to the flip's sign, is the volume."""
    matrix = adaptive._colour(8, 1.0, Draws(rng(seed)))[:, :3, :3].double()
    axis = torch.full((3,), 1 / math.sqrt(3), dtype=torch.float64)
    lengths = (matrix @ axis).norm(dim=1)  # contrast
    across = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / math.sqrt(2)
    stretch = (matrix @ across).norm(dim=1)  # contrast × saturation
    assert_close(torch.linalg.det(matrix).abs(), lengths * stretch**2, rtol=1e-3, atol=1e-5)


def test_gradients_pass_and_the_same_draws_give_the_same() -> None:
    images = batch()[0].requires_grad_()
    seen = augment(images, 0.8, Draws(rng()))
    seen.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert_close(augment(images.detach(), 0.8, Draws(rng())), seen.detach(), rtol=0, atol=0)


def test_p_follows_the_signs_of_four_steps() -> None:
    model = trainer(ada_images=1000, ada_target=-1.0)  # whatever the signs, they are over it
    seen = [float(model.step(*batch(n), 1)["augment_probability"]) for n in range(9)]
    assert seen == pytest.approx([0, 0, 0, 0.016, 0.016, 0.016, 0.016, 0.032, 0.032])
    down = trainer(ada_images=1000, ada_target=1.0)
    down.p = 0.05
    for number in range(4):
        down.step(*batch(number), 1)
    assert down.p == pytest.approx(0.034)


def test_against_over_fitting_the_target_is_lowered_to_an_end() -> None:
    model = trainer()
    said = [model.remedy("over-fitting") for _ in range(6)]
    assert said[0] == "augmentation now for a mean sign of 0.5"
    assert said[-1] == ""
    off = trainer(augment="none")
    assert off.remedy("over-fitting") == "augmentation now ada"


# ---------------------------------------------------------------- control


@given(st.floats(0.01, 1.0), st.integers(0, 100))
def test_truncation_is_a_step_towards_the_average(psi: float, seed: int) -> None:
    ws = torch.randn(3, 6, 5, generator=rng(seed), dtype=torch.float64)
    average = torch.randn(5, generator=rng(seed + 1), dtype=torch.float64)
    wanted = average + psi * (ws - average)
    assert_close(truncate(ws, average, psi, None), wanted)
    first = truncate(ws, average, psi, 2)
    assert_close(first[:, :2], wanted[:, :2])
    assert_close(first[:, 2:], ws[:, 2:], rtol=0, atol=0)


def test_mixed_layers_are_the_others_own() -> None:
    ws, others = torch.zeros(4, 6, 2), torch.ones(4, 6, 2)
    mixed = mix(ws, others, torch.tensor([1, 3, 5, 6]))
    assert mixed[..., 0].tolist() == [[0] * n + [1] * (6 - n) for n in (1, 3, 5, 6)]


@torch.no_grad()
def test_a_sample_is_what_its_options_say_in_w() -> None:
    made = sampler()
    network = made.network
    style = torch.eye(3)[[7 % 3]]
    own, other, fine = (network.mapping(latents(seed), style) for seed in (7, 8, 9))
    w = torch.lerp(own, other, 0.25)
    ws = torch.cat([w[:, None].expand(-1, 2, -1), fine[:, None].expand(-1, 4, -1)], dim=1)
    ws[:, :3] = network.w_avg + 0.7 * (ws[:, :3] - network.w_avg)
    wanted = network.synthesis(ws, network.synthesis.constant_noise()).clamp(-1, 1)
    found = pictures(
        made,
        [7],
        towards_seed=8,
        blend=0.25,
        mix_seed=9,
        mix_from_layer=2,
        truncation=0.7,
        truncation_layers=3,
    )
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_all_the_way_towards_a_seed_is_that_seeds_picture() -> None:
    made = sampler()
    there = made.sample(Request([7], torch.eye(3)[:1], Options(towards_seed=4, blend=1.0)))
    assert_close(there, made.sample(Request([4], torch.eye(3)[:1], Options())))


def test_mixing_changes_fine_layers_alone() -> None:
    """From the last layer on, the other seed rules the last ToRGB only: about colours."""
    made = sampler()
    whole, late = pictures(made, [7]), pictures(made, [7], mix_seed=5, mix_from_layer=5)
    early = pictures(made, [7], mix_seed=5, mix_from_layer=1)
    assert 0 < (late - whole).abs().mean() < (early - whole).abs().mean()
    with pytest.raises(ValueError, match="last layer is 5"):
        pictures(made, [7], mix_seed=5, mix_from_layer=6)


def test_noise_is_the_models_or_the_seeds_or_none() -> None:
    made = sampler()
    constant, own, none = (
        pictures(made, [3, 4], noise=noise) for noise in ("constant", "seed", "none")
    )
    assert (constant - none).abs().mean() > 0.01
    assert (own - none).abs().mean() > 0.01
    assert (own - constant).abs().mean() > 0.01
    for layer in made.network.synthesis.layers:
        nn.init.zeros_(layer.strength)  # type: ignore[arg-type]
    for noise in ("constant", "seed"):
        assert_close(pictures(made, [3, 4], noise=noise), pictures(made, [3, 4], noise="none"))


@pytest.mark.parametrize(
    "options", [{"noise": "seed"}, {"mix_seed": 3}, {"towards_seed": 3}, {"truncation": 0.5}]
)
def test_with_every_option_a_picture_depends_on_its_seed_alone(options: dict[str, object]) -> None:
    made = sampler()
    seeds = list(range(11))
    together = pictures(made, seeds, **options)
    for seed in (0, 9):
        assert_close(pictures(made, [seed], **options)[0], together[seed], rtol=0, atol=0)


def test_a_network_that_knows_no_styles_ignores_them() -> None:
    made = sampler(conditional=False)
    both = [made.sample(Request([1], torch.eye(3)[[n]], Options())) for n in (0, 2)]
    assert_close(*both, rtol=0, atol=0)
    knows = sampler()
    both = [knows.sample(Request([1], torch.eye(3)[[n]], Options())) for n in (0, 2)]
    assert not torch.allclose(*both)
    trained = trainer(conditional=False)
    scores = trained.scores(batch()[0], torch.tensor([0, 1, 2, 0]))
    assert_close(scores, trained.scores(batch()[0], torch.tensor([2, 2, 1, 1])))


def test_the_average_w_follows_what_is_mapped() -> None:
    model = trainer(mixing=0.0)
    for number in range(3):
        noise, before = model.machine.rng.get_state(), model.generator.w_avg.clone()
        w = model.generator.mapping(*_first_latents(model, number))
        model.machine.rng.set_state(noise)
        model.step(*batch(number), 1)
        assert_close(model.generator.w_avg, before + 0.002 * (w.mean(dim=0) - before))


def _first_latents(model: Trainer, number: int) -> tuple[Tensor, Tensor]:
    z = torch.randn(2, 4, 24, generator=model.machine.rng)[0]
    return z, F.one_hot(batch(number)[1], 3).float()


def test_mixing_regularisation_draws_each_pictures_own_cut() -> None:
    model = trainer(mixing=0.5)
    cuts = model._draw(4000).cuts
    is_whole = cuts == model.generator.synthesis.num_ws
    assert is_whole.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert set(cuts[~is_whole].tolist()) == set(range(1, model.generator.synthesis.num_ws))


def test_another_collections_styles_go_on_by_name_and_new_ones_begin_as_the_mean() -> None:
    trained = trainer()
    trained.step(*batch(), 1)
    config = StyleGAN2Config.model_validate(TINY)
    fresh = Trainer(config, Shape(16, 2), Machine(CPU, torch.float32, rng(1)))
    companions = {"discriminator": trained.discriminator.state_dict()}
    fresh.start_from(trained.generator.state_dict(), companions, [2, None], trained.config)
    for mine, theirs in (
        (fresh.generator, trained.generator),
        (fresh.discriminator, trained.discriminator),
    ):
        new, known = mine.mapping.embed.weight, theirs.mapping.embed.weight  # type: ignore[union-attr]
        assert_close(new[:, 0], known[:, 2])
        assert_close(new[:, 1], known.mean(dim=1))


# ---------------------------------------------------------------- projection


def test_the_distance_of_a_shift_in_brightness_is_its_square() -> None:
    images = torch.rand(3, 3, 16, 16)
    assert_close(pyramid_distance(images, images + 0.5), torch.full((3,), 0.25))


def test_a_picture_of_the_networks_own_is_found_again() -> None:
    made = sampler()
    with torch.no_grad():
        w = made.network.mapping(latents(5), torch.eye(3)[:1])
        target = made.network.synthesis(
            made.network.spread(w), made.network.synthesis.constant_noise()
        )[0]
    told: list[tuple[int, float]] = []
    found, losses = project(made.network, target, 300, lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == list(range(1, 301))
    assert [loss for _, loss in told] == losses
    with torch.no_grad():
        again = made.network.synthesis(
            made.network.spread(found[None]), made.network.synthesis.constant_noise()
        )[0]
    assert pyramid_distance(again[None], target[None]).item() < losses[0] / 50


def test_a_distance_of_ones_own_is_what_is_made_small() -> None:
    made = sampler()

    def redness(images: Tensor, wanted: Tensor) -> Tensor:
        return (images[:, 0].mean(dim=(1, 2)) - 0.9).square()

    _, losses = project(made.network, torch.zeros(3, 16, 16), 40, distance=redness)
    assert losses[-1] < losses[0] / 50


def test_a_source_is_approached_from_each_seed() -> None:
    made = sampler()
    source = pictures(made, [30])[0]
    wide = F.pad(source, [5, 5, 0, 0])  # the middle square is taken
    options = Options(projection_steps=50)
    styles = torch.eye(3)[[0, 0]]
    found = made.sample(Request([1, 2], styles, options, Inputs(source=wide)))
    alone = made.sample(Request([2], styles[:1], options, Inputs(source=wide)))
    assert_close(alone[0], found[1], rtol=0, atol=0)
    assert not torch.equal(found[0], found[1])
    before = pyramid_distance(made.sample(Request([1, 2], styles, options)), source[None])
    assert pyramid_distance(found, source[None]).mean() < before.mean() / 2


def test_without_a_source_it_is_a_sample_and_a_wrong_one_is_refused() -> None:
    made = sampler()
    styles = torch.eye(3)[:1]
    plain = made.sample(Request([1], styles, Options()))
    assert_close(made.sample(Request([1], styles, Options(), Inputs())), plain)
    with pytest.raises(ValueError, match="a picture is"):
        made.sample(Request([1], styles, Options(), Inputs(source=torch.zeros(1, 8, 8))))
    with pytest.raises(ValueError, match=r"needs a picture of \(3, 16, 16\)"):
        project(made.network, torch.zeros(3, 8, 8), 1)


def test_a_layer_to_mix_from_needs_a_seed_to_mix() -> None:
    assert Options(mix_seed=3, mix_from_layer=2).mix_from_layer == 2
    assert not Options(mix_seed=3, mix_from_layer=2).idle()
    assert not Options.model_validate(Options().model_dump()).idle()  # as a record has it
    assert Options(mix_from_layer=2).idle() == ["mix_from_layer: has an effect only with mix_seed"]
