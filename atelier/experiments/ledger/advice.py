"""Advice for speed, memory, control and quality, as paper 003 gives at its end."""

from collections.abc import Sequence

from atelier.experiments.ledger.rows import LedgerRow
from atelier.experiments.words import markdown_table, short
from components.families import FAMILIES, Family
from interfaces.errors import AtelierError
from interfaces.measurement import Measurement


def advice(rows: Sequence[LedgerRow]) -> list[str]:
    """Lines of advice: measured models for speed, memory, control and quality; an enlarger."""
    models = [row for row in rows if row.task == "generate" and row.failure is None]
    enlargers = [row for row in rows if row.task == "enlarge" and row.failure is None]
    lines: list[str] = []
    if models:
        lines += [_for_speed(models), *_for_memory(models), _for_control(models)]
        lines += [_for_quality(models)]
        if len({row.size for row in models}) > 1:
            lines.append("Their pictures differ in size: weigh only those of one size by cost.")
    if enlargers:
        best = min(enlargers, key=lambda row: row.mean_seconds)
        rivals = _rivals(best, enlargers)
        lines.append(f"For enlarging quickly: {best.name}, {_speed(best)}{rivals}.")
    return lines or ["Nothing was measured, so nothing can be advised."]


def _for_speed(models: Sequence[LedgerRow]) -> str:
    best = min(models, key=lambda row: row.mean_seconds)
    line = f"For speed: {best.name}, {_speed(best)}{_rivals(best, models)}"
    quickest = max(models, key=_rate)
    if (batch := quickest.best_batch) is None:
        return f"{line}."
    who = "the same" if quickest is best else quickest.name
    return f"{line}; for many at once {who}, {short(batch[1])} images/s in batches of {batch[0]}."


def _rate(row: LedgerRow) -> float:
    return row.best_batch[1] if row.best_batch else 0.0


def _speed(row: LedgerRow) -> str:
    return f"{short(row.mean_seconds)} s for a picture of {row.size}"


def _rivals(best: LedgerRow, rows: Sequence[LedgerRow]) -> str:
    """Note on rivals whose times, give or take a standard deviation, reach the best's; else ''."""
    reach = best.mean_seconds + best.deviation_seconds
    near = [
        row.name
        for row in rows
        if row is not best and row.mean_seconds - row.deviation_seconds <= reach
    ]
    return f" (not distinguishable from {', '.join(near)})" if near else ""


def _for_memory(models: Sequence[LedgerRow]) -> list[str]:
    lines: list[str] = []
    if vram := [(row.vram_reserved_mb, row.name) for row in models if row.vram_reserved_mb]:
        least, name = min(vram)
        lines.append(f"For little VRAM: {name}, {short(least)} MB held by torch.")
    if ram := [(row.ram_above_mb, row) for row in models if row.ram_above_mb is not None]:
        least, row = min(ram, key=lambda pair: pair[0])
        total = f" ({short(row.ram_total_mb)} MB in all)" if row.ram_total_mb else ""
        lines.append(
            f"For little memory: {row.name}, {short(least)} MB above what the process holds "
            f"anyway{total}."
        )
    return lines


def _for_control(models: Sequence[LedgerRow]) -> str:
    known = {row.family: row for row in reversed(models) if row.family in FAMILIES}
    if not known:
        return "For control: unknown, since the families are not known here."
    ways = {family: controls(FAMILIES[family]) for family in known if family}
    most = max(ways, key=lambda family: len(ways[family]))
    return f"For control: {known[most].name} ({', '.join(ways[most])})."


def _for_quality(models: Sequence[LedgerRow]) -> str:
    """Only what was measured in the same way is ranked."""
    unknown = "For quality: unknown"
    found = {
        row.name: (row, measurement)
        for row in models
        for measurement in row.measurements
        if measurement.metric == "frechet" and measurement.style is None
    }
    if len(found) < 2:
        return (
            f"{unknown}: fewer than two of these models carry a Fréchet distance; `evaluate` "
            "measures a model."
        )
    comparable = [
        group
        for _, first in found.values()
        if len(group := [pair for pair in found.values() if _is_alike(first, pair[1])]) > 1
    ]
    if not comparable:
        return f"{unknown}: no two of them were measured by the same features on the same pictures."
    group = max(comparable, key=len)
    (best, distance), *rest = sorted(group, key=lambda pair: pair[1].value)
    others = [row.name for row, _ in rest]
    near = [row.name for row, other in rest if other.low <= distance.high]
    told = f" (not distinguishable from {', '.join(near)})" if near else ""
    return f"For quality: {best.name}{told} before {', '.join(others)}; {distance.line()}."


def _is_alike(first: Measurement, second: Measurement) -> bool:
    try:
        first.check_comparable(second)
    except AtelierError:
        return False
    return True


# ---------------------------------------------------------------- control

_OPTION_CONTROLS = {
    "truncation": "truncation",
    "towards_seed": "interpolation between seeds",
    "mix_seed": "style mixing by layers",
    "noise": "fine noise",
    "spread": "variations of the source",
    "projection_steps": "projection",
    "sketch_guidance": "closeness to the sketch",
    "guidance": "guidance",
    "negative_prompt": "negative prompt",
    "scheduler": "scheduler",
    "steps": "steps",
    "source_strength": "strength of the change",
    "extend_left": "outpainting",
    "lora": "LoRA",
    "temperature": "temperature",
}
"""Controls that a family's options give to a person; other options steer no picture."""


def controls(family: Family) -> list[str]:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
    """Controls that a person has over a family's pictures, from its line in the table of families.

    A family that needs a picture makes the same of it whatever the seed, if it has no options.
    """
    options = family.options.model_fields  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    found = [] if family.needs and not options else ["seed"]
    found += ["style"] if family.is_conditional else []
    found += [kind.replace("_", " ") for kind in sorted(family.takes)]
    return found + [word for option, word in _OPTION_CONTROLS.items() if option in options]


def control_table(families: Sequence[str]) -> str:
    """Markdown; '' where none of them is known."""
    known = [(name, ", ".join(controls(FAMILIES[name]))) for name in families if name in FAMILIES]
    return markdown_table([["family", "controlled by"], *map(list, known)]) if known else ""
