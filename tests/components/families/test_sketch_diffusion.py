"""Sketch-guided diffusion: noise and samplers against closed forms, masks, batches, resuming."""

import copy
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from components.families import drawing
from components.families.draws import Draws
from components.families.port import Inputs, Request, Shape
from components.families.sketch_diffusion import trainer as training
from components.families.sketch_diffusion import transport
from components.families.sketch_diffusion.config import (
    ALONE,
    BESIDE_CRITIC,
    Options,
    SketchDiffusionConfig,
)
from components.families.sketch_diffusion.critic import (
    BoundedConvolution,
    critic_loss,
    fooling_loss,
)
from components.families.sketch_diffusion.network import (
    HEAD,
    Attention,
    Block,
    Denoiser,
    PlainAttention,
    estimate,
    residual_branches,
)
from components.families.sketch_diffusion.noise import (
    add_noise,
    draw_noise_levels,
    noise_levels,
    noise_of,
    shifted,
)
from components.families.sketch_diffusion.sampler import Sampler
from components.families.sketch_diffusion.solvers import ddim_step, run_sampler
from components.families.sketch_diffusion.strokes import displaced, hints_of, mask_within, masked
from components.families.sketch_diffusion.trainer import Trainer, perceptual_distance
from tests.components.families.tiny_diffusion import TINY, tiny_trainer

SIDE = 16
SHAPE = Shape(resolution=SIDE, num_styles=2)
CONDITIONINGS = ("none", "noised_image", "radius_mask", "guided")
every_drawn = pytest.mark.parametrize("conditioning", CONDITIONINGS[1:])


def trainer(seed: int = 0, **changes: object) -> Trainer:
    return tiny_trainer(SIDE, seed, **changes)


def trained_sampler(conditioning: str, steps: int = 3, **changes: object) -> Sampler:
    """Sampler of a network that is no longer the linear estimate it begins as."""
    trained = trainer(conditioning=conditioning, warm_up_images=0, learning_rate=2e-3, **changes)
    for step in range(steps):
        trained.step(*batch(step), 1)
    return Sampler(trained.denoiser, trained.config)


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Line drawings: black lines across white paper."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.ones(4, 3, SIDE, SIDE)
    for image, place in zip(images, torch.randint(2, SIDE - 2, (4,), generator=rng), strict=True):
        image[:, place] = -1
    return images, torch.tensor([0, 1, 0, 1])


def cross() -> Tensor:
    sketch = torch.zeros(1, SIDE, SIDE)
    sketch[0, 8, 3:13] = sketch[0, 3:13, 8] = 1
    return sketch


def all_styles(count: int) -> Tensor:
    return torch.eye(2)[[seed % 2 for seed in range(count)]]


# ---------------------------------------------------------------- noise


def test_intensity_0_replaces_the_picture_wholly_and_15_is_the_weakest() -> None:
    images, noise = torch.ones(16, 3, 4, 4), torch.zeros(16, 3, 4, 4)
    t = torch.tensor([noise_of(k) for k in range(16)])
    left = add_noise(images, noise, t)[:, 0, 0, 0]
    assert_close(left, torch.arange(16) / 16)  # of the picture, k sixteenths are left


@given(st.floats(1e-3, 1.0))
def test_the_linear_estimate_is_the_regression_on_the_noisy_picture(t: float) -> None:
    """cov(x0, x_t)/var(x_t), the error's deviation and 1/deviation, for x0 of deviation 1/2."""
    variance = (1 - t) ** 2 / 4 + t**2
    slope = (1 - t) / 4 / variance
    error = math.sqrt(1 / 4 - slope * (1 - t) / 4)
    found = torch.stack(estimate(torch.tensor(t, dtype=torch.float64)))
    wanted = torch.tensor([slope, error, variance**-0.5], dtype=torch.float64)
    assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_sixteen_intensities_are_learnt_each_as_often_and_a_continuum_evenly() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = torch.cat([draw_noise_levels(8, "sixteen", rng) for _ in range(1000)])
    counts = torch.bincount((drawn * 16).long(), minlength=17)
    assert drawn.mul(16).frac().abs().max() == 0
    assert counts[0] == 0
    assert (counts[1:] - 500).abs().max() < 120
    spread = torch.cat([draw_noise_levels(8, "continuous", rng) for _ in range(1000)])
    assert 0 < spread.min() < 0.01
    assert 0.99 < spread.max() <= 1
    assert_close(spread.sort().values, torch.linspace(0, 1, 8000), atol=0.02, rtol=0)


