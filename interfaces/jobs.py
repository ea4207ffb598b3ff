"""Jobs: what a person asks for on the page or over the API, and what becomes of it.

Nothing in an order is a path: models, collections and uploads are named by ids that the system gave
out itself, so that whoever may submit a job may not thereby read a file of their choosing.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    computed_field,
    model_validator,
)

from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igs import INPUT_FILES, SeedList
from interfaces.itdt import CollectionSettings
from interfaces.progress import ProgressEvent
from interfaces.ui import Choices

MOST_SEEDS = 10_000
"""Seeds that an order may name one by one; `count` reaches further."""


class NoSuchJobError(AtelierError):
    """There is no job of that number."""


class NoSuchOfferError(AtelierError):
    """There is no model, collection or upload of that id."""


class JobStateError(AtelierError):
    """What was asked of a job does not fit the state it is in."""


class BusyError(AtelierError):
    """The queue is full; the same order may be taken later."""


class Stopped(Exception):  # noqa: N818  # no error: a person asked for it
    """Raised between two images where a person asked the job to stop there."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# ---------------------------------------------------------------- orders

ModelId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 digits of a model's digest: a model that is trained further is another one."""

UploadId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Drawn at random when the file was taken in."""

CollectionId = Annotated[str, StringConstraints(pattern=r"^(embedded|[0-9a-f]{16}|[0-9a-f]{32})$")]
"""'embedded', one of the collections that the catalogue offers, or an uploaded archive."""

_Sections = Literal["collect", "preprocess", "train"]

_PATHS = {("collect", "data"), ("collect", "styles_csv"), ("train", "start_from")}


def _refuse_paths(choices: Choices) -> None:
    generate = choices.generate
    if any(getattr(generate, name) for name in INPUT_FILES):
        named = ", ".join(INPUT_FILES)
        raise ValueError(f"{named} are uploads: name their ids beside `choices`")
    if choices.enhance.weights is not None:
        raise ValueError("enhance.weights is a path, and orders hold none; leave it out")
    if generate.skip:
        raise ValueError("generate.skip: a job finds out itself what is there already")
    if generate.seeds is not None and len(generate.seeds) > MOST_SEEDS:
        raise ValueError(f"generate.seeds: at most {MOST_SEEDS}; use seed and count for more")


class GenerateOrder(_Message):
    """Make pictures with a model, enlarge, encode and keep them."""

    makes_images: ClassVar[bool] = True

    kind: Literal["generate"]
    model: ModelId = Field(description="Which model, by its id in the catalogue.")
    choices: Choices = Field(default_factory=Choices, description="IGS, IES and ICS together.")
    sketch: UploadId | None = Field(
        default=None, description="Upload: a drawing that the pictures keep to."
    )
    source: UploadId | None = Field(default=None, description="Upload: a picture to rework.")
    towards_source: UploadId | None = Field(
        default=None, description="Upload: a second picture, to go towards from `source`."
    )
    mask: UploadId | None = Field(
        default=None, description="Upload: where `source` is made anew; white is new."
    )

    @model_validator(mode="after")
    def _holds_no_path(self) -> Self:
        _refuse_paths(self.choices)
        for name in ("mask", "towards_source"):
            if getattr(self, name) is not None and self.source is None:
                raise ValueError(f"{name}: name the picture it goes with as well (source)")
        return self


class InterpolateOrder(_Message):
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
        _refuse_paths(self.choices)
        if not 2 <= len(self.between) <= 32:
            raise ValueError("between: name two seeds to 32")
        return self


class EnhanceOrder(_Message):
    """Enlarge pictures: uploaded ones, or results."""

    makes_images: ClassVar[bool] = True

    kind: Literal["enhance"]
    uploads: tuple[UploadId, ...] = Field(
        default=(), max_length=1000, description="Uploaded pictures, by id."
    )
    results: tuple[Annotated[int, Field(ge=1, le=2**63 - 1)], ...] = Field(
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


class InspectOrder(_Message):
    """The report on a collection: bad files, duplicates, balance of styles."""

    makes_images: ClassVar[bool] = False

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


class TrainOrder(_Message):
    """Train a model on a collection."""

    makes_images: ClassVar[bool] = False

    kind: Literal["train"]
    collection: CollectionId = Field(description="Which collection, by its id in the catalogue.")
    preset: str | None = Field(
        default=None, max_length=100, description="A preset that comes with the project, by name."
    )
    start_from: ModelId | Literal["none"] | None = Field(
        default=None,
        description="A model to start from, 'none' for first weights; else as the preset has it.",
    )
    settings: dict[_Sections, dict[str, Any]] = Field(
        default_factory=dict, description="Over the preset: tables collect, preprocess and train."
    )

    @model_validator(mode="after")
    def _holds_no_path(self) -> Self:
        for section, table in self.settings.items():
            if named := sorted(name for name in table if (section, name) in _PATHS):
                raise ValueError(
                    f"settings.{section}.{named[0]} is a path; name `collection` and `start_from` "
                    "by their ids"
                )
        return self


Order = Annotated[
    GenerateOrder | InterpolateOrder | EnhanceOrder | InspectOrder | TrainOrder,
    Field(discriminator="kind"),
]

# ---------------------------------------------------------------- jobs

JobState = Literal["waiting", "running", "stopping", "paused", "done", "failed", "cancelled"]

ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})

StopKind = Literal["now", "after-image", "pause"]
"""Three ways to stop: at once; after the image that is being made; the same, to go on later."""

JobId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class JobProgress(_Message):
    """How far a job is."""

    stage: str = Field(description="What is being done, as a person would say it.")
    done: float = Field(ge=0, description="How much is done, in `unit`.")
    total: float | None = Field(default=None, ge=0, description="How much there is; None: unknown.")
    unit: str = Field(default="images", description="What `done` and `total` count.")
    note: str = Field(default="", description="A short remark: the latest loss, a file's name.")
    seconds_left: float | None = Field(
        default=None, ge=0, description="How long the stage still takes; None: not known yet."
    )


class Job(_Message):
    """One order and what became of it so far."""

    id: JobId = Field(description="Number of the job, in the order of submitting.")
    order: Order = Field(description="What was asked for.")
    state: JobState = Field(description="Where it stands.")
    stop: StopKind | None = Field(default=None, description="How it was asked to stop.")
    position: int | None = Field(
        default=None, ge=1, description="Place in the queue, 1 is next; None where not waiting."
    )
    progress: JobProgress | None = Field(default=None, description="The latest report.")
    created_at: datetime = Field(description="When it was submitted, UTC.")
    started_at: datetime | None = Field(default=None, description="When it first ran, UTC.")
    ended_at: datetime | None = Field(default=None, description="When it ended, UTC.")
    error: str | None = Field(default=None, description="One line: what went wrong, what to do.")
    run: str | None = Field(default=None, description="Name of the run's folder, once it has one.")
    num_results: int = Field(default=0, ge=0, description="How many results it has kept.")
    results: tuple[int, ...] = Field(
        default=(), description="The newest 100 of them, by number, in the order of keeping."
    )
    outcome: dict[str, JsonValue] | None = Field(
        default=None, description="What else it gave: a report's lines, a model's id."
    )
    deaths: int = Field(
        default=0, ge=0, description="Workers that died on it since it last kept an image."
    )

    @computed_field
    @property
    def kind(self) -> str:
        """What sort of job: 'generate', 'train' …"""
        return self.order.kind


EventKind = Literal["submitted", "state", "moved", "progress", "kept", "said", "warned"]


class JobEvent(_Message):
    """Something that happened to a job; numbers only grow, so that all readers see one story.

    Of a job's `progress` only the newest stays; everything else is kept.
    """

    id: int = Field(ge=1, description="Number of the event.")
    job: JobId = Field(description="Which job.")
    at: datetime = Field(description="When, UTC.")
    kind: EventKind = Field(description="What sort of thing happened.")
    data: dict[str, JsonValue] = Field(description="By kind: the state, progress, result, line.")


@runtime_checkable
class JobQueue(Protocol):
    """What the page and the API do with jobs. Every change is on disk when the call returns.

    Raises `NoSuchJobError` where there is no such job.
    """

    def submit(self, order: Order, key: str | None = None) -> Job:
        """Put an order at the end of the queue.

        The same `key` again gives the job that it gave before, so that a client may try again.
        Raises `BusyError` where the queue is full.
        """
        ...

    def get(self, job_id: int) -> Job:
        """One job by its number."""
        ...

    def find(
        self, states: Iterable[JobState] = (), before: int | None = None, limit: int = 100
    ) -> list[Job]:
        """Jobs in these states (all where none is named), newest first, with numbers < `before`."""
        ...

    def results(self, job_id: int, after: int = 0, limit: int = 1000) -> list[int]:
        """Numbers of the results that it kept, in growing order, those > `after`."""
        ...

    def move(self, job_id: int, position: int) -> Job:
        """Give a waiting job another place, 1 is next. Raises `JobStateError` where it is not."""
        ...

    def stop(self, job_id: int, how: StopKind) -> Job:
        """Ask a job to stop; what it has kept stays. Raises `JobStateError` where it has ended."""
        ...

    def resume(self, job_id: int) -> Job:
        """Let a paused, cancelled or failed job go on at what is missing.

        Raises `JobStateError` where it is none of these.
        """
        ...

    def events(
        self, after: int = 0, job_id: int | None = None, limit: int = 1000
    ) -> list[JobEvent]:
        """What happened since event `after`, oldest first; of one job, or of all."""
        ...

    def last_event(self) -> int:
        """Number of the newest event; 0 where there is none."""
        ...

    def num_waiting(self) -> int:
        """How many jobs wait."""
        ...


@runtime_checkable
class Control(Protocol):
    """What the worker hands to whoever carries out a job."""

    def report(self, event: ProgressEvent) -> None:
        """Say how far it is; quick, may be called as often as one likes."""
        ...

    def began(self, run: str) -> None:
        """The run's folder is there: a worker that takes the job up again finds `job.run`."""
        ...

    def kept(self, result_id: int) -> None:
        """One more result is in the store. Raises `Stopped` where the job is to stop here."""
        ...

    def recall(self, result_ids: Iterable[int]) -> None:
        """Results of the job that were in the store already.

        A worker may have been killed after it kept one and before it said so.
        """
        ...

    def say(self, line: str) -> None:
        """Tell the person something that went well."""
        ...

    def warn(self, line: str) -> None:
        """Tell the person something they should know before they trust the result."""
        ...

    def conclude(self, outcome: dict[str, JsonValue]) -> None:
        """What the job gave besides results."""
        ...


