"""Index and journal rebuilt from the files, with a report of lost, edited and foreign ones.

What a file says of itself (record, size, format) is read through a function that is handed in; its
number, run and deletion stand in the journal. Where the journal is gone as well, a file counts as
a result if it carries a record and lies where the store would have put it.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from components.common.files import JOURNAL
from components.results_store.index import DamagedIndexError, Index, Position, Row, Unlisted
from components.results_store.journal import History, Journal, Kept
from components.results_store.names import (
    NO_RUN,
    is_place,
    places,
    stem_of,
)
from components.results_store.pictures import Pictures
from interfaces.errors import AtelierError, DamagedError, one_line
from interfaces.iodt import FileFacts, FoundFile, RebuildReport, suffix_of
from interfaces.places import Found, fetched
from interfaces.progress import Progress, ProgressEvent
from interfaces.record import Record

Reader = Callable[[Path], FileFacts]

_STAGE = "examine results"
_NUM_FORMS = 12
"""Forms of a name that are tried: a run never holds more equal names than this."""


def rebuild(
    pictures: Pictures, index: Index, journal: Journal, read: Reader, progress: Progress
) -> RebuildReport:
    """Rebuild index and journal, see `Rebuildable`; the caller holds the store's lock."""
    known = _what_is_known(index, journal)
    files = _Files(pictures, read)
    work = _Work(known, files)
    numbers = sorted(known.history.kept)
    for done, number in enumerate(numbers):
        if done % 100 == 0:
            progress(ProgressEvent(stage=_STAGE, done=done, total=len(numbers)))
        work.examine(known.history.kept[number])
    progress(ProgressEvent(stage=_STAGE, done=len(numbers), total=len(numbers)))
    work.look_for_the_missing()
    work.take_in_the_rest()
    history = known.history
    history.generation += 1
    if not history.last:  # a new workspace takes over the pictures of one that is lost
        history.store = pictures.owner() or history.store
    history.store = history.store or secrets.token_hex(8)
    pictures.claim(history.store)
    offset = journal.write(history.events())
    moved = index.rebuild(work.rows.values(), work.unlisted, position_of(history, offset))
    return work.report(moved)


def history_of(index: Index, history: History) -> History:
    """Add what an intact index knows to a history, from which a journal can be written."""
    for row in index.rows():
        history.last = max(history.last, row.number)
        if isinstance(row, Row):
            history.kept.setdefault(row.number, row.kept)
            if row.deleted:
                history.deleted.setdefault(row.number, row.deleted)
    for entry in index.unlisted():
        history.add(history.kept.get(entry.kept.number, entry.kept))
    return history


def position_of(history: History, offset: int) -> Position:
    """Position of an index that has followed a journal of this meaning to this length."""
    return Position(history.store, history.generation, offset, history.last, history.days)


# ---------------------------------------------------------------- what is known beforehand


@dataclass
class _Known:
    """Contents of journal and index from before, as far as they could be read."""

    history: History
    rows: dict[int, Row]
    index_fault: str | None
    has_journal: bool


def _what_is_known(index: Index, journal: Journal) -> _Known:
    history = journal.history()
    has_journal = history is not None
    history = history or History(store="")
    try:
        position = index.position()
        rows = {row.number: row for row in index.rows() if isinstance(row, Row)}
        if position and history.store and position.store != history.store:
            return _Known(history, {}, "belonged to another store", has_journal)
        if not _is_complete(history, journal.size(), position):
            _add_what_the_index_knows(history, index, position)
    except DamagedIndexError as error:
        fault, _, _remedy = str(error).partition("; ")
        return _Known(history, {}, fault, has_journal)
    return _Known(history, rows, None, has_journal)


def _is_complete(history: History, size: int, position: Position | None) -> bool:
    """Whether the journal has all that the index may know; then what it purged stays purged."""
    if not history.store or history.num_unreadable:
        return False
    reached = (position.generation, position.offset) if position else (0, 0)
    return (history.generation, size) >= reached


def _add_what_the_index_knows(history: History, index: Index, position: Position | None) -> None:
    if position is not None:
        history.store = history.store or position.store
        history.generation = max(history.generation, position.generation)
        history.last = max(history.last, position.last)
        history.days = max(history.days, position.days, key=lambda days: days.number)
    history_of(index, history)