@given(st.floats(1e-3, 0.999), st.floats(0.1, 10))
def test_shifted_noise_is_so_many_times_as_strong_beside_the_picture(
    t: float, shift: float
) -> None:
    found = float(shifted(torch.tensor(t, dtype=torch.float64), shift))
    assert found / (1 - found) == pytest.approx(shift * t / (1 - t))
    assert float(shifted(torch.tensor(1.0), shift)) == pytest.approx(1)


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_a_training_learns_shifted_noise(shift: float) -> None:
    """Uniform t, shifted: P(t' <= x) is the t that is shifted to x."""
    levels: list[Tensor] = []
    mine = trainer(schedule="continuous", noise_shift=shift, batch_size=64)

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        levels.append(inputs[1])

    mine.denoiser.register_forward_pre_hook(note)
    images, labels = batch()
    for _ in range(20):
        mine.step(images.repeat(16, 1, 1, 1), labels.repeat(16), 1)
    share = float((torch.cat(levels) <= 0.5).float().mean())
    assert share == pytest.approx(1 / (1 + shift), abs=0.01)


@given(st.integers(1, 16), st.integers(0, 15))
def test_a_sampler_goes_down_the_sixteen_by_whole_ones(steps: int, intensity: int) -> None:
    levels = noise_levels(noise_of(intensity), steps, "sixteen")
    assert levels[0] == noise_of(intensity)
    assert levels[-1] == 0
    assert levels == sorted(set(levels), reverse=True)
    assert all((16 * level).is_integer() for level in levels)
    assert len(levels) - 1 == math.ceil(steps * noise_of(intensity))


@given(st.integers(1, 64), st.floats(0.01, 1), st.floats(0.2, 8))
def test_a_sampler_goes_down_evenly_but_for_the_shift(
    steps: int, start: float, shift: float
) -> None:
    levels = noise_levels(start, steps, "continuous", shift)
    assert (levels[0], levels[-1]) == (start, 0)
    even = [level / (shift - (shift - 1) * level) for level in levels]  # solved for the unshifted
    assert_close(np.diff(even), np.full(len(even) - 1, -even[0] / (len(even) - 1)))
    assert 0 <= len(even) - 1 - steps * even[0] + 1e-6 < 1 + 1e-6 or len(even) == 2


def test_what_was_not_learnt_is_refused() -> None:
    with pytest.raises(ValueError, match="steps"):
        noise_levels(1.0, 17, "sixteen")
    with pytest.raises(ValueError, match="shift"):
        noise_levels(1.0, 8, "sixteen", 3.0)
    with pytest.raises(ValueError, match="intensity"):
        noise_levels(noise_of(2.5), 8, "sixteen")
    assert len(noise_levels(noise_of(2.5), 100, "continuous")) > 16


# ---------------------------------------------------------------- samplers


def gaussian(deviation: float) -> Callable[[Tensor, float], Tensor]:
    """The true mean of x0 given x_t, for x0 of N(0, deviation²)."""

    def denoise(x: Tensor, t: float) -> Tensor:
        return (1 - t) * deviation**2 / ((1 - t) ** 2 * deviation**2 + t**2) * x

    return denoise


def ignored(step: int) -> None:
    """Ignore how far a sampler is."""


def error_of(name: str, steps: int) -> float:
    """Error of a deterministic sampler: the path's true end is deviation · x, for any x."""
    levels = noise_levels(1.0, steps, "continuous", 1.0)
    x = torch.ones(1, dtype=torch.float64)
    found = run_sampler(name, gaussian(0.3), x, levels, lambda: x, ignored)  # type: ignore[arg-type]
    return abs(float(found) - 0.3)


def test_ddim_converges_in_first_order_and_dpm_solver_faster() -> None:
    assert error_of("ddim", 512) < 2e-3
    assert error_of("ddim", 64) / error_of("ddim", 128) == pytest.approx(2, rel=0.1)
    assert error_of("dpmpp_2m", 64) < error_of("ddim", 64) / 5
    assert error_of("dpmpp_2m", 256) / error_of("dpmpp_2m", 512) > 3


def test_ddpm_ends_with_the_distribution_that_was_learnt() -> None:
    rng = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(40_000, generator=rng, dtype=torch.float64)

    levels = noise_levels(1.0, 200, "continuous", 1.0)
    found = run_sampler("ddpm", gaussian(0.3), draw(), levels, draw, ignored)
    assert found.mean().abs() < 0.01
    assert float(found.std()) == pytest.approx(0.3, rel=0.03)


@given(st.floats(0.05, 1.0), st.floats(0.0, 0.95))
def test_steps_keep_the_noise_exactly_where_x0_is_known(t: float, share: float) -> None:
    """x_s is (1-s) x0 + s ε: the very ε without, a variance of s² with fresh noise."""
    s = share * t
    x0, noise = torch.tensor(0.7, dtype=torch.float64), torch.tensor(-1.3, dtype=torch.float64)
    x = (1 - t) * x0 + t * noise
    assert_close(ddim_step(x, x0, t, s), (1 - s) * x0 + s * noise)
    kept, fresh = (
        float(ddim_step(x + d, x0, t, s, f) - ddim_step(x, x0, t, s, f0)) / scale
        for d, f, f0, scale in (
            (torch.tensor(t, dtype=torch.float64), noise, noise, 1.0),
            (torch.zeros((), dtype=torch.float64), noise + 1, noise, 1.0),
        )
    )
    assert kept**2 + fresh**2 == pytest.approx(s**2, abs=1e-12)


