"""What orders may name: the workspace's models and collections, by ids instead of paths."""

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from atelier.jobs.uploads import LocalUploads
from components.common.shipped import SHIPPED_MODELS
from components.families import FAMILIES
from interfaces.contract import explain
from interfaces.errors import AtelierError
from interfaces.igme import IGME
from interfaces.igs import IGS, INPUT_FILES
from interfaces.jobs import (
    CollectionOffer,
    EnhanceOrder,
    GenerateOrder,
    InspectOrder,
    InterpolateOrder,
    ModelOffer,
    NoSuchOfferError,
    Order,
    TrainingView,
    TrainOrder,
)

UPLOADED_INPUTS = tuple(name for name in INPUT_FILES if name in GenerateOrder.model_fields)
"""The files of IGS that an order names as uploads."""

_EMBEDDED = "embedded"
_MOST_ROWS = 2000


class WorkspaceCatalogue:
    """The port `interfaces.jobs.Catalogue` of one workspace.

    `offered` are folders and archives that the person who started the server named.
    """

    def __init__(
        self, workspace: Path, uploads: LocalUploads, offered: Sequence[Path] = ()
    ) -> None:
        self._workspace = workspace
        self._uploads = uploads
        self._offered = [str(path.expanduser().absolute()) for path in offered]

    # ------------------------------------------------------------ models

    def models(self) -> list[ModelOffer]:
        """Every model at hand, the newest first; the project's own last. Damaged ones are not."""
        offers: dict[str, ModelOffer] = {}
        for name, model in self._models():
            if model.digest[:16] not in offers:  # a copy is the same model
                is_first = not offers
                offers[model.digest[:16]] = _offer(name, model, is_default=is_first)
        return list(offers.values())

    def model_path(self, model_id: str) -> Path:
        """A model's folder. Raises `NoSuchOfferError` where there is none of that digest."""
        return self._model(model_id).directory

    def _model(self, model_id: str) -> IGME:
        for _, model in self._models():
            if model.digest[:16] == model_id:
                return model
        raise NoSuchOfferError(
            f"model {model_id}: there is none; one that was trained further has another id"
        )

    def _models(self) -> Iterator[tuple[str, IGME]]:
        found = sorted((self._workspace / "runs").glob("[0-9]*-*/training/model/model.json"))
        places = [(path.parents[2].name, path.parent) for path in reversed(found)]
        adopted = sorted((self._workspace / "models").glob("*/model.json"))
        places += [(path.parent.name, path.parent) for path in adopted]
        for name, folder in [*places, *SHIPPED_MODELS.items()]:
            try:
                model = _open(folder, (folder / "model.json").stat().st_mtime_ns)
            except (AtelierError, OSError):
                continue
            if model.family in FAMILIES:
                yield name, model

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

    def _sources(self, inspected: dict[str, Any]) -> list[str]:
        uploads = str(self._workspace / "uploads")
        known = [
            data
            for data in inspected
            if data != _EMBEDDED and not data.startswith(uploads) and Path(data).exists()
        ]
        return list(dict.fromkeys([*self._offered, *sorted(known)]))

    def _inspected(self) -> dict[str, Any]:
        """What earlier inspections found, by what the person had named."""
        found: dict[str, Any] = {}
        paths = self._workspace.glob("collections/*/itdt.json")
        for path in sorted(paths, key=lambda path: path.stat().st_mtime):
            try:
                message = json.loads(path.read_text(encoding="utf-8"))
                found[str(message["source"])] = message
            except (OSError, ValueError, KeyError, TypeError):
                continue  # the store itself will say so when it is used
        return found

    # ------------------------------------------------------------ orders

    def check(self, order: Order) -> None:
        """Raise `AtelierError` for what the order could not be carried out with.

        A train order's settings are the pipeline's to check, which knows the presets.
        """
        if isinstance(order, GenerateOrder):
            given = {name: getattr(order, name) for name in UPLOADED_INPUTS}
            named = {name: upload_id for name, upload_id in given.items() if upload_id is not None}
            _check_choice(self._model(order.model), order.choices.generate, named)
            for upload_id in named.values():
                self._check_picture(upload_id)
        elif isinstance(order, InterpolateOrder):
            _check_choice(self._model(order.model), order.choices.generate)
        elif isinstance(order, EnhanceOrder):
            for upload_id in order.uploads:
                self._check_picture(upload_id)
        elif isinstance(order, InspectOrder | TrainOrder):
            self.collection_data(order.collection)
            if isinstance(order, TrainOrder) and order.start_from not in (None, "none"):
                self._model(order.start_from)

    def _check_picture(self, upload_id: str) -> None:
        self._uploads.path(upload_id)
        if self._uploads.get(upload_id).kind != "picture":
            raise AtelierError(f"upload {upload_id}: an archive; name pictures")

    # ------------------------------------------------------------ what a training shows

    def training(self, run: str) -> TrainingView:
        """Curves and measurements of a run; empty where there are none yet."""
        folder = self._training_folder(run)
        grids = [int(p.stem) for p in folder.glob("samples/*.png") if p.stem.isdecimal()]
        return TrainingView(
            curves=_columns(folder / "curves.csv"),
            measurements=_rows(folder / "measurements.jsonl"),
            guardian=_rows(folder / "guardian.jsonl"),
            grids=sorted(grids),
        )

    def grid(self, run: str, images_seen: int) -> bytes:
        """A sample grid as PNG. Raises `NoSuchOfferError` where there is none."""
        path = self._training_folder(run) / "samples" / f"{images_seen:09d}.png"
        if not path.is_file() or path.is_symlink():
            raise NoSuchOfferError(f"run {run}: no sample grid at {images_seen} images")
        return path.read_bytes()

    def _training_folder(self, run: str) -> Path:
        if Path(run).name != run or run in ("", ".", ".."):
            raise NoSuchOfferError(f"run {run[:80]!r}: there is none")
        return self._workspace / "runs" / run / "training"


