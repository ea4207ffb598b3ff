"""The guardian: trainings that are made to go wrong, and what becomes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.common.checkpoints import load_weights
from components.families import FAMILIES
from components.families.paper002 import method as paper002
from components.families.port import ADVERSARIAL, Loss
from components.families.vae import method as vae
from components.training import create
from components.training.guardian import (
    LOOKS_IN_A_ROW,
    LOOKS_TO_FORGET,
    MAX_OVER_FITTING,
    MIN_ROWS,
    Guardian,
)
from interfaces.igme import IGME, TrainingSettings
from interfaces.progress import silent
from tests.components.families.test_every_family import TINY as TINY_FAMILIES
from tests.helpers import tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")

TINY = {"batch_size": 4, "generator_channels": 8, "discriminator_channels": 8}


def settings(**changes: object) -> TrainingSettings:
    chosen = {
        "family": "dcgan",
        "options": TINY,
        "total_images": 240,
        "guardian_images": 40,
        "measure_images": 0,
        "measure_count": 64,
        "held_out_fraction": 0.0,
    }
    return TrainingSettings.model_validate(chosen | changes)


def train(tmp_path: Path, **changes: object) -> tuple[IGME, list[dict[str, Any]]]:
    model = create(tmp_path).train(
        tiny_prepared(tmp_path / "set"), settings(**changes), tmp_path / "run", silent
    )
    return model, log_of(tmp_path)


def log_of(tmp_path: Path) -> list[dict[str, Any]]:
    text = (tmp_path / "run" / "guardian.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def spoil_once(monkeypatch: pytest.MonkeyPatch, at_step: int, spoil: Any) -> None:
    """Damage the trainer's networks in one step, the first time that it is taken."""
    step, done = paper002.Trainer.step, []

    def spoilt(self: paper002.Trainer, *given: Any) -> dict[str, torch.Tensor]:
        if self.num_steps == at_step and not done:
            done.append(True)
            with torch.no_grad():
                spoil(self)
        return step(self, *given)

    monkeypatch.setattr(paper002.Trainer, "step", spoilt)


def collapse(trainer: paper002.Trainer) -> None:
    """Whatever the seed, the same picture: the last convolution's weights are zero."""
    trainer.generator.body[-2].weight.zero_()  # type: ignore[union-attr, operator]


def plant_nan(trainer: paper002.Trainer) -> None:
    next(trainer.discriminator.parameters()).fill_(torch.nan)


def test_a_planted_nan_is_rolled_back_and_the_training_ends_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoil_once(monkeypatch, 30, plant_nan)
    model, log = train(tmp_path)
    assert model.images_seen == 240
    weights = load_weights(model.weights_path, model.weights_sha256)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert [row["saw"] for row in log] == ["not a number"]
    assert log[0]["images_seen"] == 160  # the end of the row in which it came
    assert "back to 120 images, learning rate now 2e-05" in log[0]["did"]
    assert log[0]["figures"]["discriminator_loss"] == "nan"


def test_a_nan_in_the_last_steps_is_rolled_back_and_the_training_goes_on_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoil_once(monkeypatch, 61, plant_nan)  # behind the last whole row of the curves
    model, log = train(tmp_path, total_images=250)
    assert [row["saw"] for row in log] == ["not a number"]
    assert model.images_seen == 252
    weights = load_weights(model.weights_path, model.weights_sha256)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_training_killed_before_its_first_good_state_has_one_once_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train(tmp_path, total_images=8)
    (tmp_path / "run" / "good.safetensors").unlink()
    spoil_once(monkeypatch, 5, plant_nan)
    model, log = train(tmp_path, total_images=100)
    assert "back to 8 images" in log[0]["did"]
    assert model.images_seen == 100


