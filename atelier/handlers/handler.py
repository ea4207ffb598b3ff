"""Handlers of orders: their base class, and what they work with."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from atelier.choices import choose
from atelier.jobs import LocalUploads, WorkspaceCatalogue
from atelier.runs import Run
from atelier.workspace import Workspace
from interfaces.components import Components
from interfaces.errors import RefusedError, one_line
from interfaces.igme import IGME
from interfaces.iodt import ResultQuery, StoredResult
from interfaces.jobs import Control, Job
from interfaces.orders import Order, ResultId, UploadId
from interfaces.places import Place
from settings import Layer, RunSettings

OrderT = TypeVar("OrderT", bound=Order)


@dataclass(frozen=True)
class Places:
    """Places of all that orders may name in one workspace."""

    workspace: Workspace
    uploads: LocalUploads
    catalogue: WorkspaceCatalogue

    def check_pictures(self, upload_ids: Iterable[str]) -> None:
        """Raise `AtelierError` for an upload that is missing or not a picture."""
        for upload_id in upload_ids:
            self.uploads.path(upload_id)
            if self.uploads.get(upload_id).kind != "picture":
                raise RefusedError(f"upload {upload_id}: an archive; name pictures")


@dataclass(frozen=True)
class Picture:
    """A picture that an order names: an upload, or a result of the store."""

    label: str
    """What it is called in a message: what the person called the upload, 'result 7'."""
    name: str
    """The file's name in a record."""
    sha256: str
    place: Place
    num_pixels: int
    """0 where it is not known."""


@dataclass(frozen=True)
class Task(Generic[OrderT]):
    """One job under way: its order, the settings it came to, and the components that do it."""

    job: Job
    order: OrderT
    chosen: RunSettings
    parts: Components
    """The user interface is the job's, and the store tells the job what it keeps."""
    places: Places
    control: Control

    def begin(self, name: str, model: IGME | None = None) -> Run:
        """Begin the job's run, or take up the one that it has."""
        workspace = self.places.workspace
        folder = workspace.runs / self.job.run if self.job.run else None
        if folder is not None and (folder / "run.json").exists():
            return Run.open(folder)
        run = Run.begin(workspace, self.order.verb, self.chosen, name, model)
        self.control.began(run.name)
        return run

    @contextmanager
    def run(self, name: str, model: IGME | None = None) -> Generator[Run]:
        """The job's run, begun or resumed; locked inside the block and finished after it."""
        run = self.begin(name, model)
        with run.under_way():
            yield run

    def kept(self, run: Run) -> list[StoredResult]:
        """The results that the run has; those that nobody told the job of are noted too.

        Between keeping a picture and telling the job, its worker may have been killed.
        """
        query = ResultQuery(run=run.name, deleted="too", limit=1_000_000)
        return self.parts.results_store.find(query)

    def picture(self, named: UploadId | ResultId) -> Picture:
        """A picture that the order names. Raises `AtelierError` where it is not there any more."""
        if isinstance(named, str):
            uploads = self.places.uploads
            upload, path = uploads.get(named), uploads.path(named)
            num_pixels = (upload.width or 0) * (upload.height or 0)
            return Picture(upload.name, upload.name, upload.sha256, path, num_pixels)
        result = self.parts.results_store.get(named)
        name, num_pixels = one_line(result.path.name), result.width * result.height
        return Picture(label_of(named), name, result.sha256, result.path, num_pixels)


def label_of(named: UploadId | ResultId) -> str:
    """What a picture is called in a message where no more than its id is known."""
    return f"upload {named}" if isinstance(named, str) else f"result {named}"


class Handler(ABC, Generic[OrderT]):
    """Handler of one kind of order: checks it, turns it into settings, and carries it out."""

    order: type[OrderT]

    @abstractmethod
    def layer(self, order: OrderT, places: Places) -> Layer:
        """The settings that the order gives; its ids have become places."""

    @abstractmethod
    def carry_out(self, task: Task[OrderT]) -> None:
        """Carry the order out, or resume it at what is missing."""

    def check(self, order: OrderT, places: Places) -> None:
        """Raise `AtelierError` for an order that could not be carried out, before it waits."""
        choose(self.layer(order, places))
