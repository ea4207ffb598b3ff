"""A picture painted anew by a diffusion model, at its own size, by windows that overlap."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from components.families.port import Inputs, Request, Shape
from components.families.sketch_diffusion.config import Options, SketchDiffusionConfig
from components.families.sketch_diffusion.sampler import Sampler
from components.families.sketch_diffusion.trainer import Trainer
from components.families.sketch_diffusion.windows import offsets, over_windows, pyramid
from components.families.trainer import Machine

SIDE = 16
TINY = {"batch_size": 4, "channels": 16, "max_channels": 32, "blocks": 1, "smallest": 4}


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    """Sampler of a network that is no longer the linear estimate it begins as."""
    config = SketchDiffusionConfig.model_validate(
        TINY | {"schedule": "continuous", "warm_up_images": 0, "learning_rate": 2e-3}
    )
    rng = torch.Generator().manual_seed(0)
    trainer = Trainer(config, Shape(SIDE, 2), Machine(torch.device("cpu"), torch.float32, rng))
    for _ in range(3):
        images = torch.rand(4, 3, SIDE, SIDE, generator=rng) * 2 - 1
        trainer.step(images, torch.tensor([0, 1, 0, 1]), 1)
    return Sampler(trainer.denoiser, config)


def picture(height: int, width: int) -> Tensor:
    rng = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(3, height, width, generator=rng) * 2 - 1


def paint(of: Sampler, source: Tensor, seeds: list[int], **options: object) -> Tensor:
    chosen = Options.model_validate({"source_strength": 0.5, "steps": 8} | options)
    styles = torch.eye(2)[torch.tensor(seeds) % 2]
    return of.sample(Request(seeds, styles, chosen, Inputs(source=source)))


@given(length=st.integers(8, 300), half=st.integers(2, 4))
def test_windows_cover_a_length_and_overlap_by_half(length: int, half: int) -> None:
    side = 2 * half
    places = offsets(length, side)
    assert places[0] == 0
    assert places[-1] == length - side
    assert all(0 < after - before <= half for before, after in pairwise(places))


@given(height=st.integers(8, 40), width=st.integers(8, 40), at_once=st.integers(1, 5))
def test_windows_that_are_left_alone_give_the_picture(
    height: int, width: int, at_once: int
) -> None:
    before = picture(height, width)[None]
    sizes = []

    def leave(windows: Tensor) -> Tensor:
        sizes.append(windows.shape)
        return windows

    assert_close(over_windows(leave, before, 8, at_once), before)
    assert set(sizes) == {(at_once, 3, 8, 8)}


def test_where_two_windows_meet_their_weighted_mean_stands() -> None:
    drawn = iter([1.0, 5.0])

    def flat(windows: Tensor) -> Tensor:
        return torch.full_like(windows, next(drawn))

    found = over_windows(flat, torch.zeros(1, 3, 8, 12), 8, 1)[0, 0]
    first, second = pyramid(8)[:, 4:], pyramid(8)[:, :4]
    assert_close(found[:, :4], torch.ones(8, 4))
    assert_close(found[:, 4:8], (first + 5 * second) / (first + second))
    assert_close(found[:, 8:], 5 * torch.ones(8, 4))


def test_little_noise_leaves_a_picture_nearly_as_it_was(sampler: Sampler) -> None:
    source = picture(24, 20)
    errors = [
        float((paint(sampler, source, [0], source_strength=strength)[0] - source).abs().mean())
        for strength in (0.01, 0.1, 0.5)
    ]
    assert errors[0] < 0.02 < errors[1] < errors[2]


def test_it_follows_the_sources_shape(sampler: Sampler) -> None:
    assert paint(sampler, picture(40, 24), [0, 1]).shape == (2, 3, 40, 24)
    assert paint(sampler, picture(40, 24), [0], source_size=16).shape == (1, 3, 27, 16)
    assert paint(sampler, picture(8, 10), [0]).shape == (1, 3, 16, 20)
    assert paint(sampler, picture(600, 300), [0], source_strength=0.1, steps=1).shape == (
        1,
        3,
        512,
        256,
    )


def test_each_seed_gives_its_own_picture_whatever_else_is_asked(sampler: Sampler) -> None:
    source = picture(20, 20)
    together = paint(sampler, source, [3, 4, 5])
    assert torch.equal(together[1], paint(sampler, source, [4])[0])
    assert not torch.equal(together[0], together[1])


def test_ddpm_adds_noise_of_the_sources_shape(sampler: Sampler) -> None:
    source = picture(20, 24)
    made = paint(sampler, source, [1], sampler="ddpm")
    assert made.shape == (1, 3, 20, 24)
    assert torch.equal(made, paint(sampler, source, [1], sampler="ddpm"))
    assert not torch.equal(made, paint(sampler, source, [1], sampler="ddim"))


def test_a_style_is_followed_and_without_one_no_style_is_told(sampler: Sampler) -> None:
    source = picture(16, 16)
    styles = torch.full((1, 2), 0.5)
    chosen = Options(source_strength=0.8, steps=4)

    def made(has_own_style: bool) -> Tensor:
        inputs = Inputs(source=source, has_own_style=has_own_style)
        return sampler.sample(Request([0], styles, chosen, inputs))

    free = made(has_own_style=True)
    assert not torch.equal(free, made(has_own_style=False))
    nothing = Request([0], torch.zeros(1, 2), chosen, Inputs(source=source))
    assert torch.equal(free, sampler.sample(nothing))


def test_progress_counts_the_steps_of_every_picture(sampler: Sampler) -> None:
    told: list[tuple[int, int]] = []
    chosen = Options(source_strength=1.0, steps=2)
    request = Request(
        [0, 1],
        torch.eye(2),
        chosen,
        Inputs(source=picture(16, 16)),
        lambda done, total: told.append((done, total)),
    )
    sampler.sample(request)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("options", "inputs", "reason"),
    [
        ({"source_strength": 0.5}, Inputs(), "give a source"),
        ({"source_strength": 0.5, "radius": 3}, Inputs(source=picture(16, 16)), "leave radius"),
    ],
)
def test_what_has_no_meaning_is_refused(
    sampler: Sampler, options: dict[str, object], inputs: Inputs, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        sampler.sample(Request([0], torch.eye(2)[:1], Options.model_validate(options), inputs))
