"""Interpolate: from one seed's picture to the next's, every frame a result."""

from itertools import islice
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from atelier.handlers.generate import check_choice
from atelier.handlers.handler import Handler, Places, Task
from atelier.stages import frames_of
from interfaces.igs import SeedList
from interfaces.orders import ModelId, Order, refuse_paths
from interfaces.ui import Choices
from settings import Layer


class InterpolateOrder(Order):
    """Go from one seed's picture to the next's; every frame is a result."""

    makes_images: ClassVar[bool] = True

    kind: Literal["interpolate"]
    model: ModelId = Field(description="Which model, by its id in the catalogue.")
    between: SeedList = Field(description="Seeds to go through, as '3,7,12'; two to 32.")
    frames: int = Field(default=12, ge=1, le=240, description="Pictures from a seed to the next.")
    choices: Choices = Field(
        default_factory=Choices, description="Style, options, enlargement and format."
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        refuse_paths(self.choices)
        if not 2 <= len(self.between) <= 32:
            raise ValueError("between: name two seeds to 32")
        return self


class InterpolateHandler(Handler[InterpolateOrder]):
    """Carries an `InterpolateOrder` out."""

    order = InterpolateOrder

    def check(self, order: InterpolateOrder, places: Places) -> None:
        """Refuse what the model's family cannot do."""
        check_choice(places.catalogue.model(order.model), order.choices.generate)
        super().check(order, places)

    def layer(self, order: InterpolateOrder, places: Places) -> Layer:
        """The choices as they are."""
        return dict(order.choices)

    def carry_out(self, task: Task[InterpolateOrder]) -> None:
        """Make the frames that are missing."""
        order, model = task.order, task.places.catalogue.model(task.order.model)
        with task.run(f"{model.family}-{model.dataset_name}", model) as run:
            asked = {"seeds": order.between, "originality": False}
            request = run.chosen.generate.model_copy(update=asked)
            made = frames_of(task.parts, model, request, order.frames)
            num_frames = (len(order.between) - 1) * order.frames + 1
            missing = islice(made, task.job.num_results, None)
            task.keep_enlarged(run, missing, num_frames * model.resolution**2)
