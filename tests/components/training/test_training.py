"""Training: exact resume, honest refusals, order, average, curves, and Ctrl-C."""

import csv
import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.testing import assert_close

from components.common.checkpoints import load_state, load_weights, save_state
from components.families.port import ADVERSARIAL, Loss
from components.training import TrainingFolder, create, loop
from components.training.curves import Curves
from components.training.ema import AveragedNetwork
from components.training.observer import Observer
from components.training.order import ImageOrder
from interfaces.errors import AtelierError, UnavailableError
from interfaces.igme import IGME, TrainingSettings, is_model
from interfaces.progress import ProgressEvent, silent
from tests.components.families.test_every_family import TINY as TINY_FAMILIES
from tests.components.families.test_every_family import quick_for
from tests.helpers import tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")

TINY = {"batch_size": 4, "generator_channels": 8, "discriminator_channels": 8}


def settings(family: str = "dcgan", **changes: object) -> TrainingSettings:
    chosen = {"family": family, "options": TINY, "total_images": 120, "measure_count": 64}
    chosen |= changes
    return TrainingSettings.model_validate(chosen)


def weights(model: IGME) -> dict[str, torch.Tensor]:
    return load_weights(model.weights_path, model.weights_sha256)


def test_a_family_of_two_styles_learns_from_a_collection_of_three(tmp_path: Path) -> None:
    """Its samples and measurements are of the two that it makes."""
    prepared = tiny_prepared(tmp_path / "set", n=60, styles=3)
    chosen = settings(
        "cyclegan", options=TINY_FAMILIES["cyclegan"], total_images=40, measure_images=20
    )
    model = create(tmp_path).train(prepared, chosen, tmp_path / "run", silent)
    assert len(model.styles) == 3 and model.measurements
    assert TrainingFolder(tmp_path / "run").grids()


