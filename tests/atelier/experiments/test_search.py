"""The search: it finds, gives up, survives kills, keeps to its time, and says what it found."""

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from PIL import Image
from scipy.stats import f_oneway, rankdata
from sqlalchemy import Engine, event

import settings as presets
from atelier.choices import with_defaults
from atelier.experiments.figures import draw_history, draw_importances
from atelier.experiments.search import space
from atelier.experiments.search.importance import importances
from atelier.experiments.search.preset import to_toml
from atelier.experiments.search.report import find_importances
from atelier.experiments.search.study import SearchOutcome, search
from components.families import FAMILIES
from interfaces.errors import AtelierError
from interfaces.experiments import SearchSettings
from interfaces.igme import TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import Progress, ProgressEvent, silent
from tests.atelier.experiments.fake_trainer import FakeTrainer
from tests.helpers import REPOSITORY, tiny_prepared

BASE = TrainingSettings(
    family="dcgan", options={"generator_channels": 8, "discriminator_channels": 4}, total_images=1
)


@pytest.fixture
def prepared(tmp_path: Path) -> IPDT:
    return tiny_prepared(tmp_path / "set")


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """No picture is drawn and SQLite waits for no disk: both take longer than all else here."""

    def without_waiting(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", without_waiting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atelier.experiments.search.report.draw_history", lambda *_: None)
        patch.setattr("atelier.experiments.search.report.draw_importances", lambda *_: None)
        yield
    event.remove(Engine, "connect", without_waiting)


def valley(options: dict[str, Any]) -> float:
    """Lowest at a learning rate of 1e-3, which none of the starting points has; then at tanh."""
    slope = abs(math.log10(options["learning_rate"] / 1e-3))
    return 10.0 + 20.0 * slope + (0.0 if options["output_activation"] == "tanh" else 1.0)