Execute = Callable[[Job, Control], None]
"""Carries out one job; handed to the worker by `pipeline.py`."""

# ---------------------------------------------------------------- what orders may name


class Upload(_Message):
    """A file that a person sent."""

    id: UploadId = Field(description="Its name from now on.")
    kind: Literal["picture", "collection"] = Field(description="What it was found to be.")
    name: str = Field(description="What the person calls it; never a path.")
    media_type: str = Field(description="What its content was found to be.")
    sha256: str = Field(description="Digest of the bytes.")
    num_bytes: int = Field(ge=1, description="Size, bytes.")
    width: int | None = Field(default=None, description="Width of a picture, pixels.")
    height: int | None = Field(default=None, description="Height of a picture, pixels.")


class ModelOffer(_Message):
    """A model that pictures can be made with."""

    id: ModelId = Field(description="The first 16 digits of its digest.")
    name: str = Field(description="The run that trained it, or 'shipped'.")
    family: str = Field(description="Published method.")
    description: str = Field(description="The method in a line.")
    resolution: int = Field(description="Side of the images it makes, pixels.")
    styles: tuple[str, ...] = Field(description="Styles it learnt.")
    style_counts: tuple[int, ...] = Field(description="Images it learnt from, of each style.")
    is_conditional: bool = Field(description="True where a style can be asked for.")
    takes: tuple[str, ...] = Field(description="What pictures can be made from besides a seed.")
    needs: tuple[str, ...] = Field(description="What of that it cannot do without.")
    dataset_name: str = Field(description="Name of the collection it learnt from.")
    images_seen: int = Field(description="Training images shown to it, repeats counted.")
    digest: str = Field(description="Its whole digest.")
    is_default: bool = Field(description="True for the one that is proposed.")


