"""The whole way on the command line: run."""

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from atelier import stages
from atelier.choices import check_declared, check_generation
from atelier.commands.frame import (
    Common,
    ResumeFlag,
    RunFlag,
    assembled,
    command,
    say_run,
    settings_of,
)
from atelier.runs import Run
from components.common.durable import exclusive
from interfaces.components import Components
from interfaces.iodt import StoredResult
from interfaces.itdt import ITDT
from settings import Layer

WholeWay = Callable[[Components, Run, ITDT], list[StoredResult]]
"""From an inspected collection to stored images; `pipeline.whole_way`."""


@command(
    "collect",
    "preprocess",
    "train",
    "generate",
    "enhance",
    "convert",
    usual=(
        "data",
        "family",
        "start_from",
        "resolution",
        "total_seconds",
        "total_images",
        "count",
        "style",
        "scale",
        "enhancer",
        "format",
    ),
)
def run(
    *,
    resume: ResumeFlag = False,
    run: RunFlag = None,
    common: Common = Common(),
    given: Layer,
    way: Annotated[WholeWay, Parameter(parse=False)],
) -> None:
    """From a folder of art to enlarged, stored images: the whole pipeline."""
    place = common.place
    current, chosen = settings_of(common, "run", given, resume=resume, run=run)
    with assembled(place, chosen.components) as parts:
        # What cannot work is refused first, and weights are found and checked.
        check_declared(parts, chosen, chosen.train.family)
        check_generation(chosen, chosen.train.family, styles=None)
        pixels = stages.pixels_of(chosen.generate, chosen.preprocess.resolution)
        parts.enhancement.planned(chosen.enhance, pixels)
        collection = stages.collect(parts, chosen)
        check_generation(chosen, chosen.train.family, collection.styles)
        name = f"{chosen.train.family}-{collection.name}"
        current = current or Run.begin(place, "run", chosen, name)
        say_run(parts, current)
        with exclusive(current.folder / ".lock"):
            stages.finish(parts, current, way(parts, current, collection))
            parts.ui.say(f"training:      {current.training} (curves, sample grids)")
