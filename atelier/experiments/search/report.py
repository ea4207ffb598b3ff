"""Findings of a search so far: the best preset, a report, and its pictures."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.experiments.figures import Tried, draw_history, draw_importances
from atelier.experiments.search import space
from atelier.experiments.search.importance import importances
from atelier.experiments.search.preset import Value, to_toml
from atelier.experiments.words import duration, markdown_table, short, spaced
from components.common.durable import write_text
from interfaces.experiments import SearchSettings
from interfaces.igme import TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.measurement import Measurement

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

NUM_BEST = 10

MIN_TRIALS_FOR_IMPORTANCE = 10
"""Fewest judged trials with which anything can be distinguished from chance."""

_SHARED = (
    "accumulate",
    "ema_halflife_images",
    "style_balanced",
    "cluster_balanced",
    "held_out_fraction",
)
"""Settings of the trials outside the family's options that shape what a training learns."""


def write_reports(
    study: "Study",
    folder: Path,
    prepared: IPDT,
    base: TrainingSettings,
    settings: SearchSettings,
    seconds: float,
) -> None:
    """Write `report.md`, the pictures and, where a trial was completed, `best.toml`."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: (trial.value, trial.number))[:NUM_BEST]
    found = find_importances(study)
    if best:
        write_text(folder / "best.toml", _preset(best[0], prepared, base, settings))
    sections = [
        _summary(trials, best, prepared, settings, seconds),
        _best(best),
        _importance(found),
        _penalty(complete),
        _failures(trials),
    ]
    write_text(folder / "report.md", "\n".join(section for section in sections if section))
    draw_history(folder / "history.png", _tried(trials))
    if found:
        draw_importances(folder / "importance.png", found)


def find_importances(study: "Study") -> dict[str, float] | None:
    """Share of the outcome that each hyper-parameter explains; None with too few judged trials.

    A trial that was given up counts as worse than any complete one, and one without a distance as
    the worst.
    """
    from optuna.trial import TrialState

    judged = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    if len(judged) < MIN_TRIALS_FOR_IMPORTANCE:
        return None
    complete = [t.value for t in judged if t.state == TrialState.COMPLETE and t.value is not None]
    worst = max(complete, default=0.0)

    def outcome(trial: "FrozenTrial") -> float:
        if trial.value is None:
            return math.inf
        return trial.value if trial.state == TrialState.COMPLETE else worst + trial.value

    return importances([space.fields(trial.params) for trial in judged], list(map(outcome, judged)))


def _preset(
    trial: "FrozenTrial", prepared: IPDT, base: TrainingSettings, settings: SearchSettings
) -> str:
    fields = TrainingSettings.model_fields
    shared: dict[str, Value] = {
        name: getattr(base, name) for name in _SHARED if getattr(base, name) != fields[name].default
    }
    comment = (
        f"The best of a search over Table 2 of paper 002 (trial {trial.number}):\n"
        f"{_measurement(trial).line()},\n"
        f"after {settings.trial_images} images of {prepared.name}."
    )
    return to_toml(
        {
            "preprocess": {"resolution": prepared.resolution},
            "train": {"family": trial.user_attrs["family"]} | shared,
            "train.options": trial.user_attrs["options"],
        },
        comment,
    )


# ---------------------------------------------------------------- report.md


def _summary(
    trials: "list[FrozenTrial]",
    best: "list[FrozenTrial]",
    prepared: IPDT,
    settings: SearchSettings,
    seconds: float,
) -> str:
    outcomes = [_how_it_ended(trial, _continued(trials)) for trial in trials]
    counts = ", ".join(
        f"{outcomes.count(outcome)} {outcome}"
        for outcome in ("complete", "given up early", "failed", "broken off and begun again")
    )
    text = (
        "# Search over Table 2 of paper 002\n\n"
        f"- Trials: {counts}.\n"
        f"- Each trial: {spaced(settings.trial_images)} images of {prepared.name} "
        f"({prepared.num_images} images of {prepared.resolution}×{prepared.resolution}).\n"
        f"- Time: {duration(seconds)} of {duration(settings.total_seconds)}.\n"
    )
    if not best:
        return text + (
            "- No trial was completed; go on with a larger total_seconds, or search in another "
            "folder with fewer trial_images.\n"
        )
    line = f"- Best: trial {best[0].number}. {_measurement(best[0]).line()}.\n"
    return text + line + "- Its preset: `best.toml`; train with it by `train --preset best.toml`.\n"


def _how_it_ended(trial: "FrozenTrial", continued: set[int]) -> str:
    from optuna.trial import TrialState

    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.PRUNED and "reason" not in trial.user_attrs:
        return "given up early"
    if trial.number in continued:
        return "broken off and begun again"
    return "failed" if trial.state.is_finished() else "waiting"


def _continued(trials: "list[FrozenTrial]") -> set[int]:
    return {t.user_attrs["goes_on_from"] for t in trials if "goes_on_from" in t.user_attrs}


def _best(best: "list[FrozenTrial]") -> str:
    """A column for each trial: hyper-parameters are many, trials are ten."""
    if not best:
        return ""
    options = [space.fields(trial.params) for trial in best]
    rows = [
        ["trial", *(_name(trial) for trial in best)],
        ["Fréchet distance", *(f"{_measurement(trial).value:.2f}" for trial in best)],
        ["95 % interval", *(_interval(_measurement(trial)) for trial in best)],
        *(
            [name, *(_shown(chosen.get(name)) for chosen in options)]
            for name in (*space.TABLE_2, "penalty_weight")
        ),
    ]
    return f"## The best {len(best)} trials\n\n{markdown_table(rows)}"


def _name(trial: "FrozenTrial") -> str:
    start = trial.user_attrs.get("start")
    return f"{trial.number}" if start is None else f"{trial.number} (the paper's {start})"


def _interval(measurement: Measurement) -> str:
    return f"{measurement.low:.2f} to {measurement.high:.2f}"


def _shown(value: object) -> str:
    """A value as text; '–' for a field that does not apply, such as β1 without Adam."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _importance(found: dict[str, float] | None) -> str:
    title = "## Importance of each hyper-parameter\n\n"
    if found is None:
        return f"{title}Not known yet: it takes {MIN_TRIALS_FOR_IMPORTANCE} trials.\n"
    others = [name for name in (*space.TABLE_2, "penalty_weight") if name not in found]
    rows = [
        ["hyper-parameter", "explains"],
        *([name, f"{share:.0%}"] for name, share in found.items()),
        ["noise, or combinations", f"{max(0.0, 1 - sum(found.values())):.0%}"],
    ]
    return (
        f"{title}{markdown_table(rows)}\nThe share of the differences between the trials' ranks "
        "that each explains by itself, what chance would explain taken off. No more than chance so "
        f"far: {', '.join(others) or 'none'}."
        + (" Picture: `importance.png`.\n" if found else "\n")
    )


