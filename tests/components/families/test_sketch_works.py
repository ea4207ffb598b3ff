"""Diffusion told what pictures are like: the memory of works, the layers, and what begins there."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from components.common.encoder import Representation
from components.common.shipped import SHIPPED_MODELS
from components.families.port import Inputs, Request
from components.families.sketch_diffusion.config import Options
from components.families.sketch_diffusion.sampler import Sampler
from components.families.sketch_diffusion.trainer import Trainer
from components.families.sketch_diffusion.works import BEYOND, MEMORY, MIN_DISTANCE, Works
from components.metrics import load_features
from components.metrics.originality import Neighbours
from tests.components.families.tiny_diffusion import tiny_trainer

SIDE = 16
QUICK = {
    "batch_size": 8,
    "schedule": "continuous",
    "warm_up_images": 0,
    "learning_rate": 5e-3,
}


def trainer(representation: str = "embedded", seed: int = 0) -> Trainer:
    return tiny_trainer(SIDE, seed, **QUICK, representation=representation)


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Dark pictures of style 0 and bright ones of style 1, each of one colour."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(8) % 2
    colours = torch.rand(8, 3, 1, 1, generator=rng) - 1 + labels[:, None, None, None]
    return colours.expand(8, 3, SIDE, SIDE).contiguous(), labels


@pytest.fixture(scope="module")
def trained() -> Trainer:
    learnt = trainer()
    for step in range(30):
        learnt.step(*batch(step), 1)
    return learnt


def known_works(codes: Tensor, labels: Tensor) -> Works:
    works = Works(8)
    works.remember(codes, labels)
    return works


def test_representations_are_the_paintings_principal_components() -> None:
    """Against the neighbours that the shipped model carries, made by another way."""
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8).numpy()
    features = load_features("embedded", device="cpu").extract(pixels)
    known = Neighbours.load(SHIPPED_MODELS["shipped"] / "neighbours.safetensors")
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    wanted = (features - known.mean) @ known.basis / known.codes.float().std(dim=0)
    assert_close(Representation()(images), wanted, atol=1e-3, rtol=1e-3)


def test_the_newest_works_take_the_oldest_ones_places() -> None:
    works = Works(8)
    for first in range(0, MEMORY + 10, 2):
        codes = torch.full((2, Representation.SIZE), float(first)) + torch.tensor([[0.0], [1.0]])
        works.remember(codes, torch.tensor([first % 7, (first + 1) % 7]))
    assert int(works.count) == MEMORY + 10
    assert works.codes[:, 0].sort().values.tolist() == list(range(10, MEMORY + 10))
    newest = int(works.codes[:, 0].argmax())
    assert int(works.styles[newest]) == (MEMORY + 9) % 7


def test_a_drawn_representation_lies_beyond_a_work_seen_from_its_like() -> None:
    rng = torch.Generator().manual_seed(0)
    near, far = torch.zeros(2, Representation.SIZE), torch.full((2, Representation.SIZE), 50.0)
    codes = torch.cat([near, far]) + torch.randn(4, Representation.SIZE, generator=rng)
    works = known_works(codes, torch.zeros(4, dtype=torch.int64))
    pairs = [(0, 1), (1, 0), (2, 3), (3, 2)]
    beyond = [torch.lerp(codes[one], codes[other], -BEYOND) for one, other in pairs]
    for seed in range(20):
        drawn = works.draw(torch.tensor([1.0, 0.0]), torch.Generator().manual_seed(seed))
        assert min(float((drawn - point).norm()) for point in beyond) < 1e-3


def test_a_style_is_drawn_from_its_own_works_and_copies_are_no_neighbours() -> None:
    rng = torch.Generator().manual_seed(0)
    codes = 10 * torch.randn(6, Representation.SIZE, generator=rng)
    codes[1] = codes[0] + 0.5 * MIN_DISTANCE / Representation.SIZE**0.5  # mirrored, say
    works = known_works(codes, torch.tensor([0, 0, 0, 1, 1, 1]))
    for seed in range(20):
        drawn = works.draw(torch.tensor([1.0, 0.0]), torch.Generator().manual_seed(seed))
        pairs = [(0, 2), (2, 0), (1, 2), (2, 1)]
        beyond = [torch.lerp(codes[one], codes[other], -BEYOND) for one, other in pairs]
        assert min(float((drawn - point).norm()) for point in beyond) < 1e-3
    one = known_works(codes[:1], torch.tensor([0]))
    assert_close(one.draw(torch.tensor([1.0, 0.0]), rng), codes[0])


def test_nothing_is_drawn_where_no_work_of_the_style_is_known() -> None:
    works = known_works(torch.ones(3, Representation.SIZE), torch.tensor([0, 0, 0]))
    assert not works.draw(torch.tensor([0.0, 1.0]), torch.Generator()).any()
    assert not Works(8).draw(torch.tensor([0.5, 0.5]), torch.Generator()).any()


def test_training_remembers_every_image_with_its_style(trained: Trainer) -> None:
    works = trained.denoiser.works
    assert works is not None
    assert int(works.count) == 30 * 8
    assert works.styles[:8].tolist() == [0, 1] * 4
    images, _ = batch(0)
    assert_close(works.codes[:8], Representation()(images), atol=1e-4, rtol=1e-4)


def test_the_network_follows_what_it_is_told(trained: Trainer) -> None:
    """From noise alone, a bright picture's representation gives a brighter estimate."""
    network = trained.denoiser.eval()
    images, _ = batch(99)
    codes = Representation()(images)
    noise = torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    empty = torch.zeros(8, 2, SIDE, SIDE)
    with torch.no_grad():
        found = network(
            noise, torch.ones(8), torch.zeros(8, 2), torch.ones(8, 1, SIDE, SIDE), empty, codes
        )
    brightness, wanted = found.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3))
    assert float(torch.corrcoef(torch.stack([brightness, wanted]))[0, 1]) > 0.6