# ---------------------------------------------------------------- drawings


@given(st.integers(0, 10_000), st.floats(0, 8))
def test_the_mask_is_what_lies_within_the_radius(seed: int, radius: float) -> None:
    strokes = np.random.default_rng(seed).random((1, 1, SIDE, SIDE)) < 0.03
    strokes[0, 0, 5, 5] = True
    wanted = ndimage.distance_transform_edt(~strokes[0, 0]) <= np.float32(radius)
    found = torch.from_numpy(drawing.distances(strokes.astype(np.float32)))
    mask = mask_within(found, torch.tensor([radius]))
    np.testing.assert_array_equal(mask[0, 0].numpy(), wanted)


def test_noise_is_random_within_the_mask_and_constant_outside() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, :4] = 1
    noisy, constant = torch.randn(2, 3, 8, 8), torch.randn(3, 8, 8)
    found = masked(noisy, mask, constant)
    assert_close(found[0, :, :4], noisy[0, :, :4])
    assert_close(found[0, :, 4:], constant[:, 4:])
    assert_close(found[1], constant)


def test_the_constant_noise_is_the_same_for_every_training() -> None:
    config = SketchDiffusionConfig.model_validate(TINY)
    assert_close(Denoiser(config, SHAPE).noise, trainer(seed=5).denoiser.noise, rtol=0, atol=0)


def test_hints_are_the_lines_and_a_slope_that_ends_beyond_the_radius() -> None:
    distances = torch.arange(8.0).view(1, 1, 1, 8)
    lines, near = hints_of(distances, torch.tensor([3.0]))[0, :, 0]
    assert_close(lines, torch.tensor([1, 0.5, 0, 0, 0, 0, 0, 0]))
    assert_close(near, torch.tensor([1, 0.75, 0.5, 0.25, 0, 0, 0, 0]))


@pytest.mark.parametrize("radius", [0.0, 1.0, 4.0])
def test_lines_are_displaced_by_no_more_than_the_radius(radius: float) -> None:
    """Far from a long line the distance grows by the rows, so it tells how far each place moved."""
    rows = torch.arange(float(SIDE))[:, None].expand(SIDE, SIDE)
    distances = rows.expand(64, 1, SIDE, SIDE)
    moved = displaced(distances, torch.full((64,), radius), Draws(torch.Generator().manual_seed(0)))
    change = (moved - distances).abs().max()
    assert change <= radius + 1e-4
    assert change > 0.8 * radius or not radius


def test_some_are_learnt_without_strokes_the_others_with_their_own() -> None:
    mine = trainer(conditioning="guided", sketch_dropout=0.5, fewest_lines=1.0, max_radius=1.0)
    images, _ = batch()
    shown = torch.cat([mine._strokes(images)[1] for _ in range(50)])
    is_shown = shown.amax(dim=(1, 2, 3)) > 0
    assert 0.35 < is_shown.float().mean() < 0.65
    lines = shown[is_shown][:, 0] > 0.9
    near = ndimage.binary_dilation(
        drawing.strokes_of_pictures(images.numpy())[:, 0] > 0, np.ones((1, 5, 5))
    )
    wanted = torch.from_numpy(near).repeat(50, 1, 1)[is_shown]
    assert lines.any()
    assert not (lines & ~wanted).any()


# ---------------------------------------------------------------- the network and its training


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_network_begins_as_the_linear_estimate(conditioning: str) -> None:
    mine = trainer(conditioning=conditioning)
    noisy, t = torch.randn(4, 3, SIDE, SIDE), torch.tensor([1.0, 0.5, 0.25, 1 / 16])
    mask = torch.ones(4, 1, SIDE, SIDE)
    hints = torch.zeros(4, mine.denoiser.num_hints, SIDE, SIDE)
    found = mine.denoiser(noisy, t, torch.zeros(4, 2), mask, hints)
    assert_close(found, estimate(t[:, None, None, None])[0] * noisy)


def test_attention_written_out_is_the_same_attention() -> None:
    fused = Attention(2 * HEAD)
    plain = PlainAttention(2 * HEAD)
    plain.load_state_dict(fused.state_dict())
    features = torch.randn(2, 2 * HEAD, 4, 4)
    assert_close(plain(features, features), fused(features, features))


def test_attention_stands_behind_blocks_up_to_its_largest_side() -> None:
    config = SketchDiffusionConfig.model_validate(TINY | {"largest_attention": 8, "smallest": 2})
    network = Denoiser(config, SHAPE)  # features of 8, 4 and 2
    kinds = [list(map(type, level.children())) for level in (*network.down, *network.up)]
    assert kinds == [[Block, PlainAttention]] * 2 + [[Block]] + [[Block, PlainAttention]] * 2
    config = config.model_copy(update={"largest_attention": 4})
    network = Denoiser(config, SHAPE)
    assert [len([*level.children()]) for level in network.down] == [1, 2, 1]


