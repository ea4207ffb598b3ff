"""Components that break a promise of their port: refused in a run and by the contract tests."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from atelier.assembly import assemble
from atelier.choices import check_declared, choose
from atelier.contracts.samples import make_iodt, tiny_prepared
from atelier.runs import Run
from atelier.stages import make_images
from atelier.workspace import Workspace
from interfaces.errors import AtelierError
from interfaces.igme import IGME, TrainingSettings
from interfaces.iodt import ResultQuery
from interfaces.progress import silent
from interfaces.ui import Choices
from tests.end_to_end.cli import environment
from tests.helpers import REPOSITORY

OPTIONS = {"batch_size": 4, "generator_channels": 8, "discriminator_channels": 8}
TRAINING = TrainingSettings(family="dcgan", options=OPTIONS, total_images=16)


@dataclass(frozen=True)
class Wrong:
    """A replacement, and what is said of it."""

    component: str
    factory: str
    line: str

    @property
    def place(self) -> str:
        return f"tests.contracts.wrong:{self.factory}"

    @property
    def name(self) -> str:
        return f"component {self.component} ({self.place})"


SEEN_BY_A_TEST = {"ForgetsRuns": "test_what_is_kept_is_found_and_got"}
"""Faults that no guard sees in contract tests, whose queries name no run => tests that do."""

TRAINER = Wrong("training", "Elsewhere", "left its model in ")

WRONG = [
    Wrong("enhancement", "WrongShape", "gave pictures of 16x16 pixels; x4 makes 64x64"),
    Wrong("enhancement", "Swapped", "swapped pictures"),
    Wrong("generation", "NotANumber", "made an invalid IGDT: images: must be finite"),
    Wrong("generation", "Float64", "gave an invalid IGDT: images: must be a float32"),
    Wrong("enhancement", "LieAboutScale", "says that it enlarged by 16, not by 4"),
    Wrong("generation", "WrongDigest", "named another model's digest"),
    Wrong("generation", "Missing", "gave 3 of 4 pictures and no more"),
    Wrong("generation", "Surplus", "gave more than the 4 pictures asked for"),
    Wrong("generation", "Endless", "gave more than the 4 pictures asked for"),
    Wrong("enhancement", "Raising", "failed (IndexError: list index out of range)"),
    Wrong("enhancement", "ListForIterator", "gave a list where an iterator is due"),
    Wrong("enhancement", "Hoarding", "took 9 batches and gave none back; at most 8 are held"),
    Wrong("conversion", "NoRecord", "gave a file that carries no record"),
    Wrong("results_store", "OneForAll", "gave result 1 where "),
    Wrong("results_store", "ForgetsRuns", "gave a result of run 'other' where run '"),
    Wrong("results_store", "TellsTwice", "gave result 4 twice"),
    Wrong("results_store", "GeneratorForList", "gave a list_iterator where a list is due"),
    Wrong("results_store", "RowForResult", "gave a dict where a StoredResult is due"),
    Wrong("results_store", "KeepsAnother", "what it says it kept is another image"),
    Wrong("results_store", "RaisingStore", "failed (LookupError: no room)"),
    Wrong("ui", "RaisingWatch", "failed (ZeroDivisionError: division by zero)"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> IGME:
    folder = tmp_path_factory.mktemp("model")
    prepared = tiny_prepared(folder / "set")
    return assemble(folder).training.train(prepared, TRAINING, folder / "run", silent)


def _make_images(workspace: Path, model: IGME, wrong: Wrong, count: int = 4) -> None:
    """Make images as `generate` does once its settings are checked."""
    parts = assemble(workspace, {wrong.component: wrong.place})
    generate = {"count": count, "batch_size": 4 if count == 4 else 1}
    chosen = choose({"generate": generate, "enhance": {"enhancer": "lanczos", "scale": 4}})
    run = Run.begin(Workspace(workspace), "generate", chosen, "wrong", model)
    make_images(parts, run, model)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.factory)
def test_a_run_refuses_it_in_one_line(wrong: Wrong, model: IGME, tmp_path: Path) -> None:
    with pytest.raises(AtelierError) as refusal:
        _make_images(tmp_path, model, wrong, count=12 if wrong.factory == "Hoarding" else 4)
    line = str(refusal.value)
    assert line.startswith(f"{wrong.name}: {wrong.line}")
    assert "\n" not in line


def test_a_run_refuses_a_model_in_another_folder(tmp_path: Path) -> None:
    parts = assemble(tmp_path, {TRAINER.component: TRAINER.place})
    prepared = tiny_prepared(tmp_path / "set")
    with pytest.raises(AtelierError) as refusal:
        parts.training.train(prepared, TRAINING, tmp_path / "run" / "training", silent)
    line = str(refusal.value)
    assert line.startswith(f"{TRAINER.name}: {TRAINER.line}")
    assert "\n" not in line


DRIVER = """
import json, sys
import pytest

