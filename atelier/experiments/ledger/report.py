"""The ledger as it is read: paper 003's Table 1 in Markdown, CSV, JSON, and a chart."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from atelier.experiments.figures import COLOURS
from atelier.experiments.ledger.advice import advice, control_table
from atelier.experiments.ledger.rows import Ledger, LedgerRow
from atelier.experiments.ledger.worker import TimedWork
from atelier.experiments.words import csv_table, markdown_table, short
from components.common.charts import Axes, check_charts, new_figure
from components.common.durable import replacing, write_text

_TASK_COLOURS: dict[TimedWork, str] = {
    "generate": COLOURS[0],
    "encode and decode": COLOURS[2],
    "enlarge": COLOURS[4],
}

_LOGARITHMIC = 20
"""Bars that differ by more are drawn on a logarithmic scale."""


def write_report(ledger: Ledger, folder: Path) -> None:
    """`ledger.md`, `.csv`, `.json` and `ledger.png`, as far as the rows go."""
    write_text(folder / "ledger.md", markdown(ledger))
    write_text(folder / "ledger.csv", _csv(ledger.rows))
    write_text(folder / "ledger.json", _json(ledger))
    draw_ledger(folder / "ledger.png", ledger.rows)


# ---------------------------------------------------------------- the table


def markdown(ledger: Ledger) -> str:
    """The whole report: the table, what it rests on, advice, and what each can be controlled by."""
    rows = ledger.rows
    table = [list(_COLUMNS), *([tell(row) for tell in _COLUMNS.values()] for row in rows)]
    parts = [
        "# The ledger of cost",
        markdown_table(table).rstrip(),
        _bullets(_notes(ledger)),
        "## Advice",
        _bullets(advice(rows)),
    ]
    if table := control_table(sorted({row.family for row in rows if row.family})):
        parts += ["## What each family can be controlled by", table.rstrip()]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _time(row: LedgerRow) -> str:
    if row.failure is not None:
        return f"failed: {row.failure}"
    spread = f"{short(min(row.seconds))} to {short(max(row.seconds))}"
    return f"{short(row.mean_seconds)} ± {short(row.deviation_seconds)} ({spread})"


def _vram(row: LedgerRow) -> str:
    figures = (row.vram_allocated_mb, row.vram_reserved_mb, row.vram_driver_mb)
    return " / ".join(map(_figure, figures)) if any(figures) else "–"


def _ram(row: LedgerRow) -> str:
    return f"{_figure(row.ram_above_mb)} ({_figure(row.ram_total_mb)})"


def _batch(row: LedgerRow) -> str:
    best = row.best_batch
    return "–" if best is None else f"{short(best[1])} (in {best[0]})"


def _figure(value: float | None) -> str:
    return "–" if value is None else short(value)


_COLUMNS: dict[str, Callable[[LedgerRow], str]] = {
    "": lambda row: row.name,
    "picture": lambda row: row.size,
    "time, s": _time,
    "VRAM, MB": _vram,
    "RAM, MB": _ram,
    "images/s (best batch)": _batch,
    "energy, J": lambda row: _figure(row.joules),
    "loading, s": lambda row: _figure(row.loading_seconds),
    "arithmetic": lambda row: row.precision or "–",
}


def _notes(ledger: Ledger) -> list[str]:
    """Notes that a reader needs to trust the table."""
    rows, machine = ledger.rows, ledger.machine
    memory = f", {_figure(machine.memory_mb)} MB" if machine.memory_mb else ""
    gpu = f"{machine.gpu}; " if machine.gpu else ""
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    threads = " or ".join(map(str, sorted({row.threads for row in rows if row.threads})))
    num_images = max((len(row.seconds) for row in rows), default=0)
    notes = [
        f"Machine: {gpu}{machine.processor}, {machine.cores} of its cores{memory}; "
        f"{machine.system}; {versions}; threads: {threads or 'none'}.",
        f"Time: after one picture to warm up, {num_images} one by one, from settings in to pixels "
        "out: mean ± standard deviation (range). Loading is apart, encoding and storing left out.",
        "RAM: the process's peak above its level before loading, and in all; VRAM: peaks of what "
        "tensors took, of what torch held, and what the driver counted. 1 MB is 1 048 576 bytes.",
        "Each row is a process of its own.",
        *sorted({f"{row.name}: asked for {row.asked}." for row in rows if row.asked}),
    ]
    loads = [row.load_average for row in rows if row.load_average is not None]
    if loads:
        shared = "; other work took its cores, and the times have waited for it"
        notes.append(
            f"Load of the machine when the rows were begun: {min(loads):.1f} to {max(loads):.1f}"
            f"{shared if max(loads) > machine.cores else ''}."
        )
    reasons = {row.energy_source for row in rows if row.joules is None and row.energy_source}
    notes += [f"Energy was not measurable: {reason}." for reason in sorted(reasons)]
    tellers = {row.energy_source for row in rows if row.joules is not None}
    notes += [f"Energy: {who}, all that ran there counted." for who in sorted(tellers)]
    if ledger.num_waiting:
        notes.append(f"Not finished: {ledger.num_waiting} are still to be measured.")
    return notes


# ---------------------------------------------------------------- CSV and JSON


def _csv(rows: Sequence[LedgerRow]) -> str:
    """A line for each row; numbers as they are, units in the column's name."""
    return csv_table([_flat(row) for row in rows])