def test_a_planted_collapse_is_rolled_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spoil_once(monkeypatch, 35, collapse)
    model, log = train(tmp_path)
    assert [row["saw"] for row in log] == ["collapse"]
    assert log[0]["figures"]["spread"] < 0.25 * log[0]["figures"]["best_spread"]
    assert "back to 120 images, learning rate now 0.0001" in log[0]["did"]
    assert model.images_seen == 240


@pytest.mark.slow
def test_a_learning_rate_of_10_is_lowered_until_the_end_that_the_log_gives(
    tmp_path: Path,
) -> None:
    """The number of returns depends on the last bits; what follows from each does not."""
    model, log = train(tmp_path, options=TINY | {"learning_rate": 10.0}, total_images=400)
    assert log[0]["saw"] in ("divergence", "not a number")
    rate, reached = 10.0, 400
    for number, row in enumerate(log):
        back, *rest = row["did"].removeprefix("back to ").split(" images")
        if number == 3:
            assert rest == [", given up after 3 tries"]
            reached = int(back)
        else:
            rate *= 0.5 if row["saw"] == "collapse" else 0.1
            wanted = f", learning rate now {rate:g} (generator), {rate:g} (discriminator)"
            assert rest == [wanted]
    assert len(log) <= 4
    assert model.images_seen == reached
    weights = load_weights(model.weights_path, model.weights_sha256)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_it_gives_up_after_the_tries_and_leaves_the_last_good_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step = paper002.Trainer.step

    def always_spoilt(self: paper002.Trainer, *given: Any) -> dict[str, torch.Tensor]:
        if self.num_steps >= 30:
            with torch.no_grad():
                next(self.generator.parameters()).fill_(torch.nan)
        return step(self, *given)

    monkeypatch.setattr(paper002.Trainer, "step", always_spoilt)
    model, log = train(tmp_path, guardian_tries=2)
    assert model.images_seen == 120
    assert [row["did"].partition(",")[0] for row in log] == ["back to 120 images"] * 3
    assert "given up after 2 tries" in log[-1]["did"]
    assert "given up after 2 tries" in caplog.text
    weights = load_weights(model.weights_path, model.weights_sha256)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    # Asked again it does not start all over.
    again, _ = train(tmp_path, guardian_tries=2)
    assert again.digest == model.digest


@pytest.mark.slow
def test_only_watching_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spoil_once(monkeypatch, 35, collapse)
    _, log = train(tmp_path, guardian="watch")
    assert log
    assert {row["did"] for row in log} == {"only watched"}


@pytest.mark.slow
def test_stopped_after_a_rollback_it_goes_on_exactly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def plant(trainer: paper002.Trainer) -> None:
        next(trainer.discriminator.parameters()).fill_(torch.nan)

    with monkeypatch.context() as before:
        spoil_once(before, 30, plant)
        straight, _ = train(tmp_path / "straight")
    spoil_once(monkeypatch, 30, plant)
    train(tmp_path / "cut", total_images=170)
    resumed, log = train(tmp_path / "cut")
    assert resumed.digest == straight.digest
    assert len(log) == 1


def row(loss: float) -> dict[str, float]:
    return {"generator_loss": loss, "discriminator_loss": 1.0}


@given(st.lists(st.floats(0, 50), min_size=1, max_size=60))
def test_ordinary_losses_are_no_trouble(losses: list[float]) -> None:
    guardian = Guardian()
    for end in range(1, len(losses) + 1):
        assert guardian.judge_losses([row(loss) for loss in losses[:end]], ADVERSARIAL) is None


