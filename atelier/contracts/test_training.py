"""Promises that every trainer must keep: those of `interfaces/igme.py`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.contracts.refusals import refused
from atelier.contracts.samples import tiny_prepared
from interfaces.components import Components
from interfaces.igme import IGME, Trainer, TrainingSettings
from interfaces.progress import ProgressEvent, silent

Budget = Callable[..., TrainingSettings]


@pytest.fixture
def trainer(parts: Components) -> Trainer:
    return parts.training


def test_a_trainer_leaves_a_model_that_can_be_moved(
    trainer: Trainer, budget: Budget, tmp_path: Path
) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    events: list[ProgressEvent] = []
    model = trainer.train(prepared, budget(16), tmp_path / "run", events.append)
    assert model.directory == tmp_path / "run" / "model"
    assert IGME.open(model.directory).digest == model.digest
    assert model.resolution == prepared.resolution
    assert model.styles == prepared.styles
    assert model.dataset_digest == prepared.digest
    assert model.images_seen >= 16
    assert model.weights_path.is_file()
    assert events
    assert events[-1].done == events[-1].total
    moved = tmp_path / "moved"
    shutil.move(model.directory, moved)
    assert IGME.open(moved).digest == model.digest


def test_a_trainer_goes_on_exactly(trainer: Trainer, budget: Budget, tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    straight = trainer.train(prepared, budget(40), tmp_path / "straight", silent)
    trainer.train(prepared, budget(16), tmp_path / "run", silent)
    resumed = trainer.train(prepared, budget(40), tmp_path / "run", silent)
    assert resumed.digest == straight.digest


def test_a_trainer_refuses_other_settings(trainer: Trainer, budget: Budget, tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    trainer.train(prepared, budget(8), tmp_path / "run", silent)
    with refused("seed"):
        trainer.train(prepared, budget(8, seed=1), tmp_path / "run", silent)


def test_a_trainer_refuses_an_unknown_family(trainer: Trainer, tmp_path: Path) -> None:
    unknown = TrainingSettings(family="no such family", total_images=8)
    with refused("no such family"):
        prepared = tiny_prepared(tmp_path / "set")
        trainer.train(prepared, unknown, tmp_path / "run", silent)
