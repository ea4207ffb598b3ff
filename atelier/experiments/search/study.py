"""Hyper-parameters searched with Optuna (Akiba et al. 2019, arXiv 1907.10902) over Table 2.

Each trial is a short training; the Fréchet distance at its end is what is minimised, by a tree of
Parzen estimators. The distances on the way give up a trial that is worse than the median of those
before it. The study lies in SQLite and is whole after every step: a search that was killed goes on.
"""

import json
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.experiments.search import space
from atelier.experiments.search.report import write_reports
from components.common.durable import exclusive
from components.families import FAMILIES
from components.families.paper002.config import Table2Config
from components.training import TrainingFolder, frechet
from interfaces.errors import AtelierError, DamagedError, RefusedError, UnavailableError
from interfaces.experiments import MEASUREMENTS_IN_A_TRIAL, SearchSettings
from interfaces.igme import FREE_WHEN_RESUMED, Trainer, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.jobs import Stopped
from interfaces.measurement import Measurement
from interfaces.progress import Progress, ProgressEvent

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import TPESampler
    from optuna.trial import FrozenTrial

KEPT = frozenset({"curves.csv", "curves.png", "measurements.jsonl", "guardian.jsonl"})
"""Files that stay of a trial's folder when it is over and not the best."""

MAX_KILLS = 2
"""Kills after which a trial is not begun again: it may be their cause."""

MAX_NEVER_BEGUN = 3
"""Trainings in a row that may fail before their first image: more mean another fault."""

SECONDS_BETWEEN_NOTES = 2.0
"""The most of its time that a killed search loses count of, seconds."""


@dataclass(frozen=True)
class SearchOutcome:
    """Outcome of a search, all its sessions together."""

    num_trials: int
    """Trials that are over, however they ended."""
    num_complete: int
    best: Measurement | None
    """Fréchet distance of the best trial; None where none was completed."""
    preset: Path | None
    """`best.toml`, for `train --preset`; None where no trial was completed."""
    report: Path
    seconds: float
    """Time spent, of `SearchSettings.total_seconds`."""


class _BudgetSpent(Stopped):
    """The search's time is over in the middle of a trial; no fault of the trainer's."""


class _GivenUp(Stopped):
    """A trial is much worse than others at the same time; no fault of the trainer's either."""


def search(
    trainer: Trainer,
    prepared: IPDT,
    base: TrainingSettings,
    settings: SearchSettings,
    folder: Path,
    progress: Progress,
) -> SearchOutcome:
    """Search Table 2 in `folder`, or resume the study in it.

    What Table 2 does not name (channels, …) stays as in `base`. Leaves `study.db`, `best.toml`,
    `report.md`, `importance.png`, `history.png` and `trials/`, written anew after each trial. A
    trial that Ctrl-C, a kill or the end of the time broke off is begun again by the next call, in
    the same folder, so that its training goes on. Raises `AtelierError` where Optuna is missing,
    the study is of other settings, or no training begins at all; KeyboardInterrupt after Ctrl-C.
    """
    _import_optuna()
    _check_base(base)
    with exclusive(folder / ".lock"), _opened(folder, settings) as study:
        _save_or_compare(study, _identity(prepared, base, settings), folder)
        _put_back_the_killed(study)
        _begin_with_the_papers(study)
        clock = _Clock(study, settings.total_seconds)
        session = _Session(trainer, prepared, base, settings, folder, progress, study, clock)
        while clock.left() > 0:
            session.run_one()
            clock.note()
            session.tidy()
            write_reports(study, folder, prepared, base, settings, clock.spent())
        clock.note()
        write_reports(study, folder, prepared, base, settings, clock.spent())
        return _outcome(study, folder, clock)


def _import_optuna() -> None:
    try:
        import optuna
    except ImportError as error:
        raise UnavailableError(
            "search: needs Optuna, which is not installed; pip install 'atelier[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _check_base(base: TrainingSettings) -> None:
    chosen = FAMILIES.get(base.family)
    if chosen is None or not issubclass(chosen.config, Table2Config):
        table = [name for name, f in FAMILIES.items() if issubclass(f.config, Table2Config)]
        raise RefusedError(
            f"search: explores Table 2 of paper 002, which {base.family!r} does not follow; "
            f"name one of {', '.join(table)}"
        )
    if base.start_from is not None:
        raise RefusedError(
            "search: start_from fixes the networks that are to be searched; leave it out"
        )


# ---------------------------------------------------------------- the study


@contextmanager
def _opened(folder: Path, settings: SearchSettings) -> "Generator[Study]":
    """The study in `folder/study.db`, a new one where there is none."""
    import optuna
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DatabaseError

    path = folder / "study.db"
    url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    try:
        storage = optuna.storages.RDBStorage(url)
    except DatabaseError as error:
        raise DamagedError(
            f"{path}: not a readable study ({error.orig}); search in another folder"
        ) from error
    # Five critic updates for one of the generator begin slowly: no trial is judged by its first
    # measurement.
    first_judged = 2 * _images_between(settings)
    try:
        yield optuna.create_study(
            storage=storage,
            study_name="table 2",
            direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first_judged),
            load_if_exists=True,
        )
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _images_between(settings: SearchSettings) -> int:
    return settings.trial_images // MEASUREMENTS_IN_A_TRIAL


