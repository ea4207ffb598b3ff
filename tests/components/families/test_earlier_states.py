"""States that version 0.2 saved, one for each of its layouts, are gone on from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from components.common.checkpoints import load_state
from components.families import FAMILIES
from components.families.port import Shape
from components.families.trainer import FamilyTrainer, Machine

STATES = Path(__file__).parent / "states_0_2"
OPTIONS: dict[str, dict[str, Any]] = {
    "dcgan": {
        "batch_size": 2,
        "generator_channels": 4,
        "discriminator_channels": 4,
        "latent_dim": 2,
    },
    "vae": {"batch_size": 2, "latent_dim": 1, "channels": 8, "max_channels": 8},
    "cyclegan": {
        "batch_size": 2,
        "channels": 4,
        "blocks": 1,
        "discriminator_channels": 4,
        "discriminator_layers": 1,
        "pool_size": 2,
    },
}


def resumed(name: str) -> tuple[FamilyTrainer[Any], dict[str, Any]]:
    """A fresh trainer that has taken an earlier state, and the state."""
    family = FAMILIES[name]
    machine = Machine(torch.device("cpu"), torch.float32, torch.Generator().manual_seed(5))
    config = family.config.model_validate(OPTIONS[name])
    trainer = family.method().build_trainer(config, Shape(8, 2), machine)
    state = load_state(STATES / f"{name}.safetensors")
    trainer.load_state_dict(state)
    return trainer, state


@pytest.mark.parametrize("name", OPTIONS)
def test_networks_are_as_they_were_saved(name: str) -> None:
    trainer, state = resumed(name)
    for known, network in trainer.networks.items():
        saved = state.get("networks", state)[known]
        assert saved.keys() == network.state_dict().keys()
        for place, tensor in network.state_dict().items():
            assert_close(tensor, saved[place], rtol=0, atol=0)


def test_optimisers_keep_their_moments_and_rates() -> None:
    trainer, state = resumed("dcgan")
    for name, saved in state["optimisers"].items():
        found = trainer.optimisers[name].state_dict()
        assert found["param_groups"][0]["lr"] == saved["param_groups"][0]["lr"] == 1e-4
        for place, moments in saved["state"].items():
            assert_close(found["state"][place]["exp_avg"], moments["exp_avg"], rtol=0, atol=0)
            assert float(found["state"][place]["step"]) == 2


def test_counters_are_as_they_were_saved() -> None:
    assert resumed("dcgan")[0].num_steps == 2  # type: ignore[attr-defined]
    assert resumed("vae")[0].beta == 0.5  # type: ignore[attr-defined]
    trainer: Any
    trainer, state = resumed("cyclegan")
    assert trainer.images_seen == 4
    assert trainer.learning_rate_scales == {"generators": 0.5, "discriminators": 0.5}
    for pool, saved in zip(trainer.pools, state["pools"], strict=True):
        assert pool.count == saved["count"] == 2
        assert_close(pool.images, saved["images"], rtol=0, atol=0)
    assert_close(trainer.newest, state["newest"], rtol=0, atol=0)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_learns_on_and_is_saved_in_today_s_layout(name: str) -> None:
    trainer, _ = resumed(name)
    before = {place: tensor.clone() for place, tensor in trainer.network.state_dict().items()}
    trainer.step(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), 1)
    after = trainer.network.state_dict()
    assert any(not torch.equal(tensor, before[place]) for place, tensor in after.items())
    assert set(trainer.state_dict()) == {"networks", "optimisers", "counters"}