def _flat(row: LedgerRow) -> dict[str, object]:
    fields = row.model_dump(exclude={"measurements", "seconds", "batches", "failure"})
    fields["seconds"] = " ".join(map(repr, row.seconds))
    fields["batches"] = " ".join(f"{size}:{rate!r}" for size, rate in row.batches)
    return fields | _summary(row) | {"failure": row.failure}


def _summary(row: LedgerRow) -> dict[str, object]:
    """The averages of a row that has figures."""
    has_figures = row.failure is None
    size, rate = row.best_batch or (None, None)
    return {
        "seconds_mean": row.mean_seconds if has_figures else None,
        "seconds_deviation": row.deviation_seconds if has_figures else None,
        "seconds_lowest": min(row.seconds) if has_figures else None,
        "seconds_highest": max(row.seconds) if has_figures else None,
        "best_batch": size,
        "best_batch_images_per_second": rate,
    }


def _json(ledger: Ledger) -> str:
    rows = [row.model_dump(mode="json") | _summary(row) for row in ledger.rows]
    fields = {
        "machine": ledger.machine.model_dump(mode="json"),
        "notes": _notes(ledger),
        "advice": advice(ledger.rows),
        "num_waiting": ledger.num_waiting,
        "rows": rows,
    }
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- the chart


def draw_ledger(path: Path, rows: Sequence[LedgerRow]) -> None:
    """A panel of bars for each figure, a bar for each row; time with its range."""
    check_charts()
    from matplotlib.patches import Patch

    told = [row for row in rows if row.failure is None]
    panels: dict[str, Callable[[LedgerRow], float | None]] = {
        "seconds for a picture, one by one": lambda row: row.mean_seconds,
        "RAM above the start, MB": lambda row: row.ram_above_mb,
        "VRAM held by torch, MB": lambda row: row.vram_reserved_mb,
        "images a second in the best batch": lambda row: (row.best_batch or (0, None))[1],
        "energy for a picture, J": lambda row: row.joules,
    }
    drawn = {title: tell for title, tell in panels.items() if any(map(tell, told))}
    width = 3.0 + 3.6 * max(1, len(drawn))
    figure = new_figure(figsize=(width, 1.4 + 0.42 * max(2, len(told))), layout="constrained")
    grid = figure.subplots(1, max(1, len(drawn)), sharey=True, squeeze=False)[0]
    for axes, (title, tell) in zip(grid, drawn.items(), strict=False):
        _draw_bars(axes, title, told, [tell(row) for row in told])
    if drawn:
        _draw_range(grid[0], told)
        grid[0].invert_yaxis()  # the first row on top, as in the table
        done = {row.task for row in told}
        legend = {task: colour for task, colour in _TASK_COLOURS.items() if task in done}
        patches = [Patch(color=colour, label=task) for task, colour in legend.items()]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(done))
    else:
        grid[0].text(0.5, 0.5, "nothing was measured", ha="center", transform=grid[0].transAxes)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_bars(
    axes: Axes, title: str, rows: Sequence[LedgerRow], values: Sequence[float | None]
) -> None:
    places = range(len(rows))
    colours = [_TASK_COLOURS[row.task] for row in rows]
    bars = axes.barh(places, [value or 0 for value in values], color=colours)
    axes.bar_label(bars, [f"  {_figure(value)}" for value in values], fontsize="small")
    known = [value for value in values if value and value > 0]
    if known and max(known) > _LOGARITHMIC * min(known):
        axes.set_xscale("log")
        axes.set_xlim(min(known) / 3, max(known) * 8)
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(0, 1.35 * max(known, default=1))
    axes.set_yticks(places, [f"{row.name}\n{row.size}" for row in rows], fontsize="small")
    axes.set_title(title, fontsize="medium")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _draw_range(axes: Axes, rows: Sequence[LedgerRow]) -> None:
    """Draw each row's range of seconds along the lower edge of its bar, clear of its figure."""
    for place, row in enumerate(rows):
        reach = [min(row.seconds), max(row.seconds)]
        axes.plot(reach, [place + 0.3] * 2, color="0.2", linewidth=1.5, marker="|", markersize=5)
