"""CycleGAN: losses and pool in closed form, sizes, directions, weights from elsewhere."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from components.families.cyclegan import method
from components.families.cyclegan.config import CycleGANConfig, Options, Upsampling
from components.families.cyclegan.method import (
    Discriminator,
    Generator,
    Generators,
    ImagePool,
    Sampler,
    Trainer,
    initialise,
)
from components.families.cyclegan.published import import_generator
from components.families.port import Inputs, Request, Shape
from components.families.trainer import Machine

CPU = torch.device("cpu")
SHAPE = Shape(resolution=16, num_styles=2)
TINY = {
    "batch_size": 4,
    "channels": 4,
    "blocks": 1,
    "discriminator_channels": 4,
    "discriminator_layers": 1,
}
TO_FIRST, TO_SECOND = torch.eye(2)


def trainer(shape: Shape = SHAPE, **changes: object) -> Trainer:
    config = CycleGANConfig.model_validate(TINY | changes)
    return Trainer(config, shape, Machine(CPU, torch.float32, torch.Generator().manual_seed(0)))


def batch(seed: int = 0, labels: tuple[int, ...] = (0, 1, 0, 1)) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(len(labels), 3, 16, 16, generator=rng) * 2 - 1, torch.tensor(labels)


def sampler(known: Trainer) -> Sampler:
    return Sampler(known.generators, known.config)


def gradients(network: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in network.named_parameters()}


# ---------------------------------------------------------------- losses


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_the_loss_is_the_squared_distance_from_the_target(low: float, high: float) -> None:
    scores = torch.tensor([[[low, high]]], dtype=torch.float64)
    for target in (0.0, 1.0):
        wanted = ((low - target) ** 2 + (high - target) ** 2) / 2
        assert_close(method.least_squares_loss(scores, target).item(), wanted)


def test_generators_that_change_nothing_lose_nothing_on_the_way_back() -> None:
    images, _ = batch()
    fake, losses = method.generator_losses(
        images, nn.Identity(), nn.Identity(), lambda made: torch.full((4, 2, 2), 0.25)
    )
    assert_close(fake, images)
    assert_close(losses["cycle_loss"], torch.zeros(4))
    assert_close(losses["identity_loss"], torch.zeros(4))
    assert_close(losses["generator_loss"], torch.full((4,), 0.75**2))


def test_the_way_back_of_known_generators_in_closed_form() -> None:
    """With x/2 and x/2 + 1/2 as generators, the losses are |1/2 - 3x/4| and |1/2 - x/2|."""
    images, _ = batch()
    _, losses = method.generator_losses(
        images, lambda x: x / 2, lambda x: x / 2 + 0.5, lambda made: made[:, 0]
    )
    assert_close(losses["cycle_loss"], (0.5 - 0.75 * images).abs().mean(dim=(1, 2, 3)))
    assert_close(losses["identity_loss"], (0.5 - 0.5 * images).abs().mean(dim=(1, 2, 3)))
    wanted = (images[:, 0] / 2 - 1).square().mean(dim=(1, 2))
    assert_close(losses["generator_loss"], wanted)


def test_the_weights_of_the_losses_are_those_of_the_config() -> None:
    """The generators' gradient is linear in both weights."""

    def gradient(cycle: float, identity: float) -> Tensor:
        known = trainer(lambda_cycle=cycle, lambda_identity=identity)
        known.step(*batch(), 1)
        found = gradients(known.generators)["to_first.layers.0.weight"]
        assert found is not None
        return found

    adversarial, cycle = gradient(0.0, 0.5), gradient(4.0, 0.0) - gradient(0.0, 0.5)
    identity = gradient(4.0, 0.5) - adversarial - cycle
    wanted = adversarial + 3 * cycle + 6 * identity  # 12, and 12 × 1 of the identity
    assert_close(gradient(12.0, 1.0), wanted, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- the pool


def numbered(count: int, first: int = 0) -> Tensor:
    return torch.arange(first, first + count).float()[:, None, None, None].expand(-1, 3, 2, 2)


def test_until_it_is_full_the_pool_gives_back_what_it_gets() -> None:
    pool, rng = ImagePool(5, Shape(2, 2), CPU), torch.Generator().manual_seed(0)
    assert_close(pool.exchange(numbered(3), rng), numbered(3))
    assert_close(pool.exchange(numbered(2, first=3), rng), numbered(2, first=3))
    assert_close(pool.images, numbered(5))


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 40))
def test_no_image_is_lost_or_made_in_the_pool(seed: int, size: int, count: int) -> None:
    """Images that came out and those left are those that went in, besides copies of the first."""
    pool, rng = ImagePool(size, Shape(2, 2), CPU), torch.Generator().manual_seed(seed)
    given_back = pool.exchange(numbered(count), rng)[:, 0, 0, 0].tolist()
    kept = pool.images[: pool.count, 0, 0, 0].tolist()
    assert given_back[:size] == list(range(min(size, count)))
    assert sorted(given_back[size:] + kept) == list(range(count))


