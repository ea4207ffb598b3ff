"""The local training store: from what a person names to an inspected collection."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from components.common.durable import exclusive
from components.common.files import COLLECTIONS_LOCK, is_regular, real_path
from components.common.names import is_unicode, printable
from components.common.parallel import ProcessPool, WorkerDiedError
from components.training_store.choices import choices_place, read_choices, with_choices
from components.training_store.containers import (
    Container,
    Folder,
    RemoteFolder,
    Tar,
    open_container,
)
from components.training_store.embedded import EMBEDDED_NAME, paint_collection
from components.training_store.inspection import Finding, Limits, crashed, inspect, may_pass
from components.training_store.layouts import (
    IMAGE_SUFFIXES,
    Candidate,
    Survey,
    cifar_rows,
    image_files,
    shard_styles,
    survey,
)
from components.training_store.manifest import Journal, find_manifest, write_manifest, write_message
from components.training_store.metadata import metadata_styles, with_metadata
from components.training_store.parquet import Shard, is_table, table_rows
from components.training_store.shards import (
    has_braces,
    is_web_dataset,
    named_shards,
    shard_rows,
)
from components.training_store.styles import with_styles
from interfaces.errors import DamagedError, NotFoundError, RefusedError
from interfaces.itdt import ITDT, CollectionChoices, CollectionSettings, QuarantinedFile
from interfaces.places import Range, Url, fetch_ahead, is_folder, place_of
from interfaces.progress import Progress, ProgressEvent

_T = TypeVar("_T")
_Item = Candidate | QuarantinedFile
_Items = Callable[[], Iterator[_Item]]

_CHUNK = 32
_INSPECTION_VERSION = 2  # raise it when the same bytes would be judged otherwise


class LocalTrainingStore:
    """Collections on this machine, inspected by all processors; manifests under `workspace`.

    An unchanged collection (same names, sizes, times and settings) is not inspected again, and an
    interrupted inspection goes on where it stopped. Both are begun anew where a file that could
    not be read then can be read now.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace.resolve()

    def collect(self, settings: CollectionSettings, progress: Progress) -> ITDT:
        """Inspect a collection and write its manifest, as `interfaces.itdt.TrainingStore` says."""
        with exclusive(self._workspace / COLLECTIONS_LOCK):
            self._sweep(self._workspace / "unpacked")
            return self._collect(settings, progress)

    def _collect(self, settings: CollectionSettings, progress: Progress) -> ITDT:
        name, items = self._find(settings, progress)
        listing, total = _fingerprint(items(), settings, progress)
        folder = self._workspace / "collections" / listing[:16]
        limits, known, journal = Limits.of(settings), find_manifest(folder), Journal(folder)
        if _has_recovered(journal if known is None else known, items, limits):
            journal.remove()
            known, journal = None, Journal(folder)
        if known is None:
            self._sweep(folder)
            self._inspect(items, limits, journal, total, progress)
            if _fingerprint(items(), settings, progress) != (listing, total):
                journal.remove()
                raise DamagedError(f"{settings.data}: changed while it was read; run it again")
            known = write_manifest(folder, journal, name, settings.data)
        journal.remove()
        found = known.model_copy(update={"name": name, "source": settings.data})
        if found != known:  # moved, or named otherwise: it is looked up by what it is called now
            write_message(folder, found)
        choices = self._choices(settings)
        return found if choices is None else with_choices(found, choices)

    def _choices(self, settings: CollectionSettings) -> CollectionChoices | None:
        """A person's choices; nothing is kept beside a collection that lies elsewhere."""
        is_own = settings.data == EMBEDDED_NAME
        place = self._workspace / EMBEDDED_NAME if is_own else place_of(settings.data)
        return read_choices(choices_place(place.absolute())) if isinstance(place, Path) else None

    def _find(self, settings: CollectionSettings, progress: Progress) -> tuple[str, _Items]:
        """The collection's short name, and a way to list its images as often as needed."""
        if settings.data == EMBEDDED_NAME:
            name, path = EMBEDDED_NAME, self._workspace / EMBEDDED_NAME
            path = paint_collection(path, progress)
        else:
            path = place_of(settings.data)
            name = _short_name(path)
        if has_braces(settings.data) and not (isinstance(path, Path) and path.exists()):
            shards, unpacked = named_shards(settings.data), self._workspace / "unpacked"
            items = shard_rows(shards, name, unpacked, progress)
        else:
            items = self._candidates(path, name, progress)
        return name, with_styles(items, settings.styles_csv) if settings.styles_csv else items

    def _candidates(self, place: Path | Url, name: str, progress: Progress) -> _Items:
        if isinstance(place, Path):
            _check_path(place)
        unpacked = self._workspace / "unpacked"
        if not _is_folder(place) and is_table(place):
            shards = [Shard(place, PurePosixPath(place.name).stem, style=None)]
            return table_rows(shards, name, unpacked, progress)
        container = open_container(place, self._workspace, progress)
        if isinstance(container, Tar) and is_web_dataset(container.place):
            return shard_rows([container.place], name, unpacked, progress)
        return self._listed(place, container, name, progress)

    def _listed(
        self, place: Path | Url, container: Container, name: str, progress: Progress
    ) -> _Items:
        """The images of a folder or archive, by what a first look at its names shows."""
        seen, unpacked = survey(container), self._workspace / "unpacked"
        if seen.cifar_batches:
            return cifar_rows(seen)
        if seen.image_folders:
            items = image_files(container, seen.image_folders, name)
            styles = metadata_styles(seen.metadata)
            return with_metadata(items, styles) if styles else items
        if seen.tables and isinstance(container, Folder | RemoteFolder):
            shards = [
                Shard(entry.file, row_name, style)
                for entry, row_name, style in shard_styles(seen.tables)
            ]
            return table_rows(shards, name, unpacked, progress)
        if seen.tars and isinstance(container, Folder | RemoteFolder):
            return shard_rows([entry.file for entry in seen.tars], name, unpacked, progress)
        raise RefusedError(f"{place}: {_why_no_images(seen)}")

    def _inspect(
        self, items: _Items, limits: Limits, journal: Journal, total: int, progress: Progress
    ) -> None:
        remaining = islice(items(), len(journal), None)
        with ProcessPool() as pool:

            def inspect_chunk(chunk: list[_Item]) -> list[str]:
                if all(isinstance(item, QuarantinedFile) for item in chunk):
                    return _inspect_many((chunk, limits))  # nothing is decoded: no worker is needed
                fetch_ahead(_ranges(chunk, limits))
                try:
                    return pool.call(_inspect_many, (chunk, limits))
                except WorkerDiedError:
                    return [_inspect_alone(pool, item, limits) for item in chunk]

            progress(ProgressEvent(stage="inspect", done=len(journal), total=total))
            for findings in pool.ordered(inspect_chunk, _chunks(remaining, _CHUNK)):
                journal.append(findings)
                progress(ProgressEvent(stage="inspect", done=len(journal), total=total))

    @staticmethod
    def _sweep(folder: Path) -> None:
        """Remove what a killed process left half written; the lock keeps others out."""
        for leftover in folder.glob(".*.partial*"):
            leftover.unlink()


