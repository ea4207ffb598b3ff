"""A training and a whole run, from checked settings to what they leave.

There is one composition of each: the command, the order and the function of Python differ in how
a run is begun, which they hand in, and in what they say of its end.
"""

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from atelier import stages
from atelier.choices import check_declared, check_files, check_generation
from atelier.runs import Run
from interfaces.components import Components
from interfaces.igme import IGME
from interfaces.iodt import StoredResult
from interfaces.itdt import ITDT
from settings import RunSettings

Begin = Callable[[str], Run]
"""Begins a run of this name, or takes up the one to go on with, whose name stays."""

WholeWay = Callable[[Components, Run, ITDT], list[StoredResult]]
"""Way from an inspected collection to stored images: `pipeline.whole_way`."""


def train_model(
    parts: Components,
    chosen: RunSettings,
    begin: Begin,
    is_to_conclude: Callable[[], bool] = lambda: False,
) -> tuple[Run, IGME]:
    """Collect and train; returns the finished run and its model.

    Where Ctrl-C ends the training, `is_to_conclude` says whether the person wished for the model
    of what it has learnt by then; without that wish KeyboardInterrupt is raised. Raises
    `AtelierError` for a collection that cannot be learnt from.
    """
    collection = stages.collect(parts, chosen)
    run = begin(_name_of(chosen, collection))
    with run.under_way():
        return run, _learnt(parts, run, collection, is_to_conclude)


def _learnt(
    parts: Components, run: Run, collection: ITDT, is_to_conclude: Callable[[], bool]
) -> IGME:
    try:
        return stages.train(parts, run, collection)
    except KeyboardInterrupt:  # its state is saved
        if not is_to_conclude():
            raise
    return stages.train(parts, run, collection, is_to_end=True)


def go_whole_way(
    parts: Components, chosen: RunSettings, begin: Begin, way: WholeWay
) -> tuple[Run, list[StoredResult]]:
    """Collect, go the whole way and present what it led to; returns the finished run, and results.

    Raises `AtelierError` for what cannot work: what the settings alone tell before anything is
    collected, what the collection tells before anything is trained.
    """
    family = chosen.train.family
    check_declared(parts, chosen, family)
    check_generation(chosen, family, styles=None)
    check_files(chosen)
    # Weights are found and checked by this.
    pixels = stages.pixels_of(chosen.generate, chosen.preprocess.resolution)
    parts.enhancement.planned(chosen.enhance, pixels)
    collection = stages.collect(parts, chosen)
    check_generation(chosen, family, collection.styles)
    run = begin(_name_of(chosen, collection))
    with run.under_way():
        results = way(parts, run, collection)
        stages.present(parts, run, results)
    return run, results


def _name_of(chosen: RunSettings, collection: ITDT) -> str:
    return f"{chosen.train.family}-{collection.name}"


def whole_way() -> WholeWay:
    """`pipeline.whole_way`, for those whom `pipeline.py` did not call.

    It is read from the file beside this package: an import by name would run a person's own
    `pipeline.py`, where their folder holds one.
    """
    place = Path(__file__).parents[1] / "pipeline.py"
    found = spec_from_file_location("pipeline", place)
    if found is None or found.loader is None:
        raise ImportError(f"{place}: is no module of Python")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module.whole_way
