"""Replay: results made again from their records alone and compared."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from atelier.commands.frame import Making, assembled
from atelier.commands.helping import OPTIONS
from atelier.handlers.handler import Handler, Places, Task
from atelier.replaying import Replay, pictures_asked_for, replay_all, tally
from interfaces.orders import Order, ResultId
from interfaces.places import fetched
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
        store, place = task.parts.results_store, task.places.workspace
        files = (fetched(store.get(result_id).path) for result_id in task.order.results)
        found = list(replay_all(task.parts, place, files))
        task.control.conclude(
            {
                "lines": [one.line() for one in found],
                "verdicts": [one.verdict for one in found],
                "summary": tally(found),
            }
        )


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