def _check_path(path: Path) -> None:
    """Raise `AtelierError` where nothing lies there, or nothing that can be a collection."""
    if not path.exists():
        raise NotFoundError(
            f"{path}: no such file or folder; name a folder of images, a zip, a tar, a parquet "
            f"file, or '{EMBEDDED_NAME}' for the project's own collection"
        )
    if not is_unicode(str(real_path(path))):
        raise RefusedError(f"{path}: its path is not valid Unicode; rename what is not")
    if is_regular(path) and path.suffix.lower() in IMAGE_SUFFIXES:
        raise RefusedError(f"{path}: a single image; name the folder that holds it")


def _is_folder(place: Path | Url) -> bool:
    """Whether there is no file to look into; a device is none either."""
    return is_folder(place) if isinstance(place, Url) else not is_regular(place)


def _why_no_images(seen: Survey) -> str:
    if seen.pickles:
        return (
            f"holds Python pickles ({seen.pickles[0]}), which can run code when read; take the "
            "binary version of this data set"
        )
    if seen.tables:
        return f"holds parquet files ({seen.tables[0].name}); unpack it, name the folder"
    reason = "holds no images (.jpg, .png, .webp, .tif …)"
    archives = [*seen.archives, *(entry.name for entry in seen.tars)]
    if archives:
        return f"{reason}; it holds {archives[0]}: name that"
    if seen.unlisted:
        first, more = seen.unlisted[0], len(seen.unlisted) - 1
        others = f", and {more:,} more" if more else ""
        return f"{reason} that can be reached; {first.name}: {first.detail}{others}"
    return reason


