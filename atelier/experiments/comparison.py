"""The same training for several settings, side by side: Table 3 and Figs. 3 and 4 of paper 002."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from pathvalidate import sanitize_filename
from pydantic import Field, FiniteFloat

from atelier.experiments.figures import Panel, draw_curves, draw_distances
from atelier.experiments.ledger.gauges import processor_name
from atelier.experiments.words import csv_table, duration, markdown_table, short, spaced
from components.common.durable import write_text
from components.families import FAMILIES
from components.training import SCORES, TrainingFolder, frechet
from interfaces.contract import Message
from interfaces.errors import AtelierError, RefusedError
from interfaces.igme import IGME, Trainer, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.measurement import Measurement
from interfaces.progress import Progress, as_part


class ComparisonRow(Message):
    """One training of a comparison: a column of paper 002's Table 3."""

    name: str = Field(description="The entry's name, as its folder is called.")
    family: str = Field(description="Published method.")
    budget: str = Field(description="When the training was to stop.")
    images_seen: int = Field(ge=0, description="Training images shown to it, repeats counted.")
    num_training: int = Field(ge=0, description="Images it learnt from: one epoch.")
    epochs: FiniteFloat = Field(ge=0, description="Length of training, epochs.")
    training_seconds: FiniteFloat = Field(ge=0, description="Length of training, seconds.")
    seconds_per_epoch: FiniteFloat | None = Field(
        description="Time for an epoch, seconds; None before the first image."
    )
    is_guarded: bool = Field(description="Whether mode collapse and the like were looked for.")
    num_collapses: int = Field(ge=0, description="How often the guardian saw mode collapse.")
    epochs_between_collapses: FiniteFloat | None = Field(
        description="Every how many epochs it collapsed; None where it never did."
    )
    other_interventions: dict[str, int] = Field(
        description="What else the guardian saw, and how often."
    )
    distance: Measurement | None = Field(
        description="Final Fréchet distance, with all it rests on; None: not measured."
    )
    is_budget_spent: bool = Field(description="False where the training ended before its budget.")
    failure: str | None = Field(description="Why the training failed; None where it did not.")


def compare(
    trainer: Trainer,
    prepared: IPDT,
    entries: Sequence[tuple[str, TrainingSettings]],
    folder: Path,
    progress: Progress,
) -> tuple[ComparisonRow, ...]:
    """Train each entry in `folder/<name>/training`, in turn, and write what came of it.

    `table3.md`, `.csv` and `.json`, `fig3.png` (losses), `fig4.png` (scores) and `distance.png`
    are written anew after each entry. The call can be killed and repeated: the trainer goes on with
    what it finds. A training that fails with `AtelierError` is a row that says why.
    """
    if not entries:
        raise RefusedError("compare: nothing to compare; name at least one preset")
    names = _folder_names([name for name, _ in entries])
    rows: list[ComparisonRow] = []
    for place, (name, (_, settings)) in enumerate(zip(names, entries, strict=True), start=1):
        run = folder / name / "training"
        watch = as_part(progress, f"{name} ({place} of {len(names)})")
        model, failure = None, None
        try:
            model = trainer.train(prepared, settings, run, watch)
        except AtelierError as error:
            failure = _without_path(str(error), run)
        rows.append(_row(name, settings, prepared, run, model, failure))
        _write(rows, prepared, [settings for _, settings in entries], folder)
    return tuple(rows)


