"""IODT: an encoded image. From conversion to the results store."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self, runtime_checkable

from pydantic import Field, StringConstraints, model_validator

from interfaces.arrays import Blob
from interfaces.contract import CommaList, Contract, Message, Offers, Seed, Sha256, is_none
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.places import Place, size_of
from interfaces.progress import Progress
from interfaces.record import Record

SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/tiff": ".tif",
}
"""Endings of file names, by the media types that our own converter writes."""

MediaType = Annotated[
    str, StringConstraints(pattern=r"^image/[a-z0-9][a-z0-9.+-]{0,60}$"), Offers(tuple(SUFFIXES))
]
"""Media type of a file (RFC 6838); another converter may write others."""


def suffix_of(media_type: str) -> str:
    """'image/jpeg' => '.jpg'; 'image/jxl' => '.jxl', for what is not in the table."""
    subtype = media_type.partition("/")[2].removeprefix("x-").partition("+")[0]
    return SUFFIXES.get(media_type, f".{subtype}")


class IODT(Contract):
    """Interface of Output Data Transferring: one image file, not yet on disk.

    Sender: image conversion. Receiver: results store.
    """

    data: Blob = Field(min_length=1, description="The file, byte for byte.")
    sha256: Sha256 = Field(description="Digest of `data`.")
    media_type: MediaType = Field(description="What the bytes are.")
    width: int = Field(ge=1, description="Width, pixels.")
    height: int = Field(ge=1, description="Height, pixels.")
    record: Record = Field(description="Provenance; the file carries the same record.")

    @property
    def suffix(self) -> str:
        """Ending of the file's name, such as '.png'."""
        return suffix_of(self.media_type)

    @model_validator(mode="after")
    def _digest_holds(self) -> Self:
        if hashlib.sha256(self.data).hexdigest() != self.sha256:
            raise ValueError("sha256 is not the digest of data")
        return self


@runtime_checkable
class Converter(Protocol):
    """Image conversion's port: enlarged batches in, one encoded image at a time out."""

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        """Encode every image of every batch, in order, each with its record inside."""
        ...


@runtime_checkable
class CheckingConverter(Protocol):
    """A converter that can check settings, so that a run is refused before it begins; optional."""

    def check(self, settings: ICS) -> None:
        """Raise `AtelierError` for settings that could not be carried out today."""
        ...


def check_conversion(converter: Converter, settings: ICS) -> None:
    """Ask any converter whether it could encode so; one that cannot be asked passes."""
    if isinstance(converter, CheckingConverter):
        converter.check(settings)


class StoredResult(Message):
    """One row of the results store: a file and what is known of it."""

    id: int = Field(ge=1, description="Number of the result, in the order of keeping.")
    path: Place = Field(description="The file, by path or by URL.")
    sha256: Sha256 = Field(description="Digest of the file.")
    media_type: MediaType = Field(description="What the file is.")
    width: int = Field(ge=1, description="Width, pixels.")
    height: int = Field(ge=1, description="Height, pixels.")
    run: str = Field(description="The run that made it; empty where none did.")
    kept_at: datetime = Field(description="When it was kept, UTC.")
    record: Record = Field(description="Provenance.")


