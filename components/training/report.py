"""A training's report: how good its model is, what it covers, how original it is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from components.common.durable import replacing, write_text
from components.common.images import pair_sheet
from components.metrics import Neighbours
from components.metrics.judging import STYLE_METRICS, STYLELESS_METRICS
from components.training.balance import balance_lines, balance_of
from components.training.balance_sheet import draw_balance
from components.training.observer import Made, Observer
from components.training.records import Intervention
from components.training.verdict import Verdict
from interfaces.igme import IGME
from interfaces.measurement import Figures, Metric

NUM_PAIRS = 24

STYLES_NOTE = (
    "Precision is the share of a style's generated pictures that lie among its real ones, recall "
    "the share of the real ones that lie among the generated, coverage the share of the real ones "
    "that have a generated one near. In brackets: what real pictures reach in their place. A style "
    "far below the others was not learnt."
)


def write_report(
    run: Path,
    observer: Observer,
    model: IGME,
    network: nn.Module,
    log: Sequence[Intervention],
    verdict: Verdict,
) -> None:
    """Write `report.md`, `nearest.png` and `balance.png` into a training's folder."""
    made = observer.made(network, model.images_seen)
    encoded = observer.encoder_features(made)
    lines = [
        f"# {model.family}, learnt from {model.dataset_name}",
        "",
        f"{model.images_seen} images seen, {len(observer.training)} learnt from, "
        f"{len(observer.held_out)} held out.",
        "",
        *_how_good(model, observer.floor if model.measurements else None, verdict),
        "",
        "## Styles",
        "",
        STYLES_NOTE,
        "",
        "| style | pictures learnt from | generated | precision | recall | coverage |",
        "|---|---|---|---|---|---|",
        *_style_rows(observer, made, is_measured=observer.settings.measure_images > 0),
        "",
        "## Originality",
        "",
        _originality(run, observer, model, made, encoded),
        "",
        "## Balance",
        "",
        *_balance(run, observer, made, encoded),
        "",
        "## The guardian",
        "",
        *_interventions(observer, log),
    ]
    write_text(run / "report.md", "\n".join(lines) + "\n")


def _how_good(model: IGME, floor: Figures | None, verdict: Verdict) -> list[str]:
    """The verdict, its figures, what real pictures reach, and what the figures are good for."""
    lines = ["## How good", "", " ".join(verdict.sentences()), ""]
    lines += [f"- {measured.line()}" for measured in model.measurements]
    if not model.measurements:
        return [*lines, "Not measured."]
    if floor is not None:
        lines += ["", floor.floor_line()]
    return [*lines, "", f"To compare trainings with one another. {model.measurements[0].caution}"]


def _interventions(observer: Observer, log: Sequence[Intervention]) -> list[str]:
    if not log:
        return ["Saw no trouble." if observer.settings.guardian != "off" else "Was off."]
    return [f"- after {row.images_seen} images: {row.saw} {row.figures}; {row.did}" for row in log]


def _originality(run: Path, observer: Observer, model: IGME, made: Made, encoded: Tensor) -> str:
    """A sentence for the report; the least original beside their nearest as a picture."""
    if not model.neighbours_path.exists():
        return "Too few different pictures were learnt from to say."
    neighbours = Neighbours.load(model.neighbours_path)
    distances, places = neighbours.nearest(encoded)
    figures = neighbours.originality(distances).numpy()
    least = np.argsort(figures)[:NUM_PAIRS]
    real = observer.prepared.images()[observer.training[places.numpy()[least]]]
    with replacing(run / "nearest.png") as temporary:
        pair_sheet(made.pixels[least], real).save(temporary)
    return (
        "1 is as far from the nearest training picture as those are from one another. Of "
        f"{len(figures)} pictures: median {np.median(figures):.2f}, least "
        f"{figures.min():.2f}. `nearest.png` shows the {len(least)} least original, each "
        "beside its nearest."
    )


def _balance(run: Path, observer: Observer, made: Made, encoded: Tensor) -> list[str]:
    """The bias of the data and of the pictures made; drawn as `balance.png`."""
    balance = balance_of(observer, made.pixels, encoded)
    draw_balance(run / "balance.png", observer, balance, made.pixels)
    return list(balance_lines(observer, balance))


def _style_rows(observer: Observer, made: Made, *, is_measured: bool) -> list[str]:
    """The report's table: a line for each style, in brackets what real pictures reach."""
    # A family that knows no styles may make any style with any seed.
    labels, told = None, STYLELESS_METRICS
    if observer.family.is_conditional:
        labels, told = made.labels, STYLE_METRICS
    found = observer.reference.by_style(observer.judged(made), labels) if is_measured else ()
    told = told if is_measured else ()
    figures = Figures(overall=(), by_style=found)
    rows: list[str] = []
    for label, style in enumerate(observer.prepared.styles):
        learnt = int((observer.labels[observer.training] == label).sum())
        count = len(made.pixels) if labels is None else int((labels == label).sum())
        cells = [
            _cell(figures, observer.floor, metric, style) if metric in told else "–"
            for metric in STYLE_METRICS
        ]
        rows.append(f"| {style} | {learnt} | {count} | {' | '.join(cells)} |")
    return rows


def _cell(figures: Figures, floor: Figures | None, metric: Metric, style: str) -> str:
    found, real = figures.find(metric, style), floor.find(metric, style) if floor else None
    if found is None:
        return "too few"
    return f"{found.value:.2f}" + (f" ({real.value:.2f})" if real else "")
