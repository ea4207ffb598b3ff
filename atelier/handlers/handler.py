"""Handlers of orders: their base class, and what they work with."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from atelier import guard
from atelier.choices import choose
from atelier.jobs import LocalUploads, WorkspaceCatalogue
from atelier.runs import Run
from atelier.workspace import Workspace
from interfaces.components import Components
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.iodt import IODT, ResultQuery
from interfaces.jobs import Control, Job
from interfaces.orders import Order
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

    def num_kept(self, run: Run) -> int:
        """Number of results that the run has; those that nobody told the job of are noted too.

        Between keeping a picture and telling the job, its worker may have been killed.
        """
        query = ResultQuery(run=run.name, deleted="too", limit=1_000_000)
        return max(self.job.num_results, len(self.parts.results_store.find(query)))

    def keep_enlarged(self, run: Run, batches: Iterable[IGDT], pixels: int) -> None:
        """Enlarge, encode and keep; `pixels` are those of the whole order."""
        for image in self.encode(run, batches, pixels, run.chosen.convert):
            guard.keep(self.parts.results_store, image, run.name)

    def encode(
        self, run: Run, batches: Iterable[IGDT], pixels: int, convert: ICS
    ) -> Iterator[IODT]:
        """Enlarge and encode, one image at a time; `pixels` are those of the whole order."""
        parts, enhance = self.parts, run.chosen.enhance
        enlarged = parts.enhancement.enhance(batches, enhance, parts.ui.watch, pixels)
        yield from parts.conversion.convert(enlarged, convert)


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