def test_a_model_that_was_told_nothing_goes_on_with_being_told() -> None:
    plain, told = trainer("none"), trainer(seed=1)
    plain.step(*batch(0), 1)
    told.start_from(plain.denoiser.state_dict(), {}, (0, 1), plain.config)
    x, t = torch.randn(8, 3, SIDE, SIDE), torch.full((8,), 0.5)
    rest = torch.eye(2)[batch(0)[1]], torch.ones(8, 1, SIDE, SIDE), torch.zeros(8, 2, SIDE, SIDE)
    with torch.no_grad():
        codes = torch.randn(8, Representation.SIZE)
        assert_close(told.denoiser(x, t, *rest, codes), plain.denoiser(x, t, *rest))


def test_another_training_keeps_the_layers_and_forgets_the_works(trained: Trainer) -> None:
    other = trainer(seed=1)
    other.start_from(trained.denoiser.state_dict(), {}, (1, 0), trained.config)
    before, after = trained.denoiser.works, other.denoiser.works
    assert before is not None
    assert after is not None
    assert torch.equal(before.inner.weight, after.inner.weight)
    assert int(after.count) == 0
    assert not after.codes.any()
    plain = trainer("none")
    plain.start_from(trained.denoiser.state_dict(), {}, (0, 1), trained.config)


def test_a_training_goes_on_exactly(trained: Trainer) -> None:
    straight = trainer(seed=5)
    for step in range(4):
        straight.step(*batch(step), 1)
    stopped = trainer(seed=5)
    for step in range(2):
        stopped.step(*batch(step), 1)
    resumed = trainer(seed=6)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    resumed.machine.rng.set_state(stopped.machine.rng.get_state())
    for step in range(2, 4):
        resumed.step(*batch(step), 1)
    wanted = straight.denoiser.state_dict()
    assert all(torch.equal(wanted[n], w) for n, w in resumed.denoiser.state_dict().items())


def test_pictures_begin_at_works_by_their_seed_alone(trained: Trainer) -> None:
    sampler = Sampler(trained.denoiser, trained.config)

    def made(seeds: list[int], **options: object) -> Tensor:
        styles = torch.eye(2)[torch.tensor(seeds) % 2]
        chosen = Options.model_validate({"steps": 3} | options)
        return sampler.sample(Request(seeds, styles, chosen))

    together = made([0, 1, 2])
    assert torch.equal(together[1], made([1])[0])
    assert not torch.equal(together, made([0, 1, 2], representation_guidance=2))


def test_the_way_to_another_seed_ends_at_its_picture_and_does_not_jump(trained: Trainer) -> None:
    """Through noise and works, from one style to the other."""
    sampler = Sampler(trained.denoiser, trained.config)

    def made(seed: int, blend: float, **options: object) -> Tensor:
        styles = torch.tensor([[1 - blend, blend]], dtype=torch.float32)
        chosen = Options.model_validate({"steps": 3, "blend": blend} | options)
        return sampler.sample(Request([seed], styles, chosen))

    for sampler_name in ("dpmpp_2m", "ddpm"):
        first, last = (made(n, n, sampler=sampler_name) for n in (0, 1))
        way = [made(0, n / 50, towards_seed=1, sampler=sampler_name) for n in range(51)]
        assert torch.equal(way[0], first) and torch.equal(way[-1], last)
        strides = [float((b - a).norm()) for a, b in pairwise(way)]
        assert max(strides) < 0.2 * float((last - first).norm())


def test_a_drawing_is_followed_without_works(trained: Trainer) -> None:
    sampler = Sampler(trained.denoiser, trained.config)
    sketch = torch.zeros(1, SIDE, SIDE)
    sketch[0, 8, 3:13] = 1
    chosen = Options(steps=3)
    request = Request([0], torch.eye(2)[:1], chosen, Inputs(sketch=sketch))
    forgetful = copy.deepcopy(trained.denoiser)
    assert forgetful.works is not None
    forgetful.works.count.zero_()
    assert torch.equal(sampler.sample(request), Sampler(forgetful, trained.config).sample(request))


def test_a_model_that_was_told_nothing_refuses_the_option() -> None:
    plain = trainer("none")
    request = Request([0], torch.eye(2)[:1], Options(steps=1, representation_guidance=2))
    with pytest.raises(ValueError, match="was not told"):
        Sampler(plain.denoiser, plain.config).sample(request)


def test_where_no_picture_begins_between_works_the_option_is_refused(trained: Trainer) -> None:
    sampler = Sampler(trained.denoiser, trained.config)
    sketch, source = torch.eye(SIDE)[None], torch.rand(3, SIDE, SIDE) * 2 - 1
    options = {"steps": 1, "representation_guidance": 2}

    def made(inputs: Inputs, **more: float) -> Tensor:
        chosen = Options.model_validate(options | more)
        return sampler.sample(Request([0], torch.eye(2)[:1], chosen, inputs))

    with pytest.raises(ValueError, match=r"^representation_guidance: .* where strokes"):
        made(Inputs(sketch=sketch))
    with pytest.raises(ValueError, match=r"^representation_guidance: .* painted anew"):
        made(Inputs(source=source), source_strength=0.5)


def test_a_source_with_its_own_style_refuses_to_follow_another(trained: Trainer) -> None:
    source = Inputs(source=torch.rand(3, SIDE, SIDE) * 2 - 1, has_own_style=True)
    request = Request([0], torch.eye(2)[:1], Options(source_strength=0.5, guidance=2), source)
    with pytest.raises(ValueError, match=r"^guidance: "):
        Sampler(trained.denoiser, trained.config).sample(request)