class StopAfter(FakeTrainer):
    """Presses Ctrl-C when so many trials have been trained; a search ends by its time alone."""

    def __init__(self, num_trials: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.num_left = num_trials

    def train(self, *arguments: Any) -> Any:
        if self.num_left == 0:
            raise KeyboardInterrupt
        self.num_left -= 1
        return super().train(*arguments)


def run(
    trainer: FakeTrainer,
    prepared: IPDT,
    folder: Path,
    progress: Progress = silent,
    base: TrainingSettings = BASE,
    **changes: Any,
) -> SearchOutcome | None:
    """The outcome, or None where the trainer pressed Ctrl-C."""
    chosen = SearchSettings.model_validate({"total_seconds": 600, "trial_images": 80} | changes)
    try:
        return search(trainer, prepared, base, chosen, folder, progress)
    except KeyboardInterrupt:
        return None


def study_in(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="table 2", storage=f"sqlite:///{folder / 'study.db'}")


def states(folder: Path) -> list[TrialState]:
    return [trial.state for trial in study_in(folder).trials]


def check_preset(folder: Path, prepared: IPDT) -> TrainingSettings:
    """`best.toml` is what `train --preset` takes, and holds the best trial's hyper-parameters."""
    layer = presets.load_preset(str(folder / "best.toml"))
    chosen = presets.resolve(with_defaults(layer))
    assert chosen.preprocess.resolution == prepared.resolution
    config = FAMILIES[chosen.train.family].config.model_validate(chosen.train.options)
    tried = space.fields(study_in(folder).best_trial.params)
    assert tried.items() <= config.model_dump().items()
    assert chosen.train.options["generator_channels"] == 8
    return chosen.train


@dataclass
class Searched:
    folder: Path
    prepared: IPDT
    trainer: FakeTrainer
    trials: list[FrozenTrial]
    """Trials that were trained, less the last that was interrupted before it began."""
    report: str


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A search of 24 trials that several tests look at; its end draws the pictures."""
    folder = tmp_path_factory.mktemp("search")
    prepared = tiny_prepared(folder / "set")
    trainer = StopAfter(24, valley)
    run(trainer, prepared, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atelier.experiments.search.report.draw_history", draw_history)
        patch.setattr("atelier.experiments.search.report.draw_importances", draw_importances)
        run(trainer, prepared, folder, total_seconds=1e-9)  # its time is over
    trials = study_in(folder).trials
    return Searched(folder, prepared, trainer, trials[:24], (folder / "report.md").read_text())


def test_it_finds_the_best_learning_rate_and_what_mattered(searched: Searched) -> None:
    study = study_in(searched.folder)
    assert study.best_trial.params["learning_rate"] == 1e-3
    assert study.best_value == pytest.approx(10.0)
    found = find_importances(study)
    assert found is not None
    assert next(iter(found)) == "learning_rate"
    assert found["learning_rate"] > 0.6
    assert sum(found.values()) <= 1.0
    assert f"| learning_rate | {found['learning_rate']:.0%} |" in searched.report
    best = study.best_trial.number
    assert f"trial {best}. Fréchet distance (embedded): 10.00 [9.00, 12.00]" in searched.report
    chosen = check_preset(searched.folder, searched.prepared)
    assert chosen.options["learning_rate"] == 1e-3


def test_the_report_counts_what_happened(searched: Searched) -> None:
    found = [trial.state for trial in searched.trials]
    complete, given_up = found.count(TrialState.COMPLETE), found.count(TrialState.PRUNED)
    assert complete + given_up == 24
    counted = f"{complete} complete, {given_up} given up early, 0 failed, 1 broken off"
    assert counted in searched.report
    best = sorted(t.value for t in searched.trials if t.state == TrialState.COMPLETE)[:10]
    lines = searched.report.splitlines()
    row = next(line for line in lines if line.startswith("| Fréchet distance |"))
    assert [float(cell) for cell in row.split("|")[2:-1]] == [round(value, 2) for value in best]
    assert "## Weight of the gradient penalty" in searched.report


def test_the_pictures_are_drawn(searched: Searched) -> None:
    for name in ("history.png", "importance.png"):
        with Image.open(searched.folder / name) as picture:
            assert min(picture.size) > 100


def test_a_hopeless_trial_is_given_up_early(searched: Searched) -> None:
    """Worse than the median at half its images: the rest of them is saved."""
    pruned = [trial for trial in searched.trials if trial.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert list(trial.intermediate_values) in ([20, 40], [20, 40, 60])
        mark = max(trial.intermediate_values)
        before = [
            other.intermediate_values[mark]
            for other in searched.trials[: trial.number]
            if other.state == TrialState.COMPLETE
        ]
        assert len(before) >= 5
        assert min(trial.intermediate_values.values()) > statistics.median(before)
    assert searched.trainer.num_steps < 8 * 24 - len(pruned)


def test_only_the_best_trial_keeps_its_model(searched: Searched) -> None:
    folder = searched.folder
    best = study_in(folder).best_trial.number
    kept = [path.parent.parent.name for path in folder.glob("trials/*/model/weights.safetensors")]
    assert kept == [f"{best:04d}"]
    for trial in searched.trials:
        names = {path.name for path in (folder / "trials" / f"{trial.number:04d}").iterdir()}
        assert {"curves.csv", "measurements.jsonl"} <= names
        assert trial.number == best or names == {"curves.csv", "measurements.jsonl"}


def test_steps_are_comparable_whatever_the_batch(tmp_path: Path, prepared: IPDT) -> None:
    """A batch ends a little after the mark; the median needs the mark."""
    folder = tmp_path / "out"
    run(StopAfter(1, valley), prepared, folder, trial_images=100)  # 25, 50 … between tens
    assert set(study_in(folder).trials[0].intermediate_values) <= {25, 50, 75, 100}
    assert len(study_in(folder).trials[0].intermediate_values) >= 3


def test_it_begins_with_the_papers_models(tmp_path: Path, prepared: IPDT) -> None:
    trainer = StopAfter(3, valley)
    run(trainer, prepared, tmp_path / "out")
    tried = [space.fields(trial.params) for trial in study_in(tmp_path / "out").trials[:3]]
    for fields, name in zip(tried, ("dcgan", "dcgan_wi", "wgan_gp"), strict=True):
        assert fields.items() <= FAMILIES[name].config().model_dump().items()
    assert tried[2]["penalty_weight"] == 10.0


def test_every_draw_is_a_config_that_the_mathematics_allows() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: set[tuple[str, str]] = set()
    for _ in range(100):
        drawn = space.draw(study.ask())
        config = FAMILIES[space.family(drawn)].config.model_validate(drawn)
        options = config.model_dump()
        assert drawn.items() <= options.items()
        assert all(options[name] in values for name, values in space.TABLE_2.items())
        assert 0.1 <= options["penalty_weight"] <= 100
        assert ("beta1" in drawn) == (options["optimiser"] == "adam")
        assert ("penalty_weight" in drawn) == (options["gradient_correction"] == "penalty")
        seen.add((options["loss"], options["gradient_correction"]))
        if options["gradient_correction"] == "penalty":
            assert options["discriminator_normalisation"] != "batch"
    corrections = ("none", "clipping", "penalty")
    allowed = {(loss, c) for loss in ("bce", "wasserstein") for c in corrections}
    assert seen == allowed - {("wasserstein", "none")}


@pytest.mark.parametrize("name", ["dcgan", "dcgan_wi", "wgan_gp"])
def test_names_and_fields_are_inverse(name: str) -> None:
    options = FAMILIES[name].config().model_dump()
    fields = space.fields(space.names(options))
    assert fields.items() <= options.items()
    assert ("penalty_weight" in fields) == (name == "wgan_gp")


def test_a_failing_trial_ends_nothing_and_says_why(tmp_path: Path, prepared: IPDT) -> None:
    def fail(chosen: TrainingSettings, images_seen: int) -> None:
        if chosen.family == "wgan_gp":
            raise AtelierError("the loss is no number any more")

    folder = tmp_path / "out"
    run(StopAfter(4, valley, fail), prepared, folder)
    trials = study_in(folder).trials
    failed = [t for t in trials if t.user_attrs.get("reason") == "the loss is no number any more"]
    assert failed
    assert all(trial.params["loss"] == "wasserstein" for trial in failed)
    assert TrialState.COMPLETE in states(folder)
    report = (folder / "report.md").read_text()
    assert f"{len(failed)} failed" in report
    assert f"- trial {failed[0].number}: the loss is no number any more" in report


def test_a_training_that_cannot_begin_ends_the_search(tmp_path: Path, prepared: IPDT) -> None:
    class Refuses(FakeTrainer):
        def train(self, *arguments: Any) -> Any:
            raise AtelierError("the disk is full")

    with pytest.raises(AtelierError, match="3 trials in a row did not begin, the last: the disk"):
        run(Refuses(valley), prepared, tmp_path / "out")
    assert states(tmp_path / "out").count(TrialState.RUNNING) == 0


def test_unmeasured_pictures_are_a_reason(tmp_path: Path, prepared: IPDT) -> None:
    class Blind(StopAfter):
        def train(self, *arguments: Any) -> Any:
            return super().train(*arguments).model_copy(update={"measurements": ()})

    run(Blind(1, valley), prepared, tmp_path / "out")
    assert study_in(tmp_path / "out").trials[0].user_attrs["reason"].startswith("its pictures were")


def test_ctrl_c_leaves_a_whole_study_that_goes_on(tmp_path: Path, prepared: IPDT) -> None:
    folder = tmp_path / "out"
    trainer = FakeTrainer(valley)

    def interrupt(chosen: TrainingSettings, images_seen: int) -> None:
        if trainer.num_steps == 12:  # the middle of the second trial
            raise KeyboardInterrupt

    trainer.hook = interrupt
    with pytest.raises(KeyboardInterrupt):
        search(trainer, prepared, BASE, SearchSettings(trial_images=80), folder, silent)
    assert states(folder)[:2] == [TrialState.COMPLETE, TrialState.FAIL]
    again = StopAfter(2, valley)
    run(again, prepared, folder)
    # The second of the paper's models goes on where it was, under a new number, after the third.
    trials = study_in(folder).trials
    assert trials[3].user_attrs["goes_on_from"] == 1
    assert trials[3].params == trials[1].params
    assert trials[3].state == TrialState.COMPLETE
    assert again.num_steps == 8 + (8 - 3)
    assert TrialState.RUNNING not in states(folder)


def test_the_time_is_kept_to_over_all_sessions(tmp_path: Path, prepared: IPDT) -> None:
    folder = tmp_path / "out"
    slow = FakeTrainer(valley, None, 0.02)
    started = time.monotonic()
    first = run(slow, prepared, folder, total_seconds=1.5)
    assert time.monotonic() - started < 8  # the time of a trial's end and a report beyond it
    assert first is not None
    assert first.seconds >= 1.5
    num_trials = first.num_trials
    # The time is over: nothing more is trained.
    num_steps = slow.num_steps
    second = run(slow, prepared, folder, total_seconds=1.5)
    assert second is not None
    assert slow.num_steps == num_steps
    assert second.num_trials == num_trials
    # More time goes on, with what was broken off.
    third = run(slow, prepared, folder, total_seconds=second.seconds + 1.5)
    assert third is not None
    assert third.num_trials > num_trials
    assert third.seconds >= second.seconds + 1.5
    assert TrialState.RUNNING not in states(folder)


def test_no_time_for_one_trial_is_said(tmp_path: Path, prepared: IPDT) -> None:
    slow = FakeTrainer(valley, None, 0.2)
    outcome = run(slow, prepared, tmp_path / "out", total_seconds=0.3)
    assert outcome is not None
    assert (outcome.best, outcome.preset, outcome.num_complete) == (None, None, 0)
    assert "No trial was completed" in outcome.report.read_text()


_CHILD = """
import sys
from pathlib import Path
from atelier.experiments.search.study import search
from interfaces.experiments import SearchSettings
from tests.atelier.experiments.fake_trainer import FakeTrainer
from tests.atelier.experiments.test_search import BASE, valley
from tests.helpers import tiny_prepared

folder = Path(sys.argv[1])
def watch(event):
    print(event.note, flush=True)
prepared = tiny_prepared(folder / "set")
settings = SearchSettings(total_seconds=600, trial_images=80)
search(FakeTrainer(valley, None, 0.1), prepared, BASE, settings, folder / "out", watch)
"""


def _kill_in_the_middle(tmp_path: Path, trial: int) -> None:
    """Run a search in a process of its own; SIGKILL it at 50 of a trial's 80 images."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        notes = iter(child.stdout)
        assert any(note.startswith(f"trial {trial}: 50 ") for note in notes)
        child.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_search_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    _kill_in_the_middle(tmp_path, trial=1)
    assert states(folder)[1] == TrialState.RUNNING
    spent = study_in(folder).user_attrs["seconds"]
    assert spent > 0.8  # the first trial's eight steps of a tenth of a second
    prepared = tiny_prepared(tmp_path / "set")
    trainer = StopAfter(3, valley)
    run(trainer, prepared, folder)
    outcome = run(StopAfter(0, valley), prepared, folder, total_seconds=1e-9)
    assert outcome is not None
    trials = study_in(folder).trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert TrialState.RUNNING not in states(folder)
    assert [trial.state for trial in trials[:4]] == [
        TrialState.COMPLETE,
        TrialState.FAIL,  # killed,
        TrialState.COMPLETE,
        TrialState.COMPLETE,  # and gone on with here, from the images it had seen
    ]
    assert trials[3].params == trials[1].params
    assert outcome.seconds >= spent
    report = (folder / "report.md").read_text()
    assert "0 failed" in report
    check_preset(folder, prepared)


def test_what_kills_twice_is_not_begun_a_third_time(tmp_path: Path, prepared: IPDT) -> None:
    class Killed(BaseException):
        """An exception that nothing catches, which leaves the study as a kill does."""

    def kill(chosen: TrainingSettings, images_seen: int) -> None:
        is_dcgan = chosen.options["weight_init"] == "glorot_normal" and chosen.family == "dcgan"
        if is_dcgan and images_seen == 50:
            raise Killed

    folder = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(Killed):
            run(FakeTrainer(valley, kill), prepared, folder)
        assert states(folder).count(TrialState.RUNNING) == 1
    run(StopAfter(1, valley, kill), prepared, folder)
    trials = study_in(folder).trials
    assert trials[3].user_attrs["goes_on_from"] == 0
    assert [trials[0].state, trials[3].state] == [TrialState.FAIL, TrialState.FAIL]
    assert 3 not in {trial.user_attrs.get("goes_on_from") for trial in trials}
    assert "- trial 3: its process was killed" in (folder / "report.md").read_text()


def test_a_resumed_search_does_not_draw_the_first_numbers_again(
    tmp_path: Path, prepared: IPDT
) -> None:
    folder = tmp_path / "out"
    for num_trials in (5, 3):
        run(StopAfter(num_trials, valley), prepared, folder)
    drawn = [trial for trial in study_in(folder).trials[3:] if trial.state.is_finished()]
    fresh = [t.params for t in drawn if "goes_on_from" not in t.user_attrs]
    assert len({json.dumps(params, sort_keys=True) for params in fresh}) == len(fresh) >= 4


@pytest.mark.slow
def test_the_same_seed_tries_the_same(tmp_path: Path, prepared: IPDT) -> None:
    tried: list[list[dict[str, Any]]] = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(StopAfter(5, valley), prepared, tmp_path / name, seed=seed)
        tried.append([trial.params for trial in study_in(tmp_path / name).trials[:5]])
    assert tried[0] == tried[1]
    assert tried[0][3:] != tried[2][3:]


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (BASE, {"trial_images": 40}, "trial_images was 80, is now 40"),
        (BASE, {"seed": 4}, "search_seed was 0, is now 4"),
        (BASE.model_copy(update={"measure_count": 16}), {}, "measure_count was 1000, is now 16"),
        (BASE.model_copy(update={"options": {}}), {}, "options.generator_channels was 8, is now"),
    ],
)
def test_other_settings_are_refused_by_name(
    base: TrainingSettings, changes: dict[str, Any], message: str, tmp_path: Path, prepared: IPDT
) -> None:
    run(StopAfter(1, valley), prepared, tmp_path / "out")
    with pytest.raises(AtelierError, match=message):
        run(StopAfter(1, valley), prepared, tmp_path / "out", base=base, **changes)


