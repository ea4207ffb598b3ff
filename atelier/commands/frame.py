"""The frame of a command: what every command takes, and flags from settings."""

import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import settings
from atelier.assembly import assemble, replacements_of
from atelier.choices import choose
from atelier.commands.flags import Command, flags_of, with_flags
from atelier.commands.helping import OPTIONS, OTHERS
from atelier.hearing import hear
from atelier.ray import REPLACEMENTS
from atelier.runs import Run
from atelier.workspace import Workspace
from components.enhancement import names as enhancer_names
from components.families import FAMILIES
from interfaces.components import Components
from interfaces.errors import NotFoundError, RefusedError
from interfaces.iodt import ResultQuery
from settings import Layer, RunSettings

WorkspaceFlag = Annotated[
    Path,
    Parameter(
        group=OPTIONS,
        env_var="ATELIER_WORKSPACE",
        show_env_var=True,
        help="The folder where Atelier keeps everything it makes.",
    ),
]
PresetFlag = Annotated[
    tuple[str, ...],
    Parameter(
        group=OTHERS,
        negative=(),
        metavar="NAME",
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
        group=OTHERS,
        negative=(),
        metavar="NAME=PLACE",
        show_default=False,
        help="Replace a component: name=package:factory, as enhancement=mine:make.",
    ),
]
RayFlag = Annotated[
    bool,
    Parameter(
        group=OTHERS,
        negative=(),
        show_default=False,
        help=(
            "Make, enlarge and encode pictures over Ray: on the cluster that RAY_ADDRESS names, "
            "else with every processor of this machine."
        ),
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Parameters of every command that has settings."""

    workspace: WorkspaceFlag = Path("workspace")
    preset: PresetFlag = ()
    component: ComponentFlag = ()

    def layer(self, given: Layer) -> Layer:
        """Settings that the person gave: presets, then environment, then flags."""
        presets = [settings.load_preset(name) for name in self.preset]
        replaced = self.replaced
        last: Layer = {"components": replaced} if replaced else {}
        return settings.merge(*presets, settings.from_environment(os.environ), given, last)

    @property
    def replaced(self) -> dict[str, str]:
        """Components that flags replace, by name; raises `AtelierError`."""
        return replacements_of(self.component)

    @property
    def components(self) -> dict[str, str]:
        """Replaced components by name, as presets, the environment and flags name them.

        It is all that a command takes from presets which reads this alone: raises `RefusedError`
        for one that sets more.
        """
        for name in self.preset:
            if others := settings.load_preset(name).keys() - {"components"}:
                raise RefusedError(
                    f"--preset {name}: sets [{min(others)}], which has no effect here; leave it "
                    "out, or name one of [components] alone"
                )
        return self.layer({}).get("components", {})

    @property
    def place(self) -> Workspace:
        """The workspace that was named."""
        return Workspace(self.workspace)


@Parameter(name="*")
@dataclass(frozen=True)
class Making(Common):
    """Parameters of a command that makes, enlarges or encodes pictures with its components."""

    ray: RayFlag = False

    @property
    def replaced(self) -> dict[str, str]:
        """Components that flags replace, by name; `--component` prevails over `--ray`."""
        return (REPLACEMENTS if self.ray else {}) | super().replaced


ResumeFlag = Annotated[
    bool,
    Parameter(
        group=OPTIONS,
        negative=(),
        show_default=False,
        help="Resume the newest unfinished run, or the one that --run names.",
    ),
]
RunFlag = Annotated[str | None, Parameter(group=OTHERS, metavar="NAME", help="The run to resume.")]
ModelFlag = Annotated[
    str | None,
    Parameter(
        group=OPTIONS,
        metavar="NAME",
        help="A model's name (`models list`), run or folder; else your default (`models use`).",
    ),
]
Pictures = Annotated[
    list[Path], Parameter(group=OPTIONS, negative=(), help="Image files, and folders of them.")
]
OutputFlag = Annotated[
    Path | None,
    Parameter(group=OPTIONS, help="Write into this folder instead of the results store."),
]


def command(
    *sections: str,
    usual: Sequence[str],
    below: Layer | None = None,
    decided: Collection[tuple[str, str]] = (),
) -> Callable[[Command], Command]:
    """Give a command the fields of these sections of the settings as flags.

    `usual` names the flags that the short help shows, in its order; `below` has the command's own
    defaults, where they differ from the default preset's; `decided` are fields and options that the
    command itself decides, by section and name, so that they have no flag.
    """
    options = {
        "train": {name: f.config for name, f in FAMILIES.items() if f.is_trainable},
        "generate": {name: family.options for name, family in FAMILIES.items()},
        "evaluate": {name: family.options for name, family in FAMILIES.items()},
    }
    models = settings.SECTIONS | settings.COMMANDS | {"find": ResultQuery}
    names = {("train", "family"): options["train"], ("enhance", "enhancer"): enhancer_names()}
    flags = flags_of(
        {name: models[name] for name in sections},
        options,
        settings.merge(settings.load_preset("default"), below or {}),
        names,
        decided,
    )

    return lambda function: with_flags(function, flags, usual)


@contextmanager
def assembled(
    place: Workspace, replacements: Mapping[str, str] | None = None
) -> Generator[Components]:
    """The components for one command; their log is shown to the person."""
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
    """The run to resume, with the given settings taken over.

    Where there is none, None for a `run` that is fully described, so that one command line both
    starts and resumes; else an error.
    """
    found = Run.find(place, verb, name)
    if found is not None:
        found.resume_with(layer, choose)
    elif verb != "run" or not layer:
        raise NotFoundError(f"{place.root}: no `{verb}` run here to resume; start one first")
    return found


def settings_of(
    common: Common, verb: str, given: Layer, *, resume: bool, run: str | None
) -> tuple[Run | None, RunSettings]:
    """The run to resume and its settings, if that was asked for; else the given settings."""
    layer = common.layer(given)
    current = resumed(common.place, verb, run, layer) if resume or run else None
    return current, current.chosen if current else choose(layer)


def say_run(parts: Components, run: Run) -> None:
    """Say where the run's folder is, and whether it is finished."""
    state = " (already finished)" if run.is_finished else ""
    parts.ui.say(f"run:           {run.folder}{state}")
