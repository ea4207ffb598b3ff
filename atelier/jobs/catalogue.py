"""Catalogue of what orders may name: models and collections, by ids instead of paths."""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import count, starmap
from pathlib import Path

from pathvalidate import sanitize_filename
from pydantic import BaseModel, ConfigDict

from atelier.jobs.model_notes import ModelNotes
from atelier.jobs.uploads import LocalUploads
from atelier.workspace import Workspace, run_number
from components.common.durable import assembling, exclusive, write_bytes
from components.common.files import read_regular, whole_path
from components.common.shipped import SHIPPED_MODELS
from components.families import FAMILIES
from components.training import TrainingFolder
from components.training_store import choices_place, read_choices, write_choices
from interfaces.errors import AtelierError, NotFoundError, RefusedError
from interfaces.igme import IGME
from interfaces.itdt import ITDT, CollectionChoices, PictureChoice
from interfaces.offers import CollectionOffer, ModelOffer, TrainingView
from interfaces.places import expanded

_EMBEDDED = "embedded"
_MAX_ROWS = 2000
_CHOICES_SUFFIX = ".atelier.json"
_ARCHIVE_SUFFIX = re.compile(r"(\.tar)?\.(zip|tar|tgz|gz|bz2|xz)$", re.IGNORECASE)


class _Inspected(BaseModel):
    """Part of an ITDT that an offer states; the rest of it is read when it is used."""

    model_config = ConfigDict(extra="ignore", strict=True)

    source: str
    num_images: int
    images_per_style: dict[str, int]
    choices: object = None


