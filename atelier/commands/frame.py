"""The frame of the command line: the app, what every command takes, and flags from settings."""

import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

import settings
from atelier.assembly import assemble, replacements_of
from atelier.choices import choose
from atelier.commands.flags import flags_of, with_flags
from atelier.hearing import hear
from atelier.runs import Run
from atelier.workspace import Workspace
from components.enhancement import names as enhancer_names
from components.families import FAMILIES
from interfaces.components import Components
from interfaces.errors import AtelierError
from interfaces.iodt import ResultQuery
from settings import Layer

app = App(
    name=Path(sys.argv[0]).name,
    help=(
        "Learn from a folder of artworks and make new art. `run` goes the whole way; the other "
        "commands are its stages. Every setting is a flag, a TOML field (--preset) and an "
        "environment variable: --generate.count is ATELIER_GENERATE_COUNT."
    ),
    version_flags=[],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

COMMON = Group("This command", sort_key=0)

WorkspaceFlag = Annotated[
    Path,
    Parameter(
        group=COMMON,
        env_var="ATELIER_WORKSPACE",
        show_env_var=True,
        help="The folder where Atelier keeps everything it makes.",
    ),
]
PresetFlag = Annotated[
    tuple[str, ...],
    Parameter(
        group=COMMON,
        negative=(),
        show_default=False,
        help=(
            "Settings from TOML: a file, or a preset by name; give it again for more. There "
            f"are: {', '.join(settings.preset_names())}."
        ),
    ),
]
ComponentFlag = Annotated[
    tuple[str, ...],
    Parameter(
        group=COMMON,
        negative=(),
        show_default=False,
        help="Replace a component: name=package:factory, as enhancement=mine:make.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes that has settings."""

    workspace: WorkspaceFlag = Path("workspace")
    preset: PresetFlag = ()
    component: ComponentFlag = ()

    def layer(self, given: Layer) -> Layer:
        """What the person gave: presets, then environment, then flags."""
        presets = [settings.load_preset(name) for name in self.preset]
        replaced: Layer = {"components": replacements_of(self.component)} if self.component else {}
        return settings.merge(*presets, settings.from_environment(os.environ), given, replaced)

    @property
    def place(self) -> Workspace:
        """The workspace that was named."""
        return Workspace(self.workspace)


ResumeFlag = Annotated[
    bool,
    Parameter(
        group=COMMON,
        negative=(),
        show_default=False,
        help="Go on with the newest unfinished run, or the one that --run names.",
    ),
]
RunFlag = Annotated[str | None, Parameter(group=COMMON, help="The run to go on with, by its name.")]
ModelFlag = Annotated[
    str | None,
    Parameter(
        group=COMMON,
        help="A model's folder, a run by name, or 'shipped'; else the newest model, else shipped.",
    ),
]
Pictures = Annotated[
    list[Path], Parameter(group=COMMON, negative=(), help="Image files and folders of them.")
]
OutputFlag = Annotated[
    Path | None,
    Parameter(group=COMMON, help="Write into this folder instead of the results store."),
]

Command = Callable[..., int | None]


def command(
    *sections: str, group: App = app, below: Layer | None = None, name: str | None = None
) -> Callable[[Command], Command]:
    """Register a command whose flags are the fields of these sections of the settings.

    `below` has the command's own defaults, where they differ from the default preset's. The name
    is the function's, unless one is given.
    """
    options = {
        "train": {name: f.config for name, f in FAMILIES.items() if f.is_trainable},
        "generate": {name: family.options for name, family in FAMILIES.items()},
        "evaluate": {name: family.options for name, family in FAMILIES.items()},
    }
    models = settings.SECTIONS | settings.COMMANDS | {"find": ResultQuery}
    names = {("train", "family"): FAMILIES, ("enhance", "enhancer"): enhancer_names()}
    flags = flags_of(
        {name: models[name] for name in sections},
        options,
        settings.merge(settings.load_preset("default"), below or {}),
        names,
    )

    def register(function: Command) -> Command:
        group.command(with_flags(function, flags), name=name or function.__name__)
        return function

    return register


@contextmanager
def assembled(
    place: Workspace, replacements: Mapping[str, str] | None = None
) -> Generator[Components]:
    """The components for one command; what they log, the person sees."""
    parts = assemble(place.root, replacements)
    hear(parts.ui)
    try:
        yield parts
    finally:
        parts.ui.close()


def resumed(
    place: Workspace,
    verb: str,
    name: str | None,
    layer: Layer,
) -> Run | None:
    """The run to go on with, what was given adopted.

    Where there is none, None for a `run` that is fully described, so that one command line both
    starts and resumes; else an error.
    """
    found = Run.find(place, verb, name)
    if found is not None:
        found.adopt(layer, choose)
    elif verb != "run" or not layer:
        raise AtelierError(f"{place.root}: no `{verb}` run here to resume; start one first")
    return found


def say_run(parts: Components, run: Run) -> None:
    """Say where the run's folder is, and whether it is finished."""
    state = " (already finished)" if run.is_finished else ""
    parts.ui.say(f"run:           {run.folder}{state}")
