"""Atelier: the component diagram of paper 002 as code, and its command line.

    training store --ITDT--> preprocessing --IPDT--> training --IGME--> generation
    generation --IGDT--> enhancement --IEDT--> conversion --IODT--> results store
    user interface --IGS--> generation, --IES--> enhancement, --ICS--> conversion

`python pipeline.py run` goes the whole way; each stage is also a verb of its own, in
`atelier/commands/`.
"""

import os

# Before torch is imported: two torch threads beside any other busy process otherwise spin and
# crawl, 6 to 12 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from collections.abc import Sequence

import settings

try:
    from settings import Layer
except ImportError as error:
    raise ImportError(
        f"{settings.__file__} hides Atelier's own `settings`; run the `atelier` command, or start "
        "python from another folder (importing from `components` works from anywhere)"
    ) from error

from atelier import stages
from atelier.choices import check_declared, check_generation, choose
from atelier.commands import app
from atelier.commands.console import settle
from atelier.commands.faults import exit_code_of
from atelier.commands.frame import (
    Common,
    ResumeFlag,
    RunFlag,
    assembled,
    command,
    resumed,
    say_run,
)
from atelier.runs import Run
from components.common.durable import exclusive
from components.common.pipelining import overlapped
from interfaces.components import Components
from interfaces.iodt import StoredResult
from interfaces.itdt import ITDT


def whole_way(parts: Components, run: Run, collection: ITDT) -> list[StoredResult]:
    """The diagram in the paper's order, from an inspected collection (ITDT) to stored images.

    What the run has done already is not done again: training goes on where it was stopped, and
    generation at the first image that is missing.
    """
    watch, chosen = parts.ui.watch, run.chosen
    prepared = parts.preprocessing.preprocess(collection, chosen.preprocess, watch)  # IPDT
    model = parts.training.train(prepared, chosen.train, run.training, watch)  # IGME
    wanted = stages.ask(parts.ui, run)  # IGS, IES, ICS
    missing = stages.missing_of(parts.results_store, run, model, wanted)
    if missing is not None:
        generated = parts.generation.generate(model, missing, watch)  # IGDT
        pixels = stages.pixels_of(wanted.generate, model.resolution)
        enlarged = parts.enhancement.enhance(generated, wanted.enhance, watch, pixels)  # IEDT
        # Encoding takes turns with the next batch's enlargement, beside it.
        for image in overlapped(
            enlarged, lambda some: parts.conversion.convert(some, wanted.convert)
        ):  # IODT
            stages.keep(parts, run, image)
    return stages.kept_of(parts.results_store, run, model, wanted)


@command("collect", "preprocess", "train", "generate", "enhance", "convert")
def run(
    *,
    resume: ResumeFlag = False,
    run: RunFlag = None,
    common: Common = Common(),
    given: Layer,
) -> None:
    """From a folder of art to enlarged, stored images: the whole pipeline."""
    layer, place = common.layer(given), common.place
    current = resumed(place, "run", run, layer) if resume or run else None
    chosen = current.chosen if current else choose(layer)
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
            stages.finish(parts, current, whole_way(parts, current, collection))
            parts.ui.say(f"training:      {current.training} (curves, sample grids)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. A person's error is one line, no traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    settle()
    return exit_code_of(lambda: app(words, exit_on_error=False, print_error=False), words)


if __name__ == "__main__":
    sys.exit(main())