DEEPER = {"middle": 3, "largest_attention": 8}


def test_a_deeper_network_begins_as_the_shallower_one_did_end() -> None:
    shallow = trainer()
    shallow.step(*batch(), 1)
    deep = trainer(seed=5, **DEEPER)
    deep.start_from(shallow.denoiser.state_dict(), {}, [0, 1], shallow.config)
    noisy, t = torch.randn(4, 3, SIDE, SIDE), torch.tensor([1.0, 0.5, 0.25, 1 / 16])
    mask, hints = torch.ones(4, 1, SIDE, SIDE), torch.rand(4, 2, SIDE, SIDE)
    one, two = (mine.denoiser(noisy, t, all_styles(4), mask, hints) for mine in (shallow, deep))
    assert_close(one, two)
    losses = [float(deep.step(*batch(step), 1)["loss"]) for step in range(3)]
    assert all(map(math.isfinite, losses))
    learnt = residual_branches(deep.denoiser)["middle.3.last.weight"]
    assert learnt.abs().max() > 0


def test_a_wider_or_shallower_network_is_not_begun_from_another() -> None:
    origin = trainer(**DEEPER)
    for changes in ({"channels": 32}, {}):
        with pytest.raises(RuntimeError, match=r"size mismatch|Unexpected"):
            trainer(**changes).start_from(origin.denoiser.state_dict(), {}, [0, 1], origin.config)


class Halves(nn.Module):
    """A stand-in for a classifier: the picture itself, and its mean over squares of 2×2."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images, F.avg_pool2d(images, 2)]


class CoarseHalves(Halves):
    """The same of the picture at an eighth of its size, so that a critic of it costs little."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return super().forward(F.avg_pool2d(images, 8))


class Means(nn.Module):
    """A stand-in for the features of whole pictures: their mean colours."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_the_perceptual_distance_is_that_of_unit_vectors() -> None:
    red, green = torch.zeros(2, 1, 3, 4, 4).unbind(0)
    red[:, 0], green[:, 1] = 0.5, 0.1
    both = red / 0.5 + green / 0.1
    found = perceptual_distance(
        Halves(), torch.cat([red, red, red, -red]), torch.cat([red, green, both, red])
    )
    assert_close(found, torch.tensor([0.0, 2.0, 2 - math.sqrt(2), 4.0]))


def test_only_weak_noise_adds_the_perceptual_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_lite0", Halves)
    plain, mine = trainer(), trainer(perceptual=2.0, perceptual_noise=0.5)
    images, noisy = torch.rand(2, 4, 3, SIDE, SIDE).unbind(0)
    t = torch.tensor([0.25, 0.5, 0.75, 1.0])
    others = (
        all_styles(4),
        torch.ones(4, 1, SIDE, SIDE),
        torch.zeros(4, 2, SIDE, SIDE),
        torch.zeros(4, 0),
    )
    found = plain.denoiser(noisy, t, *others)
    wanted = 2 * perceptual_distance(Halves(), found, images)[:2].sum() / 4
    assert wanted > 0.01
    losses = [each._loss(images, noisy, t, *others)[0] for each in (mine, plain)]
    assert_close(losses[0] - losses[1], wanted, atol=1e-5, rtol=1e-4)
    strong = [
        each._loss(images[2:], noisy[2:], t[2:], *(o[2:] for o in others))[0]
        for each in (mine, plain)
    ]
    assert_close(strong[0], strong[1], rtol=0, atol=0)


FEATURED = {"perceptual": 1.0, "adversarial": 1.0, "frechet": 1.0}


@pytest.mark.parametrize(("familiar", "weight"), [(True, 0.5), (False, 0.0)])
def test_an_adapted_model_keeps_its_network_and_learns_in_small_steps(
    familiar: bool, weight: float
) -> None:
    config = SketchDiffusionConfig.model_validate(TINY | FEATURED | {"middle": 2})
    adapted = SketchDiffusionConfig.adapted(config.model_dump(mode="json"))
    completed = SketchDiffusionConfig.completed(adapted, lambda: familiar)
    found = SketchDiffusionConfig.model_validate(completed)
    assert (found.adversarial, found.perceptual, found.batch_size) == (weight, weight, 8)
    kept = ("middle", "channels", "conditioning", "schedule", "representation", "noise_shift")
    assert all(getattr(found, name) == getattr(config, name) for name in kept)


@pytest.mark.parametrize(
    ("given", "suited"),
    [
        ({"learning_rate": 1e-5}, BESIDE_CRITIC),
        ({"adversarial": "0", "learning_rate": 1e-5}, ALONE),
        ({"adversarial": 0.2}, BESIDE_CRITIC),
        ({"batch_size": 1}, ALONE),  # too few for a critic
    ],
)
def test_what_was_chosen_for_a_start_stays(
    given: dict[str, object], suited: dict[str, object]
) -> None:
    assert SketchDiffusionConfig.completed(given, lambda: True) == suited | given


def test_a_critic_that_was_asked_for_needs_no_look_at_the_pictures() -> None:
    found = SketchDiffusionConfig.completed({"adversarial": 0.5}, lambda: pytest.fail("looked"))
    assert found == BESIDE_CRITIC


@pytest.fixture
def perceiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the classifier, whose package may be missing."""
    monkeypatch.setattr(training, "load_lite0", CoarseHalves)
    monkeypatch.setattr(training, "load_pooled_lite0", Means)
    monkeypatch.setattr(training, "NUM_POOLED", 3)
    monkeypatch.setattr(training.EfficientNetLite0, "CHANNELS", (3, 3))


