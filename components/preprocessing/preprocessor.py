"""The local preprocessor: a collection => a memory-mapped array, in parallel, once."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from components.common.durable import exclusive, publish, replacing, write_text
from components.common.files import read_text
from components.common.images import open_upright, planes_to_image
from components.common.parallel import ProcessPool
from components.preprocessing.transform import prepare
from interfaces.errors import AtelierError, DamagedError
from interfaces.ipdt import IPDT, PreprocessingSettings
from interfaces.itdt import ITDT, TrainingImage
from interfaces.places import fetch_ahead
from interfaces.progress import Progress, ProgressEvent

_CHUNK = 32
_MESSAGE = "ipdt.json"
_IMAGES, _LABELS, _SOURCES = "images.npy", "labels.npy", "sources.txt"
_JOURNAL = "journal.txt"
_SOURCE_BYTES = 65  # a digest and a line's end
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Consecutive images, and where in the array's file their pixels go."""

    images: list[TrainingImage]
    file: Path
    offset: int  # bytes
    resolution: int


class LocalPreprocessor:
    """Prepared sets under `workspace / "prepared"`, each named by what it was made from.

    The name is a digest of the collection's digest, the transform and the resolution. A set
    appears there whole; until then its chunks and their journal lie beside it.
    """

    def __init__(self, workspace: Path) -> None:
        self._prepared = workspace.resolve() / "prepared"

    def preprocess(
        self, collection: ITDT, settings: PreprocessingSettings, progress: Progress
    ) -> IPDT:
        """Prepare every good image, as `interfaces.ipdt.Preprocessor` says."""
        folder = self._prepared / _address(collection, settings)[:16]
        with exclusive(self._prepared / ".lock"):
            known = _find(folder, collection, settings)
            if known is not None:
                total = collection.num_images
                progress(ProgressEvent(stage="preprocess", done=total, total=total))
                return known
            shutil.rmtree(folder, ignore_errors=True)  # it is damaged, or not there
            partial = folder.with_suffix(".partial")
            _fill(partial, collection, settings, progress)
            _seal(partial, folder, collection, settings)
            made = _find(folder, collection, settings)
        if made is None:
            raise DamagedError(f"{folder}: changed while it was made; run the command again")
        return made


def _address(collection: ITDT, settings: PreprocessingSettings) -> str:
    """Digest of all that decides the pixels and labels."""
    transform = IPDT.model_fields["transform"].default
    parts = [collection.digest, transform, settings.resolution]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _find(folder: Path, collection: ITDT, settings: PreprocessingSettings) -> IPDT | None:
    """The finished set in `folder`, where its files have the shapes and lengths they must have."""
    try:
        stored = IPDT.from_json((folder / _MESSAGE).read_bytes())
        # The folder may have been moved, and the same images may go by another name now, or be what
        # is left of others that say not to train on them.
        known = {"directory": folder, "name": collection.name, "rights": collection.rights}
        prepared = stored.model_copy(update=known)
        prepared.images()
        prepared.labels()
        has_sources = (folder / _SOURCES).stat().st_size == _SOURCE_BYTES * prepared.num_images
    except (OSError, AtelierError):
        return None
    wanted = (collection.digest, settings.resolution)
    is_wanted = (prepared.source_digest, prepared.resolution) == wanted
    return prepared if has_sources and is_wanted else None


def _fill(
    partial: Path, collection: ITDT, settings: PreprocessingSettings, progress: Progress
) -> None:
    """Write every image's pixels to `partial / "images.npy"`, from the first missing chunk on."""
    resolution, total = settings.resolution, collection.num_images
    row_bytes = resolution * resolution * 3
    pixels, journal = partial / _IMAGES, partial / _JOURNAL
    begin = _make_room(pixels, journal, (total, resolution, resolution, 3))
    num_finished = _finished_chunks(journal, pixels, begin, _CHUNK * row_bytes)
    chunks = (
        _Chunk(images, pixels, begin + place * _CHUNK * row_bytes, resolution)
        for place, images in enumerate(_chunks(collection.images()))
        if place >= num_finished
    )
    done = min(num_finished * _CHUNK, total)
    progress(ProgressEvent(stage="preprocess", done=done, total=total))
    with ProcessPool() as pool:

        def write(chunk: _Chunk) -> str:
            fetch_ahead(image.remote_range for image in chunk.images)
            return pool.call(_write_chunk, chunk)

        for digest in pool.ordered(write, chunks):
            with journal.open("a") as lines:
                lines.write(f"{digest}\n")
            done = min(done + _CHUNK, total)
            progress(ProgressEvent(stage="preprocess", done=done, total=total))


