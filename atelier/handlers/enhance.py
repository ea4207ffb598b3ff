"""Enhance: uploaded pictures and results, enlarged."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from atelier import guard
from atelier.choices import choose
from atelier.handlers.handler import Handler, Places, Task
from atelier.own_files.passing_over import made_of_each
from atelier.runs import Run
from components.conversion import cannot_be_enlarged, read_picture
from interfaces.errors import AtelierError, RefusedError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.iodt import IODT, StoredResult
from interfaces.offers import Upload
from interfaces.orders import Order, ResultId, UploadId
from interfaces.places import fetched
from interfaces.record import UNNAMED_FILE
from settings import Layer, RunSettings


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
        """Refuse uploads that are not pictures, or too large to be enlarged or encoded."""
        places.check_pictures(order.uploads)
        chosen = choose(self.layer(order, places))
        for upload_id in order.uploads:
            _check_size(places.uploads.get(upload_id), chosen)

    def layer(self, order: EnhanceOrder, places: Places) -> Layer:
        """The settings of enlargement and encoding."""
        return {"enhance": order.enhance, "convert": order.convert}

    def carry_out(self, task: Task[EnhanceOrder]) -> None:
        """Enlarge the pictures that are missing; a bad one is named and passed over."""
        with task.run("enlarged") as run:
            _Enlarging(task, run).finish()


def _check_size(upload: Upload, chosen: RunSettings) -> None:
    if upload.width is None or upload.height is None:
        return  # reading it will tell
    sides, scale = (upload.width, upload.height), chosen.enhance.scale
    if fault := cannot_be_enlarged(*sides, scale, chosen.convert.format):
        raise RefusedError(f"{upload.name}: {fault}")


class _Enlarging:
    """One order under way, in its run."""

    def __init__(self, task: Task[EnhanceOrder], run: Run) -> None:
        self._task = task
        self._run = run
        self._named = (*task.order.uploads, *task.order.results)
        self._faults: list[str] = []

    def finish(self) -> None:
        """Make what is missing. Raises `AtelierError` where nothing can be made of any picture."""
        kept = self._task.kept(self._run)
        missing, num_kept = self._missing(kept), len(kept)
        for _, image in made_of_each(missing, self._read, self._made, self._pass_over):
            guard.keep(self._task.parts.results_store, image, self._run.name)
            num_kept += 1
        if not self._faults:
            return
        if not num_kept:
            raise AtelierError(
                f"nothing could be made of any of these pictures; the first: {self._faults[0]}"
            )
        self._task.parts.ui.warn(
            f"{len(self._faults)} of {len(self._named)} could not be used; see above"
        )

    def _missing(self, kept: Iterable[StoredResult]) -> list[UploadId | ResultId]:
        """The pictures of which the run has kept nothing, wherever in the order they stand."""
        origins = (result.record.origin for result in kept)
        made = Counter((one.name, one.sha256) for one in origins if one.kind == "file")
        missing: list[UploadId | ResultId] = []
        for named in self._named:
            key = self._key_of(named)
            if made[key] > 0:  # an order may hold one picture several times
                made[key] -= 1
            else:
                missing.append(named)
        return missing

    def _key_of(self, named: UploadId | ResultId) -> tuple[str, str]:
        """Name and digest in the record of what is made of a picture."""
        try:
            picture = self._task.picture(named)
        except AtelierError:
            return "", ""  # reading it will name it
        name = UNNAMED_FILE if self._run.chosen.convert.publish else picture.name
        return name, picture.sha256

    def _read(self, named: UploadId | ResultId) -> IGDT:
        """A picture, by the name that people gave it."""
        picture, chosen = self._task.picture(named), self._run.chosen
        path = fetched(picture.place)
        try:
            batch = read_picture(path, chosen.enhance.scale, chosen.convert.format)
        except AtelierError as error:
            raise type(error)(str(error).removeprefix(f"{path}: ")) from error
        origins = tuple(
            origin.model_copy(update={"name": picture.name}) for origin in batch.origins
        )
        return batch.model_copy(update={"origins": origins})

    def _made(self, batches: Iterator[IGDT]) -> Iterator[IODT]:
        """Enlarge and encode, one picture at a time."""
        parts, chosen = self._task.parts, self._run.chosen
        pixels = sum(map(self._pixels_of, self._named))
        enlarged = parts.enhancement.enhance(batches, chosen.enhance, parts.ui.watch, pixels)
        return parts.conversion.convert(enlarged, chosen.convert)

    def _pixels_of(self, named: UploadId | ResultId) -> int:
        try:
            return self._task.picture(named).num_pixels
        except AtelierError:
            return 0  # reading it will name it

    def _pass_over(self, named: UploadId | ResultId, error: AtelierError) -> None:
        """Say which picture could not be used, and why."""
        said = str(error)
        with suppress(AtelierError):  # of one that is not there any more, the error says which
            said = f"{self._task.picture(named).label}: {said}"
        self._faults.append(said)
        self._task.parts.ui.warn(said)