@pytest.mark.usefixtures("perceiving")
def test_a_frechet_distance_without_a_critic_has_no_effect() -> None:
    plain, mine = trainer(perceptual=1.0), trainer(perceptual=1.0, frechet=0.01)
    for each in (plain, mine):
        each.step(*batch(), 1)
    assert_close(mine.denoiser.state_dict(), plain.denoiser.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schedule": "sixteen", "noise_shift": 2.0}, "noise_shift"),
        ({"adversarial": 1.0, "batch_size": 1}, "batch_size"),
    ],
)
def test_what_cannot_be_learnt_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SketchDiffusionConfig.model_validate(TINY | changes)


def test_a_strength_between_sixteen_levels_is_refused_by_its_name() -> None:
    sampler = trained_sampler("noised_image", schedule="sixteen")
    source = Inputs(source=torch.rand(3, SIDE, SIDE) * 2 - 1)
    request = partial(Request, [1], torch.eye(2)[:1], inputs=source)
    with pytest.raises(ValueError, match="source_strength"):
        sampler.sample(request(options=Options(source_strength=0.3)))
    assert sampler.sample(request(options=Options(source_strength=0.3125))).shape[1:] == (
        3,
        SIDE,
        SIDE,
    )


def test_a_source_without_a_style_is_followed_in_none() -> None:
    sampler = trained_sampler("guided", style_dropout=0.5)
    source, _ = batch()
    of_all, of_none = torch.full((1, 2), 0.5), torch.zeros(1, 2)
    free = Inputs(source=source[0], has_own_style=True)
    found = sampler.sample(Request([1], of_all, Options(), free))
    wanted = sampler.sample(Request([1], of_none, Options(), Inputs(source=source[0])))
    assert_close(found, wanted, rtol=0, atol=0)
    with pytest.raises(ValueError, match="guidance"):
        sampler.sample(Request([1], of_all, Options(guidance=2), free))


CRITICAL = {"adversarial": 0.5, "adversarial_noise": 0.7, "schedule": "continuous"}


def test_a_critics_layers_are_bounded_by_their_largest_singular_value() -> None:
    layer = BoundedConvolution(5, 7, 3, torch.Generator().manual_seed(0))
    for _ in range(200):
        layer.refine()
    largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    images = torch.randn(2, 5, 8, 8)
    wanted = F.conv2d(images, layer.weight / largest, layer.bias, padding=1)
    assert_close(layer(images), wanted)


def test_the_critics_losses_are_the_hinge() -> None:
    generated, real = torch.tensor([-2.0, 0.5]), torch.tensor([3.0, -1.0])
    flat = torch.cat([generated, real])[:, None, None, None]
    assert_close(critic_loss([flat, flat]), torch.tensor([0.0 + 0.0, 1.5 + 2.0]))
    assert_close(fooling_loss([flat[:2], flat[2:]]), torch.tensor([-0.5, 0.25]))


@pytest.mark.usefixtures("perceiving")
def test_a_critic_learns_to_tell_pictures_from_noise_and_is_then_heard() -> None:
    mine = trainer(**CRITICAL)
    critic = mine.critic
    assert critic is not None
    everything = torch.ones(4, dtype=torch.bool)
    told: list[float] = []
    for step in range(50):
        images, _ = batch(step)
        mine._prepare(critic, images)
        assert critic.is_ready == (step >= 40)
        shown = torch.randn(images.shape), images, all_styles(4), everything
        with mine.update("critic"):
            scalars = mine.accumulate([shown], partial(mine._critic_loss, critic))
        told.append(float(scalars["critic_loss"]))
    assert told[-1] < 0.5 < 1.5 < told[0]
    judged = torch.tensor([True, False, True, False])
    fooling = mine._fooling(critic, images, images, all_styles(4), judged)
    assert fooling.shape == (2,) and bool(fooling.any())
    assert [len(rows) for rows in mine.shown[-1]] == [2, 2, 2, 4]


