"""Atelier: the component diagram of paper 002 as code, and its command line.

    training store --ITDT--> preprocessing --IPDT--> training --IGME--> generation
    generation --IGDT--> enhancement --IEDT--> conversion --IODT--> results store
    user interface --IGS--> generation, --IES--> enhancement, --ICS--> conversion

`python pipeline.py run` goes the whole way; each stage is also a verb of its own, in
`atelier/commands/`. Without arguments it says what to do next.
"""

import os

# Before torch is imported: two torch threads beside any other busy process otherwise spin and
# crawl, 6 to 12 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.commands import carry_out
from atelier.commands.console import settle
from atelier.commands.faults import exit_code_of

if TYPE_CHECKING:
    from atelier.runs import Run
    from interfaces.components import Components
    from interfaces.iodt import StoredResult
    from interfaces.itdt import ITDT

_settings = find_spec("settings")
_place = Path((_settings and _settings.origin) or "settings")
if not _place.with_name("default.toml").exists():
    raise ImportError(
        f"{_place} hides Atelier's own `settings`; run the `atelier` "
        "command, or start python from another folder (importing from `components` works from "
        "anywhere)"
    )


def whole_way(parts: "Components", run: "Run", collection: "ITDT") -> "list[StoredResult]":
    """The diagram in the paper's order, from an inspected collection (ITDT) to stored images.

    What the run has done already is not done again: training goes on where it was stopped, and
    generation at the first image that is missing.
    """
    # Imported here, so that help is not kept waiting.
    from atelier import stages
    from components.common.pipelining import overlapped

    watch, chosen = parts.ui.watch, run.chosen
    prepared = parts.preprocessing.preprocess(collection, chosen.preprocess, watch)  # IPDT
    model = parts.training.train(prepared, chosen.train, run.training, watch)  # IGME
    stages.say_verdict(parts.ui, run)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. A person's error is one line, no traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    settle()
    return exit_code_of(lambda: _by_ranks(lambda: carry_out(words, whole_way)), words)


def _by_ranks(work: Callable[[], object]) -> object:
    """Do the work, with the other processes that `torchrun` started, where it did."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return work()
    from components.training import with_ranks

    return with_ranks(work)


if __name__ == "__main__":
    sys.exit(main())
