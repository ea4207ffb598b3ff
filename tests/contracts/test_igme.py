"""IGME: the message, the model's folder, and what any trainer must keep."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from interfaces.errors import AtelierError
from interfaces.igme import IGME, Trainer, TrainingSettings
from interfaces.progress import ProgressEvent, silent
from tests.contracts.conftest import Component
from tests.helpers import digest, tiny_prepared

FIELDS = {
    "directory": Path("model"),
    "family": "dcgan",
    "config": {"latent_dim": 100},
    "weights_sha256": digest("weights"),
    "resolution": 64,
    "styles": ("baroque", "ukiyo-e"),
    "dataset_name": "paintings",
    "dataset_digest": digest("prepared"),
    "images_seen": 1000,
    "metrics": {"generator_loss": 1.5},
}


def message(**changes: object) -> IGME:
    return IGME.model_validate(FIELDS | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": ""},
        {"weights_sha256": "abc"},
        {"weights_sha256": digest("x").upper()},
        {"resolution": 4},
        {"resolution": 64.5},
        {"images_seen": -1},
        {"metrics": {"generator_loss": float("nan")}},
        {"metrics": {"generator_loss": float("inf")}},
        {"schema_version": 2},
        {"unknown": 1},
    ],
)
def test_nonsense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        message(**changes)


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        message().family = "other"


def test_json_and_bytes_bring_it_back() -> None:
    assert IGME.from_json(message().to_json()) == message()
    assert IGME.from_bytes(message().to_bytes()) == message()


def test_the_digest_is_of_family_config_and_weights_alone() -> None:
    same = {"directory": Path("elsewhere"), "metrics": {}, "images_seen": 5, "styles": ("a",)}
    assert message(**same).digest == message().digest
    for changes in ({"family": "x"}, {"config": {}}, {"weights_sha256": digest("other")}):
        assert message(**changes).digest != message().digest


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"family": 3}'])
def test_a_damaged_folder_is_one_clear_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(AtelierError) as caught:
        IGME.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_says_that_a_model_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match=r"model\.json is missing"):
        IGME.open(tmp_path)


def test_training_needs_an_end() -> None:
    with pytest.raises(ValidationError, match="budget"):
        TrainingSettings()


# ---------------------------------------------------------------- the trainer's port


def trainer(component: Component) -> Trainer:
    found = component("training")
    assert isinstance(found, Trainer)
    return found


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Callable[..., TrainingSettings]:
    """Settings of so many images, for the family that the trainer under test knows."""
    chosen = json.loads(request.config.getoption("--training"))

    def settings(images: int, seed: int = 0) -> TrainingSettings:
        return TrainingSettings(**chosen, total_images=images, seed=seed)

    return settings


Budget = Callable[..., TrainingSettings]


def test_a_trainer_leaves_a_model_that_can_be_moved(
    component: Component, budget: Budget, tmp_path: Path
) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    events: list[ProgressEvent] = []
    model = trainer(component).train(prepared, budget(16), tmp_path / "run", events.append)
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


def test_a_trainer_goes_on_exactly(component: Component, budget: Budget, tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    straight = trainer(component).train(prepared, budget(40), tmp_path / "straight", silent)
    trainer(component).train(prepared, budget(16), tmp_path / "run", silent)
    resumed = trainer(component).train(prepared, budget(40), tmp_path / "run", silent)
    assert resumed.digest == straight.digest


def test_a_trainer_refuses_other_settings(
    component: Component, budget: Budget, tmp_path: Path
) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    trainer(component).train(prepared, budget(8), tmp_path / "run", silent)
    with pytest.raises(AtelierError, match="seed"):
        trainer(component).train(prepared, budget(8, seed=1), tmp_path / "run", silent)


def test_a_trainer_refuses_an_unknown_family(component: Component, tmp_path: Path) -> None:
    unknown = TrainingSettings(family="no such family", total_images=8)
    with pytest.raises(AtelierError, match="no such family"):
        prepared = tiny_prepared(tmp_path / "set")
        trainer(component).train(prepared, unknown, tmp_path / "run", silent)