@pytest.mark.usefixtures("perceiving")
def test_a_critic_hears_of_weak_noise_alone() -> None:
    plain, mine = trainer(schedule="continuous"), trainer(**CRITICAL)
    mine.denoiser.load_state_dict(plain.denoiser.state_dict())
    images, noisy = torch.rand(2, 4, 3, SIDE, SIDE).unbind(0)
    others = (
        all_styles(4),
        torch.ones(4, 1, SIDE, SIDE),
        torch.zeros(4, 2, SIDE, SIDE),
        torch.zeros(4, 0),
    )
    none = torch.zeros(4, dtype=torch.bool)

    def losses(t: Tensor, is_sampled: Tensor) -> list[float]:
        rows = images, noisy, t, *others
        return [mine._loss(*rows, is_sampled)[0].item(), plain._loss(*rows)[0].item()]

    strong = torch.full((4,), 0.8)
    mine_loss, plain_loss = losses(strong, none)
    assert mine_loss == plain_loss
    # Not ready yet: where it would be heard the error counts less, and nothing is added.
    mine_loss, plain_loss = losses(torch.full((4,), 0.6), none)
    assert mine_loss == pytest.approx(0.2 * plain_loss)
    # Of what the sampler made nobody knows the right answer.
    assert losses(strong, ~none)[0] == 0


@pytest.mark.usefixtures("perceiving")
def test_a_quarter_of_a_batch_is_the_samplers_at_its_last_level() -> None:
    mine = trainer(**CRITICAL)
    images, labels = batch()
    noisy, t = torch.randn(4, 3, SIDE, SIDE), torch.full((4,), 0.9)
    others = torch.zeros(4, 2), torch.ones(4, 1, SIDE, SIDE), torch.rand(4, 2, SIDE, SIDE)
    rng = mine.machine.rng.get_state()
    chosen = mine._is_sampled(4)
    assert chosen.tolist() == [True, False, False, False]
    rows = training.Rows(images, noisy, t, *others, torch.zeros(4, 0))
    found = mine._with_sampled(rows, labels, chosen)
    mine.machine.rng.set_state(rng)
    x = mine.machine.normal(4, 3, SIDE, SIDE)[:1]
    *levels, _ = noise_levels(1.0, None, "continuous")
    styles = F.one_hot(labels[:1], 2).float()

    def denoise(x: Tensor, level: float) -> Tensor:
        hints = torch.zeros(1, 2, SIDE, SIDE)
        with torch.no_grad():
            return mine.denoiser(x, torch.tensor([level]), styles, others[1][:1], hints).clamp(
                -1, 1
            )

    wanted = run_sampler("dpmpp_2m", denoise, x, levels, lambda: x, lambda _: None)
    assert_close(found[1][:1], wanted)
    assert_close(found[2], torch.tensor([levels[-1], 0.9, 0.9, 0.9]))
    assert_close(found[3], torch.cat([styles, torch.zeros(3, 2)]))
    for old, new in zip(
        (images, noisy, *others[1:]), (found[0], found[1], *found[4:]), strict=False
    ):
        assert torch.equal(old[1:], new[1:])
    assert not found[5][0].any()


@pytest.mark.usefixtures("perceiving")
def test_where_pictures_are_compared_the_samplers_last_steps_are_learnt_through() -> None:
    short, mine = trainer(**CRITICAL), trainer(frechet=1.0, **CRITICAL)
    images, labels = batch()
    rows = training.Rows(
        images,
        torch.randn(4, 3, SIDE, SIDE),
        torch.full((4,), 0.9),
        *(torch.zeros(4, 2), torch.ones(4, 1, SIDE, SIDE), torch.rand(4, 2, SIDE, SIDE)),
        torch.zeros(4, 0),
    )
    chosen = torch.tensor([True, False, True, False])
    wanted, found = (each._with_sampled(rows, labels, chosen) for each in (short, mine))
    assert not torch.allclose(found.noisy[0], wanted.noisy[0])
    assert short._at_last_level(wanted).noisy.requires_grad is False
    last = mine._at_last_level(found)
    assert_close(last.noisy, wanted.noisy)
    assert last.noisy.requires_grad
    assert torch.equal(last.t, torch.tensor([wanted.t[0], 0.9, wanted.t[0], 0.9]))


@pytest.mark.usefixtures("perceiving")
def test_what_the_sampler_made_goes_the_way_to_the_paintings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "READY", 3)
    mine = trainer(frechet=2.0, **CRITICAL)
    whole_way = mine.transport
    assert whole_way is not None
    for step in range(2):
        assert not whole_way.is_ready
        mine.step(*batch(step), 1)
    assert whole_way.is_ready
    images, noisy = torch.rand(2, 4, 3, SIDE, SIDE).unbind(0)
    t = torch.full((4,), 0.25)
    nothing = torch.zeros(4, 2, SIDE, SIDE), torch.zeros(4, 0)
    others = all_styles(4), torch.ones(4, 1, SIDE, SIDE), *nothing
    is_sampled = torch.tensor([True, False, False, True])
    found = mine._pooled(mine.denoiser(noisy, t, *others)[is_sampled])
    way = (found - whole_way(found)).square().sum()
    assert way > 0
    losses: list[Tensor] = []
    for mine.transport in (whole_way, None):
        losses.append(mine._loss(images, noisy, t, *others, is_sampled)[0])
    assert_close(losses[0] - losses[1], 2 * way / 4)