@quick_for("dcgan")
def test_stopped_and_resumed_equals_straight(family: str, tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    straight = trainer.train(
        prepared, settings(family, options=TINY_FAMILIES[family]), tmp_path / "straight", silent
    )
    short = settings(family, options=TINY_FAMILIES[family], total_images=52)
    trainer.train(prepared, short, tmp_path / "resumed", silent)
    resumed = trainer.train(
        prepared, settings(family, options=TINY_FAMILIES[family]), tmp_path / "resumed", silent
    )
    for name, tensor in weights(straight).items():
        assert_close(weights(resumed)[name], tensor, rtol=0, atol=0)
    assert resumed.digest == straight.digest
    with (
        (tmp_path / "straight/curves.csv").open() as a,
        (tmp_path / "resumed/curves.csv").open() as b,
    ):
        for one, other in zip(csv.DictReader(a), csv.DictReader(b), strict=True):
            assert one | {"seconds": ""} == other | {"seconds": ""}


def test_a_finished_training_is_found_finished(tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    first = trainer.train(prepared, settings(), tmp_path / "run", silent)
    events: list[ProgressEvent] = []
    again = trainer.train(prepared, settings(), tmp_path / "run", events.append)
    assert again.digest == first.digest
    assert {event.stage for event in events} <= {"measure"}


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    trainer.train(prepared, settings(total_images=8), tmp_path / "run", silent)
    other = settings(seed=5, options=TINY | {"learning_rate": 0.1})
    with pytest.raises(AtelierError, match=r"seed was 0, is now 5.*learning_rate was 0.0002"):
        trainer.train(prepared, other, tmp_path / "run", silent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "nonsense"}, "unknown; there are dcgan"),
        ({"options": {"latent_dims": 3}}, "latent_dims"),
        ({"options": {"learning_rate": -1}}, "learning_rate: Input should be greater than 0"),
        ({"device": "mps"}, "not available"),
    ],
)
def test_unusable_settings_are_one_clear_line(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(AtelierError, match=message) as caught:
        create(tmp_path).train(
            tiny_prepared(tmp_path / "set"), settings(**changes), tmp_path / "run", silent
        )
    assert "\n" not in str(caught.value)


def test_a_resolution_the_family_cannot_make_is_refused(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", resolution=20)
    with pytest.raises(AtelierError, match="resolution 20"):
        create(tmp_path).train(prepared, settings(), tmp_path / "run", silent)


@pytest.mark.parametrize("guardian", ["off", "watch"])
def test_a_loss_that_is_no_number_stops_the_training(guardian: str, tmp_path: Path) -> None:
    options = TINY | {"learning_rate": 10, "optimiser": "sgd"}
    wild = settings("wgan_gp", options=options, total_images=8000, guardian=guardian)
    with pytest.raises(AtelierError, match=r"no longer a number.*learning_rate"):
        create(tmp_path).train(tiny_prepared(tmp_path / "set"), wild, tmp_path / "run", silent)


def test_too_little_memory_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    monkeypatch.setattr("components.training.loop._train", full)
    with pytest.raises(UnavailableError, match=r"not enough memory to train.*batch_size"):
        create(tmp_path).train(
            tiny_prepared(tmp_path / "set"), settings(), tmp_path / "run", silent
        )


def test_a_state_of_another_training_is_one_clear_line(tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    trainer.train(prepared, settings(total_images=8), tmp_path / "run", silent)
    save_state(tmp_path / "run" / "state.safetensors", {"something": "else"})
    with pytest.raises(AtelierError, match="not a state of this training"):
        trainer.train(prepared, settings(), tmp_path / "run", silent)


def test_a_time_budget_ends_the_training(tmp_path: Path) -> None:
    short = settings(total_images=None, total_seconds=0.5)
    events: list[ProgressEvent] = []
    model = create(tmp_path).train(
        tiny_prepared(tmp_path / "set"), short, tmp_path / "r", events.append
    )
    assert model.images_seen >= 4
    assert [event for event in events if event.stage == "train"][-1].unit == "seconds"
    assert model.metrics["training_seconds"] >= 0.5


@pytest.mark.parametrize(
    ("total_images", "total_seconds", "unit"),
    [(8, 3600.0, "images"), (10_000_000, 0.5, "seconds"), (8, None, "images")],
)
def test_progress_is_told_of_the_budget_that_ends_it(
    total_images: int, total_seconds: float | None, unit: str, tmp_path: Path
) -> None:
    chosen = settings(total_images=total_images, total_seconds=total_seconds)
    events: list[ProgressEvent] = []
    create(tmp_path).train(tiny_prepared(tmp_path / "set"), chosen, tmp_path / "r", events.append)
    last = [event for event in events if event.stage == "train"][-1]
    assert (last.unit, last.done) == (unit, last.total)


def test_a_measurement_that_uses_up_the_budget_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, late = Observer.measure, [0.0]

    def measure_slowly(self: Observer, network: nn.Module, seen: int, seconds: float) -> None:
        measure(self, network, seen, seconds)
        late.append(1000.0)

    monkeypatch.setattr(Observer, "measure", measure_slowly)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(late))
    monkeypatch.setattr("components.training.loop.time", clock)
    chosen = settings(
        total_images=10_000_000, total_seconds=900.0, measure_images=4, measure_features="embedded"
    )
    events: list[ProgressEvent] = []
    run = tmp_path / "run"
    model = create(tmp_path).train(tiny_prepared(tmp_path / "set"), chosen, run, events.append)
    assert model.images_seen == 4
    assert len(TrainingFolder(run).measurements()) == 1
    last = [event for event in events if event.stage == "train"][-1]
    assert (last.unit, last.done) == ("seconds", 900.0)


@pytest.mark.usefixtures("drawn_charts")
def test_what_a_training_leaves_behind(tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = create(tmp_path).train(tiny_prepared(tmp_path / "set"), settings(), run, silent)
    assert IGME.open(run / "model") == model
    assert json.loads((run / "settings.json").read_text())["options"]["batch_size"] == 4
    with Image.open(run / "samples" / "000000120.png") as grid:
        assert grid.size == (6 * (128 + 2) + 2,) * 2
    with Image.open(run / "curves.png") as curves:
        assert curves.width > 500
    assert not list(run.rglob("*.partial*"))


def test_ctrl_c_saves_and_the_rest_is_the_same(tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    straight = trainer.train(prepared, settings(), tmp_path / "straight", silent)

    def interrupt(event: ProgressEvent) -> None:
        if event.done >= 60:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.train(prepared, settings(), tmp_path / "run", interrupt)
    assert load_state(tmp_path / "run" / "state.safetensors")["images_seen"] == 60
    resumed = trainer.train(prepared, settings(), tmp_path / "run", silent)
    assert resumed.digest == straight.digest


def test_ctrl_c_in_the_last_step_stops_before_measuring(tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)

    def interrupt(event: ProgressEvent) -> None:
        assert event.stage != "measure"
        if event.done >= 120:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.train(prepared, settings(), tmp_path / "run", interrupt)
    assert load_state(tmp_path / "run" / "state.safetensors")["images_seen"] == 120


def test_what_was_refused_can_be_changed_in_the_same_folder(tmp_path: Path) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set", n=2), create(tmp_path)
    with pytest.raises(AtelierError, match="held_out_fraction: leaves nothing"):
        trainer.train(prepared, settings(held_out_fraction=0.99), tmp_path / "run", silent)
    changed = settings(held_out_fraction=0.0, measure_images=0)
    assert trainer.train(prepared, changed, tmp_path / "run", silent).images_seen == 120


def test_a_longer_training_that_ends_while_it_writes_leaves_no_mixed_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    trainer.train(prepared, settings(measure_images=0), tmp_path / "run", silent)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "complete_model", lambda model: pytest.fail("killed"))
        with pytest.raises(BaseException, match="killed"):
            trainer.train(
                prepared, settings(measure_images=0, total_images=160), tmp_path / "run", silent
            )
    assert not is_model(tmp_path / "run" / "model")


def test_tensorboard_where_asked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    asked = settings(tensorboard=True)
    create(tmp_path).train(tiny_prepared(tmp_path / "set"), asked, tmp_path / "run", silent)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


# ---------------------------------------------------------------- order


@given(
    size=st.integers(1, 40),
    seed=st.integers(0, 2**62),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    balanced=st.booleans(),
)
def test_the_order_is_the_same_however_it_is_cut(
    size: int, seed: int, cuts: list[int], balanced: bool
) -> None:
    labels = np.arange(size) % 3
    whole = ImageOrder(labels, seed, balanced).take(0, sum(cuts))
    order, position, parts = ImageOrder(labels, seed, balanced), 0, []
    for count in cuts:
        parts.append(order.take(position, count))
        position += count
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(size=st.integers(1, 50), seed=st.integers(0, 1000))
def test_a_pass_shows_every_image_once(size: int, seed: int) -> None:
    order = ImageOrder(np.zeros(size, np.int64), seed, is_balanced=False)
    for number in range(3):
        np.testing.assert_array_equal(np.sort(order.take(number * size, size)), np.arange(size))


def test_balanced_passes_draw_styles_equally_and_images_within_a_style_too() -> None:
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    drawn = ImageOrder(labels, 0, is_balanced=True).take(0, 300)
    counts = np.bincount(labels[drawn])
    assert counts.max() - counts.min() <= 3  # to within one in each of three passes
    of_style_1 = np.bincount(drawn, minlength=100)[90:99]
    assert of_style_1.max() - of_style_1.min() <= 3


# ---------------------------------------------------------------- average


def test_the_average_goes_half_the_way_in_a_half_life() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    averaged = AveragedNetwork(network, halflife_images=100)
    nn.init.ones_(network.weight)
    for _ in range(10):
        averaged.update(network, batch_size=10, images_seen=10_000)
    assert_close(averaged.network.weight.item(), 0.5)


def test_the_average_is_off_at_zero_and_copies_buffers() -> None:
    network = nn.BatchNorm1d(2)
    averaged = AveragedNetwork(network, halflife_images=0)
    network(torch.randn(8, 2))
    nn.init.constant_(network.weight, 3.0)
    averaged.update(network, 8, 8)
    for name, tensor in network.state_dict().items():
        assert_close(averaged.state_dict()[name], tensor)


# ---------------------------------------------------------------- curves, states


def test_curves_keep_means() -> None:
    curves = Curves(ADVERSARIAL)
    for step in range(2 * Curves.STEPS_PER_ROW):
        curves.add({"loss": torch.tensor(float(step))}, step + 1, 0.0)
    assert [row["loss"] for row in curves.rows] == [9.5, 29.5]


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    shared = torch.arange(3)
    state = {
        "a": shared,
        "b": [shared, {0: 1.5, "x": None}],
        "c": True,
        "rng": torch.Generator().get_state(),
    }
    save_state(tmp_path / "s", state)
    found = load_state(tmp_path / "s")
    assert found["b"][1] == {0: 1.5, "x": None}
    assert found["c"] is True
    assert_close(found["a"], shared)
    assert_close(found["rng"], state["rng"])


@pytest.mark.parametrize("damage", [b"", b"junk", b"\x80\x04pickle"])
def test_a_damaged_state_is_one_clear_line(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(damage)
    with pytest.raises(AtelierError, match="not a readable safetensors"):
        load_state(tmp_path / "state")


# ---------------------------------------------------------------- scalars that come late


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9)), min_size=20))
def test_a_mean_is_over_the_steps_that_reported_it(steps: list[dict[str, int]]) -> None:
    curves = Curves(())
    for seen, metrics in enumerate(steps):
        curves.add(metrics, seen, 0.0)
    for number, row in enumerate(curves.rows):
        twenty = steps[20 * number : 20 * (number + 1)]
        for name in "abc":
            values = [metrics[name] for metrics in twenty if name in metrics]
            assert (name in row) == bool(values)
            if values:
                assert row[name] == pytest.approx(sum(values) / len(values))


