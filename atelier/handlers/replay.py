"""Replay: results made again from their records alone and compared."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from atelier.commands.frame import Making, assembled
from atelier.commands.helping import OPTIONS
from atelier.discretion import without_places
from atelier.handlers.handler import Handler, Places, Task, label_of
from atelier.originals import Originals
from atelier.replaying import Replay, pictures_asked_for, replay, replay_all, tally
from interfaces.errors import AtelierError
from interfaces.orders import Order, ResultId
from settings import Layer


class ReplayOrder(Order):
    """Make results again from their records, and say whether they come out equal."""

    kind: Literal["replay"]
    results: tuple[ResultId, ...] = Field(
        min_length=1, max_length=1000, description="Results of the store, by number."
    )


class ReplayHandler(Handler[ReplayOrder]):
    """Carries a `ReplayOrder` out."""

    order = ReplayOrder

    def layer(self, order: ReplayOrder, places: Places) -> Layer:
        """Nothing is chosen: the records say it all."""
        return {}

    def carry_out(self, task: Task[ReplayOrder]) -> None:
        """Make each again; conclude with a line a result."""
        originals = Originals(task.parts.results_store, task.places.uploads)
        found = [_again(task, result_id, originals) for result_id in task.order.results]
        private = [task.places.workspace.root]
        task.control.conclude(
            {
                "lines": [without_places(one.line(), private) for one in found],
                "verdicts": [one.verdict for one in found],
                "summary": tally(found),
            }
        )


def _again(task: Task[ReplayOrder], result_id: ResultId, originals: Originals) -> Replay:
    """A result made again and compared; one that is not there any more is named."""
    try:
        place = task.picture(result_id).place
    except AtelierError as error:
        label = label_of(result_id)
        return Replay(label, "not possible", str(error).removeprefix(f"{label}: "))
    return replay(task.parts, task.places.workspace, place, originals=originals)


def replay_files(
    pictures: Annotated[
        list[Path] | None,
        Parameter(group=OPTIONS, negative=(), help="Image files, and folders of them."),
    ] = None,
    *,
    board: Annotated[
        str | None, Parameter(group=OPTIONS, help="All results on this board of the page.")
    ] = None,
    models: Annotated[
        Path | None,
        Parameter(group=OPTIONS, help="A folder to look for the models in first, at any depth."),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        Parameter(
            group=OPTIONS,
            negative=(),
            help="Files or folders in which to look for what the pictures were made from.",
        ),
    ] = None,
    common: Making = Making(),
) -> None:
    """Make pictures again from their records alone and compare them with the files."""
    found: list[Replay] = []
    with assembled(common.place, common.components) as parts:
        paths = pictures_asked_for(pictures or (), board, common.place, parts.results_store)
        for one in replay_all(parts, common.place, paths, models, inputs or ()):
            found.append(one)
            print(one.line())
    print(tally(found))
