"""Overview of the workspace with the next steps, shown where no command is named."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atelier.commands.frame import WorkspaceFlag
from atelier.commands.tables import pairs
from atelier.runs import Run
from atelier.workspace import Workspace
from components.common.files import JOBS
from components.common.shipped import SHIPPED_MODELS
from components.results_store import create as create_store
from interfaces.errors import AtelierError, one_line
from interfaces.iodt import ResultQuery

_CALLED = {"run": "the run", "train": "the training", "generate": "the pictures of"}
"""Words for a run, by the verb that began it."""


@dataclass(frozen=True)
class _Found:
    """Contents of a workspace."""

    models: list[str]
    """The person's own, the newest first."""
    default: str | None
    num_pictures: int
    stopped: Run | None
    num_waiting: int
    num_running: int
    fault: str


def say_status(*, workspace: WorkspaceFlag = Path("workspace")) -> None:
    """Show what is in the workspace, and what to do next."""
    place, program = Workspace(workspace), Path(sys.argv[0]).name
    if program.endswith(".py"):
        program = f"python {program}"
    found = _look(place)
    for line in pairs([("workspace", str(place.root)), *_contents(found)]):
        print(one_line(line))
    print("\nNext:")
    where = "" if workspace == Path("workspace") else f" --workspace {workspace}"
    for line in pairs([(f"  {program} {step}{where}", why) for step, why in _steps(found)]):
        print(one_line(line))


def _look(place: Workspace) -> _Found:
    """Look into the workspace; nothing is made by looking."""
    models = [name for name, _ in place.models() if name not in SHIPPED_MODELS]
    num_pictures, fault = 0, ""
    try:
        if place.results.is_dir():
            num_pictures = create_store(place.root).count(ResultQuery())
    except AtelierError as error:
        fault = str(error)
    waiting, running = _jobs(place)
    default = place.chosen_default()
    return _Found(models, default, num_pictures, _stopped(place), waiting, running, fault)


def _stopped(place: Workspace) -> Run | None:
    """The newest run, where it was begun on the command line and is not finished."""
    for folder in place.run_folders():
        try:
            run = Run.open(folder)
        except AtelierError:
            continue  # whoever resumes it learns what is wrong with it
        return None if run.is_finished or run.verb not in _CALLED else run
    return None


def _jobs(place: Workspace) -> tuple[int, int]:
    """Numbers of the page's jobs that wait, and that run."""
    if not (place.root / JOBS).exists():
        return 0, 0
    from atelier.handlers import ORDERS
    from atelier.jobs import create

    queue = create(place.root, ORDERS)
    return queue.num_waiting(), len(queue.find(["running", "stopping"]))


def _contents(found: _Found) -> Iterator[tuple[str, str]]:
    """Contents of the workspace, kind by kind; an empty text is not shown."""
    shown = ", ".join(found.models[:3])
    more = f" and {len(found.models) - 3} more" if len(found.models) > 3 else ""
    yield "models", f"{shown}{more}" or "none of yours yet; three come with the project"
    yield "default", found.default or ""
    yield "pictures", f"{found.num_pictures:,}" if found.num_pictures else "none yet"
    if stopped := found.stopped:
        yield "unfinished", f"{_CALLED[stopped.verb]} {stopped.name}"
    if found.num_waiting or found.num_running:
        yield "jobs", f"{found.num_waiting} waiting, {found.num_running} running"
    yield "trouble", found.fault


def _steps(found: _Found) -> Iterator[tuple[str, str]]:
    """Commands that suit the workspace, the most urgent first, and what each does."""
    if found.stopped:
        yield f"{found.stopped.verb} --resume", f"go on with {found.stopped.name}"
    if found.num_waiting and not found.num_running:
        yield "ui", "open the page, which carries the waiting jobs out"
    if found.num_pictures:
        yield "results list", "see what was made"
    yield "generate", "make 16 new pictures"
    if found.models and found.default is None:
        yield f"models use {found.models[0]}", "make all pictures with this model from now on"
    if not found.models:
        yield "inspect --data FOLDER", "see what is in a folder of your pictures"
        yield "run --data FOLDER", "learn from them, and make new ones"
    if not found.num_waiting:
        yield "ui", "do most of this in the browser"
    yield "--help", "see every command"
