"""The whole way on the command line: run."""

from typing import Annotated

from cyclopts import Parameter

from atelier.commands.frame import (
    Making,
    ResumeFlag,
    RunFlag,
    assembled,
    command,
    say_run,
    settings_of,
)
from atelier.running import WholeWay, go_whole_way
from atelier.runs import Run
from settings import Layer


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
    common: Making = Making(),
    given: Layer,
    way: Annotated[WholeWay, Parameter(parse=False)],
) -> None:
    """Run the whole pipeline, from a folder of art to enlarged, stored images."""
    place = common.place
    current, chosen = settings_of(common, "run", given, resume=resume, run=run)
    with assembled(place, chosen.components) as parts:

        def begin(name: str) -> Run:
            begun = current or Run.begin(place, "run", chosen, name)
            say_run(parts, begun)
            return begun

        gone, _ = go_whole_way(parts, chosen, begin, way)
        parts.ui.say(f"training:      {gone.training} (curves, sample grids)")