def test_a_full_pool_gives_every_second_image_and_earlier_ones_for_the_rest() -> None:
    pool, rng = ImagePool(50, Shape(2, 2), CPU), torch.Generator().manual_seed(0)
    pool.exchange(numbered(50), rng)
    given_back = pool.exchange(numbered(2000, first=50), rng)[:, 0, 0, 0]
    is_itself = given_back == torch.arange(50, 2050)
    assert abs(is_itself.float().mean() - 0.5) < 4 * (0.25 / 2000) ** 0.5
    ages = torch.arange(50, 2050)[~is_itself] - given_back[~is_itself]
    # An image stays until it is drawn, by a chance of 1/100 at each later one: 100 on average.
    assert abs(ages[500:].mean() - 100) < 15


def test_a_pool_of_none_gives_the_newest() -> None:
    pool = ImagePool(0, Shape(2, 2), CPU)
    assert_close(pool.exchange(numbered(4), torch.Generator()), numbered(4))


def test_with_a_full_pool_training_goes_on_exactly() -> None:
    straight = trainer(pool_size=3)
    for seed in range(4):
        straight.step(*batch(seed), 1)
    resumed = trainer(pool_size=3)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    resumed.machine.rng.set_state(straight.machine.rng.get_state())
    for seed in range(4, 8):
        wanted = straight.step(*batch(seed), 1)
        assert_close(resumed.step(*batch(seed), 1), wanted, rtol=0, atol=0)
    for mine, theirs in zip(resumed.ways, straight.ways, strict=True):
        assert mine.pool.count == 3
        assert_close(mine.pool.images, theirs.pool.images, rtol=0, atol=0)


# ---------------------------------------------------------------- steps


def test_a_batch_in_parts_teaches_the_same_as_in_one() -> None:
    """Also where parts hold one style alone: the means are those of the whole batch.

    The loop's images are channels last, and torch's gradient of instance normalisation is wrong
    for a single image that lies so.
    """
    whole, parts = trainer(), trainer()
    images, labels = batch(labels=(0, 0, 1, 0))
    images = images.contiguous(memory_format=torch.channels_last)
    assert_close(parts.step(images, labels, 4), whole.step(images, labels, 1))
    for network in ("generators", "discriminators"):
        mine, theirs = (gradients(getattr(known, network)) for known in (parts, whole))
        assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("label", [0, 1])
def test_of_one_style_alone_the_generators_learn_and_the_judges_wait(label: int) -> None:
    known = trainer()
    judges = copy.deepcopy(known.discriminators.state_dict())
    images, labels = batch(labels=(label,) * 4)
    found = [known.step(images, labels, 1) for _ in range(5)]
    assert found[-1]["cycle_loss"] < found[0]["cycle_loss"]
    assert found[-1]["discriminator_loss"] == 0
    assert_close(known.discriminators.state_dict(), judges, rtol=0, atol=0)
    assert all(gradient is not None for gradient in gradients(known.generators).values())