def test_a_family_of_another_table_is_refused(tmp_path: Path, prepared: IPDT) -> None:
    base = TrainingSettings(family="r3gan", total_images=1)
    with pytest.raises(AtelierError, match="'r3gan' does not follow; name one of dcgan, dcgan_wi"):
        run(StopAfter(1, valley), prepared, tmp_path / "out", base=base)


def test_without_optuna_the_error_says_what_to_install(
    tmp_path: Path, prepared: IPDT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(AtelierError, match=r"pip install 'atelier\[search\]'"):
        run(StopAfter(1, valley), prepared, tmp_path / "out")


def test_a_damaged_study_is_an_error_for_a_person(tmp_path: Path, prepared: IPDT) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(AtelierError, match="not a readable study"):
        run(StopAfter(1, valley), prepared, tmp_path / "out")


def test_any_folder_will_do(tmp_path: Path, prepared: IPDT) -> None:
    folder = tmp_path / "a study? 100% #1 «é»"
    run(StopAfter(1, valley), prepared, folder)
    assert (folder / "study.db").stat().st_size > 0


def test_progress_is_the_searchs_own_time(tmp_path: Path, prepared: IPDT) -> None:
    events: list[ProgressEvent] = []
    run(StopAfter(1, valley), prepared, tmp_path / "out", events.append)
    assert {(event.stage, event.unit, event.total) for event in events} == {
        ("search", "seconds", 600)
    }
    assert events[0].note == "trial 0: 10 images"


def _tables(seed: int, count: int = 24) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{name: rng.choice(len(v)) for name, v in space.TABLE_2.items()} for _ in range(count)]