@given(st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_what_is_no_number_is_seen_at_once(value: float) -> None:
    sighting = Guardian().judge_losses([row(1.0), row(value)], ADVERSARIAL)
    assert sighting is not None
    assert sighting.trouble == "not a number"


def judged(*rows: dict[str, float], losses: tuple[Loss, ...] = ADVERSARIAL) -> str | None:
    sighting = Guardian().judge_losses(rows, losses)
    return sighting.trouble if sighting else None


def test_divergence_is_seen_by_its_size_and_by_its_rise() -> None:
    assert judged(row(10_001.0)) == "divergence"
    assert judged(row(-10_001.0)) == "divergence"
    quiet = [row(2.0)] * MIN_ROWS
    assert judged(*quiet, row(199.0)) is None
    assert judged(*quiet, row(201.0)) == "divergence"


def test_a_loss_without_a_limit_is_judged_by_its_rise_alone() -> None:
    """A bound in nats an image is large at any size worth having."""
    nats = (Loss("nats", "nats", limit=None),)
    assert judged({"nats": 1e6}, losses=nats) is None
    quiet = [{"nats": 9_000.0}] * MIN_ROWS
    assert judged(*quiet, {"nats": 890_000.0}, losses=nats) is None
    assert judged(*quiet, {"nats": 910_000.0}, losses=nats) == "divergence"


def test_a_loss_that_appears_late_is_judged_by_its_own_rows() -> None:
    late = (Loss("late", "late", limit=None),)
    silent_rows, quiet = [{"other": 1.0}] * MIN_ROWS, [{"late": 2.0}] * MIN_ROWS
    assert judged(*silent_rows, {"late": 500.0}, losses=late) is None
    assert judged(*silent_rows, *quiet, {"late": 500.0}, losses=late) == "divergence"


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.losses])
def test_every_loss_that_a_family_declares_is_judged(name: str) -> None:
    """Each by itself, whatever its name is."""
    for loss in FAMILIES[name].losses:
        quiet = [{loss.name: 1.0}] * MIN_ROWS
        assert judged(*quiet, {loss.name: 101.0}, losses=FAMILIES[name].losses) == "divergence"


@pytest.mark.parametrize("half", ["decoder", pytest.param("encoder", marks=pytest.mark.slow)])
def test_a_diverging_vae_is_rolled_back(
    half: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step, calls = vae.Trainer.step, []

    def spoilt(self: vae.Trainer, *given: Any) -> dict[str, torch.Tensor]:
        calls.append(half)
        if len(calls) == 55:  # behind the last look
            with torch.no_grad():
                last = self.vae.encoder.posterior if half == "encoder" else self.vae.decoder.to_rgb
                last.weight.mul_(1e5)
        return step(self, *given)

    monkeypatch.setattr(vae.Trainer, "step", spoilt)
    _, log = train(tmp_path, family="vae", options=TINY_FAMILIES["vae"], guardian_images=40)
    assert log[0]["saw"] == "divergence"
    assert log[0]["images_seen"] == 240
    assert set(log[0]["figures"]) & {"loss", "kl_divergence", "sigma"}


def test_pictures_that_never_differed_are_a_divergence_and_later_a_collapse() -> None:
    assert Guardian().judge_pictures(0.0, None).trouble == "divergence"  # type: ignore[union-attr]
    guardian = Guardian()
    assert guardian.judge_pictures(0.2, None) is None
    assert guardian.judge_pictures(0.06, None) is None  # low, yet not a quarter of the best
    assert guardian.judge_pictures(0.04, None).trouble == "collapse"  # type: ignore[union-attr]


def test_over_fitting_is_seen_when_it_stays() -> None:
    guardian, high = Guardian(), MAX_OVER_FITTING + 0.1
    seen = [guardian.judge_pictures(0.5, high) for _ in range(2 * LOOKS_IN_A_ROW)]
    told = [sighting.trouble if sighting else None for sighting in seen]
    assert told == [None, None, "over-fitting"] * 2
    assert guardian.judge_pictures(0.5, 0.1) is None


def test_a_trouble_long_after_the_last_has_tries_of_its_own() -> None:
    guardian, chosen = Guardian(), settings(guardian_tries=1)
    assert guardian.may_try_again(100, chosen)
    assert not guardian.may_try_again(120, chosen)
    later = 121 + LOOKS_TO_FORGET * chosen.guardian_images
    assert guardian.may_try_again(later, chosen)