def test_a_row_begun_goes_on_exactly() -> None:
    straight, first, rest = Curves(()), Curves(()), Curves(())
    steps = [{"a": 1.0} if n < 15 else {"a": 1.0, "b": float(n)} for n in range(20)]
    for n, metrics in enumerate(steps):
        straight.add(metrics, n, 0.0)
        (first if n < 17 else rest).add(metrics, n, 0.0)
        if n == 16:
            rest.load_state_dict(first.state_dict())
    assert rest.rows == straight.rows == [{"images_seen": 19, "seconds": 0.0, "a": 1.0, "b": 17.0}]


def test_a_column_that_appears_late_is_empty_before(tmp_path: Path) -> None:
    curves = Curves(())
    curves.rows = [{"images_seen": 1, "seconds": 0.0}, {"images_seen": 2, "seconds": 0.0, "b": 3.0}]
    folder = TrainingFolder(tmp_path)
    curves.write(folder)
    (first, second) = folder.curves()["b"]
    assert math.isnan(first)
    assert second == 3.0


def test_penalties_that_begin_late_do_not_end_a_training(tmp_path: Path) -> None:
    late = {"gamma": 0.0, "final_gamma": 1.0, "burn_in_images": 100, "penalty_interval": 25}
    options = TINY_FAMILIES["r3gan"] | late
    chosen = settings("r3gan", options=options, total_images=160, measure_images=0)
    create(tmp_path).train(tiny_prepared(tmp_path / "set"), chosen, tmp_path / "run", silent)
    penalties = TrainingFolder(tmp_path / "run").curves()["r1_penalty"]
    assert [math.isnan(value) for value in penalties] == [True, False]