@lru_cache(maxsize=1000)
def _open(folder: Path, modified: int) -> IGME:
    return IGME.open(folder)


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


def _check_choice(model: IGME, choice: IGS, uploaded: Iterable[str] = ()) -> None:
    """What the model's family would refuse."""
    family = FAMILIES[model.family]
    for name in choice.options:
        field = family.options.model_fields.get(name)
        if field is not None and Path in get_args(field.annotation):
            raise AtelierError(
                f"generate.options.{name}: names a file of this machine, which a request may not; "
                "use the command line"
            )
    try:
        family.options.model_validate(choice.options)
    except ValidationError as error:
        raise AtelierError(explain(error, "generate.options", family.options)) from error
    for name in ("style", "towards_style"):
        style = getattr(choice, name)
        if style is not None and not family.is_conditional:
            raise AtelierError(f"generate.{name}: a {family.name} model knows none; leave it out")
        if style is not None and style not in model.styles:
            there = ", ".join(model.styles)
            raise AtelierError(f"generate.{name}: {style!r} is unknown; there are {there}")
    if reason := family.why_not({*choice.given, *uploaded}):
        raise AtelierError(reason)


def _id_of(data: str) -> str:
    return hashlib.sha256(data.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _collection(offer_id: str, name: str, inspected: dict[str, Any] | None) -> CollectionOffer:
    known = inspected or {}
    return CollectionOffer(
        id=offer_id,
        name=name,
        num_images=known.get("num_images"),
        images_per_style=known.get("images_per_style", {}),
    )


def _columns(path: Path) -> dict[str, list[float | None]]:
    """A CSV of numbers by columns, at most some two thousand rows of it."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError:
        return {}
    step = max(1, math.ceil(len(rows) / _MOST_ROWS))
    last = rows[-1:] if (len(rows) - 1) % step else []
    names = rows[0] if rows else ()
    return {name: [_number(row[name]) for row in [*rows[::step], *last]] for name in names}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[-_MOST_ROWS:]
        # NaN is no JSON, though Python writes it.
        return [json.loads(line, parse_constant=lambda _: None) for line in lines]
    except (OSError, ValueError):
        return []
