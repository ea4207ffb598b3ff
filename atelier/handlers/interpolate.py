"""Interpolate: from one seed's picture to the next's, as one animation."""

import hashlib
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from atelier import guard
from atelier.handlers.generate import check_choice
from atelier.handlers.handler import Handler, Places, Task
from atelier.interpolation import OF_THE_WAY, encoded_frames, layer_between
from components.conversion import animate
from interfaces.errors import RefusedError
from interfaces.igs import SeedList
from interfaces.iodt import IODT
from interfaces.orders import ModelId, Order, refuse_paths
from interfaces.ui import Choices
from settings import Layer


class InterpolateOrder(Order):
    """Go from one seed's picture to the next's; the result is one WebP that plays."""

    makes_images: ClassVar[bool] = True

    kind: Literal["interpolate"]
    model: ModelId = Field(description="Which model, by its id in the catalogue.")
    between: SeedList = Field(description="Seeds to go through, as '3,7,12'; two to 32.")
    frames: int = Field(default=12, ge=1, le=240, description="Pictures from a seed to the next.")
    frames_per_second: float = Field(default=12.0, gt=0, le=60, description="How fast it plays.")
    choices: Choices = Field(default_factory=Choices, description="Style, options and enlargement.")

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        refuse_paths(self.choices)
        if not 2 <= len(self.between) <= 32:
            raise ValueError("between: name 2 to 32 seeds")
        return self


class InterpolateHandler(Handler[InterpolateOrder]):
    """Carries an `InterpolateOrder` out."""

    order = InterpolateOrder

    def check(self, order: InterpolateOrder, places: Places) -> None:
        """Refuse what the model's family cannot do, and what an interpolation decides itself."""
        _refuse_decided(order.choices)
        check_choice(places.catalogue.model(order.model), order.choices.generate)
        super().check(order, places)

    def layer(self, order: InterpolateOrder, places: Places) -> Layer:
        """The choices, and the seeds to go through."""
        asked = order.choices.generate.model_copy(update=layer_between(order.between)["generate"])
        return dict(order.choices) | {"generate": asked}

    def carry_out(self, task: Task[InterpolateOrder]) -> None:
        """Make the frames and keep the animation, unless it is kept already."""
        order, model = task.order, task.places.catalogue.model(task.order.model)
        with task.run(f"{model.family}-{model.dataset_name}", model) as run:
            if task.job.num_results or task.kept(run):
                return
            chosen = run.chosen
            encoded = encoded_frames(
                task.parts, model, chosen.generate, chosen.enhance, order.frames
            )
            moving = _moving(encoded, order.frames_per_second)
            guard.keep(task.parts.results_store, moving, run.name)


def _refuse_decided(choices: Choices) -> None:
    usual = Choices()
    if choices.convert != usual.convert:
        raise RefusedError("choices.convert: an interpolation is a signed WebP; leave it out")
    chosen = choices.generate
    for name in OF_THE_WAY:
        if getattr(chosen, name, None) != getattr(usual.generate, name, None):
            raise RefusedError(f"choices.generate.{name}: an interpolation sets it; leave it out")
        if name in chosen.options:
            raise RefusedError(
                f"choices.generate.options.{name}: an interpolation sets it; leave it out"
            )


def _moving(frames: list[IODT], frames_per_second: float) -> IODT:
    """Frames as one animation, with the record of the first."""
    data = animate(frames, "webp", frames_per_second)
    return IODT(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type="image/webp",
        width=frames[0].width,
        height=frames[0].height,
        record=frames[0].record,
    )
