"""A level of detail around a denoiser: averages, closed forms, what it learns, resuming."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from atelier.choices import with_defaults
from components.families.port import Request
from components.families.sketch_diffusion import works
from components.families.sketch_diffusion.config import Options, SketchDiffusionConfig
from components.families.sketch_diffusion.network import DETAIL_STD, estimate, half_as_noisy
from components.families.sketch_diffusion.noise import add_noise, shifted, with_detail
from components.families.sketch_diffusion.sampler import Sampler
from components.families.sketch_diffusion.trainer import Trainer
from interfaces.errors import RefusedError
from tests.components.families.tiny_diffusion import TINY, tiny_trainer

SIDE = 16
AT_ONCE = {"schedule": "continuous", "warm_up_images": 0}
T = torch.tensor([1.0, 0.6, 0.3, 0.05])


def trainer(side: int, seed: int = 0, **changes: object) -> Trainer:
    return tiny_trainer(side, seed, **(AT_ONCE | changes))


def pictures(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Patches of one grey, the light ones with a checkerboard over them: detail by its ground."""
    rng = torch.Generator().manual_seed(seed)
    grey = torch.rand(4, 3, SIDE // 4, SIDE // 4, generator=rng).round() - 0.5
    grey = F.interpolate(grey, scale_factor=4)
    board = torch.tensor([[0.2, -0.2], [-0.2, 0.2]]).repeat(SIDE // 2, SIDE // 2)
    return grey + board * (grey > 0), torch.tensor([0, 1, 0, 1])


def halved(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 2)


def inputs(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Styles, mask and hints of four pictures."""
    return torch.eye(2)[[0, 1, 0, 1]], torch.ones(4, 1, side, side), torch.rand(4, 2, side, side)


@pytest.fixture(scope="module")
def small() -> Trainer:
    made = trainer(SIDE // 2)
    for step in range(3):
        images, labels = pictures(step)
        made.step(halved(images), labels, 1)
    return made


def grown(small: Trainer, **changes: object) -> Trainer:
    options = SketchDiffusionConfig.grown(small.config.model_dump())
    assert options is not None
    smaller = {"detail_channels": 16, "detail_blocks": 1, "perceptual": 0.0, "batch_size": 4}
    made = trainer(SIDE, seed=3, **(options | smaller | {"warm_up_images": 0} | changes))
    made.start_from(small.denoiser.state_dict(), {}, [0, 1], small.config)
    return made


def test_averages_stay_the_smaller_networks_at_half_the_noise(small: Trainer) -> None:
    noisy = torch.randn(4, 3, SIDE, SIDE)
    styles, mask, hints = inputs(SIDE)
    found = grown(small).denoiser(noisy, T, styles, mask, hints)
    scaled = halved(noisy) / (1 - T / 2)[:, None, None, None]
    expected = small.denoiser(scaled, half_as_noisy(T), styles, halved(mask), halved(hints))
    assert_close(halved(found), expected)


def test_averages_of_a_noisy_picture_are_one_under_half_the_noise() -> None:
    assert_close(half_as_noisy(T), shifted(T, 0.5))
    images, noise = torch.randn(4, 3, SIDE, SIDE), torch.randn(4, 3, SIDE, SIDE)
    seen = halved(add_noise(images, noise, T)) / (1 - T / 2)[:, None, None, None]
    # Averages of four noises deviate by a half; twice that is noise of its own.
    assert_close(seen, add_noise(halved(images), 2 * halved(noise), half_as_noisy(T)))


def test_detail_begins_as_the_regression_on_its_noisy_self(small: Trainer) -> None:
    noisy = torch.randn(4, 3, SIDE, SIDE)
    found = grown(small).denoiser(noisy, T, *inputs(SIDE))
    detail = [each - F.interpolate(halved(each), scale_factor=2) for each in (found, noisy)]
    t = T[:, None, None, None]
    assert_close(detail[0], estimate(t, DETAIL_STD)[0] * detail[1])
    # The regression itself, from a million numbers.
    rng = torch.Generator().manual_seed(0)
    known = DETAIL_STD * torch.randn(1_000_000, generator=rng)
    for level in (0.3, 0.1, 0.05):
        seen = (1 - level) * known + level * torch.randn(1_000_000, generator=rng)
        slope, error, unit = estimate(torch.tensor(level), DETAIL_STD)
        assert_close((seen * known).mean() / seen.square().mean(), slope, rtol=0.02, atol=0)
        assert_close((known - slope * seen).std(), error, rtol=0.01, atol=0)
        assert_close(1 / seen.std(), unit, rtol=0.01, atol=0)


def test_errors_are_in_units_of_the_averages_and_of_the_detail(small: Trainer) -> None:
    made, mask = grown(small).denoiser, torch.ones(4, 1, SIDE, SIDE)
    flat = torch.randn(4, 3, SIDE // 2, SIDE // 2)
    fine = torch.randn(4, 3, SIDE, SIDE)
    fine = fine - F.interpolate(halved(fine), scale_factor=2)
    t = T[:, None, None, None]
    found = made.in_units(F.interpolate(flat, scale_factor=2) + fine, T, mask)
    assert_close(halved(found), flat / estimate(half_as_noisy(t))[1])
    rest = found - F.interpolate(halved(found), scale_factor=2)
    assert_close(rest, fine / estimate(t, DETAIL_STD)[1])


def test_detail_is_learnt_and_the_network_stays_as_it_was(small: Trainer) -> None:
    changes = {"sketch_dropout": 1.0, "noise_shift": 1.0, "flip": False, "learning_rate": 3e-3}
    made = grown(small, **changes)
    images, labels = pictures(100)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(5))
    t = torch.full((4,), 0.3)
    noisy, told = add_noise(images, noise, t), (torch.eye(2)[labels], torch.ones(4, 1, SIDE, SIDE))

    def far() -> float:
        with torch.no_grad():
            found = made.denoiser(noisy, t, *told, torch.zeros(4, 2, SIDE, SIDE))
        errors = (found - images) - F.interpolate(halved(found - images), scale_factor=2)
        return float(errors.square().mean())

    linear = far()
    for step in range(60):
        made.step(*pictures(step), 1)
    assert far() < linear / 2
    before, after = small.denoiser.state_dict(), made.denoiser.state_dict()
    for name, weight in before.items():
        if name != "noise":
            assert_close(after[name], weight, rtol=0, atol=0)


def test_with_the_network_learning_too_all_of_it_changes(small: Trainer) -> None:
    made = grown(small, detail_only=False)
    made.step(*pictures(), 1)
    assert not torch.equal(made.denoiser.stem.weight, small.denoiser.stem.weight)


def test_stopped_and_resumed_it_is_the_same_to_the_bit(small: Trainer) -> None:
    straight = grown(small)
    straight.step(*pictures(0), 1)
    saved = copy.deepcopy(straight.state_dict())
    resumed = grown(small)
    resumed.load_state_dict(saved)
    resumed.machine.rng.set_state(straight.machine.rng.get_state())
    for step in range(1, 3):
        straight.step(*pictures(step), 1)
        resumed.step(*pictures(step), 1)
    for name, tensor in resumed.network.state_dict().items():
        assert_close(tensor, straight.network.state_dict()[name], rtol=0, atol=0)


def test_a_grown_model_goes_on_as_itself(small: Trainer) -> None:
    origin = grown(small)
    origin.step(*pictures(), 1)
    adapted = SketchDiffusionConfig.adapted(origin.config.model_dump()) | {"batch_size": 4}
    made = trainer(SIDE, **adapted)
    made.start_from(origin.denoiser.state_dict(), {}, [0, 1], origin.config)
    noisy = torch.randn(4, 3, SIDE, SIDE)
    told = inputs(SIDE)
    assert_close(made.denoiser(noisy, T, *told), origin.denoiser(noisy, T, *told))
    assert not made.config.detail_only


def test_noise_with_detail_is_white_and_its_averages_are_the_given_ones() -> None:
    rng = torch.Generator().manual_seed(0)
    averages = torch.randn(20_000, 1, 1, 1, generator=rng)
    made = with_detail(averages, torch.randn(20_000, 1, 2, 2, generator=rng))
    assert_close(2 * halved(made), averages)
    assert_close(torch.cov(made.flatten(1).T), torch.eye(4), atol=0.03, rtol=0)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_a_seed_is_the_smaller_models_picture_at_twice_the_side(
    small: Trainer, sampler: str
) -> None:
    made = grown(small)
    assert made.denoiser.detail is not None
    nothing = made.denoiser.detail.last.weight.detach().clone().zero_()
    made.denoiser.detail.last.weight.data = nothing
    options = Options.model_validate({"sampler": sampler, "steps": 4})
    seeds = Request([3, 4], torch.eye(2), options)
    large = Sampler(made.denoiser, made.config).sample(seeds)
    usual = Sampler(small.denoiser, small.config).sample(seeds)
    assert large.shape == (2, 3, SIDE, SIDE)
    # But for what is cut at the ends of the range.
    assert (halved(large) - usual).abs().mean() < 0.05 * usual.std()
    alone = Request([4], torch.eye(2)[1:], options)
    assert_close(Sampler(made.denoiser, made.config).sample(alone), large[1:])


def test_works_stay_with_the_network_that_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "MEMORY", 8)
    origin = trainer(SIDE // 2, representation="embedded")
    for step in range(3):
        images, labels = pictures(step)
        origin.step(halved(images), labels, 1)
    known = origin.denoiser.works
    alone, all_of_it = grown(origin), grown(origin, detail_only=False)
    for made in (alone, all_of_it):
        made.step(*pictures(9), 1)
    assert known is not None
    assert alone.denoiser.works is not None
    assert all_of_it.denoiser.works is not None
    assert_close(alone.denoiser.works.codes, known.codes, rtol=0, atol=0)
    assert int(all_of_it.denoiser.works.count) == 4
    others = trainer(SIDE, seed=3, **alone.config.model_dump())
    others.start_from(origin.denoiser.state_dict(), {}, [1, 0], origin.config)
    assert others.denoiser.works is not None
    assert int(others.denoiser.works.count) == 0


@pytest.mark.parametrize("changes", [{"schedule": "sixteen"}, {"conditioning": "radius_mask"}])
def test_detail_needs_noise_at_every_level_everywhere(changes: dict[str, str]) -> None:
    assert SketchDiffusionConfig.grown(TINY | changes) is None
    with pytest.raises(ValueError, match="detail_channels: needs schedule"):
        SketchDiffusionConfig.model_validate(TINY | {"detail_channels": 16} | changes)


def test_a_training_at_twice_the_side_grows_the_model_it_starts_from() -> None:
    start = {"start_from": "shipped-sketch"}
    given = with_defaults({"train": start, "preprocess": {"resolution": 128}})
    options = given["train"]["options"]
    assert options["detail_channels"] == 48
    assert options["detail_only"] is True
    assert options["max_radius"] == 24
    assert given["preprocess"]["resolution"] == 128
    usual = with_defaults({"train": start})
    assert "detail_channels" not in usual["train"]["options"]
    with pytest.raises(RefusedError, match="leave resolution out, or 128 to let"):
        with_defaults({"train": start, "preprocess": {"resolution": 256}})