def _penalty(complete: "list[FrozenTrial]") -> str:
    """The trials of the weight that people are advised to tune by hand."""
    with_penalty = [trial for trial in complete if "penalty_weight" in trial.params]
    if not with_penalty:
        return ""
    rows = [
        ["penalty_weight", "Fréchet distance", "95 % interval", "trial"],
        *(
            [
                short(trial.params["penalty_weight"]),
                f"{_measurement(trial).value:.2f}",
                _interval(_measurement(trial)),
                str(trial.number),
            ]
            for trial in sorted(with_penalty, key=lambda trial: trial.params["penalty_weight"])
        ),
    ]
    return (
        f"## Weight of the gradient penalty\n\n{markdown_table(rows)}\nOther hyper-parameters "
        "differ between these trials too.\n"
    )


def _failures(trials: "list[FrozenTrial]") -> str:
    continued = _continued(trials)
    failed = [trial for trial in trials if _how_it_ended(trial, continued) == "failed"]
    if not failed:
        return ""
    reasons = [
        f"- trial {trial.number}: {trial.user_attrs.get('reason', 'its process was killed')}\n"
        for trial in failed
    ]
    return "## Failed\n\n" + "".join(reasons)


def _measurement(trial: "FrozenTrial") -> Measurement:
    return Measurement.model_validate(trial.user_attrs["measurement"])


def _tried(trials: "list[FrozenTrial]") -> list[Tried]:
    from optuna.trial import TrialState

    return [
        Tried(trial.number, trial.value, trial.state == TrialState.COMPLETE)
        for trial in trials
        if trial.value is not None
    ]