def test_a_loss_of_an_earlier_name_goes_on_under_its_new_one() -> None:
    """A state of version 0.2, which counted no scalar by itself."""
    curves = Curves((Loss("loss", "loss", formerly="generator_loss"),))
    row = {"images_seen": 80, "seconds": 1.0, "generator_loss": 2.0}
    curves.load_state_dict({"rows": [row], "sums": {"generator_loss": 10.0}, "num_steps": 10})
    for n in range(10):
        curves.add({"loss": 3.0}, 81 + n, 2.0)
    assert [row["loss"] for row in curves.rows] == [2.0, 2.0]
    assert curves.labelled(curves.last()) == {"loss": 2.0}


# ---------------------------------------------------------------- states that are lost or damaged


def stopped(tmp_path: Path, **changes: object) -> Path:
    """A training of 52 images, as a shorter budget leaves it; its state lies there twice."""
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    short = settings(total_images=52, measure_images=0, checkpoint_seconds=1e-9, **changes)
    trainer.train(prepared, short, tmp_path / "run", silent)
    return tmp_path / "run"


def went_on(tmp_path: Path, **changes: object) -> IGME:
    chosen = settings(measure_images=0, **changes)
    return create(tmp_path).train(tiny_prepared(tmp_path / "set"), chosen, tmp_path / "run", silent)


def lose(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [flip_a_bit, *(pytest.param(one, marks=pytest.mark.slow) for one in (lose, truncate))]
)
def test_a_lost_state_is_gone_on_without_from_the_one_before(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight = went_on(tmp_path / "straight")
    run = stopped(tmp_path)
    damage(run / "state.safetensors")
    assert went_on(tmp_path).digest == straight.digest
    assert "state.safetensors: " in caplog.text
    assert "going on from state.previous.safetensors" in caplog.text


def test_without_both_states_the_last_good_one_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = stopped(tmp_path, guardian_images=40)
    truncate(run / "state.safetensors")
    truncate(run / "state.previous.safetensors")
    assert went_on(tmp_path, guardian_images=40).images_seen == 120
    assert "going on from good.safetensors" in caplog.text


@pytest.mark.parametrize("damage", [lose, truncate])
def test_where_nothing_is_left_nothing_is_begun_again(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    run = stopped(tmp_path, guardian="off")
    before = (run / "model" / "model.json").read_bytes()
    damage(run / "state.safetensors")
    damage(run / "state.previous.safetensors")
    with pytest.raises(AtelierError, match=r"state.safetensors: .*put a copy of a state back"):
        went_on(tmp_path, guardian="off")
    assert (run / "model" / "model.json").read_bytes() == before


@pytest.mark.slow
def test_settings_that_came_later_count_as_their_defaults(tmp_path: Path) -> None:
    run = stopped(tmp_path)
    path = run / "settings.json"
    saved = json.loads(path.read_text())
    del saved["options"]["clip_value"], saved["style_balanced"]
    path.write_text(json.dumps(saved))
    assert went_on(tmp_path).images_seen == 120
    path.write_text(json.dumps(saved))
    with pytest.raises(AtelierError, match=r"clip_value was 0.01, is now 0.5"):
        went_on(tmp_path, options=TINY | {"clip_value": 0.5})


# ---------------------------------------------------------------- nothing is measured in silence


def test_measuring_at_the_end_is_announced(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    chosen = settings(total_images=8, measure_count=100)
    create(tmp_path).train(tiny_prepared(tmp_path / "set"), chosen, tmp_path / "run", events.append)
    told = [(event.done, event.total) for event in events if event.stage == "measure"]
    assert told[:2] == [(64, 100), (100, 100)]
