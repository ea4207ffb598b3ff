"""Inspect: the report on a collection."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from atelier.discretion import without_places
from atelier.handlers.handler import Handler, Places, Task
from components.training_store import report_lines
from interfaces.itdt import CollectionSettings
from interfaces.orders import CollectionId, Order
from settings import Layer

_MAX_LINES = 300
_MAX_LINE_LETTERS = 200


class InspectOrder(Order):
    """Report on a collection: bad files, duplicates, balance of styles."""

    kind: Literal["inspect"]
    collection: CollectionId = Field(description="Which collection, by its id in the catalogue.")
    collect: CollectionSettings = Field(
        default_factory=CollectionSettings, description="What of it is taken; names no path."
    )

    @model_validator(mode="after")
    def _holds_no_path(self) -> Self:
        if self.collect.data != "embedded" or self.collect.styles_csv is not None:
            raise ValueError("collect: data and styles_csv are paths; name the collection's id")
        return self


class InspectHandler(Handler[InspectOrder]):
    """Carries an `InspectOrder` out."""

    order = InspectOrder

    def layer(self, order: InspectOrder, places: Places) -> Layer:
        """Settings that say what is taken from the collection. Raises `NotFoundError`."""
        data = {"data": places.catalogue.collection_data(order.collection)}
        return {"collect": order.collect.model_copy(update=data)}

    def carry_out(self, task: Task[InspectOrder]) -> None:
        """Inspect it, and conclude with the report and its figures."""
        found = task.parts.training_store.collect(task.chosen.collect, task.parts.ui.watch)
        # The person who reads this may sit elsewhere, and has the collection's name.
        named = found.model_copy(update={"source": found.name})
        places = (task.places.workspace.root, Path(task.chosen.collect.data).parent)
        # Choices for thousands of pictures are more than a job's outcome holds.
        report = named.model_dump(mode="json", exclude={"manifest", "source", "choices"})
        report["images_per_style"] = dict(islice(found.images_per_style.items(), _MAX_LINES))
        report["lines"] = [without_places(line, places) for line in _bounded(report_lines(named))]
        task.control.conclude(report)


def _bounded(lines: Sequence[str]) -> Iterator[str]:
    """The first lines, each shortened, and a note of what was left out."""
    for line in lines[:_MAX_LINES]:
        yield line if len(line) <= _MAX_LINE_LETTERS else line[:_MAX_LINE_LETTERS] + "…"
    if (rest := len(lines) - _MAX_LINES) > 0:
        yield f"and {rest:,} lines more: `inspect --data` on the command line shows them"
