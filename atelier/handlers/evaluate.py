"""Evaluate: figures of a model's pictures, or of those of a collection."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from atelier.evaluating import measure, settings_of_evaluation
from atelier.handlers.handler import Handler, Places, Task
from interfaces.igme import IGME
from interfaces.measurement import EvaluationSettings
from interfaces.orders import CollectionId, Lane, ModelId, Order
from settings import Layer, merge


class EvaluateOrder(Order):
    """Measure the pictures of a model, or of a collection, against another collection."""

    lane: ClassVar[Lane] = "long"

    kind: Literal["evaluate"]
    collection: CollectionId = Field(description="What the pictures are compared with, by its id.")
    model: ModelId | None = Field(default=None, description="The model that makes the pictures.")
    generated: CollectionId | None = Field(
        default=None, description="Pictures that are made already, in place of a model's."
    )
    resolution: int | None = Field(
        default=None,
        ge=8,
        le=1024,
        description="Pixels that the pictures of `generated` are brought to; a model has its own.",
    )
    evaluate: EvaluationSettings = Field(
        default_factory=EvaluationSettings, description="How they are measured; names no path."
    )

    @model_validator(mode="after")
    def _measures_one_thing(self) -> Self:
        if (self.model is None) == (self.generated is None):
            raise ValueError("name what is measured: either model or generated")
        if self.model is not None and self.resolution is not None:
            raise ValueError("resolution: a model's pictures have its own; leave it out")
        if self.evaluate.inception_weights is not None:
            raise ValueError("evaluate.inception_weights is a path, and orders hold none")
        return self


class EvaluateHandler(Handler[EvaluateOrder]):
    """Carries an `EvaluateOrder` out."""

    order = EvaluateOrder

    def check(self, order: EvaluateOrder, places: Places) -> None:
        """Refuse also what has no meaning for pictures that are there."""
        measured = _measured(order, places)
        asked: Layer = {"evaluate": order.evaluate.model_dump(exclude_unset=True)}
        model = measured if isinstance(measured, IGME) else None
        settings_of_evaluation(merge(self.layer(order, places), asked), model)

    def layer(self, order: EvaluateOrder, places: Places) -> Layer:
        """The collection, and its pixels. Raises `AtelierError`."""
        given: Layer = {"collect": {"data": places.catalogue.collection_data(order.collection)}}
        measured = _measured(order, places)
        resolution = measured.resolution if isinstance(measured, IGME) else order.resolution
        if resolution is not None:
            given["preprocess"] = {"resolution": resolution}
        return given

    def carry_out(self, task: Task[EvaluateOrder]) -> None:
        """Measure them; conclude with the figures, and with lines for a person."""
        order, places = task.order, task.places
        measured = _measured(order, places)
        found = measure(task.parts, places.workspace, measured, task.chosen, order.evaluate)
        for line in found.lines():
            task.parts.ui.say(line)
        figures = found.evaluation.model_dump(mode="json")
        task.control.conclude({"evaluation": figures, "lines": [*found.lines()]})


def _measured(order: EvaluateOrder, places: Places) -> IGME | str:
    """The model, or where the pictures are. Raises `AtelierError` where they are not."""
    if order.model is not None:
        return places.catalogue.model(order.model)
    return places.catalogue.collection_data(order.generated or "")
