"""Inspect: the report on a collection."""

from typing import Literal, Self

from pydantic import Field, model_validator

from atelier.handlers.handler import Handler, Places, Task
from components.training_store import report_lines
from interfaces.itdt import CollectionSettings
from interfaces.orders import CollectionId, Order
from settings import Layer


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
        """What of the collection is taken. Raises `NoSuchOfferError`."""
        data = {"data": places.catalogue.collection_data(order.collection)}
        return {"collect": order.collect.model_copy(update=data)}

    def carry_out(self, task: Task[InspectOrder]) -> None:
        """Inspect it, and conclude with the report and its figures."""
        found = task.parts.training_store.collect(task.chosen.collect, task.parts.ui.watch)
        report = found.model_dump(mode="json", exclude={"manifest", "source"})
        report["lines"] = list(report_lines(found))
        task.control.conclude(report)