def _identity(
    prepared: IPDT, base: TrainingSettings, settings: SearchSettings
) -> Mapping[str, object]:
    """Settings that make the distances of two trials comparable; only the time may differ."""
    left_out = {*FREE_WHEN_RESUMED, "options", "family", "measure_images", "guardian", "start_from"}
    chosen = base.model_dump(mode="json", exclude=left_out)
    kept = {name: v for name, v in base.options.items() if name not in space.FIELDS}
    return (
        chosen
        | {f"options.{name}": value for name, value in kept.items()}
        | {"trial_images": settings.trial_images, "search_seed": settings.seed}
        | {"dataset_digest": prepared.digest}
    )


def _save_or_compare(study: "Study", identity: Mapping[str, object], folder: Path) -> None:
    before = study.user_attrs.get("identity")
    if before is None:
        study.set_user_attr("identity", identity)
        return
    now = json.loads(json.dumps(identity))  # as the study gives it back
    differences = [
        f"{name} was {before.get(name)!r}, is now {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise RefusedError(
            f"{folder}: holds a search of other settings ({'; '.join(differences)}); go on with "
            "the same, or search in another folder"
        )


def _put_back_the_killed(study: "Study") -> None:
    """The folder's lock is ours, so whatever still runs in the study was killed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        num_kills = trial.user_attrs.get("num_kills", 0) + 1
        if num_kills < MAX_KILLS:
            _put_back(study, trial, num_kills)
        study.tell(trial.number, state=TrialState.FAIL)


def _put_back(study: "Study", trial: "FrozenTrial | Trial", num_kills: int) -> None:
    """Queue a broken-off trial's parameters again; its training goes on in the new one's name.

    Done before the old one is marked as failed, and once: a kill in between loses nothing.
    """
    known = {other.user_attrs.get("goes_on_from") for other in study.get_trials(deepcopy=False)}
    if trial.number in known:
        return
    kept = {"start": trial.user_attrs["start"]} if "start" in trial.user_attrs else {}
    study.enqueue_trial(
        trial.params,
        user_attrs={"goes_on_from": trial.number, "num_kills": num_kills} | kept,
    )


def _begin_with_the_papers(study: "Study") -> None:
    known = {trial.user_attrs.get("start") for trial in study.get_trials(deepcopy=False)}
    for name, params in space.starting_points().items():
        if name not in known:
            study.enqueue_trial(params, user_attrs={"start": name})


class _Clock:
    """Time spent by all sessions together, noted in the study as it passes."""

    def __init__(self, study: "Study", total_seconds: float) -> None:
        self._study = study
        self._total = total_seconds
        self._before: float = study.user_attrs.get("seconds", 0.0)
        self._started = self._noted = time.monotonic()

    def spent(self) -> float:
        return self._before + time.monotonic() - self._started

    def left(self) -> float:
        return self._total - self.spent()

    def note(self) -> None:
        self._study.set_user_attr("seconds", round(self.spent(), 3))
        self._noted = time.monotonic()

    def note_now_and_then(self) -> None:
        if time.monotonic() - self._noted >= SECONDS_BETWEEN_NOTES:
            self.note()


# ---------------------------------------------------------------- trials


@dataclass
class _Session:
    """One call of `search`, with all that its trials share."""

    trainer: Trainer
    prepared: IPDT
    base: TrainingSettings
    settings: SearchSettings
    folder: Path
    progress: Progress
    study: "Study"
    clock: _Clock
    num_never_begun: int = 0

    def run_one(self) -> None:
        """Ask for hyper-parameters, train with them, report the result."""
        from optuna.trial import TrialState

        self.study.sampler = self._sampler()
        trial = self.study.ask()
        progress = _TrialProgress(trial, self)
        run = progress.run
        try:
            chosen = _trial_settings(self.base, self.settings, space.draw(trial))
            self._take_over(trial, run)
            model = self.trainer.train(self.prepared, chosen, run, progress)
            distance = frechet(model.measurements)
            if distance is None:
                raise AtelierError("its pictures were not measured")
        except _GivenUp:
            self.study.tell(trial, state=TrialState.PRUNED)
        except AtelierError as error:
            trial.set_user_attr("reason", str(error).replace(str(run), "training"))
            # As one that was given up: the sampler learns to stay away, which it does not from
            # one that failed.
            has_begun = progress.has_begun
            self.study.tell(trial, state=TrialState.PRUNED if has_begun else TrialState.FAIL)
            self._count_never_begun(has_begun, error)
        except _BudgetSpent:
            self._break_off(trial, "the time was over")
        except KeyboardInterrupt:
            self._break_off(trial, "interrupted")
            self.clock.note()
            raise
        else:
            trial.set_user_attr("measurement", distance.model_dump(mode="json"))
            trial.set_user_attr("options", chosen.options)
            trial.set_user_attr("family", chosen.family)
            self.study.tell(trial, distance.value)
            self.num_never_begun = 0

    def tidy(self) -> None:
        """Remove all but the records of trials that are over and not the best."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        kept = {t.user_attrs.get("goes_on_from") for t in trials if t.state == TrialState.WAITING}
        complete = [t for t in trials if t.state == TrialState.COMPLETE]
        if complete:
            kept.add(self.study.best_trial.number)
        for trial in trials:
            run = _run_folder(self.folder, trial.number)
            if trial.state.is_finished() and trial.number not in kept and run.exists():
                _keep_records_only(run)

    def _sampler(self) -> "TPESampler":
        """New sampler for each trial: a resumed study does not draw the first numbers again."""
        import numpy as np
        import optuna

        place = len(self.study.get_trials(deepcopy=False))
        seeds = np.random.SeedSequence([self.settings.seed, place])
        return optuna.samplers.TPESampler(seed=int(seeds.generate_state(1)[0]))

    def _take_over(self, trial: "Trial", run: Path) -> None:
        """Go on with the training that a broken-off trial of the same parameters left."""
        before = trial.user_attrs.get("goes_on_from")
        if before is not None and _run_folder(self.folder, before).exists() and not run.exists():
            _run_folder(self.folder, before).rename(run)

    def _break_off(self, trial: "Trial", reason: str) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr("reason", reason)
        _put_back(self.study, trial, trial.user_attrs.get("num_kills", 0))
        self.study.tell(trial, state=TrialState.FAIL)

    def _count_never_begun(self, has_begun: bool, error: AtelierError) -> None:
        self.num_never_begun = 0 if has_begun else self.num_never_begun + 1
        if self.num_never_begun >= MAX_NEVER_BEGUN:
            raise AtelierError(
                f"search: {MAX_NEVER_BEGUN} trials in a row did not begin, the last: {error}"
            ) from error