# ---------------------------------------------------------------- the files


class _Files:
    """Files in the store's folder; each may be claimed by the result that it belongs to."""

    def __init__(self, pictures: Pictures, read: Reader) -> None:
        self._pictures = pictures
        self._read = read
        self.unclaimed: dict[str, Found] = {}
        self.elsewhere: list[str] = []
        """Files in places where the store puts none: in no folder, or in a folder of a folder."""
        for found in pictures.everything():
            if is_place(found.place):
                self.unclaimed[found.place] = found
            else:
                self.elsewhere.append(found.place)

    def facts(self, place: str) -> FileFacts:
        """Facts that a file states. Raises `AtelierError`, without its path, if there are none."""
        path = fetched(self._pictures.path(place))
        try:
            return self._read(path)
        except AtelierError as error:
            raise type(error)(str(error).removeprefix(f"{path}: ")) from error

    def is_whole(self, kept: Kept, size: int) -> bool:
        """Whether a file is byte for byte what was kept."""
        if kept.size not in (None, size):
            return False
        return self.digest(kept.place) == kept.sha256

    def digest(self, place: str) -> str:
        """SHA-256 of a file; empty where it cannot be read."""
        return self._pictures.digest(place)


# ---------------------------------------------------------------- the work


@dataclass
class _Work:
    """Decisions about each result and each file."""

    known: _Known
    files: _Files
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    unlisted: list[Unlisted] = field(default_factory=list[Unlisted])
    missing: list[Kept] = field(default_factory=list[Kept])
    restored: list[int] = field(default_factory=list[int])
    found: dict[str, list[FoundFile]] = field(default_factory=dict[str, list[FoundFile]])
    """Files by field of the report."""
    contents: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Number of the result by run and digest."""
    runs: dict[str, str] = field(default_factory=dict[str, str])
    """Run by the name of its folder."""

    def __post_init__(self) -> None:
        for kept in self.known.history.kept.values():
            self._remember(kept)

    def examine(self, kept: Kept) -> None:
        """Look at the file of one result."""
        found = self.files.unclaimed.pop(kept.place, None)
        if found is None:
            self.missing.append(kept)
            return
        if not self.files.is_whole(kept, found.size):
            self._note("edited", kept.number, kept.place)
        self._list(kept)

    def look_for_the_missing(self) -> None:
        """Find the files that were moved inside the store; the others are lost."""
        sizes = {kept.size for kept in self.missing}
        candidates = [
            place
            for place, found in self.files.unclaimed.items()
            if None in sizes or found.size in sizes
        ]
        by_digest = {self.files.digest(place): place for place in candidates}
        for kept in self.missing:
            place = by_digest.pop(kept.sha256, None)
            if place is None:
                self._lose(kept)
            else:
                self._move(kept, place)

    def take_in_the_rest(self) -> None:
        """Make results of the files that no line of the journal names, where they are results."""
        for place in self.files.elsewhere:
            self._note("strangers", None, place, "lies where the store puts nothing")
        rest = self.files.unclaimed.values()
        for found in sorted(rest, key=lambda found: (found.modified, found.place)):
            try:
                self._take_in(found)
            except AtelierError as error:
                self._note("strangers", None, found.place, str(error))

    def report(self, moved_to: str | None) -> RebuildReport:
        """Report on what was found and done."""
        return RebuildReport(
            num_listed=len(self.rows),
            num_deleted=sum(row.deleted is not None for row in self.rows.values()),
            restored=tuple(self.restored),
            index_fault=self.known.index_fault,
            damaged_index=moved_to,
            had_journal=self.known.has_journal,
            num_damaged_lines=self.known.history.num_unreadable,
            **{name: tuple(found) for name, found in self.found.items()},
        )

    def _list(self, kept: Kept) -> None:
        record = self._record_of(kept)
        if record is None:
            self._note("without_record", kept.number, kept.place)
            self.unlisted.append(Unlisted(kept, is_lost=True))
            return
        if kept.number not in self.known.rows:
            self.restored.append(kept.number)
        deleted = self.known.history.deleted.get(kept.number)
        self.rows[kept.number] = Row(kept, record, deleted)

    def _record_of(self, kept: Kept) -> Record | None:
        """A result's record: the index's, else the one in the file."""
        row = self.known.rows.get(kept.number)
        if row is not None and row.kept.sha256 == kept.sha256:
            return row.record
        try:
            return self.files.facts(kept.place).record
        except AtelierError:
            return None

    def _lose(self, kept: Kept) -> None:
        """A result without a file stays listed where its record is known; its number is taken."""
        deleted = self.known.history.deleted.get(kept.number)
        if deleted is None:
            self._note("lost", kept.number, kept.place)
        row = self.known.rows.get(kept.number)
        if row is None:
            self.unlisted.append(Unlisted(kept, is_lost=True))
        else:
            self.rows[kept.number] = Row(kept, row.record, deleted)

    def _move(self, kept: Kept, place: str) -> None:
        del self.files.unclaimed[place]
        moved = kept.model_copy(update={"place": place})
        self.known.history.kept[kept.number] = moved
        self._note("moved", kept.number, place, f"was {kept.place}")
        self._list(moved)

    def _take_in(self, found: Found) -> None:
        history, place = self.known.history, found.place
        if place in history.left:
            raise DamagedError("was edited before its result was removed for good")
        facts, digest = self.files.facts(place), self.files.digest(place)
        folder = place.partition("/")[0]
        run = self.runs.get(folder, "" if folder == NO_RUN else folder)
        if original := self.contents.get((run, digest)):
            raise DamagedError(f"is a copy of result {original}")
        if not _is_at_its_place(place, facts, digest, run):
            raise DamagedError("carries a record, but the store did not name it so")
        history.last += 1
        kept = Kept(
            number=history.last,
            place=place,
            sha256=digest,
            size=found.size,
            media_type=facts.media_type,
            width=facts.width,
            height=facts.height,
            run=run,
            kept_at=datetime.fromtimestamp(found.modified, UTC),
        )
        history.kept[kept.number] = kept
        self._remember(kept)
        self.rows[kept.number] = Row(kept, facts.record)
        self._note("taken_in", kept.number, place)

    def _remember(self, kept: Kept) -> None:
        self.contents[kept.run, kept.sha256] = kept.number
        self.runs.setdefault(kept.place.partition("/")[0], kept.run)

    def _note(self, what: str, number: int | None, place: str, note: str = "") -> None:
        self.found.setdefault(what, []).append(FoundFile(number=number, place=place, note=note))


def _is_at_its_place(place: str, facts: FileFacts, digest: str, run: str) -> bool:
    """Whether the store would have given a file this place."""
    folder, suffix = place.partition("/")[0], suffix_of(facts.media_type)
    stem = stem_of(facts.record.origin, run)
    return place in islice(places(folder, stem, digest, suffix), _NUM_FORMS)


# ---------------------------------------------------------------- the report in words

_MAX_LINES = 200
"""Files that are named of each kind."""


def report_lines(report: RebuildReport) -> Iterator[str]:
    """A report as lines for a person, safe for a terminal."""
    if report.index_fault:
        yield f"index: {one_line(report.index_fault)}"
    if report.damaged_index:
        yield f"index: the damaged one is kept as {one_line(report.damaged_index)}"
    if not report.had_journal and report.num_listed:
        yield f"journal: there was none; {JOURNAL} now keeps numbers and deletions"
    if report.num_damaged_lines:
        yield f"journal: {report.num_damaged_lines} damaged lines, which are left out"
    yield (
        f"listed: {report.num_listed} results ({report.num_deleted} deleted); put back into the "
        f"index: {len(report.restored)}"
    )
    for name, title in _TITLES.items():
        found: tuple[FoundFile, ...] = getattr(report, name)
        if found:
            yield f"{title}: {len(found)}"
        yield from map(_line, found[:_MAX_LINES])
        if len(found) > _MAX_LINES:
            yield f"  and {len(found) - _MAX_LINES} more"


_TITLES = {
    "taken_in": "taken in, with new numbers, though the journal did not name them",
    "moved": "moved inside the store, and found again",
    "edited": "edited since they were kept; the files are left as they are",
    "without_record": "no longer listed, because no record could be read in the file",
    "lost": "lost: the file is gone; the number is not given out again",
    "strangers": "not results of this store; left as they are",
}


def _line(found: FoundFile) -> str:
    number = f"result {found.number}  " if found.number else ""
    note = f"  ({one_line(found.note)})" if found.note else ""
    return f"  {number}{one_line(found.place)}{note}"