def test_images_of_other_styles_are_passed_over() -> None:
    shape = Shape(resolution=16, num_styles=4)
    mixed = trainer(shape, first_style=3, second_style=1)
    alone = trainer(shape, first_style=3, second_style=1)
    images, labels = batch(labels=(3, 0, 1, 2))
    chosen = [0, 2]
    assert_close(mixed.step(images, labels, 1), alone.step(images[chosen], labels[chosen], 1))
    before = copy.deepcopy(mixed.network.state_dict())
    mixed.step(*batch(labels=(0, 2, 2, 0)), 1)
    assert_close(mixed.network.state_dict(), before, rtol=0, atol=0)


def test_one_style_is_not_enough() -> None:
    with pytest.raises(ValueError, match="needs two"):
        trainer(Shape(resolution=16, num_styles=1))
    with pytest.raises(ValueError, match="another one than first_style"):
        CycleGANConfig(first_style=1, second_style=1)


def test_the_learning_rate_stays_then_falls_in_a_line_to_zero() -> None:
    known = trainer(learning_rate=0.5, constant_images=100, decay_images=200)
    rates = []
    for seen in (0, 100, 150, 200, 300, 1000):
        known.images_seen = seen
        known._anneal()
        rates.append([o.param_groups[0]["lr"] for o in known.optimisers.values()])
    assert rates == [[rate] * 2 for rate in (0.5, 0.5, 0.375, 0.25, 0.0, 0.0)]


def test_judges_tell_the_styles_apart_that_they_learnt() -> None:
    known = trainer(learning_rate=2e-3)
    labels = torch.tensor([0, 1, 0, 1])
    images = torch.randn(4, 3, 16, 16) * 0.05
    images[:, 0] += torch.linspace(-0.8, 0.8, 16) * torch.tensor([1, -1, 1, -1])[:, None, None]
    for _ in range(40):
        known.step(images, labels, 1)
    assert known.scores(images, labels).min() > known.scores(images, 1 - labels).max()


def test_another_training_may_name_the_styles_in_the_other_order() -> None:
    trained, fresh = trainer(), trainer()
    companions = {"discriminator": trained.discriminators.state_dict()}
    fresh.start_from(trained.network.state_dict(), companions, [1, 0], trained.config)
    mine, theirs = fresh.generators, trained.generators
    assert_close(mine.to_first.state_dict(), theirs.to_second.state_dict())
    assert_close(mine.to_second.state_dict(), theirs.to_first.state_dict())
    images, labels = batch()
    assert_close(fresh.scores(images, labels), trained.scores(images, 1 - labels))


@pytest.mark.parametrize(
    ("first", "second", "places", "is_exchanged"),
    [
        (1, 2, [None, 0, 1], False),
        (2, 1, [None, 0, 1], True),
        (1, 2, [None, 1, 0], True),
        (0, 1, [0, None, 1], False),
        (0, 2, [1, None, None], True),
        (1, 0, [0, 1, None], True),
    ],
)
def test_a_style_keeps_its_painter_whatever_its_number_is(
    first: int, second: int, places: list[int | None], is_exchanged: bool
) -> None:
    trained = trainer()
    fresh = trainer(Shape(16, 3), first_style=first, second_style=second)
    fresh.start_from(trained.network.state_dict(), {}, places, trained.config)
    wanted = trained.generators.to_first if is_exchanged else trained.generators.to_second
    assert_close(fresh.generators.to_second.state_dict(), wanted.state_dict())


def test_a_batch_of_one_image_has_nothing_to_judge_by_and_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        trainer(batch_size=1)


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(("layers", "field"), [(3, 70), (2, 34)])
def test_a_judge_sees_patches_of_70_pixels(layers: int, field: int) -> None:
    """Counted on the convolutions alone: normalisation looks at everything."""
    judge = Discriminator(4, layers)
    convolutions = nn.Sequential(*(m for m in judge.layers if isinstance(m, nn.Conv2d)))
    for parameter in convolutions.parameters():
        nn.init.ones_(parameter)  # no two ways may cancel
    images = torch.zeros(1, 3, 128, 128, requires_grad=True)
    scores = convolutions(images)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].nonzero()
    assert (seen.amax(dim=0) - seen.amin(dim=0) + 1).tolist() == [field, field]


