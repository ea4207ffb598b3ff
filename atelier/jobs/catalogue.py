"""What orders may name: the workspace's models and collections, by ids instead of paths."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from atelier.jobs.uploads import LocalUploads
from atelier.workspace import Workspace
from components.common.files import read_regular
from components.families import FAMILIES
from components.training import TrainingFolder
from interfaces.errors import AtelierError
from interfaces.igme import IGME
from interfaces.offers import CollectionOffer, ModelOffer, NoSuchOfferError, TrainingView

_EMBEDDED = "embedded"
_MOST_ROWS = 2000


class _Inspected(BaseModel):
    """What an offer tells of an ITDT; the rest of it is read when it is used."""

    model_config = ConfigDict(extra="ignore", strict=True)

    source: str
    num_images: int
    images_per_style: dict[str, int]


class WorkspaceCatalogue:
    """The port `interfaces.offers.Catalogue` of one workspace.

    `offered` are folders and archives that the person who started the server named.
    """

    def __init__(
        self, workspace: Workspace, uploads: LocalUploads, offered: Sequence[Path] = ()
    ) -> None:
        self._workspace = workspace
        self._uploads = uploads
        self._offered = [str(path.expanduser().absolute()) for path in offered]

    # ------------------------------------------------------------ models

    def models(self) -> list[ModelOffer]:
        """Every model at hand, the newest first; the project's own last. Damaged ones are not."""
        found: dict[str, tuple[str, IGME]] = {}
        for name, model in self._workspace.models():
            # A copy is the same model, and what a strange family makes cannot be chosen here.
            if model.family in FAMILIES:
                found.setdefault(model.digest[:16], (name, model))
        names = {name for name, _ in found.values()}
        defaults = (name for name, _ in self._workspace.default_folders() if name in names)
        default = next(defaults, None)
        return [_offer(name, model, is_default=name == default) for name, model in found.values()]

    def model(self, model_id: str) -> IGME:
        """A model. Raises `NoSuchOfferError` where there is none of that digest."""
        return self._workspace.model_of_id(model_id)

    # ------------------------------------------------------------ collections

    def collections(self) -> list[CollectionOffer]:
        """The project's own, what was offered, what was inspected before, what was uploaded."""
        inspected = self._inspected()
        offers = [_collection(_EMBEDDED, _EMBEDDED, inspected.get(_EMBEDDED))]
        offers += [
            _collection(_id_of(data), Path(data).name, inspected.get(data))
            for data in self._sources(inspected)
        ]
        for upload in self._uploads.archives():
            data = str(self._uploads.path(upload.id))
            offers.append(_collection(upload.id, upload.name, inspected.get(data)))
        return offers

    def collection_data(self, collection_id: str) -> str:
        """What `CollectionSettings.data` is to be. Raises `NoSuchOfferError`."""
        if collection_id == _EMBEDDED:
            return _EMBEDDED
        if len(collection_id) == 32:
            if self._uploads.get(collection_id).kind != "collection":
                raise AtelierError(f"upload {collection_id}: a single picture; send a zip or a tar")
            return str(self._uploads.path(collection_id))
        for data in self._sources(self._inspected()):
            if _id_of(data) == collection_id:
                return data
        raise NoSuchOfferError(f"collection {collection_id[:40]}: there is none")

    def _sources(self, inspected: Mapping[str, object]) -> list[str]:
        uploads = str(self._workspace.uploads)
        known = [
            data
            for data in inspected
            if data != _EMBEDDED and not data.startswith(uploads) and Path(data).exists()
        ]
        return list(dict.fromkeys([*self._offered, *sorted(known)]))

    def _inspected(self) -> dict[str, "_Inspected"]:
        """What earlier inspections found, by what the person had named."""
        found: dict[str, _Inspected] = {}
        paths = self._workspace.collections.glob("*/itdt.json")
        for path in sorted(paths, key=_modified):
            try:
                message = _Inspected.model_validate_json(read_regular(path))
                found[message.source] = message
            except (OSError, ValueError):
                continue  # the store itself will say so when it is used
        return found

    # ------------------------------------------------------------ what a training shows

    def training(self, run: str) -> TrainingView:
        """Curves and measurements of a run; empty where there are none yet."""
        folder = TrainingFolder(self._workspace.training_folder(run))
        measured, interventions = folder.measurements(), folder.interventions()
        return TrainingView(
            curves=_thinned(folder.curves()),
            measurements=[row.model_dump(mode="json") for row in measured[-_MOST_ROWS:]],
            guardian=[row.model_dump(mode="json") for row in interventions[-_MOST_ROWS:]],
            grids=folder.grids(),
        )

    def grid(self, run: str, images_seen: int) -> bytes:
        """A sample grid as PNG. Raises `NoSuchOfferError` where there is none."""
        path = TrainingFolder(self._workspace.training_folder(run)).grid(images_seen)
        if not path.is_file() or path.is_symlink():
            raise NoSuchOfferError(f"run {run}: no sample grid at {images_seen} images")
        return path.read_bytes()


def _offer(name: str, model: IGME, *, is_default: bool) -> ModelOffer:
    family = FAMILIES[model.family]
    return ModelOffer(
        id=model.digest[:16],
        name=name,
        family=model.family,
        description=family.description,
        resolution=model.resolution,
        styles=model.styles,
        style_counts=model.style_counts,
        is_conditional=family.is_conditional,
        takes=tuple(sorted(family.takes)),
        needs=tuple(sorted(family.needs)),
        dataset_name=model.dataset_name,
        images_seen=model.images_seen,
        digest=model.digest,
        is_default=is_default,
    )


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # inspected anew at this moment


def _id_of(data: str) -> str:
    return hashlib.sha256(data.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _collection(offer_id: str, name: str, known: _Inspected | None) -> CollectionOffer:
    return CollectionOffer(
        id=offer_id,
        name=name,
        num_images=None if known is None else known.num_images,
        images_per_style={} if known is None else known.images_per_style,
    )


def _thinned(curves: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """At most some two thousand rows of the curves, the last among them; NaN as None."""
    return {name: [v if math.isfinite(v) else None for v in _some(c)] for name, c in curves.items()}


def _some(column: list[float]) -> list[float]:
    step = max(1, math.ceil(len(column) / _MOST_ROWS))
    last = column[-1:] if (len(column) - 1) % step else []
    return [*column[::step], *last]