def _inspect_many(work: tuple[list[_Item], Limits]) -> list[str]:
    """Findings as JSON, one an item. Runs in a worker process."""
    items, limits = work
    return [_judge(item, limits).model_dump_json() for item in items]


def _ranges(items: Iterable[_Item], limits: Limits) -> Iterator[Range | None]:
    """Ranges to fetch before items are inspected; none for those that are too large anyway."""
    for item in items:
        if isinstance(item, Candidate) and item.entry.length <= limits.max_bytes:
            yield item.entry.remote_range


def _judge(item: _Item, limits: Limits) -> Finding:
    if isinstance(item, QuarantinedFile):
        return Finding(quarantined=item)
    return inspect(item, limits)


def _inspect_alone(pool: ProcessPool, item: _Item, limits: Limits) -> str:
    """The finding of one item of a chunk that killed its worker."""
    try:
        return pool.call(_inspect_many, ([item], limits))[0]
    except WorkerDiedError:
        assert isinstance(item, Candidate)  # nothing is decoded for the others
        return crashed(item).model_dump_json()


def _has_recovered(earlier: ITDT | Journal, items: _Items, limits: Limits) -> bool:
    """Whether an earlier inspection put a file aside for a fault of the machine that is over.

    A disk that failed for a moment changes neither size nor times of the file that it held.
    """
    doubtful = {file.name for file in earlier.quarantined() if may_pass(file)}
    if not doubtful:
        return False
    with ProcessPool() as pool:
        for item in items():
            if isinstance(item, Candidate) and item.entry.name in doubtful:
                found = Finding.model_validate_json(_inspect_alone(pool, item, limits))
                if found.quarantined is None or not may_pass(found.quarantined):
                    return True
    return False


def _fingerprint(
    items: Iterable[_Item], settings: CollectionSettings, progress: Progress
) -> tuple[str, int]:
    """(digest, count) of a listing: it differs where a name, style, size, time or limit does."""
    limits = [
        *(_INSPECTION_VERSION, settings.min_side_pixels, settings.max_pixels),
        settings.reserved,
    ]
    digest = hashlib.sha256(json.dumps(limits).encode())
    count = 0
    for item in items:
        fields = asdict(item) if isinstance(item, Candidate) else item.model_dump()
        digest.update(json.dumps(fields, default=str, sort_keys=True).encode() + b"\n")
        count += 1
        if count % 1000 == 0:
            progress(ProgressEvent(stage="list", done=count, unit="files"))
    return digest.hexdigest(), count


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _short_name(place: Path | Url) -> str:
    """A folder's name, or a file's without its extensions; '.' and '/' have none of their own."""
    resolved = real_path(place) if isinstance(place, Path) else place
    is_file = not (isinstance(resolved, Path) and resolved.is_dir())
    plain = resolved.name.partition("{")[0].rstrip("-_.") or resolved.name
    stem = PurePosixPath(plain).stem.removesuffix(".tar")
    return printable(stem if is_file else resolved.name) or "collection"
