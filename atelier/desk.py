"""The desk: where orders are checked, and carried out with components that stay loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from atelier.assembly import assemble
from atelier.choices import choose
from atelier.discretion import without_places
from atelier.handlers import HANDLERS, Places, Task
from atelier.hearing import hear
from atelier.jobs import AnnouncedStore, JobInterface, LocalUploads, WorkspaceCatalogue
from atelier.workspace import Workspace
from components.conversion import read_picture
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT, StoredResult
from interfaces.jobs import Control, Job
from interfaces.orders import Order
from interfaces.places import fetched
from settings import RunSettings


class Desk:
    """The orders of one workspace: checked as they arrive, carried out in turn."""

    def __init__(
        self, workspace: Workspace, replacements: Mapping[str, str], offered: Sequence[Path] = ()
    ) -> None:
        workspace.sweep()
        self.parts = assemble(workspace.root, replacements)
        uploads = LocalUploads(workspace.uploads)
        catalogue = WorkspaceCatalogue(workspace, uploads, offered)
        self.places = Places(workspace, uploads, catalogue)

    def check(self, order: Order) -> None:
        """Refuse, with an `AtelierError`, an order that could not be carried out."""
        HANDLERS[type(order)].check(order, self.places)

    def __call__(self, job: Job, control: Control) -> None:
        """Carry a job out, or resume it; its messages name no place on this machine."""
        handler = HANDLERS[type(job.order)]
        chosen = choose(handler.layer(job.order, self.places))
        private = self._private(chosen)
        ui = JobInterface(control, lambda line: without_places(line, private))
        store = AnnouncedStore(self.parts.results_store, control)
        parts = replace(self.parts, ui=ui, results_store=store)
        hear(ui)
        task = Task(job, job.order, chosen, parts, self.places, control)
        try:
            handler.carry_out(task)
        except AtelierError as error:
            raise type(error)(without_places(str(error), private)) from error

    def _private(self, chosen: RunSettings) -> list[Path]:
        """Folders whose place is this machine's own affair: the workspace, the collection's."""
        data = Path(chosen.collect.data)
        return [self.places.workspace.root, *([data.parent] if data.is_absolute() else [])]

    def convert(self, result: StoredResult, wanted: ICS) -> IODT:
        """A result in another format, with the record that it has."""
        drift = () if result.record.drift is None else (result.record.drift,)
        known: dict[str, object] = {
            "origins": (result.record.origin,),
            "drift": drift,
            "enhancement": result.record.enhancement,
        }
        batch = IEDT.model_validate({**dict(read_picture(fetched(result.path))), **known})
        return next(iter(self.parts.conversion.convert([batch], wanted)))
