"""Replay: results made again from their records alone and compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from atelier.commands.frame import Common, assembled
from atelier.commands.helping import OPTIONS
from atelier.gallery import Shelf
from atelier.handlers.handler import Handler, Places, Task
from atelier.jobs import LocalUploads
from atelier.originals import Originals
from atelier.replay import Replay, models_in, replay, tally
from atelier.workspace import Workspace
from components.conversion import find_pictures
from interfaces.components import Components
from interfaces.errors import AtelierError, NotFoundError
from interfaces.iodt import ResultQuery, ResultsGallery
from interfaces.orders import Order, ResultId
from interfaces.places import expanded, fetched
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
        found = [
            replay(task.parts, place, fetched(store.get(result_id).path))
            for result_id in task.order.results
        ]
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
    common: Common = Common(),
) -> None:
    """Make pictures again from their records alone and compare them with the files."""
    known = [] if models is None else models_in(expanded(models))
    found: list[Replay] = []
    with assembled(common.place, common.layer({}).get("components")) as parts:
        given = [expanded(path) for path in inputs or ()]
        originals = Originals(parts.results_store, LocalUploads(common.place.uploads), given)
        for path in _asked_for(pictures or [], board, common.place, parts):
            found.append(replay(parts, common.place, path, known, originals))
            print(found[-1].line())
    print(tally(found))


def _asked_for(
    pictures: Sequence[Path], board: str | None, place: Workspace, parts: Components
) -> list[Path]:
    """The files named, then those of the board; raises `AtelierError` where there are none."""
    named = list(find_pictures([expanded(path) for path in pictures])) if pictures else []
    if board is not None:
        named += _on_board(board, place, parts)
    if not named:
        raise AtelierError("replay: name pictures, or a board with --board")
    return named


def _on_board(board: str, place: Workspace, parts: Components) -> list[Path]:
    store = parts.results_store
    if not isinstance(store, ResultsGallery):
        raise AtelierError("component results_store: keeps no boards; name pictures")
    numbers = Shelf(place.root / "shelf.sqlite", store).find(ResultQuery(), board=board)
    if not numbers:
        raise NotFoundError(f"board {board!r}: no result lies on it")
    return [fetched(store.get(number).path) for number in numbers]
