"""Experiments on the command line: compare, search, benchmark, and the studies of papers."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atelier.choices import choose
from atelier.commands.frame import Common, Making, assembled, command
from atelier.commands.helping import OPTIONS
from atelier.stages import prepare
from components.training_store import EMBEDDED_STYLES, paint_picture
from interfaces.errors import RefusedError
from interfaces.experiments import BenchmarkSettings, SearchSettings, SketchStudySettings
from settings import Layer, RunSettings, load_preset, merge, validate

NameFlag = Annotated[
    str | None,
    Parameter(
        group=OPTIONS,
        metavar="NAME",
        help="Name of the folder for what is found; by default the collection's name.",
    ),
]


@command(
    "collect",
    "preprocess",
    "train",
    usual=("data", "resolution", "total_seconds", "total_images"),
)
def compare_presets(
    presets: Annotated[
        list[str],
        Parameter(
            group=OPTIONS,
            negative=(),
            metavar="NAME",
            help="Presets to compare, by name or TOML file.",
        ),
    ],
    *,
    name: NameFlag = None,
    common: Common = Common(),
    given: Layer,
) -> None:
    """Train several presets under one budget: paper 002's Table 3 and Figs. 3 and 4.

    Run the same command again to resume where it stopped.
    """
    from atelier.experiments import compare

    layer = common.layer(given)
    entries = {preset: _with_budget_of(layer, load_preset(preset)) for preset in presets}
    first = next(iter(entries.values()))
    for preset, chosen in entries.items():
        if (chosen.collect, chosen.preprocess) != (first.collect, first.preprocess):
            raise RefusedError(
                f"preset {preset}: names another collection or resolution than the first; compare "
                "on one, as with --data and --resolution"
            )
        if chosen.components != first.components:
            raise RefusedError(
                f"preset {preset}: names other components than the first; name those of all with "
                "--component"
            )
    with assembled(common.place, first.components) as parts:
        collection, prepared = prepare(parts, first)
        folder = common.place.named_folder("comparisons", name or collection)
        rows = [(Path(preset).stem, chosen.train) for preset, chosen in entries.items()]
        compare(parts.training, prepared, rows, folder, parts.ui.watch)
        parts.ui.say((folder / "table3.md").read_text(encoding="utf-8"))
        parts.ui.say(f"comparison:    {folder}")


def _with_budget_of(layer: Layer, preset: Layer) -> RunSettings:
    """A preset under what was given, whose budget takes the place of the preset's own."""
    if {"total_images", "total_seconds"} & layer.get("train", {}).keys():
        for field in ("total_images", "total_seconds"):
            preset.get("train", {}).pop(field, None)
    return choose(merge(preset, layer))


_TABLE_2: Layer = {"train": {"family": "wgan_gp"}}
_OF_TRIALS = (
    "total_images",
    "total_seconds",
    "measure_images",
    "guardian",
    "guardian_images",
    "guardian_tries",
)
"""Settings of `train` that a search decides itself: a trial's length and how it is judged."""


@command(
    "collect",
    "preprocess",
    "train",
    "search",
    usual=("data", "family", "resolution", "search.total_seconds", "trial_images"),
    below=_TABLE_2,
    decided=[("train", name) for name in _OF_TRIALS],
)
def search_settings(
    *,
    name: NameFlag = None,
    common: Common = Common(),
    given: Layer,
) -> None:
    """Look for good hyper-parameters in paper 002's Table 2, within a time budget.

    Run the same command again to resume the study; --search.total-seconds may then be larger.
    """
    from atelier.experiments.search.space import FIELDS
    from atelier.experiments.search.study import search

    if drawn := FIELDS & given.get("train", {}).get("options", {}).keys():
        raise RefusedError(f"train.options.{min(drawn)}: is what the search varies; leave it out")
    layer = common.layer(given)
    asked = validate(SearchSettings, layer.pop("search", {}), "search")
    chosen = choose(merge(_TABLE_2, layer))
    with assembled(common.place, chosen.components) as parts:
        collection, prepared = prepare(parts, chosen)
        folder = common.place.named_folder("searches", name or collection)
        search(parts.training, prepared, chosen.train, asked, folder, parts.ui.watch)
        parts.ui.say((folder / "report.md").read_text(encoding="utf-8"))
        parts.ui.say(f"study:         {folder}")


