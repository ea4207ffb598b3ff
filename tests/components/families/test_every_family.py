"""One test body, every family: whatever is in the table keeps the port's promises."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch.testing import assert_close

from components.common.checkpoints import load_state, save_state
from components.families import FAMILIES, AnyFamily
from components.families.port import FamilyConfig, Request, Shape, Trouble
from components.families.trainer import FamilyTrainer, Machine

CPU = torch.device("cpu")
SHAPE = Shape(resolution=16, num_styles=2)

# Small enough for seconds on a CPU; a family adds its own line where these do not fit.
TINY = {
    name: {"batch_size": 4, "generator_channels": 8, "discriminator_channels": 8}
    for name in ("dcgan", "dcgan_wi", "wgan_gp")
} | {
    "r3gan": {"batch_size": 4, "channels": 16, "max_channels": 16, "penalty_interval": 2},
    "sketch_diffusion": {"batch_size": 4, "channels": 16, "max_channels": 16, "blocks": 1},
    "stylegan2": {
        "batch_size": 4,
        "latent_dim": 16,
        "w_dim": 16,
        "channel_max": 16,
        "r1_interval": 2,
        "path_length_interval": 2,
        "ada_images": 100,
    },
    "vae": {"batch_size": 4, "latent_dim": 8, "channels": 8, "max_channels": 16},
    "cyclegan": {
        "batch_size": 4,
        "channels": 8,
        "blocks": 1,
        "discriminator_channels": 8,
        "discriminator_layers": 1,
    },
}

TRAINABLE = [name for name, family in FAMILIES.items() if family.is_trainable]
adopted_only = pytest.mark.skip(reason="comes trained: nothing to train; its own tests hold it")
every_family = pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, id=name, marks=() if name in TRAINABLE else adopted_only)
        for name, family in FAMILIES.items()
    ],
)


def quick_for(*quick: str) -> pytest.MarkDecorator:
    """Every family that can be trained; those that are not named make a slow test."""
    marks = {name: () if name in quick else pytest.mark.slow for name in TRAINABLE}
    return pytest.mark.parametrize(
        "family", [pytest.param(name, marks=mark) for name, mark in marks.items()]
    )


def tiny_config(family: AnyFamily) -> FamilyConfig:
    return family.config.model_validate(TINY[family.name])


def tiny_trainer(family: AnyFamily, seed: int = 0) -> tuple[FamilyTrainer[Any], torch.Generator]:
    rng = torch.Generator().manual_seed(seed)
    machine = Machine(CPU, torch.float32, rng)
    trainer = family.method().build_trainer(tiny_config(family), SHAPE, machine)
    return trainer, rng


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(4, 3, 16, 16, generator=rng) * 2 - 1, torch.tensor([0, 1, 0, 1])


@every_family
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_learns_and_tells_finite_scalars(family: AnyFamily, accumulate: int) -> None:
    trainer, _ = tiny_trainer(family)
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    for step in range(6):  # wgan_gp's generator moves at every fifth
        metrics = trainer.step(*batch(step), accumulate)
        assert {loss.name for loss in family.losses} <= set(metrics)
        for name, value in metrics.items():
            assert value.shape == (), name
            assert not value.requires_grad, name
            assert torch.isfinite(value), name
    after = trainer.network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@every_family
def test_saved_and_loaded_it_goes_on_exactly(family: AnyFamily, tmp_path: Path) -> None:
    straight, rng = tiny_trainer(family)
    for step in range(3):
        straight.step(*batch(step), 1)
    save_state(tmp_path / "state.safetensors", {"t": straight.state_dict(), "r": rng.get_state()})
    for step in range(3, 8):
        straight.step(*batch(step), 1)

    resumed, rng = tiny_trainer(family, seed=1)
    state = load_state(tmp_path / "state.safetensors")
    resumed.load_state_dict(state["t"])
    rng.set_state(state["r"])
    for step in range(3, 8):
        resumed.step(*batch(step), 1)

    wanted = straight.network.state_dict()
    for name, tensor in resumed.network.state_dict().items():
        assert_close(tensor, wanted[name], rtol=0, atol=0)


@every_family
def test_bfloat16_trains_too(family: AnyFamily) -> None:
    rng = torch.Generator().manual_seed(0)
    machine = Machine(CPU, torch.bfloat16, rng)
    trainer = family.method().build_trainer(tiny_config(family), SHAPE, machine)
    for step in range(6):
        metrics = trainer.step(*batch(step), 1)
    assert all(torch.isfinite(value) for value in metrics.values())
    assert all(p.dtype is torch.float32 for p in trainer.network.parameters())


@every_family
def test_a_picture_depends_on_its_seed_alone(family: AnyFamily) -> None:
    trainer, _ = tiny_trainer(family)
    for step in range(6):  # running statistics must be used, not the batch's own
        trainer.step(*batch(step), 1)
    sampler = family.method().build_sampler(trainer.network, tiny_config(family))
    seeds = list(range(20))
    styles = torch.eye(SHAPE.num_styles)[[seed % SHAPE.num_styles for seed in seeds]]
    together = sampler.sample(Request(seeds, styles, family.options()))
    assert together.shape == (20, 3, 16, 16)
    assert together.dtype is torch.float32
    assert together.device == CPU
    assert together.abs().max() <= 1
    assert together.std(dim=0).max() > 0
    for seed in (0, 3, 8, 19):
        alone = sampler.sample(Request([seed], styles[seed : seed + 1], family.options()))
        assert_close(alone[0], together[seed], rtol=0, atol=0)
    backwards = sampler.sample(Request(seeds[::-1], styles.flip(0), family.options()))
    assert_close(backwards.flip(0), together, rtol=0, atol=0)


@every_family
def test_steps_of_a_picture_are_reported_to_the_end_and_change_nothing(family: AnyFamily) -> None:
    trainer, _ = tiny_trainer(family)
    sampler = family.method().build_sampler(trainer.network, tiny_config(family))
    told: list[tuple[int, int]] = []
    quiet = Request(range(10), torch.eye(2)[[0, 1] * 5], family.options())
    made = sampler.sample(replace(quiet, tell=lambda *steps: told.append(steps)))
    assert_close(made, sampler.sample(quiet), rtol=0, atol=0)
    assert bool(told) == (family.name == "sketch_diffusion")  # the others take one step
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]


@every_family
@pytest.mark.parametrize("trouble", get_args(Trouble))
def test_a_remedy_is_told_and_goes_with_the_state(family: AnyFamily, trouble: Trouble) -> None:
    trainer, rng = tiny_trainer(family)
    trainer.step(*batch(0), 1)
    said = trainer.remedy(trouble)
    assert said
    saved, noise = copy.deepcopy(trainer.state_dict()), rng.get_state()
    straight = [trainer.step(*batch(step), 1) for step in range(1, 6)]
    resumed, rng = tiny_trainer(family, seed=1)
    resumed.load_state_dict(saved)
    rng.set_state(noise)
    for step, wanted in enumerate(straight, start=1):
        assert_close(resumed.step(*batch(step), 1), wanted, rtol=0, atol=0)


@every_family
def test_another_training_can_start_from_its_weights(family: AnyFamily) -> None:
    trained, _ = tiny_trainer(family)
    for step in range(6):
        trained.step(*batch(step), 1)
    fresh, _ = tiny_trainer(family, seed=1)
    companions = {name: network.state_dict() for name, network in trained.companions().items()}
    fresh.start_from(trained.network.state_dict(), companions, [0, 1], trained.config)
    images, labels = batch(9)
    scores = trained.scores(images, labels)
    if scores is not None:
        assert_close(fresh.scores(images, labels), scores)
    for name, tensor in fresh.network.state_dict().items():
        assert_close(tensor, trained.network.state_dict()[name])


@every_family
def test_scores_leave_no_trace(family: AnyFamily) -> None:
    trainer, noise = tiny_trainer(family)
    trainer.step(*batch(0), 1)
    resumed, rng = tiny_trainer(family, seed=1)
    resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
    rng.set_state(noise.get_state())
    trainer.scores(*batch(1))
    wanted = resumed.step(*batch(2), 1)
    assert_close(trainer.step(*batch(2), 1), wanted, rtol=0, atol=0)
    for name, network in trainer.companions().items():
        wanted = resumed.companions()[name].state_dict()
        for key, tensor in network.state_dict().items():
            assert_close(tensor, wanted[key])


@every_family
def test_weights_fit_a_network_built_from_config_and_shape(family: AnyFamily) -> None:
    trainer, _ = tiny_trainer(family)
    config = tiny_config(family)
    again = family.config.model_validate_json(config.model_dump_json())
    network = family.method().build_network(again, SHAPE)
    network.load_state_dict(trainer.network.state_dict())


def test_the_table_names_each_family_once() -> None:
    assert all(name == family.name for name, family in FAMILIES.items())
    assert set(TINY) == set(TRAINABLE)