class CollectionOffer(_Message):
    """A collection that can be inspected and learnt from."""

    id: CollectionId = Field(description="Its id.")
    name: str = Field(description="Its short name.")
    num_images: int | None = Field(description="Good images; None before it was inspected.")
    images_per_style: dict[str, int] = Field(description="Good images of each style, if known.")


class TrainingView(_Message):
    """What a training shows of itself so far."""

    curves: dict[str, list[float | None]] = Field(
        description=(
            "Columns of equal length: images_seen, seconds, losses, scores; None: not a number."
        )
    )
    measurements: list[dict[str, JsonValue]] = Field(description="One row a measurement.")
    guardian: list[dict[str, JsonValue]] = Field(description="What the guardian saw and did.")
    grids: list[int] = Field(description="Images seen at each sample grid.")


@runtime_checkable
class Uploads(Protocol):
    """Files that people sent, by random ids."""

    def add(self, chunks: Iterable[bytes], name: str) -> Upload:
        """Take a file in; its content decides what it is.

        Raises `AtelierError` where it is neither a picture nor an archive, or too large.
        """
        ...

    def get(self, upload_id: str) -> Upload:
        """What is known of it. Raises `NoSuchOfferError` where there is none."""
        ...

    def path(self, upload_id: str) -> Path:
        """Where it lies. Raises `NoSuchOfferError` where there is none."""
        ...


@runtime_checkable
class Catalogue(Protocol):
    """What orders may name, and what can be seen of it."""

    def models(self) -> list[ModelOffer]:
        """Every model at hand, the newest first; the project's own last."""
        ...

    def model_path(self, model_id: str) -> Path:
        """A model's folder. Raises `NoSuchOfferError` where there is none of that digest."""
        ...

    def collections(self) -> list[CollectionOffer]:
        """Every collection that was offered, used or uploaded."""
        ...

    def collection_data(self, collection_id: str) -> str:
        """What `CollectionSettings.data` is to be. Raises `NoSuchOfferError`."""
        ...

    def check(self, order: Order) -> None:
        """Raise `AtelierError` for what the order could not be carried out with."""
        ...

    def training(self, run: str) -> TrainingView:
        """Curves and measurements of a run; empty where there are none yet."""
        ...

    def grid(self, run: str, images_seen: int) -> bytes:
        """A sample grid as PNG. Raises `NoSuchOfferError` where there is none."""
        ...