class ResultQuery(Message):
    """Conditions for finding results; a result fits where it meets all that are given."""

    numbers: Annotated[tuple[int, ...], CommaList] | None = Field(
        default=None, exclude_if=is_none, description="One of these, by number: '3,7'."
    )
    run: str | None = Field(default=None, description="Made by this run.")
    family: str | None = Field(default=None, description="Made by a model of this family.")
    style: str | None = Field(default=None, description="Asked for in this style.")
    model_digest: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{1,64}$", description="Made by this model (first digits)."
    )
    first_seed: Seed | None = Field(default=None, description="Seed not below this.")
    last_seed: Seed | None = Field(default=None, description="Seed not above this.")
    most_drift: float | None = Field(
        default=None, ge=0, description="Changed by enlargement by at most this many levels of 255."
    )
    least_originality: float | None = Field(
        default=None, ge=0, description="At least this far from the nearest training image."
    )
    least_side: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Longer side at least this many pixels."
    )
    most_side: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Longer side at most this many pixels."
    )
    kept_after: datetime | None = Field(
        default=None, description="Kept at this time or later, ISO 8601; UTC if it names no zone."
    )
    kept_before: datetime | None = Field(
        default=None, description="Kept before this time, ISO 8601; UTC if it names no zone."
    )
    enhancer: str | None = Field(default=None, description="Enlarged by this network.")
    media_type: MediaType | None = Field(default=None, description="Of this file format.")
    deleted: Literal["only", "too"] | None = Field(
        default=None, description="'only': just deleted results; 'too': these as well; else none."
    )
    sort_by: Literal["newest", "drift", "originality"] = Field(
        default="newest", description="Newest first, or the least drift or originality first."
    )
    limit: int = Field(default=100, ge=1, le=1_000_000, description="At most this many.")


@runtime_checkable
class ResultsStore(Protocol):
    """The results store's port: files and an index of them that never disagree."""

    def keep(self, image: IODT, run: str) -> StoredResult:
        """Keep one image for good: when this returns, file and row survive a power cut.

        Keeping the same bytes for the same run again gives the result that is there already.
        """
        ...

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """The results that fit, in the order that `query.sort_by` names."""
        ...

    def get(self, result_id: int) -> StoredResult:
        """One result by its number. Raises `AtelierError` where there is none."""
        ...


@runtime_checkable
class SeedFinder(Protocol):
    """A store that can look up seeds, so that a large run need not be loaded whole; optional."""

    def kept_seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> dict[int, int]:
        """Seeds among these that a run has kept of a model => number of the newest result of each.

        Deleted results count, those whose file is gone do not.
        """
        ...


def kept_seeds(
    store: ResultsStore, run: str, model_digest: str, seeds: Sequence[int]
) -> dict[int, int]:
    """Ask any store which of these seeds a run has kept; see `SeedFinder`.

    A store without `kept_seeds` is asked through `find`. Memory grows with `seeds`: ask for a few
    thousand at a time.
    """
    if not seeds:
        return {}
    if isinstance(store, SeedFinder):
        return store.kept_seeds(run, model_digest, seeds)
    query = ResultQuery(
        run=run,
        model_digest=model_digest,
        first_seed=min(seeds),
        last_seed=max(seeds),
        deleted="too",
        limit=1_000_000,
    )
    wanted = set(seeds)
    return {
        result.record.origin.seed: result.id
        for result in reversed(store.find(query))
        if result.record.origin.kind == "generated"
        and result.record.origin.seed in wanted
        and size_of(result.path) is not None
    }


class ResultPage(Message):
    """Some of the results that fit, and where the next ones begin."""

    results: tuple[StoredResult, ...] = Field(description="In the order that was asked for.")
    next: str | None = Field(description="Cursor of the following page; None: this is the last.")


@runtime_checkable
class ResultsGallery(Protocol):
    """Methods that the page and the API need of a results store besides its port."""

    def page(self, query: ResultQuery, cursor: str | None = None) -> ResultPage:
        """A page of at most `query.limit` results, beginning after the cursor.

        No result comes twice or is left out because others are kept or deleted meanwhile. Raises
        `AtelierError` for a cursor that does not belong to this order.
        """
        ...

    def count(self, query: ResultQuery) -> int:
        """Number of results that fit, whatever the limit."""
        ...

    def numbers(self, query: ResultQuery) -> list[int]:
        """Numbers of all results that fit, whatever the limit, in the query's order."""
        ...

    def get(self, result_id: int) -> StoredResult:
        """One result by its number, a deleted one too. Raises `NotFoundError`."""
        ...

    def read(self, result_id: int) -> bytes:
        """The file, byte for byte as it was kept.

        Raises `NotFoundError` where it is gone, or something else lies in its place.
        """
        ...

    def delete(self, result_ids: Sequence[int]) -> int:
        """Hide these results; the files stay until purged. Returns the number newly hidden."""
        ...

    def restore(self, result_ids: Sequence[int]) -> int:
        """Undo `delete`. Returns the number of results that came back."""
        ...

    def purge(self, older_than: timedelta) -> int:
        """Remove the rows and files of results deleted longer ago than this; return the number."""
        ...


