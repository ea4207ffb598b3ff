"""float32 or bfloat16: asked for, or measured once for each machine, family and config."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.common.devices import pick_dtype
from components.families import FAMILIES
from components.families.paper002 import method as paper002
from components.families.port import Shape
from components.training import arithmetic, create
from components.training.arithmetic import MIN_GAIN, STEPS, choose_dtype
from interfaces.igme import TrainingSettings
from interfaces.progress import silent
from tests.helpers import tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")

CPU = torch.device("cpu")
SHAPE = Shape(resolution=16, num_styles=2)
FAMILY = FAMILIES["dcgan"]
TINY: dict[str, Any] = {"batch_size": 4, "generator_channels": 4, "discriminator_channels": 4}


@pytest.fixture(autouse=True)
def _vectors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that has bfloat16 instructions and no matrix units, whatever this one has."""
    capabilities = {"avx512_bf16": True, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict(capabilities))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The arithmetic of each step that is taken."""
    taken: list[torch.dtype] = []
    step = paper002.Trainer.step

    def counted(self: paper002.Trainer, *given: Any) -> dict[str, torch.Tensor]:
        taken.append(self.machine.dtype)
        return step(self, *given)

    monkeypatch.setattr(paper002.Trainer, "step", counted)
    return taken


def ask(precision: str = "auto", shape: Shape = SHAPE, **options: Any) -> torch.dtype:
    config = FAMILY.config.model_validate(TINY | options)
    return choose_dtype(precision, FAMILY, config, shape, CPU)


def answers(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "arithmetic").glob("*.json"))


@pytest.mark.parametrize("has_vectors", [False, True])
def test_what_is_named_is_taken_at_its_word(
    has_vectors: bool, monkeypatch: pytest.MonkeyPatch, steps: list[torch.dtype], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_vectors})
    assert ask("float32") is torch.float32
    assert ask("bfloat16") is torch.bfloat16
    assert not steps
    assert not answers(tmp_path)


def test_auto_measures_both_once_and_remembers(steps: list[torch.dtype], tmp_path: Path) -> None:
    first = ask()
    assert steps.count(torch.float32) == steps.count(torch.bfloat16) == STEPS + 1
    (answer,) = answers(tmp_path)
    gain = json.loads(answer.read_text())["times_as_fast"]
    assert gain > 0
    assert first is (torch.bfloat16 if gain >= MIN_GAIN else torch.float32)
    steps.clear()
    assert ask() is first
    assert not steps


Pace = Callable[[float], list[torch.dtype]]


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    """Sets how many times as long a float32 step takes, on a clock that the steps themselves move.

    The first step of each precision, the warm-up, takes a thousand units. Gives the steps taken.
    """
    now = [0.0]
    monkeypatch.setattr(arithmetic.time, "perf_counter", lambda: now[0])

    def at(gain: float) -> list[torch.dtype]:
        taken: list[torch.dtype] = []

        def step(self: paper002.Trainer, *given: Any) -> dict[str, torch.Tensor]:
            dtype = self.machine.dtype
            usual = gain if dtype is torch.float32 else 1.0
            now[0] += usual if dtype in taken else 1000.0
            taken.append(dtype)
            return {}

        monkeypatch.setattr(paper002.Trainer, "step", step)
        return taken

    return at


@pytest.mark.parametrize(
    ("gain", "chosen"),
    [
        (MIN_GAIN + 0.001, torch.bfloat16),
        (4.0, torch.bfloat16),
        (MIN_GAIN - 0.001, torch.float32),
        (0.3, torch.float32),
    ],
)
def test_bfloat16_is_taken_where_it_gains_enough(
    gain: float, chosen: torch.dtype, pace: Pace, tmp_path: Path
) -> None:
    taken = pace(gain)
    assert ask() is chosen
    (answer,) = answers(tmp_path)
    assert json.loads(answer.read_text()) == {"times_as_fast": pytest.approx(gain)}
    taken.clear()
    assert ask() is chosen  # as it was remembered
    assert not taken


def test_each_config_and_shape_has_an_answer_of_its_own(pace: Pace, tmp_path: Path) -> None:
    pace(2.0)
    assert ask() is torch.bfloat16
    assert ask(shape=Shape(32, 2)) is torch.bfloat16
    taken = pace(0.5)
    assert ask(batch_size=8) is torch.float32
    assert ask(shape=Shape(16, 3)) is torch.float32
    assert len(answers(tmp_path)) == 4
    taken.clear()
    assert [ask(), ask(batch_size=8)] == [torch.bfloat16, torch.float32]
    assert not taken


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"times_as_fast": "fast"}']
)
def test_a_damaged_answer_is_measured_again(damage: bytes, pace: Pace, tmp_path: Path) -> None:
    pace(0.5)
    assert ask() is torch.float32
    (answer,) = answers(tmp_path)
    answer.write_bytes(damage)
    pace(2.0)
    assert ask() is torch.bfloat16
    assert json.loads(answer.read_text()) == {"times_as_fast": 2.0}


def test_where_nothing_can_be_kept_it_is_measured_each_time(pace: Pace, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    pace(2.0)
    assert ask() is torch.bfloat16
    pace(0.5)
    assert ask() is torch.float32


@pytest.mark.parametrize(
    "capabilities", [{}, {"avx512_bf16": False}, {"avx512_bf16": True, "amx_bf16": True}]
)
def test_where_there_is_no_doubt_nothing_is_measured(
    capabilities: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
    steps: list[torch.dtype],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert ask() is pick_dtype("auto", CPU)
    assert ask() is (torch.bfloat16 if "amx_bf16" in capabilities else torch.float32)
    assert not steps
    assert not answers(tmp_path)


def test_a_training_is_the_same_whether_it_was_measured_before_or_not(
    monkeypatch: pytest.MonkeyPatch, steps: list[torch.dtype], tmp_path: Path
) -> None:
    monkeypatch.setattr(arithmetic, "MIN_GAIN", float("inf"))  # float32, whatever is found
    prepared, trainer = tiny_prepared(tmp_path / "set"), create(tmp_path)
    models = [
        trainer.train(prepared, chosen, tmp_path / chosen.precision, silent)
        for chosen in (
            TrainingSettings(options=TINY, total_images=16, measure_images=0, precision=precision)
            for precision in ("float32", "auto")
        )
    ]
    assert steps.count(torch.bfloat16) == STEPS + 1
    assert models[0].weights_sha256 == models[1].weights_sha256