class WorkspaceCatalogue:
    """The port `interfaces.offers.Catalogue` of one workspace.

    `offered` are folders and archives that the person who started the server named.
    """

    def __init__(
        self, workspace: Workspace, uploads: LocalUploads, offered: Sequence[Path] = ()
    ) -> None:
        self._workspace = workspace
        self._uploads = uploads
        self._notes = ModelNotes(workspace.model_notes)
        self._offered = [str(expanded(path).absolute()) for path in offered]

    # ------------------------------------------------------------ models

    def models(self) -> list[ModelOffer]:
        """Every model at hand, the newest first; the project's own last. Damaged ones are not."""
        gone = self._notes.deleted()
        return self._offers(lambda model: model.digest not in gone)

    def deleted_models(self) -> list[ModelOffer]:
        """The models that were deleted and can still be restored, the newest first."""
        gone = self._notes.deleted()
        return self._offers(lambda model: model.digest in gone)

    def _offers(self, fits: Callable[[IGME], bool]) -> list[ModelOffer]:
        titles = self._notes.titles()
        found: dict[str, tuple[str, IGME]] = {}
        for name, model in self._workspace.models():
            if not fits(model):
                continue
            # A copy is the same model, and what a strange family makes cannot be chosen here.
            if model.family in FAMILIES:
                found.setdefault(model.digest[:16], (name, model))
        names = {name for name, _ in found.values()}
        defaults = (name for name, _ in self._workspace.default_folders() if name in names)
        default = next(defaults, None)
        return [
            _offer(name, model, titles.get(model.digest), is_default=name == default)
            for name, model in found.values()
        ]

    def model(self, model_id: str) -> IGME:
        """A model. Raises `NotFoundError` where there is none of that digest."""
        return self._workspace.model_of_id(model_id)[1]

    def rename_model(self, model_id: str, title: str) -> None:
        """Set a model's title. Raises `NotFoundError`."""
        self._notes.rename(self.model(model_id).digest, title)

    def set_default_model(self, model_id: str | None) -> None:
        """Propose this model first; None: the project's own. Raises `NotFoundError`."""
        name = None if model_id is None else self._workspace.model_of_id(model_id)[0]
        self._workspace.set_default(name)

    def delete_model(self, model_id: str) -> None:
        """Hide a model; `purge_models` removes it later. Raises `RefusedError`."""
        name, model = self._workspace.model_of_id(model_id)
        # By its weights: what a copy of it is called does not make it another model.
        if model.digest in {IGME.open(folder).digest for folder in SHIPPED_MODELS.values()}:
            raise RefusedError(f"model {name}: comes with Atelier and cannot be deleted")
        self._notes.mark(model.digest, is_deleted=True)
        if self._workspace.chosen_default() == name:
            self._workspace.set_default(None)

    def restore_model(self, model_id: str) -> None:
        """Bring a deleted model back. Raises `NotFoundError`."""
        self._notes.mark(self.model(model_id).digest, is_deleted=False)

    def purge_models(self, older_than: timedelta) -> int:
        """Remove the files of models deleted longer ago than this; return their number."""
        folders: dict[str, list[Path]] = {}
        for name, model in self._workspace.models():
            if name not in SHIPPED_MODELS:
                folders.setdefault(model.digest, []).append(model.directory)
        return self._notes.purge(folders, older_than)

    # ------------------------------------------------------------ collections

    def collections(self) -> list[CollectionOffer]:
        """Collections: the project's own, offered at the start, inspected earlier, or uploaded."""
        inspected = self._inspected()
        offers = [_collection(_EMBEDDED, _EMBEDDED, inspected.get(_EMBEDDED))]
        offers += [
            _collection(_id_of(data), Path(data).name or data, inspected.get(data))
            for data in self._sources(inspected)
        ]
        gathered = [Path(place) for place in self._gathered()]
        for upload in self._uploads.archives():
            path = self._uploads.path(upload.id)
            if any(place.is_file() and path.samefile(place) for place in gathered):
                continue  # it is listed under its own name
            data = str(path)
            offers.append(_collection(upload.id, upload.name, inspected.get(data)))
        return [
            offer.model_copy(update={"num_excluded": self._num_excluded(offer.id)})
            for offer in offers
        ]

    def _num_excluded(self, collection_id: str) -> int:
        try:
            chosen = self.choices(collection_id).pictures.values()
        except AtelierError:
            return 0  # whoever looks through the collection or learns from it is told
        return sum(choice.is_excluded for choice in chosen)

    def collection_data(self, collection_id: str) -> str:
        """Value for `CollectionSettings.data`. Raises `NotFoundError`."""
        if collection_id == _EMBEDDED:
            return _EMBEDDED
        if len(collection_id) == 32:
            if self._uploads.get(collection_id).kind != "collection":
                raise RefusedError(f"upload {collection_id}: a single picture; send a zip or a tar")
            return str(self._uploads.path(collection_id))
        for data in self._sources(self._inspected()):
            if _id_of(data) == collection_id:
                return data
        raise NotFoundError(f"collection {collection_id[:40]}: there is none")

    def gather(self, name: str, pictures: Iterable[tuple[str, str]]) -> CollectionOffer:
        """A folder of uploaded pictures, by style; see the port."""
        # All of them first: what is refused leaves no half collection behind.
        files = dict(starmap(self._to_link, pictures))

        def build(folder: Path) -> None:
            folder.mkdir()
            for place, source in files.items():
                (folder / place).parent.mkdir(exist_ok=True)
                _link(source, folder / place)

        return self._add_gathered(build, name)

    def _to_link(self, upload_id: str, style: str) -> tuple[Path, Path]:
        """Place of an uploaded picture inside a gathered folder, and the upload's own."""
        upload = self._uploads.get(upload_id)
        if upload.kind != "picture":
            raise RefusedError(f"{upload.name}: not a picture")
        source = self._uploads.path(upload_id)
        name = f"{_plain(Path(upload.name).stem)}-{upload_id[:6]}{source.suffix}"
        return Path(_plain(style) if style.strip() else "", name), source

    def gather_archive(self, upload_id: str, name: str | None) -> CollectionOffer:
        """An uploaded archive under its own name; see the port."""
        upload = self._uploads.get(upload_id)
        if upload.kind != "collection":
            raise RefusedError(f"{upload.name}: not an archive")
        source = self._uploads.path(upload_id)
        stem = _ARCHIVE_SUFFIX.sub("", Path(name or upload.name).name)
        return self._add_gathered(lambda place: _link(source, place), stem, source.suffix)

    def name_collection(self, path: str) -> CollectionOffer:
        """A folder or archive of this machine, remembered; see the port."""
        try:
            place = whole_path(Path(path))
        except RuntimeError as error:  # of a person whom this machine does not know
            raise NotFoundError(f"{path}: no such folder or archive") from error
        if not place.exists():
            raise NotFoundError(f"{path}: no such folder or archive")
        if "\n" in str(place):
            raise RefusedError(f"{path}: a line break is in its name; rename it")
        with self._alone():
            named = [line for line in self._named_places() if line != str(place)]
            lines = "".join(f"{line}\n" for line in [*named, str(place)])
            write_bytes(self._workspace.named_collections, os.fsencode(lines))
        name = place.name or str(place)
        return _collection(_id_of(str(place)), name, self._inspected().get(str(place)))

    def inspected(self, collection_id: str) -> ITDT:
        """Collection as an inspection found it, before choices; see the port."""
        data = self.collection_data(collection_id)
        for path, found in reversed(self._inspections()):
            if found.source == data and not found.choices:
                message = json.loads(read_regular(path))
                return ITDT.model_validate(message | {"manifest": str(path.parent)})
        raise NotFoundError(f"collection {collection_id}: not inspected yet; see its report")

    def choices(self, collection_id: str) -> CollectionChoices:
        """A person's choices for its pictures."""
        return read_choices(self._choices_place(collection_id)) or CollectionChoices()

    def choose(self, collection_id: str, choices: CollectionChoices) -> None:
        """Keep choices beside the collection; see the port."""
        self._check_known(collection_id, choices)
        with self._alone():
            write_choices(self._choices_place(collection_id), choices)

    def change_choices(self, collection_id: str, changes: CollectionChoices) -> CollectionChoices:
        """Replace the choices for some pictures; see the port."""
        self._check_known(collection_id, changes)
        with self._alone():
            every = self.choices(collection_id).pictures | changes.pictures
            kept = {name: choice for name, choice in every.items() if choice != PictureChoice()}
            choices = CollectionChoices(pictures=kept)
            write_choices(self._choices_place(collection_id), choices)
        return choices

    def _check_known(self, collection_id: str, choices: CollectionChoices) -> None:
        known = {image.name for image in self.inspected(collection_id).images()}
        strangers = sorted(set(choices.pictures) - known)
        if strangers:
            raise NotFoundError(f"{strangers[0][:80]}: not in this collection")

    def _choices_place(self, collection_id: str) -> Path:
        data = self.collection_data(collection_id)
        return choices_place(self._workspace.root / data if data == _EMBEDDED else Path(data))

    def _add_gathered(
        self, build: Callable[[Path], None], name: str, suffix: str = ""
    ) -> CollectionOffer:
        """A new gathered collection at a place of its own, where it appears whole."""
        folder = self._workspace.gathered
        names = (_plain(name) + (f" {n}" if n > 1 else "") + suffix for n in count(1))
        with self._alone(), assembling(folder) as made:
            build(made / "whole")
            place = next(folder / one for one in names if not (folder / one).exists())
            (made / "whole").rename(place)
        return _collection(_id_of(str(place)), place.name, None)

    def _alone(self) -> AbstractContextManager[None]:
        """No other process or thread gathers or names a collection meanwhile."""
        return exclusive(self._workspace.root / ".collections.lock")

    def _named_places(self) -> list[str]:
        named = self._workspace.named_collections
        return os.fsdecode(read_regular(named)).split("\n")[:-1] if named.is_file() else []

    def _gathered(self) -> list[str]:
        places = sorted(self._workspace.gathered.glob("[!.]*"))
        return [str(place) for place in places if not place.name.endswith(_CHOICES_SUFFIX)]

    def _sources(self, inspected: Mapping[str, object]) -> list[str]:
        uploads = str(self._workspace.uploads)
        known = [
            data
            for data in inspected
            if data != _EMBEDDED and not data.startswith(uploads) and Path(data).exists()
        ]
        named = [place for place in self._named_places() if Path(place).exists()]
        return list(dict.fromkeys([*self._offered, *self._gathered(), *named, *sorted(known)]))

    def _inspected(self) -> dict[str, "_Inspected"]:
        """Findings of earlier inspections, before choices if known, by the path that was named."""
        found = [one for _, one in self._inspections()]
        return {one.source: one for one in sorted(found, key=lambda one: not one.choices)}

    def _inspections(self) -> list[tuple[Path, "_Inspected"]]:
        """Every inspection's message with its file, the newest last."""
        found: list[tuple[Path, _Inspected]] = []
        paths = self._workspace.collections.glob("*/itdt.json")
        for path in sorted(paths, key=_modified):
            try:
                found.append((path, _Inspected.model_validate_json(read_regular(path))))
            except (OSError, ValueError):
                continue  # the store itself will say so when it is used
        return found

    # ------------------------------------------------------------ what a training shows

    def training(self, run: str) -> TrainingView:
        """Curves and measurements of a run; empty where there are none yet."""
        folder = TrainingFolder(self._workspace.training_folder(run))
        measured, interventions = folder.measurements(), folder.interventions()
        verdict = folder.verdict()
        return TrainingView(
            curves=_thinned(folder.curves()),
            measurements=[row.model_dump(mode="json") for row in measured[-_MAX_ROWS:]],
            guardian=[row.model_dump(mode="json") for row in interventions[-_MAX_ROWS:]],
            grids=folder.grids(),
            verdict=verdict.model_dump(mode="json") if verdict else None,
        )

    def grid(self, run: str, images_seen: int) -> bytes:
        """A sample grid as PNG. Raises `NotFoundError` where there is none."""
        path = TrainingFolder(self._workspace.training_folder(run)).grid(images_seen)
        if not path.is_file() or path.is_symlink():
            raise NotFoundError(f"run {run}: no sample grid at {images_seen} images")
        return path.read_bytes()


def _offer(name: str, model: IGME, title: str | None, *, is_default: bool) -> ModelOffer:
    origin = "trained" if run_number(name) is not None else "adopted"
    family = FAMILIES[model.family]
    return ModelOffer(
        id=model.digest[:16],
        name=name,
        title=title,
        origin="own" if name in SHIPPED_MODELS else origin,
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


def _plain(name: str) -> str:
    """A name that every disk takes, and under which nothing is passed over when it is listed."""
    plain = sanitize_filename(name.strip(), platform="universal").lstrip(". ")[:80] or "collection"
    return f"{plain}_" if plain == "__MACOSX" or plain.endswith(_CHOICES_SUFFIX) else plain


def _link(source: Path, place: Path) -> None:
    """The same file at another place; a copy where the disk cannot link."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


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
    step = max(1, math.ceil(len(column) / _MAX_ROWS))
    last = column[-1:] if (len(column) - 1) % step else []
    return [*column[::step], *last]
