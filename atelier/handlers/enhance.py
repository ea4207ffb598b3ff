"""Enhance: uploaded pictures and results, enlarged."""

from collections.abc import Iterator
from itertools import islice
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from atelier.handlers.handler import Handler, Places, Task
from components.conversion import read_picture
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.orders import Order, ResultId, UploadId
from interfaces.places import fetched
from settings import Layer


class EnhanceOrder(Order):
    """Enlarge pictures: uploaded ones, or results."""

    makes_images: ClassVar[bool] = True

    kind: Literal["enhance"]
    uploads: tuple[UploadId, ...] = Field(
        default=(), max_length=1000, description="Uploaded pictures, by id."
    )
    results: tuple[ResultId, ...] = Field(
        default=(), max_length=1000, description="Results of the store, by number."
    )
    enhance: IES = Field(default_factory=IES, description="How much larger, by which network.")
    convert: ICS = Field(default_factory=ICS, description="Which file format.")

    @model_validator(mode="after")
    def _names_pictures(self) -> Self:
        if not self.uploads and not self.results:
            raise ValueError("name the pictures: uploads, results or both")
        if self.enhance.weights is not None:
            raise ValueError("enhance.weights is a path, and orders hold none; leave it out")
        return self


class EnhanceHandler(Handler[EnhanceOrder]):
    """Carries an `EnhanceOrder` out."""

    order = EnhanceOrder

    def check(self, order: EnhanceOrder, places: Places) -> None:
        """Refuse uploads that are not pictures."""
        places.check_pictures(order.uploads)
        super().check(order, places)

    def layer(self, order: EnhanceOrder, places: Places) -> Layer:
        """The settings of enlargement and encoding."""
        return {"enhance": order.enhance, "convert": order.convert}

    def carry_out(self, task: Task[EnhanceOrder]) -> None:
        """Enlarge the pictures that are missing."""
        with task.run("enlarged") as run:
            missing = islice(_pictures(task), task.num_kept(run), None)
            task.keep_enlarged(run, missing, _pixels(task))


def _pixels(task: Task[EnhanceOrder]) -> int:
    uploads = (task.places.uploads.get(upload_id) for upload_id in task.order.uploads)
    results = (task.parts.results_store.get(result_id) for result_id in task.order.results)
    sent = sum((upload.width or 0) * (upload.height or 0) for upload in uploads)
    return sent + sum(result.width * result.height for result in results)


def _pictures(task: Task[EnhanceOrder]) -> Iterator[IGDT]:
    """The uploads by the names that people gave them, then the results."""
    uploads = task.places.uploads
    for upload_id in task.order.uploads:
        batch = read_picture(uploads.path(upload_id))
        named = {"name": uploads.get(upload_id).name}
        origins = tuple(origin.model_copy(update=named) for origin in batch.origins)
        yield batch.model_copy(update={"origins": origins})
    for result_id in task.order.results:
        yield read_picture(fetched(task.parts.results_store.get(result_id).path))