class Seen:
    def __init__(self):
        self.failures, self.skipped, self.passed = [], 0, 0
    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failures.append(report.longreprtext)
        self.skipped += report.skipped
        self.passed += report.when == "call" and report.passed

for arguments in json.loads(sys.argv[1]):
    seen = Seen()
    usual = ["--pyargs", "atelier.contracts", "-p", "atelier.contracts.plugin", "-x", "-q"]
    pytest.main([*usual, "-p", "no:cacheprovider", *arguments], plugins=[seen])
    print("SEEN" + json.dumps(vars(seen)))
"""


@dataclass(frozen=True)
class Verdict:
    """Findings of the contract tests."""

    failures: list[str]
    passed: int
    skipped: int


def _contract_tests(folder: Path, *runs: tuple[str, ...]) -> list[Verdict]:
    """The contract tests in an empty folder, with these arguments, one run after the other."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(runs)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    found = [line[4:] for line in done.stdout.splitlines() if line.startswith("SEEN")]
    assert len(found) == len(runs), done.stdout + done.stderr
    return [Verdict(**json.loads(line)) for line in found]


@pytest.mark.parametrize(
    ("factory", "line"),
    [
        ("RaisingGet", "failed (KeyError: 1)"),
        ("TellsTwice", "gave 2 results where at most 1 are due"),
    ],
)
def test_a_store_s_own_error_and_a_limit_are_looked_at(
    factory: str, line: str, tmp_path: Path
) -> None:
    wrong = Wrong("results_store", factory, line)
    store = assemble(tmp_path, {wrong.component: wrong.place}).results_store
    with pytest.raises(AtelierError) as refusal:
        if factory == "RaisingGet":
            store.get(1)
        else:
            store.keep(make_iodt(), "run")
            store.find(ResultQuery(limit=1))
    assert str(refusal.value) == f"{wrong.name}: {line}"


def test_an_interface_that_answers_nothing_is_refused(tmp_path: Path) -> None:
    place = "tests.contracts.wrong:AsksInVain"
    ui = assemble(tmp_path, {"ui": place}).ui
    with pytest.raises(AtelierError, match="gave a NoneType where a Choices is due"):
        ui.ask(Choices())


@pytest.mark.slow
def test_the_contract_tests_fail_for_each(tmp_path: Path) -> None:
    more = Wrong("results_store", "RaisingGet", ""), Wrong("ui", "AsksInVain", "")
    wrong = [*WRONG, TRAINER, *more]
    runs = [(f"--component={one.component}={one.place}",) for one in wrong]
    for one, verdict in zip(wrong, _contract_tests(tmp_path, *runs), strict=True):
        (failure,) = verdict.failures
        if one.factory in SEEN_BY_A_TEST:
            assert SEEN_BY_A_TEST[one.factory] in failure
        else:
            assert failure.startswith(f"{one.name}: ")
            assert "\n" not in failure


def test_a_store_that_ignores_fields_of_a_query_fails(tmp_path: Path) -> None:
    place = "tests.contracts.wrong:IgnoresFields"
    (verdict,) = _contract_tests(tmp_path, (f"--component=results_store={place}",))
    (failure,) = verdict.failures
    assert "test_every_field_of_a_query_must_hold" in failure


@pytest.mark.slow
def test_a_component_that_never_ends_fails_in_seconds(tmp_path: Path) -> None:
    place = "tests.contracts.wrong:Stalled"
    arguments = (f"--component=enhancement={place}", "--component-seconds=5")
    (verdict,) = _contract_tests(tmp_path, arguments)
    assert verdict.failures == [f"component enhancement={place}: did not finish within 5 s"]


@pytest.mark.slow
def test_an_honest_replacement_passes_for_what_it_declares(tmp_path: Path) -> None:
    honest = ("enhancement", "TimesFour"), ("conversion", "OnlyPng"), ("enhancement", "Nearest")
    runs = [(f"--component={name}=tests.contracts.wrong:{cls}",) for name, cls in honest]
    times_four, only_png, nearest = _contract_tests(tmp_path, *runs)
    assert not (times_four.failures or only_png.failures or nearest.failures)
    assert times_four.passed == nearest.passed > 8  # each at the scales that it declares
    assert times_four.skipped == nearest.skipped == 0
    assert only_png.skipped > 0 and only_png.passed > 8


@pytest.mark.parametrize(
    ("component", "factory", "layer", "line"),
    [
        ("enhancement", "TimesFour", {"enhance": {"scale": 16}}, "enlarges by 1, 4, not 16"),
        ("conversion", "OnlyPng", {"convert": {"format": "avif"}}, "writes png, not avif"),
    ],
)
def test_a_run_refuses_what_is_not_declared(
    component: str, factory: str, layer: dict[str, dict[str, object]], line: str, tmp_path: Path
) -> None:
    parts = assemble(tmp_path, {component: f"tests.contracts.wrong:{factory}"})
    with pytest.raises(AtelierError, match=f"component {component}: {line}"):
        check_declared(parts, choose(layer), "dcgan")