def _folder_names(names: Sequence[str]) -> list[str]:
    """Names that are safe as folders and differ, whatever the case: 'papers/dcgan' and the like."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w-]+", "-", name).strip("-")[:60] or "entry"
        plain = sanitize_filename(plain, platform="universal")
        taken = {other.lower() for other in found}
        tries = (plain if n == 1 else f"{plain}-{n}" for n in range(1, len(names) + 1))
        found.append(next(name for name in tries if name.lower() not in taken))
    return found


def _without_path(message: str, run: Path) -> str:
    """The reason alone: a table is shown to others, whom the folders of this machine tell nothing.

    Errors of a run begin with its folder.
    """
    return message.replace(str(run), "training")


# ---------------------------------------------------------------- one row


def _row(
    name: str,
    settings: TrainingSettings,
    prepared: IPDT,
    run: Path,
    model: IGME | None,
    failure: str | None,
) -> ComparisonRow:
    images_seen, seconds = _length(run, model)
    num_training = len(prepared.split(settings.held_out_fraction)[0])
    epochs = images_seen / num_training if num_training else 0.0
    seen = Counter(intervention.saw for intervention in TrainingFolder(run).interventions())
    num_collapses = seen.pop("collapse", 0)
    return ComparisonRow(
        name=name,
        family=settings.family,
        budget=_budget(settings),
        images_seen=images_seen,
        num_training=num_training,
        epochs=epochs,
        training_seconds=seconds,
        seconds_per_epoch=seconds / epochs if epochs else None,
        is_guarded=settings.guardian != "off",
        num_collapses=num_collapses,
        epochs_between_collapses=epochs / num_collapses if num_collapses else None,
        other_interventions=dict(seen),
        distance=frechet(model.measurements) if model is not None else None,
        is_budget_spent=_is_budget_spent(settings, images_seen, seconds),
        failure=failure,
    )


def _is_budget_spent(settings: TrainingSettings, images_seen: int, seconds: float) -> bool:
    """Models tell their seconds to a tenth. A guardian that gives up ends a training early."""
    images_spent = settings.total_images is not None and images_seen >= settings.total_images
    seconds_spent = settings.total_seconds is not None and seconds >= settings.total_seconds - 0.1
    return images_spent or seconds_spent


def _length(run: Path, model: IGME | None) -> tuple[int, float]:
    """Images seen and seconds: the model's own, or how far a failed training's curves go."""
    if model is not None:
        return model.images_seen, model.metrics.get("training_seconds", 0.0)
    curves = TrainingFolder(run).curves()
    if not curves:
        return 0, 0.0
    return int(curves["images_seen"][-1]), curves["seconds"][-1]


def _budget(settings: TrainingSettings) -> str:
    parts: list[str] = []
    if settings.total_images is not None:
        parts.append(f"{spaced(settings.total_images)} images")
    if settings.total_seconds is not None:
        parts.append(duration(settings.total_seconds))
    return " or ".join(parts) + (", whichever is first" if len(parts) == 2 else "")


# ---------------------------------------------------------------- what is written


def _write(
    rows: Sequence[ComparisonRow],
    prepared: IPDT,
    settings: Sequence[TrainingSettings],
    folder: Path,
) -> None:
    notes = _notes(rows, prepared, settings)
    write_text(folder / "table3.md", _markdown(rows, notes))
    write_text(folder / "table3.csv", _csv(rows))
    write_text(folder / "table3.json", _json(rows, notes))
    panels = [_panel(row, folder) for row in rows]
    draw_curves(folder / "fig3.png", "Losses", _losses_of(rows), panels)
    draw_curves(folder / "fig4.png", "Scores", SCORES, panels)
    draw_distances(folder / "distance.png", panels)


def _losses_of(rows: Sequence[ComparisonRow]) -> dict[str, str]:
    """Names of the families' losses on the curves; that of the first where two share one."""
    families = (FAMILIES.get(row.family) for row in reversed(rows))
    return {loss.name: loss.label for family in families if family for loss in family.losses}


def _panel(row: ComparisonRow, folder: Path) -> Panel:
    training = TrainingFolder(folder / row.name / "training")
    collapses = [found.images_seen for found in training.interventions() if found.saw == "collapse"]
    return Panel(
        name=row.name,
        curves=training.curves(),
        distances=training.distances(),
        collapses=collapses,
    )


def _notes(
    rows: Sequence[ComparisonRow], prepared: IPDT, settings: Sequence[TrainingSettings]
) -> list[str]:
    """Notes that a reader needs to trust the table, a sentence or two each."""
    waiting = len(settings) - len(rows)
    budgets = {row.name: row.budget for row in rows}
    same = len(set(budgets.values())) == 1
    each = "; ".join(f"{name}: {budget}" for name, budget in budgets.items())
    learnt = sorted({row.num_training for row in rows})
    notes = [
        f"Budget: {next(iter(budgets.values()))} for each."
        if same
        else f"Budgets differ ({each}), so the rows are not one experiment.",
        f"Data: {prepared.name}, {prepared.num_images} images of {prepared.resolution}×"
        f"{prepared.resolution} in {len(prepared.styles)} styles; "
        f"{' or '.join(str(count) for count in learnt)} of them were learnt from (an epoch).",
        *_measured_how(rows),
        f"Machine: {_machine([chosen.device for chosen in settings])}.",
    ]
    if waiting:
        notes.append(f"Not finished: {waiting} of {len(settings)} trainings are still to come.")
    notes += [f"{row.name} failed: {row.failure}" for row in rows if row.failure is not None]
    return notes