ModelsFlag = Annotated[
    tuple[str, ...],
    Parameter(
        group=OPTIONS,
        negative=(),
        metavar="NAME",
        show_default=False,
        help="Models: folders, runs and adopted models by name, 'shipped'.",
    ),
]
EnlargersFlag = Annotated[
    tuple[str, ...],
    Parameter(
        group=OPTIONS,
        negative=(),
        metavar="NAME",
        show_default=False,
        help="An enlarger by name, or its weights file; give it again for more.",
    ),
]


@command("benchmark", usual=("images", "max_batch", "prompt", "source"))
def measure_costs(
    models: ModelsFlag = (),
    *,
    enlarger: EnlargersFlag = (),
    name: Annotated[
        str, Parameter(group=OPTIONS, metavar="NAME", help="Name of the ledger's folder.")
    ] = "ledger",
    again: Annotated[
        bool,
        Parameter(group=OPTIONS, negative=(), help="Measure again what was measured before."),
    ] = False,
    common: Making = Making(),
    given: Layer,
) -> None:
    """Measure what models and enlargers cost: paper 003's Table 1, and advice."""
    from atelier.experiments import Makers, benchmark

    place, layer = common.place, common.layer(given)
    asked = validate(BenchmarkSettings, layer.pop("benchmark", {}), "benchmark")
    found = {model: place.find_model(model) for model in models}
    names = _told_apart({asked: model.directory for asked, model in found.items()})
    opened = {names[asked]: model for asked, model in found.items()}
    replaced: dict[str, str] = layer.get("components", {})
    own = [
        replaced.get(part, f"components.{part}:create") for part in ("generation", "enhancement")
    ]
    samples = [paint_picture(style, 0) for style in EMBEDDED_STYLES]
    with assembled(place, replaced) as parts:
        folder = place.named_folder("benchmarks", name)
        makers = Makers(place.root, *own)
        benchmark(opened, enlarger, asked, folder, makers, samples, parts.ui.say, again=again)
        parts.ui.say((folder / "ledger.md").read_text(encoding="utf-8"))
        parts.ui.say(f"ledger:        {folder} (ledger.md, .csv, .json, .png, pictures)")


def _told_apart(folders: Mapping[str, Path]) -> dict[str, str]:
    """Short names of models by how they were asked for: the folder's, the run's, else the text."""
    short = {
        asked: folder.parts[-3] if folder.parts[-2:] == ("training", "model") else folder.name
        for asked, folder in folders.items()
        if len(Path(asked).parts) > 1
    }
    names = {asked: short.get(asked, asked) for asked in folders}
    counts = Counter(names.values())
    return {asked: name if counts[name] == 1 else asked for asked, name in names.items()}


_SKETCHES = load_preset("papers/sketch_diffusion")


@command(
    "collect",
    "preprocess",
    "train",
    "study",
    usual=("data", "resolution", "total_images", "total_seconds", "drawings", "seeds"),
    below=_SKETCHES,
    decided=[("train", "conditioning")],
)
def study_sketch(
    *,
    name: NameFlag = None,
    common: Making = Making(),
    given: Layer,
) -> None:
    """Paper 004: a drawing under noise, the paper's mask of noise, and our way of following it.

    Trains a model of each on one collection, then writes a report. Run the same command again to
    resume where it stopped.
    """
    from atelier.experiments import claims_section, study_sketches, train_methods

    layer = merge(_SKETCHES, common.layer(given))
    asked = validate(SketchStudySettings, layer.pop("study", {}), "study")
    chosen, place = choose(layer), common.place
    with assembled(place, chosen.components) as parts:
        collection, prepared = prepare(parts, chosen)
        watch = parts.ui.watch
        folder = place.named_folder("studies", name or f"sketch-{collection}")
        models = train_methods(parts.training, prepared, chosen.train, folder, watch)
        # Features lie where the trainings have put them.
        found = study_sketches(
            parts.generation, models, prepared, asked, folder, place.features, watch
        )
        parts.ui.say(claims_section(found.claims))
        parts.ui.say(f"report:        {folder / 'report.md'}")