def every_result(store: ResultsStore, query: ResultQuery) -> Iterator[StoredResult]:
    """All results that fit a query, whatever its limit, a thousand in memory at a time.

    A store without pages is asked through `find`, for a million at most.
    """
    if not isinstance(store, ResultsGallery):
        yield from store.find(query.model_copy(update={"limit": 1_000_000}))
        return
    cursor, query = None, query.model_copy(update={"limit": 1000})
    while True:
        page = store.page(query, cursor)
        yield from page.results
        if (cursor := page.next) is None:
            return


@runtime_checkable
class Movable(Protocol):
    """The method that `results move` needs of a results store besides its port."""

    def move(self, place: str, progress: Progress) -> int:
        """Keep the files below a URL from now on; 'here' brings them back. Gives the number moved.

        What was kept so far is copied, compared, and only then removed where it was; the numbers
        stay. Where it is interrupted, nothing is lost, and asking again goes on.
        """
        ...


class FileFacts(Message):
    """Facts that a file states about itself, read without decoding its pixels."""

    record: Record = Field(description="Provenance that the file carries.")
    media_type: MediaType = Field(description="What the file is.")
    width: int = Field(ge=1, description="Width, pixels.")
    height: int = Field(ge=1, description="Height, pixels.")


class FoundFile(Message):
    """One file of a report on a results store."""

    number: int | None = Field(default=None, ge=1, description="Number of its result, if any.")
    place: str = Field(description="The file, from the store's folder, with forward slashes.")
    note: str = Field(default="", description="Why it is named; empty where its list says it.")


class RebuildReport(Message):
    """Findings of a results store that made its index anew from the files."""

    num_listed: int = Field(ge=0, description="Number of results in the index now.")
    num_deleted: int = Field(ge=0, description="Number of those that are hidden.")
    restored: tuple[int, ...] = Field(description="Numbers that the index had lost.")
    index_fault: str | None = Field(description="What was wrong with the index; None: nothing.")
    damaged_index: str | None = Field(description="New name of a damaged index; None: none was.")
    had_journal: bool = Field(description="Whether numbers and deletions were on record.")
    num_damaged_lines: int = Field(ge=0, description="Number of unreadable lines of the journal.")
    taken_in: tuple[FoundFile, ...] = Field(
        default=(), description="Results that nothing but their file knew, under new numbers."
    )
    moved: tuple[FoundFile, ...] = Field(
        default=(), description="Results whose file lay at another place of the store."
    )
    edited: tuple[FoundFile, ...] = Field(
        default=(), description="Results whose file is no longer what was kept."
    )
    without_record: tuple[FoundFile, ...] = Field(
        default=(), description="Results that are not listed: the file no longer has a record."
    )
    lost: tuple[FoundFile, ...] = Field(
        default=(), description="Results whose file is gone, though they were not deleted."
    )
    strangers: tuple[FoundFile, ...] = Field(
        default=(), description="Files that are no results of this store."
    )


@runtime_checkable
class Rebuildable(Protocol):
    """The method that `results doctor` needs of a results store besides its port."""

    def rebuild(self, read: Callable[[Path], FileFacts], progress: Progress) -> RebuildReport:
        """Make the index anew from the files; no file of a result or of a person is changed.

        `read` gives what a file says of itself and raises `AtelierError` where it says nothing.
        Numbers stay as they were, and none is given out twice; what was deleted stays deleted.
        """
        ...
