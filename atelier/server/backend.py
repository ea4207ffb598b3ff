"""Backend that the pipeline hands to the server: everything behind a port."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from atelier.gallery import Shelf
from atelier.handlers.train import TrainOrder
from atelier.server.answers import ResultSearch
from atelier.server.thumbnails import Thumbnails
from components.families import FAMILIES
from interfaces.contract import offered
from interfaces.ics import ICS
from interfaces.iodt import IODT, ResultsGallery, StoredResult
from interfaces.jobs import JobQueue
from interfaces.offers import Catalogue, Uploads
from interfaces.orders import Order
from settings import SECTIONS

_SECTIONS: dict[str, type[BaseModel]] = SECTIONS | {"find": ResultSearch}


@dataclass(frozen=True)
class Backend:
    """All that the API and the page read and change."""

    workspace: Path
    """Its place is kept out of every answer."""
    queue: JobQueue
    store: ResultsGallery
    shelf: Shelf
    """Stars, boards and texts of the store's results."""
    catalogue: Catalogue
    uploads: Uploads
    thumbnails: Thumbnails
    check: Callable[[Order], None]
    """Raises `AtelierError` for an order that could not be carried out."""
    settings_of_training: Callable[[TrainOrder], dict[str, dict[str, Any]]]
    """What a training would be carried out with; raises as `check` does."""
    convert: Callable[[StoredResult, ICS], IODT]
    """A result in another format."""
    enhancers: tuple[str, ...] = ()
    """Values that `IES.enhancer` may take."""
    absent_enhancers: Callable[[], Sequence[str]] = tuple
    """Names of enhancers that are not on this machine at this moment."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any])
    """Presets that a training may begin with: tables of settings by the presets' names."""
    may_name_paths: bool = False
    """Whether a collection may be named by its path: where only this machine reaches the server."""
    worker_trouble: Callable[[], str | None] = lambda: None
    """Reason why no worker is running; None while one is."""

    def schema(self) -> dict[str, Any]:
        """JSON schemas of everything a person may choose, with the names that may be given.

        `sections` by name, `families` with their options and configs, `enhancers`, those of them
        that are not on this machine (`absent_enhancers`), `presets`.
        """
        families = {
            name: {
                "description": family.description,
                "is_conditional": family.is_conditional,
                "is_trainable": family.is_trainable,
                "takes": sorted(family.takes),
                "needs": sorted(family.needs),
                "options": family.options.model_json_schema(),
                "config": family.config.model_json_schema(),
            }
            for name, family in FAMILIES.items()
        }
        return {
            "sections": {name: _to_choose_from(model) for name, model in _SECTIONS.items()},
            "families": families,
            "enhancers": list(self.enhancers),
            "absent_enhancers": list(self.absent_enhancers()),
            "presets": self.presets,
        }


def _to_choose_from(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema, where what is offered for an open field is all there is to choose."""
    schema = model.model_json_schema()
    for name, info in model.model_fields.items():
        if values := offered(info):
            schema["properties"][name]["enum"] = list(values)
    return schema