@pytest.mark.usefixtures("perceiving")
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("frechet", [0.0, 1.0])
def test_a_training_with_a_critic_goes_on_exactly(
    accumulate: int, frechet: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READY", 2)
    options = CRITICAL | {"frechet": frechet}
    undisturbed, stopped = trainer(**options), trainer(**options)
    for step in range(3):
        undisturbed.step(*batch(step), accumulate)
        stopped.step(*batch(step), accumulate)
    again = trainer(seed=9, **options)
    again.load_state_dict(copy.deepcopy(stopped.state_dict()))
    again.machine.rng.set_state(stopped.machine.rng.get_state())
    for step in range(3, 5):
        first, second = (each.step(*batch(step), accumulate) for each in (undisturbed, again))
        assert first == second
    assert_close(again.denoiser.state_dict(), undisturbed.denoiser.state_dict(), rtol=0, atol=0)
    known = undisturbed.companions()
    assert list(known) == ["critic"]
    other = trainer(seed=5, **options)
    weights = {"critic": known["critic"].state_dict()}
    other.start_from(undisturbed.denoiser.state_dict(), weights, [1, None], undisturbed.config)
    assert other.critic is not None and int(other.critic.steps) == 5
    assert_close(other.critic.style.weight[:, 0], undisturbed.critic.style.weight[:, 1])


def test_two_halves_accumulated_are_one_whole() -> None:
    whole, halves = trainer(), trainer()
    for network, parts in ((whole, 1), (halves, 2)):
        network.step(*batch(), parts)
    for mine, theirs in zip(halves.denoiser.parameters(), whole.denoiser.parameters(), strict=True):
        assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("conditioning", "changes"),
    [*((conditioning, {}) for conditioning in CONDITIONINGS), ("guided", DEEPER)],
)
def test_stopped_and_resumed_it_is_the_same_to_the_bit(
    conditioning: str, changes: dict[str, int]
) -> None:
    straight = trainer(conditioning=conditioning, **changes)
    straight.step(*batch(0), 1)
    saved = copy.deepcopy(straight.state_dict())
    resumed = trainer(seed=7, conditioning=conditioning, **changes)
    resumed.load_state_dict(saved)
    resumed.machine.rng.set_state(straight.machine.rng.get_state())
    for step in range(1, 4):
        assert_close(resumed.step(*batch(step), 1), straight.step(*batch(step), 1), rtol=0, atol=0)
    for name, tensor in resumed.network.state_dict().items():
        assert_close(tensor, straight.network.state_dict()[name], rtol=0, atol=0)


def test_none_and_noised_image_are_the_same_training() -> None:
    losses = []
    for conditioning in ("none", "noised_image"):
        mine = trainer(conditioning=conditioning)
        losses.append([mine.step(*batch(step), 1)["loss"] for step in range(3)])
    assert_close(losses[0], losses[1], rtol=0, atol=0)


def test_the_learning_rate_rises_and_then_falls_along_half_a_cosine() -> None:
    mine = trainer(
        learning_rate=4e-4, final_learning_rate=2e-4, warm_up_images=10, anneal_images=100
    )
    rates = {}
    for seen in (0, 50, 100, 900):
        mine.images_seen = seen
        mine._anneal()
        rates[seen] = mine.learning_rate("network")
    assert rates[0] < 2e-4
    assert rates[50] == pytest.approx(3e-4)
    assert rates[100] == rates[900] == pytest.approx(2e-4)
    mine.remedy("divergence")
    mine._anneal()
    assert mine.learning_rate("network") == pytest.approx(1e-4)


# ---------------------------------------------------------------- pictures


@every_drawn
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmpp_2m"])
def test_a_picture_is_the_same_alone_and_in_a_batch_of_25(conditioning: str, name: str) -> None:
    sampler = trained_sampler(conditioning)
    options = Options.model_validate({"steps": 4, "sampler": name, "guidance": 2.0})
    inputs = Inputs(sketch=cross())
    together = sampler.sample(Request(range(25), all_styles(25), options, inputs))
    assert together.std(dim=0).max() > 0
    for seed in (0, 7, 8, 24):
        alone = sampler.sample(
            Request([seed], all_styles(25)[seed : seed + 1], options, Inputs(sketch=cross()))
        )
        assert_close(alone[0], together[seed], rtol=0, atol=0)


def test_under_full_noise_a_drawing_has_no_influence() -> None:
    """Paper 004, Figs. 7 and 8; under less it has."""
    sampler = trained_sampler("noised_image")
    drawn, other = Inputs(sketch=cross()), Inputs(sketch=cross().roll(3, dims=2))
    full, less = Options(intensity=0), Options(intensity=8)
    nothing = sampler.sample(Request(range(4), all_styles(4), Options()))
    assert_close(sampler.sample(Request(range(4), all_styles(4), full, drawn)), nothing)
    one, two = (sampler.sample(Request(range(4), all_styles(4), less, i)) for i in (drawn, other))
    assert (one - two).abs().max() > 0.01


