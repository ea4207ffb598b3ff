"""The local training store: from what a person names to an inspected collection."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TypeVar

from components.common.durable import exclusive
from components.common.files import is_regular
from components.common.names import is_unicode, printable
from components.common.parallel import ProcessPool, WorkerDiedError
from components.training_store.containers import (
    WORKSPACE_MARK,
    Container,
    Folder,
    open_container,
    put_aside,
)
from components.training_store.embedded import EMBEDDED_NAME, paint_collection
from components.training_store.inspection import Finding, Limits, inspect
from components.training_store.layouts import (
    IMAGE_SUFFIXES,
    Candidate,
    Survey,
    cifar_rows,
    image_files,
    shard_styles,
    survey,
)
from components.training_store.manifest import Journal, find_manifest, write_manifest
from components.training_store.parquet import Shard, is_parquet, parquet_rows
from components.training_store.styles import with_styles
from interfaces.errors import AtelierError
from interfaces.itdt import ITDT, CollectionSettings, QuarantinedFile
from interfaces.progress import Progress, ProgressEvent

_T = TypeVar("_T")
_Item = Candidate | QuarantinedFile
_Items = Callable[[], Iterator[_Item]]

_CHUNK = 32
_INSPECTION_VERSION = 1  # raise it when the same bytes would be judged otherwise


class LocalTrainingStore:
    """Collections on this machine, inspected by all processors; manifests under `workspace`.

    An unchanged collection (same names, sizes, times and settings) is not inspected again, and an
    interrupted inspection goes on where it stopped.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace.resolve()

    def collect(self, settings: CollectionSettings, progress: Progress) -> ITDT:
        """Inspect a collection and write its manifest, as `interfaces.itdt.TrainingStore` says."""
        with exclusive(self._workspace / WORKSPACE_MARK):
            self._sweep(self._workspace / "unpacked")
            return self._collect(settings, progress)

    def _collect(self, settings: CollectionSettings, progress: Progress) -> ITDT:
        name, items = self._find(settings, progress)
        listing, total = _fingerprint(items(), settings, progress)
        folder = self._workspace / "collections" / listing[:16]
        known = find_manifest(folder)
        journal = Journal(folder)
        if known is None:
            self._sweep(folder)
            self._inspect(items, Limits.of(settings), journal, total, progress)
            if _fingerprint(items(), settings, progress) != (listing, total):
                journal.remove()
                raise AtelierError(f"{settings.data}: changed while it was read; run it again")
            known = write_manifest(folder, journal, name, settings.data)
        journal.remove()
        return known.model_copy(update={"name": name, "source": settings.data})

    def _find(self, settings: CollectionSettings, progress: Progress) -> tuple[str, _Items]:
        """The collection's short name, and a way to list its images as often as needed."""
        if settings.data == EMBEDDED_NAME:
            name, path = EMBEDDED_NAME, self._workspace / EMBEDDED_NAME
            path = paint_collection(path, progress)
        else:
            path = Path(settings.data).expanduser()
            name = _short_name(path)
        items = self._candidates(path, name, progress)
        return name, with_styles(items, settings.styles_csv) if settings.styles_csv else items

    def _candidates(self, path: Path, name: str, progress: Progress) -> _Items:
        if not path.exists():
            raise AtelierError(
                f"{path}: no such file or folder; name a folder of images, a zip, a tar, a parquet "
                f"file, or '{EMBEDDED_NAME}' for the project's own collection"
            )
        if not is_unicode(str(path.resolve())):
            raise AtelierError(f"{path}: its path is not valid Unicode; rename what is not")
        if is_regular(path) and path.suffix.lower() in IMAGE_SUFFIXES:
            raise AtelierError(f"{path}: a single image; name the folder that holds it")
        if is_regular(path) and is_parquet(path):
            shards = [Shard(path, path.stem, style=None)]
            return parquet_rows(shards, name, self._workspace / "unpacked", progress)
        container = open_container(path, self._workspace, progress)
        return self._listed(path, container, name, progress)

    def _listed(self, path: Path, container: Container, name: str, progress: Progress) -> _Items:
        """The images of a folder or archive, by what a first look at its names shows."""
        seen = survey(container)
        if seen.cifar_batches:
            return cifar_rows(seen)
        if seen.image_folders:
            return image_files(container, seen.image_folders, name)
        if seen.parquet_files and isinstance(container, Folder):
            shards = [
                Shard(entry.file, row_name, style)
                for entry, row_name, style in shard_styles(seen.parquet_files)
            ]
            return parquet_rows(shards, name, self._workspace / "unpacked", progress)
        raise AtelierError(f"{path}: {_why_no_images(seen)}")

    def _inspect(
        self, items: _Items, limits: Limits, journal: Journal, total: int, progress: Progress
    ) -> None:
        remaining = islice(items(), len(journal), None)
        with ProcessPool() as pool:

            def inspect_chunk(chunk: list[_Item]) -> list[str]:
                if all(isinstance(item, QuarantinedFile) for item in chunk):
                    return _inspect_many((chunk, limits))  # nothing is decoded: no worker is needed
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


def _why_no_images(seen: Survey) -> str:
    if seen.pickles:
        return (
            f"holds Python pickles ({seen.pickles[0]}), which can run code when read; take the "
            "binary version of this data set"
        )
    if seen.parquet_files:
        return f"holds parquet files ({seen.parquet_files[0].name}); unpack it, name the folder"
    reason = "holds no images (.jpg, .png, .webp, .tif …)"
    if seen.archives:
        return f"{reason}; it holds {seen.archives[0]}: name that"
    if seen.unlisted:
        first, more = seen.unlisted[0], len(seen.unlisted) - 1
        others = f", and {more:,} more" if more else ""
        return f"{reason} that can be reached; {first.name}: {first.detail}{others}"
    return reason


def _inspect_many(work: tuple[list[_Item], Limits]) -> list[str]:
    """Findings as JSON, one an item. Runs in a worker process."""
    items, limits = work
    return [_judge(item, limits).model_dump_json() for item in items]


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
        detail = "decoding it crashed the process that tried"
        return Finding(quarantined=put_aside(item.entry.name, "corrupt", detail)).model_dump_json()


def _fingerprint(
    items: Iterable[_Item], settings: CollectionSettings, progress: Progress
) -> tuple[str, int]:
    """(digest, count) of a listing: it differs where a name, style, size, time or limit does."""
    limits = [_INSPECTION_VERSION, settings.min_side_pixels, settings.max_pixels]
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


def _short_name(path: Path) -> str:
    """A folder's name, or a file's without its extensions; '.' and '/' have none of their own."""
    resolved = path.resolve()
    name = resolved.name if resolved.is_dir() else resolved.stem.removesuffix(".tar")
    return printable(name) or "collection"