def _measured_how(rows: Sequence[ComparisonRow]) -> list[str]:
    """Notes on what the distances rest on, and on which must not be ranked against each other."""
    distances = {row.name: row.distance for row in rows if row.distance is not None}
    if not distances:
        return ["No final Fréchet distance was measured."]
    first = next(iter(distances.values()))
    unlike = _unlike(distances)
    if unlike:
        return [f"{name}: {measurement.line()}." for name, measurement in distances.items()] + [
            f"Measured in unlike ways, not to be ranked: {line}." for line in unlike
        ]
    note = (
        f"{first.name}: {first.num_generated} generated against {first.num_real} real images "
        f"({first.against}), with 95 % intervals; lower is better."
    )
    if first.caution:
        note += f" {first.caution}"
    if first.has_few_images:
        note += " With so few images it is biased upwards: compare within this table alone."
    return [note]


def _unlike(distances: dict[str, Measurement]) -> list[str]:
    """Pairs that cannot be compared, each with the reason."""
    found: list[str] = []
    for (name, mine), (other, theirs) in combinations(distances.items(), 2):
        try:
            mine.check_comparable(theirs)
        except AtelierError as error:
            reason = re.sub(r"^.*?\((.*)\); measure.*$", r"\1", str(error), flags=re.DOTALL)
            found.append(f"{name} and {other} ({reason})")
    return found


def _markdown(rows: Sequence[ComparisonRow], notes: Sequence[str]) -> str:
    """Table as the paper prints it, a column for each model, with the notes."""
    table = [
        ["", *(row.name for row in rows)],
        *([title, *(tell(row) for row in rows)] for title, tell in _LINES.items()),
    ]
    listed = "".join(f"- {note}\n" for note in notes)
    return (
        f"# Table 3: the trainings side by side\n\n{markdown_table(table)}\n{listed}\n"
        "Figures: `fig3.png` (losses), `fig4.png` (scores of real and generated images), "
        "`distance.png` (Fréchet distance during training).\n"
    )


def _collapse(row: ComparisonRow) -> str:
    if not row.images_seen:
        return "–"
    if not row.is_guarded:
        return "not looked for"
    return "yes" if row.num_collapses else "no"


def _how_often(row: ComparisonRow) -> str:
    if row.epochs_between_collapses is None:
        return "–"
    return f"every {short(row.epochs_between_collapses)} epochs ({row.num_collapses}×)"


def _others(row: ComparisonRow) -> str:
    return ", ".join(f"{saw} ({n})" for saw, n in row.other_interventions.items()) or "–"


def _distance(row: ComparisonRow) -> str:
    found = row.distance
    if found is None:
        return "not measured"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}], {found.features}"


def _per_epoch(row: ComparisonRow) -> str:
    return "–" if row.seconds_per_epoch is None else duration(row.seconds_per_epoch)


def _outcome(row: ComparisonRow) -> str:
    if row.failure is not None:
        return "failed"
    return "finished" if row.is_budget_spent else "given up before its budget was spent"


_LINES: dict[str, Callable[[ComparisonRow], str]] = {
    "family": lambda row: row.family,
    "length of training": lambda row: f"{short(row.epochs)} epochs",
    "images seen": lambda row: spaced(row.images_seen),
    "time": lambda row: duration(row.training_seconds),
    "time per epoch": _per_epoch,
    "mode collapse": _collapse,
    "frequency of mode collapse": _how_often,
    "other interventions": _others,
    "final Fréchet distance": _distance,
    "outcome": _outcome,
}


def _csv(rows: Sequence[ComparisonRow]) -> str:
    """A line for each training; numbers as they are, units in the column's name."""
    return csv_table([_flat(row) for row in rows])


def _flat(row: ComparisonRow) -> dict[str, object]:
    fields = row.model_dump(exclude={"distance", "other_interventions"})
    fields["other_interventions"] = _others(row) if row.other_interventions else ""
    fields |= {f"distance_{name}": None for name in ("value", *Measurement.model_fields)}
    if row.distance is not None:
        fields |= {f"distance_{name}": value for name, value in row.distance.model_dump().items()}
    failure = fields.pop("failure")
    return fields | {"failure": failure}


def _json(rows: Sequence[ComparisonRow], notes: Sequence[str]) -> str:
    content = {"rows": [row.model_dump(mode="json") for row in rows], "notes": list(notes)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- the machine


def _machine(devices: Sequence[str]) -> str:
    """Processor and threads; the accelerator's name where one trained."""
    import torch

    accelerators = {_device_type(name) for name in devices} - {"cpu"}
    names = [torch.cuda.get_device_name() if kind == "cuda" else kind for kind in accelerators]
    threads = torch.get_num_threads()
    processor = f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"
    return ", ".join([*sorted(names), processor])


def _device_type(name: str) -> str:
    """Type of the device that a name stands for on this machine; 'cpu' for one that is missing.

    The training's own row says that it is missing.
    """
    from components.common.devices import pick_device

    try:
        return pick_device(name).type
    except AtelierError:
        return "cpu"