def test_importance_is_kelleys_epsilon_squared() -> None:
    options = [{"a": place % 3, "b": place // 12} for place in range(24)]
    outcomes = [10.0 * chosen["a"] + 0.1 * place for place, chosen in enumerate(options)]
    ranks = rankdata(outcomes)
    groups = [ranks[start::3] for start in range(3)]
    ratio = f_oneway(*groups).statistic
    expected = 1 - (23 / 21) / (1 + 2 * ratio / 21)  # ε² by the F statistic
    assert importances(options, outcomes)["a"] == pytest.approx(expected)


def test_what_goes_along_with_the_cause_is_not_counted_for_it() -> None:
    """b is mostly a, as a sampler that homes in makes it; only a does anything."""
    rng = np.random.default_rng(0)
    options: list[dict[str, Any]] = []
    for place in range(40):
        a = place % 2
        options.append({"a": a, "b": a if rng.random() < 0.8 else 1 - a})
    outcomes = [chosen["a"] + 0.1 * rng.random() for chosen in options]
    found = importances(options, outcomes)
    assert set(found) == {"a"}


def test_one_that_has_no_say_in_most_trials_is_judged_where_it_has() -> None:
    rng = np.random.default_rng(0)
    options: list[dict[str, Any]] = [{"a": 0} for _ in range(20)]
    options += [{"a": 1, "penalty_weight": 10 ** rng.uniform(-1, 2)} for _ in range(20)]
    outcomes = [
        100 + rng.random() if chosen["a"] == 0 else math.log10(chosen["penalty_weight"])
        for chosen in options
    ]
    found = importances(options, outcomes)
    assert list(found) == ["a", "penalty_weight"]
    assert sum(found.values()) > 0.85


def test_noise_is_hardly_ever_taken_for_importance() -> None:
    rng = np.random.default_rng(0)
    found = [importances(_tables(seed), list(rng.random(24))) for seed in range(40)]
    assert sum(bool(shares) for shares in found) <= 6  # 2 are expected


def test_equal_outcomes_tell_nothing() -> None:
    assert importances(_tables(0), [math.inf] * 24) == {}


_keys = st.text(st.characters(codec="utf-8"), min_size=1)
_values = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)


@given(table=st.dictionaries(_keys, _values), comment=st.text("ab \n"))
def test_toml_is_read_back_as_it_was(table: dict[str, Any], comment: str) -> None:
    outer = {name: value for name, value in table.items() if name != "options"}  # the inner table's
    read = tomllib.loads(to_toml({"train": outer, "train.options": table}, comment))
    options = read["train"].pop("options")
    assert options == table
    assert read["train"] == outer
    for name, value in table.items():
        assert type(options[name]) is type(value)


@pytest.mark.slow
def test_the_real_trainer_is_searched(tmp_path: Path) -> None:
    from components.training import create

    prepared = tiny_prepared(tmp_path / "set", n=64)
    quick = {"measure_count": 16, "sample_seconds": 0.1, "precision": "float32"}
    base = BASE.model_copy(update=quick)
    real = create(tmp_path)
    num_trained = 0

    class Three:
        def train(self, *arguments: Any) -> Any:
            nonlocal num_trained
            if num_trained == 3:
                raise KeyboardInterrupt
            num_trained += 1
            return real.train(*arguments)

    chosen = SearchSettings(total_seconds=600, trial_images=1024)
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        search(Three(), prepared, base, chosen, folder, silent)
    trials = study_in(folder).trials[:3]
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert all(math.isfinite(trial.value or math.nan) for trial in trials)
    assert {256, 512, 768} <= set(trials[0].intermediate_values)
    train = check_preset(folder, prepared)
    short = {"total_images": 128, "total_seconds": None, "precision": "float32"}
    again = train.model_copy(update=short)
    assert real.train(prepared, again, tmp_path / "again", silent).images_seen == 128