def _make_room(pixels: Path, journal: Path, shape: tuple[int, int, int, int]) -> int:
    """The array's file, made where it is not there yet; at which byte its pixels begin."""
    for leftover in pixels.parent.glob(".*.partial*"):
        leftover.unlink()  # of a killed process; the lock keeps others out
    if not pixels.exists():
        journal.unlink(missing_ok=True)
        with replacing(pixels) as temporary:
            np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    return np.lib.format.open_memmap(pixels, mode="r").offset


def _write_chunk(chunk: _Chunk) -> str:
    """Prepare a chunk's images into their place; the digest of their pixels. Runs in a worker."""
    digest = hashlib.sha256()
    with chunk.file.open("r+b") as stream:
        stream.seek(chunk.offset)
        for image in chunk.images:
            pixels = _pixels_of(image, chunk.resolution).tobytes()
            stream.write(pixels)
            digest.update(pixels)
    return digest.hexdigest()


def _pixels_of(image: TrainingImage, resolution: int) -> np.ndarray:
    """One image of the collection => uint8 (resolution, resolution, 3)."""
    data = image.read_bytes()
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise DamagedError(
            f"{image.file}: {image.name} is no longer what was inspected; "
            "run the command again to inspect the collection again"
        )
    if image.encoding == "rgb planes":
        return prepare(planes_to_image(data, image.width, image.height), resolution, image.crop)
    return prepare(open_upright(data), resolution, image.crop)


def _finished_chunks(journal: Path, pixels: Path, begin: int, chunk_bytes: int) -> int:
    """Number of chunks, from the first on, that lie in the file as the journal says.

    Rereading them is cheap beside decoding, and makes each write's own fsync needless: what a
    power cut lost has another digest.
    """
    if not journal.exists():
        return 0
    good: list[str] = []
    with pixels.open("rb") as stream:
        stream.seek(begin)
        for line in read_text(journal).splitlines():
            if hashlib.sha256(stream.read(chunk_bytes)).hexdigest() != line:
                break
            good.append(line)
    write_text(journal, "".join(f"{line}\n" for line in good))
    return len(good)


def _seal(partial: Path, folder: Path, collection: ITDT, settings: PreprocessingSettings) -> None:
    """Add labels, sources and the message to finished pixels, and give the folder its name."""
    label_of = {style: label for label, style in enumerate(collection.styles)}
    labels = np.fromiter((label_of[image.style] for image in collection.images()), dtype=np.int64)
    with replacing(partial / _LABELS) as temporary:
        np.save(temporary, labels)
    with replacing(partial / _SOURCES) as temporary, temporary.open("w", newline="\n") as lines:
        lines.writelines(f"{image.sha256}\n" for image in collection.images())
    prepared = IPDT(
        directory=folder,
        name=collection.name,
        num_images=collection.num_images,
        resolution=settings.resolution,
        styles=collection.styles,
        source_digest=collection.digest,
        digest=_digest_of(partial / _IMAGES, partial / _LABELS),
    )
    write_text(partial / _MESSAGE, prepared.to_json())
    (partial / _JOURNAL).unlink()
    publish(partial, folder)


def _chunks(images: Iterator[TrainingImage]) -> Iterator[list[TrainingImage]]:
    while chunk := list(islice(images, _CHUNK)):
        yield chunk


def _digest_of(*files: Path) -> str:
    """SHA-256 over the bytes of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while piece := stream.read(_READ_BYTES):
                digest.update(piece)
    return digest.hexdigest()