def _run_folder(folder: Path, number: int) -> Path:
    return folder / "trials" / f"{number:04d}"


def _keep_records_only(run: Path) -> None:
    for path in run.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in KEPT:
            path.unlink()


def _trial_settings(
    base: TrainingSettings, settings: SearchSettings, drawn: dict[str, space.Value]
) -> TrainingSettings:
    """A training of these hyper-parameters, all written out."""
    kept = {name: value for name, value in base.options.items() if name not in space.FIELDS}
    name = space.family(drawn)
    config = FAMILIES[name].config.model_validate(kept | drawn)
    changes = {
        "family": name,
        "options": config.model_dump(mode="json"),
        "total_images": settings.trial_images,
        "total_seconds": None,
        "measure_images": _images_between(settings),
        # A rescue would change what the trial is there to judge; nonsense ends it all the same.
        "guardian": "off",
    }
    return TrainingSettings.model_validate(base.model_dump() | changes)


class _TrialProgress:
    """Progress of a trial's training: tells the study its distances, and stops the trial."""

    def __init__(self, trial: "Trial", session: _Session) -> None:
        self.run = _run_folder(session.folder, trial.number)
        self.has_begun = False
        self._trial = trial
        self._session = session
        self._size = 0
        self._reported: set[int] = set()

    def __call__(self, event: ProgressEvent) -> None:
        self.has_begun = True
        clock, settings = self._session.clock, self._session.settings
        clock.note_now_and_then()
        note = f"trial {self._trial.number}: {event.note}"
        done = min(clock.spent(), settings.total_seconds)
        self._session.progress(
            ProgressEvent(
                stage="search", done=done, total=settings.total_seconds, unit="seconds", note=note
            )
        )
        if clock.left() <= 0:
            raise _BudgetSpent
        if self._has_grown():
            self._report()

    def _has_grown(self) -> bool:
        path = self.run / "measurements.jsonl"
        size = path.stat().st_size if path.exists() else 0
        before, self._size = self._size, size
        return size != before

    def _report(self) -> None:
        """The median is taken over trials at the same step, but a batch's end is not.

        So the step is the mark that was passed, not the images seen.
        """

        between = _images_between(self._session.settings)
        for distance in TrainingFolder(self.run).distances():
            mark = distance.images_seen // between * between
            if mark == 0 or mark in self._reported:
                continue
            self._reported.add(mark)
            self._trial.report(distance.measurement.value, mark)
            if self._trial.should_prune():
                raise _GivenUp


def _outcome(study: "Study", folder: Path, clock: _Clock) -> SearchOutcome:
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = study.best_trial.user_attrs["measurement"] if complete else None
    return SearchOutcome(
        num_trials=sum(trial.state.is_finished() for trial in trials),
        num_complete=len(complete),
        best=Measurement.model_validate(best) if best is not None else None,
        preset=folder / "best.toml" if complete else None,
        report=folder / "report.md",
        seconds=clock.spent(),
    )