@pytest.mark.parametrize("conditioning", ["radius_mask", "guided"])
def test_drawing_radius_style_and_guidance_have_an_influence(conditioning: str) -> None:
    sampler = trained_sampler(conditioning, steps=8, sketch_dropout=0.2)
    styles = torch.eye(2)[[0, 0]]

    def pictures(sketch: Tensor, styles: Tensor = styles, **options: float) -> Tensor:
        chosen = Options.model_validate({"steps": 4, "radius": 3} | options)
        return sampler.sample(Request([1, 2], styles, chosen, Inputs(sketch=sketch)))

    plain = pictures(cross())
    others = {
        "drawing": pictures(cross().roll(4, dims=1)),
        "radius": pictures(cross(), radius=1),
        "style": pictures(cross(), styles.flip(1)),
        "guidance": pictures(cross(), guidance=4.0),
    }
    if conditioning == "guided":
        others["sketch_guidance"] = pictures(cross(), sketch_guidance=2.0)
    else:
        others["intensity"] = pictures(cross(), intensity=6)
    for name, other in others.items():
        assert (plain - other).abs().max() > 1e-3, name


def test_a_drawing_given_as_a_picture_is_as_good_as_its_strokes() -> None:
    sampler = trained_sampler("guided")
    sketch = cross()
    picture = (1 - 2 * sketch).expand(3, -1, -1)
    options = Options(steps=2)
    one, two = (
        sampler.sample(Request([3], all_styles(1), options, inputs))
        for inputs in (Inputs(sketch=sketch), Inputs(source=picture))
    )
    assert_close(one, two, rtol=0, atol=0)
    with pytest.raises(ValueError, match="give one of them"):
        sampler.sample(Request([3], all_styles(1), options, Inputs(sketch=sketch, source=picture)))


@pytest.mark.parametrize(
    ("conditioning", "options", "sketch", "reason"),
    [
        ("none", {}, cross(), "conditioning none"),
        ("noised_image", {"radius": 3}, cross(), "radius: has no meaning"),
        ("guided", {"intensity": 3}, cross(), "intensity: has no meaning"),
        ("radius_mask", {"sketch_guidance": 2}, cross(), "sketch_guidance: has no meaning"),
        ("guided", {}, torch.zeros(1, SIDE, SIDE), "no lines"),
        ("guided", {}, torch.ones(1, 8, 8), "8×8 pixels"),
        ("guided", {"radius": 3}, None, "only with a sketch"),
    ],
)
def test_what_has_no_meaning_is_refused(
    conditioning: str, options: dict[str, float], sketch: Tensor | None, reason: str
) -> None:
    mine = trainer(conditioning=conditioning)
    sampler = Sampler(mine.denoiser, mine.config)
    with pytest.raises(ValueError, match=reason):
        sampler.sample(
            Request([0], all_styles(1), Options.model_validate(options), Inputs(sketch=sketch))
        )


@pytest.mark.parametrize(("resolution", "is_good"), [(16, True), (96, True), (15, False)])
def test_sizes_that_patches_and_halvings_cannot_make_are_refused(
    resolution: int, is_good: bool
) -> None:
    config = SketchDiffusionConfig.model_validate(TINY | {"smallest": 12})
    if is_good:
        Denoiser(config, Shape(resolution, 1))
    else:
        with pytest.raises(ValueError, match="resolution"):
            config.check_resolution(resolution)


def test_taught_a_handful_of_drawings_it_keeps_a_sketch_better_than_noise_does() -> None:
    mine = trainer(
        conditioning="guided",
        batch_size=16,
        learning_rate=3e-3,
        warm_up_images=0,
        flip=False,
        fewest_lines=1.0,
        max_radius=1.0,
    )
    rng = torch.Generator().manual_seed(3)
    for _ in range(120):
        images = torch.ones(16, 3, SIDE, SIDE)
        places = torch.randint(2, SIDE - 2, (16, 2), generator=rng).tolist()
        for image, (row, column) in zip(images, places, strict=True):
            image[:, row] = image[:, :, column] = -1
        mine.step(images, torch.zeros(16, dtype=torch.int64), 1)
    sampler = Sampler(mine.denoiser, mine.config)
    sketch = torch.zeros(1, SIDE, SIDE)
    sketch[0, 5] = sketch[0, :, 11] = 1
    style = torch.eye(2)[[0] * 8]
    drawn = sampler.sample(Request(range(8), style, Options(radius=1), Inputs(sketch=sketch)))
    free = sampler.sample(Request(range(8), style, Options()))
    wanted = 1 - 2 * sketch
    kept, free_error = ((pictures - wanted).abs().mean() for pictures in (drawn, free))
    assert kept < 0.5 * free_error
    assert free_error > 0.15