@given(st.integers(8, 41), st.integers(8, 41))
def test_any_size_is_filled_up_by_reflection_and_cut_back(height: int, width: int) -> None:
    images = torch.rand(1, 3, height, width)
    filled = method.to_multiple_of_four(images)
    assert filled.shape[2] % 4 == filled.shape[3] % 4 == 0
    assert_close(filled[:, :, :height, :width], images, rtol=0, atol=0)
    for extra in range(filled.shape[2] - height):
        assert_close(filled[:, :, height + extra, :width], images[:, :, height - 2 - extra])
    for extra in range(filled.shape[3] - width):
        assert_close(filled[..., :height, width + extra], images[..., width - 2 - extra])


def test_a_generator_makes_the_size_it_gets() -> None:
    generator = Generator(4, 1, "nearest")
    for height, width in ((8, 8), (9, 14), (17, 8), (31, 30)):
        made = generator(torch.rand(1, 3, height, width))
        assert made.shape == (1, 3, height, width)
        assert made.abs().max() <= 1


@pytest.mark.parametrize(("upsampling", "has_grid"), [("nearest", False), ("transposed", True)])
def test_transposed_convolutions_leave_a_grid(upsampling: Upsampling, has_grid: bool) -> None:
    """An even picture stays even inside, or its rows and columns differ alternately."""
    generator = Generator(8, 1, upsampling)
    initialise(generator, torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = generator(torch.full((1, 3, 64, 64), 0.3))[..., 20:44, 20:44]
    assert (made.std(dim=(2, 3)).max() > 1e-3) == has_grid


def test_a_third_style_is_refused() -> None:
    three = Shape(resolution=16, num_styles=3)
    config = CycleGANConfig.model_validate(TINY)
    sampler = Sampler(Generators(config, three), config)
    source = Inputs(source=torch.zeros(3, 16, 16))
    for known in torch.eye(3)[:2]:
        assert sampler.sample(Request([0], known[None], Options(), source)).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="between styles 1 and 2 of its 3 alone"):
        sampler.sample(Request([0], torch.eye(3)[2:], Options(), source))


def test_sizes_without_a_patch_are_refused() -> None:
    CycleGANConfig().check_resolution(25)
    with pytest.raises(ValueError, match="at least 24"):
        CycleGANConfig().check_resolution(23)


@pytest.mark.parametrize("resolution", [24, 25])
def test_the_smallest_sizes_train(resolution: int) -> None:
    known = trainer(Shape(resolution, 2), discriminator_layers=3)
    found = known.step(torch.rand(2, 3, resolution, resolution), torch.tensor([0, 1]), 1)
    assert all(torch.isfinite(value) for value in found.values())


# ---------------------------------------------------------------- sampler


def test_the_style_asked_for_chooses_the_way() -> None:
    known = trainer()
    source = batch()[0][0]
    rows = torch.stack([TO_FIRST, TO_SECOND, 0.6 * TO_FIRST + 0.4 * TO_SECOND])
    rows = torch.cat([rows, torch.full((1, 2), 0.5)])
    made = sampler(known).sample(Request([0, 1, 2, 3], rows, Options(), Inputs(source=source)))
    with torch.no_grad():
        first, second = (
            way(source[None])[0] for way in (known.generators.to_first, known.generators.to_second)
        )
    assert_close(made, torch.stack([first, second, first, second]))


def test_a_turned_source_depends_on_nothing_beside_it() -> None:
    known = trainer()
    source = torch.rand(3, 19, 26) * 2 - 1
    rows = torch.stack([TO_FIRST, TO_SECOND] * 5)
    together = sampler(known).sample(Request(range(10), rows, Options(), Inputs(source=source)))
    assert together.shape == (10, 3, 19, 26)
    for place in (0, 1, 9):
        row = rows[place : place + 1]
        alone = sampler(known).sample(Request([7], row, Options(), Inputs(source=source)))
        assert_close(alone[0], together[place], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("height", "width", "said"), [(7, 300, "300×7 pixels are too few"), (2001, 2000, "over 4 mega")]
)
def test_sources_too_small_and_too_large_are_named(height: int, width: int, said: str) -> None:
    source = torch.zeros(1).expand(3, height, width)
    with pytest.raises(ValueError, match=said):
        sampler(trainer()).sample(Request([0], TO_FIRST[None], Options(), Inputs(source=source)))


# ---------------------------------------------------------------- weights from elsewhere


class TheirBlock(nn.Module):
    def __init__(self, channels: int, with_dropout: bool) -> None:
        super().__init__()
        half: Callable[[], list[nn.Module]] = lambda: [  # noqa: E731
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        ]
        dropout: list[nn.Module] = [nn.Dropout(0.5)] if with_dropout else []
        self.conv_block = nn.Sequential(*half(), nn.ReLU(), *dropout, *half())

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv_block(features)


class TheirGenerator(nn.Module):
    """The layers of their ResNet generator, place by place."""

    def __init__(self, channels: int, blocks: int, with_dropout: bool = False) -> None:
        super().__init__()
        c = channels
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *(nn.Conv2d(3, c, 7), nn.InstanceNorm2d(c), nn.ReLU()),
            *(nn.Conv2d(c, 2 * c, 3, 2, 1), nn.InstanceNorm2d(2 * c), nn.ReLU()),
            *(nn.Conv2d(2 * c, 4 * c, 3, 2, 1), nn.InstanceNorm2d(4 * c), nn.ReLU()),
            *(TheirBlock(4 * c, with_dropout) for _ in range(blocks)),
            nn.ConvTranspose2d(4 * c, 2 * c, 3, 2, 1, output_padding=1),
            *(nn.InstanceNorm2d(2 * c), nn.ReLU()),
            nn.ConvTranspose2d(2 * c, c, 3, 2, 1, output_padding=1),
            *(nn.InstanceNorm2d(c), nn.ReLU()),
            *(nn.ReflectionPad2d(3), nn.Conv2d(c, 3, 7), nn.Tanh()),
        )


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("blocks", "with_dropout"), [(9, False), (6, True)])
def test_a_generator_trained_elsewhere_paints_the_same(
    prefix: str, blocks: int, with_dropout: bool
) -> None:
    theirs = TheirGenerator(6, blocks, with_dropout).eval()
    state = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    state[f"{prefix}model.2.running_mean"] = torch.ones(6)  # as files of their first years have
    state[f"{prefix}model.10.conv_block.2.num_batches_tracked"] = torch.tensor(3)
    weights, sizes = import_generator(state)
    assert sizes == {"channels": 6, "blocks": blocks, "upsampling": "transposed"}
    mine = Generator(**sizes)
    mine.load_state_dict(weights)
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    with torch.no_grad():
        assert_close(mine(images), theirs.model(images), rtol=0, atol=1e-5)


def test_its_way_through_a_file_needs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G_A.pth"
    theirs = TheirGenerator(4, 6).state_dict()
    torch.save(theirs, path)
    weights, sizes = import_generator(torch.load(path, weights_only=True))
    wanted, wanted_sizes = import_generator(theirs)
    assert sizes == wanted_sizes
    assert_close(weights, wanted, rtol=0, atol=0)
    Generator(**sizes).load_state_dict(weights)  # which refuses a missing and a surplus one


def _without(name: str) -> dict[str, Tensor]:
    state = TheirGenerator(4, 6).state_dict()
    del state[name]
    return dict(state)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"model.model.0.weight": torch.zeros(4, 3, 4, 4)},  # a U-Net
        {"generator.0.weight": torch.zeros(4, 3, 4, 4)},
        {"model.1.weight": "no tensor"},
        _without("model.10.conv_block.1.weight") | {"model.10.conv_block.1.bias": torch.zeros(16)},
        _without("model.23.bias") | {"model.2.weight": torch.ones(4)},  # batch normalisation
        _without("model.1.weight"),
        _without("model.23.weight"),
        _without("model.1.weight") | {"model.1.weight": torch.zeros(4, 1, 7, 7)},  # of grey
        _without("model.1.weight") | {"model.1.weight": torch.zeros(4)},
    ],
)
def test_other_weights_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"generator|convolution"):
        import_generator(state)
