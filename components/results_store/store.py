"""Files in folders by run, a journal of what they cannot tell, and an index made from both.

The order of writing is the promise: first the file, whole, under its final name; then its line in
the journal; then its row in the index. A kill between the first two leaves a file that the next
`keep` of the same image adopts; between the last two, a number that it takes up again. The image
is the same under another signature too: whoever makes a signed picture again signs it anew.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.common.durable import exclusive, sweep
from components.common.files import JOURNAL
from components.common.sameness import hold_the_same
from components.results_store import doctor
from components.results_store.index import (
    DamagedIndexError,
    DamagedRow,
    Index,
    Position,
    Row,
    Unlisted,
    cursor_at,
)
from components.results_store.journal import (
    Begun,
    Deleted,
    Event,
    History,
    Journal,
    Kept,
    NewDay,
    Purged,
    Restored,
)
from components.results_store.names import (
    DATABASE,
    folder_of,
    is_form,
    is_place,
    places,
    stem_of,
    storable,
)
from components.results_store.pictures import (
    FolderPictures,
    Pictures,
    pictures_at,
    pictures_of,
    settle,
)
from components.results_store.sqlite import SqliteIndex
from interfaces.errors import DamagedError, NotFoundError
from interfaces.iodt import (
    IODT,
    SUFFIXES,
    FileFacts,
    RebuildReport,
    ResultPage,
    ResultQuery,
    StoredResult,
)
from interfaces.progress import Progress, ProgressEvent, silent
from interfaces.record import Record

_log = logging.getLogger("atelier")


class LocalResultsStore:
    """Results of this machine. The port is `interfaces.iodt.ResultsStore`."""

    def __init__(self, folder: Path, index: Index | None = None) -> None:
        """Take the folder, and an index; without one, a SQLite database in the folder."""
        self._folder = folder
        self._index: Index = index or SqliteIndex(folder / DATABASE)
        self._journal = Journal(folder / JOURNAL)
        self._is_checked = self._is_swept = False

    @property
    def _pictures(self) -> Pictures:
        """Place of the files; asked anew each time, since another process may move them."""
        return pictures_of(self._folder)

    # ------------------------------------------------------------ keeping

    def keep(self, image: IODT, run: str) -> StoredResult:
        """Keep one image for good; the same bytes for the same run are kept once.

        Several processes may keep at the same time. No file of another's is ever written over: a
        result that somebody edited is kept anew beside it. Raises `AtelierError` where the index
        is damaged, newer than this version or cannot be written.
        """
        run = storable(run)
        with self._changing() as position:
            known, place = self._known(image, run)
            if not self._holds(place, image):
                self._pictures.write(place, image.data)
            if isinstance(known, Row) and _is_listed(known, place, image):
                return _result(known, self._pictures)
            kept = _kept(known, place, image, run, position.last + 1)
            self._commit(position, [*_today(position), kept], image.record)
        return _result(Row(kept, image.record), self._pictures)

    def _known(self, image: IODT, run: str) -> tuple[Row | DamagedRow | Unlisted | None, str]:
        """The image's row in the index, and the place of its file, present or future."""
        known = self._index.holding(run, image.sha256)
        if known is None:
            used = self._used_places(image, run)
            entries = self._index.at(used)
            for place in used:
                if self._is_unfinished(entries.get(place), place, image, run):
                    return entries.get(place), place
        return known, self._place_of(known, image, run)

    def _place_of(self, known: Row | DamagedRow | Unlisted | None, image: IODT, run: str) -> str:
        """A place for the image: its seed or name; digest and number keep it apart."""
        if isinstance(known, Row | Unlisted) and self._can_hold(known.kept.place, image):
            return known.kept.place
        stem = stem_of(image.record.origin, run)
        for place in places(folder_of(run), stem, image.sha256, image.suffix):
            if self._can_hold(place, image) and not self._index.at([place]):
                return place
        raise AssertionError("unreachable: the places never end")

    def _used_places(self, image: IODT, run: str) -> list[str]:
        """Places where the image may lie under another signature, the best first."""
        folder, stem = folder_of(run), stem_of(image.record.origin, run)
        best = f"{stem}{image.suffix}"
        others: list[str] = []
        if self._pictures.is_taken(f"{folder}/{best}"):  # else none of them was needed
            names = self._pictures.names(folder)
            others = sorted(n for n in names if n != best and is_form(n, stem, image.suffix))
        return [f"{folder}/{name}" for name in (best, *others)]

    def _is_unfinished(
        self, entry: Row | DamagedRow | Unlisted | None, place: str, image: IODT, run: str
    ) -> bool:
        """Whether a place is that of the same image, signed otherwise, and lacks row or file.

        What is whole stays as it is, and so does its signature.
        """
        if entry is None:
            return self._is_twin(place, image)
        if isinstance(entry, DamagedRow) or entry.kept.run != run:
            return False
        if isinstance(entry, Unlisted):
            return self._is_twin(place, image)
        # An unsigned picture that is made again has the same bytes, so this is another. A record
        # leaves `sign` out where the picture is signed.
        is_signed = image.record.conversion.get("sign", True) is True
        is_gone = not self._pictures.is_taken(place)
        return is_signed and is_gone and entry.record == image.record

    def _can_hold(self, place: str, image: IODT) -> bool:
        """Whether a place is free (without even a dangling link) or holds the image itself."""
        return not self._pictures.is_taken(place) or self._holds(place, image)

    def _holds(self, place: str, image: IODT) -> bool:
        pictures = self._pictures
        is_as_long = pictures.size(place) == len(image.data)
        return is_as_long and pictures.digest(place) == image.sha256

    def _is_twin(self, place: str, image: IODT) -> bool:
        """Whether a place holds the same picture under another signature."""
        data = self._pictures.read(place)
        return data is not None and hold_the_same(data, image.data)

    # ------------------------------------------------------------ looking

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """The results that fit, in the query's order; where a figure is not known, last.

        A file that was deleted on disk is still listed. A result whose row is damaged is left out
        with a warning.
        """
        return self._results(self._found(query, None, query.limit))

    def page(self, query: ResultQuery, cursor: str | None = None) -> ResultPage:
        """A page of at most `query.limit` results after the cursor; see `ResultsGallery`."""
        rows = self._found(query, cursor, query.limit + 1)
        shown = rows[: query.limit]
        following = cursor_at(query, shown[-1]) if len(rows) > query.limit else None
        return ResultPage(results=tuple(self._results(shown)), next=following)

    def count(self, query: ResultQuery) -> int:
        """Number of results that fit, whatever the limit."""
        return self._index.count(query) if self._has_index() else 0

    def numbers(self, query: ResultQuery) -> list[int]:
        """Numbers of all results that fit, whatever the limit, in the query's order."""
        return self._index.numbers(query) if self._has_index() else []

    def get(self, result_id: int) -> StoredResult:
        """One result by its number. Raises `NotFoundError` where there is none."""
        return _result(self._row(result_id), self._pictures)

    def _row(self, result_id: int) -> Row:
        row = self._index.get(result_id) if self._has_index() else None
        if isinstance(row, Row):
            return row
        if row is not None:
            raise DamagedIndexError(
                f"result {result_id}: its row is damaged; `results doctor` reads its file again"
            )
        raise NotFoundError(
            f"result {result_id}: there is none; `results list` shows what there is"
        )

    def read(self, result_id: int) -> bytes:
        """The file, byte for byte as it was kept; nothing else that lies in its place is given.

        Raises `NotFoundError` where it is gone or was changed.
        """
        kept = self._row(result_id).kept
        pictures = self._pictures
        data = pictures.read(kept.place, kept.sha256)
        if data is None and pictures.size(kept.place) is None:
            raise NotFoundError(f"result {result_id}: its file was removed")
        if data is None or hashlib.sha256(data).hexdigest() != kept.sha256:
            raise NotFoundError(f"result {result_id}: its file was changed since it was kept")
        return data

    def kept_seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> dict[int, int]:
        """Seeds among these that a run has kept => newest result of each; see `SeedFinder`."""
        if not self._has_index():
            return {}
        found = self._index.seeds(storable(run), model_digest, seeds)
        existing = self._pictures.existing(kept.place for _, kept in found)
        return {seed: kept.number for seed, kept in found if kept.place in existing}

    def _found(
        self, query: ResultQuery, cursor: str | None, limit: int
    ) -> Sequence[Row | DamagedRow]:
        if cursor is None and not self._has_index():
            return []
        return self._index.find(query, cursor, limit)

    def _results(self, rows: Iterable[Row | DamagedRow]) -> list[StoredResult]:
        results: list[StoredResult] = []
        pictures = self._pictures
        for row in rows:
            if isinstance(row, Row):
                results.append(_result(row, pictures))
            else:
                _log.warning(
                    "result %d: left out, its row is damaged; `results doctor` reads its file "
                    "again",
                    row.number,
                )
        return results

    # ------------------------------------------------------------ deleting

    def delete(self, result_ids: Sequence[int]) -> int:
        """Hide these results until they are restored or purged; see `ResultsGallery`."""
        return self._mark(result_ids, is_deleted=True)

    def restore(self, result_ids: Sequence[int]) -> int:
        """Undo `delete`; returns how many results came back."""
        return self._mark(result_ids, is_deleted=False)

    def _mark(self, result_ids: Sequence[int], is_deleted: bool) -> int:
        if not self._has_index():
            return 0
        with self._changing() as position:
            numbers = tuple(self._index.marked(result_ids, not is_deleted))
            if not numbers:
                return 0
            today = _today(position)
            day = _after(position, today).days.number
            deleted = Deleted(numbers=numbers, at=datetime.now(UTC), day=day)
            event = deleted if is_deleted else Restored(numbers=numbers)
            self._commit(position, [*today, event])
        return len(numbers)

    def purge(self, older_than: timedelta) -> int:
        """Purge what was deleted that long ago; a file that somebody edited stays.

        A clock that jumps ahead removes nothing: the store must also have been in use on as many
        days since as `older_than` has.
        """
        if not self._has_index():
            return 0
        with self._changing() as position:
            today = _today(position)
            day = _after(position, today).days.number - older_than.days
            expired = self._index.expired(datetime.now(UTC) - older_than, day)
            left = tuple(kept.place for kept in expired if not self._remove(kept))
            numbers = tuple(kept.number for kept in expired)
            purged = [Purged(numbers=numbers, left=left)] if numbers else []
            if today or purged:
                self._commit(position, [*today, *purged])
        return len(numbers)

    def _remove(self, kept: Kept) -> bool:
        """Remove a result's file, unless it was edited; returns whether it is gone."""
        pictures = self._pictures
        with suppress(OSError):  # what cannot be removed is no result any more
            if pictures.digest(kept.place) == kept.sha256:
                pictures.remove(kept.place)
        return not pictures.is_taken(kept.place)

    # ------------------------------------------------------------ moving

    def move(self, place: str, progress: Progress = silent) -> int:
        """Keep the files below a URL from now on, or 'here' again; see `Movable`."""
        target = pictures_at(place, self._folder)
        with self._changing() as position:
            source = self._pictures
            if source.where == target.where:  # what was left where the last move was interrupted
                source = FolderPictures(self._folder)
            target.claim(position.store)
            kept = list(self._sound_rows())
            kept += [entry.kept for entry in self._index.unlisted()]
            copied = [one for one in _counted(kept, progress) if _copy(one, source, target)]
            settle(target, self._folder)
            if source.where != target.where:
                for one in copied:
                    source.remove(one.place)
        return len(copied)

    def _sound_rows(self) -> Iterator[Kept]:
        """What the rows of the index tell; a damaged one's file would be left behind."""
        for row in self._index.rows():
            if not isinstance(row, Row):
                raise DamagedIndexError(
                    f"{self._index.name}: holds rows that are damaged; run `results doctor` first"
                )
            yield row.kept

    # ------------------------------------------------------------ index and journal

    def rebuild(
        self, read: Callable[[Path], FileFacts], progress: Progress = silent
    ) -> RebuildReport:
        """Rebuild index and journal from the files; see `Rebuildable`."""
        if not self._folder.is_dir():
            raise NotFoundError(f"{self._folder}: there is no results store; name its --workspace")
        with exclusive(self._folder / ".lock"):
            self._sweep()
            report = doctor.rebuild(self._pictures, self._index, self._journal, read, progress)
        self._is_checked = True
        return report

    @contextmanager
    def _changing(self) -> Generator[Position]:
        """Hold the store's lock, with an index that has followed the whole journal."""
        with exclusive(self._folder / ".lock"):
            if not self._has_index():
                self._begin()
            self._sweep()
            position = self._catch_up()
            self._pictures.claim(position.store)
            yield position

    def _commit(
        self, position: Position, events: Sequence[Event], record: Record | None = None
    ) -> None:
        """Append lines to the journal, then apply them to the index."""
        # Begun first, so that nothing is said in the journal where the index cannot be written.
        with self._index.writing() as writer:
            offset = self._journal.append(events)
            for event in events:
                writer.apply(event, record)
            writer.place(replace(_after(position, events), offset=offset))

    def _has_index(self) -> bool:
        """Whether there is an index to look at; False in a store that never kept anything.

        Raises `DamagedIndexError` where there should be one and is none.
        """
        if not self._index.exists() and self._is_new():
            return False
        if not self._is_checked:
            self._check()
            self._is_checked = True
        return True

    def _is_new(self) -> bool:
        """Whether nothing was ever kept: no line of a journal, no picture in any folder."""
        history = self._journal.history()
        if history is not None and history.last > 0:
            return False
        if not self._folder.is_dir():
            return True
        places = (found.place for found in self._pictures.everything() if is_place(found.place))
        return not any(place.endswith(tuple(SUFFIXES.values())) for place in places)

    def _check(self) -> None:
        """See whether the index belongs to the journal, and lists all that was surely kept."""
        position = self._index.position()
        if position is None:
            return self._take_over()
        self._check_store(position, self._journal.begun())
        unlisted = [entry for entry in self._index.unlisted() if not entry.is_lost]
        # The last line may be another process's, which is about to write its row.
        pending = [event for event in self._pending(position)[:-1] if isinstance(event, Kept)]
        missing = [kept for kept in pending if self._index.get(kept.number) is None]
        if num_missing := len(unlisted) + len(missing):
            _log.warning(
                "%s: lacks %d results that were kept; `results doctor` takes them in",
                self._index.name,
                num_missing,
            )
        return None

    def _check_store(self, position: Position, begun: Begun | None) -> None:
        if begun is not None and begun.store != position.store:
            raise DamagedIndexError(
                f"{self._index.name}: belongs to another store than {JOURNAL} beside it; "
                "`results doctor` makes it anew from the pictures"
            )

    def _begin(self) -> None:
        """Make the journal and the index of a new store."""
        history = self._journal.history() or History(store=secrets.token_hex(8))
        length = self._journal.write(history.events())
        self._index.create()
        self._place(history, length)

    def _take_over(self) -> None:
        """Give a store of an older version its journal."""
        with exclusive(self._folder / ".upgrade-lock"):
            if self._index.position() is not None:
                return  # another process was first
            history = self._journal.history()
            if history is not None and history.store:
                self._place(history, 0)  # it has to follow the whole of it
                return
            history = doctor.history_of(self._index, History(store=secrets.token_hex(8)))
            self._place(history, self._journal.write(history.events()))

    def _place(self, history: History, offset: int) -> None:
        with self._index.writing() as writer:
            writer.place(doctor.position_of(history, offset))

    def _pending(self, position: Position) -> list[Event]:
        """Lines of the journal that the index has not followed yet."""
        begun = self._journal.begun()
        is_same = begun is not None and begun.generation == position.generation
        if is_same and self._journal.size() == position.offset:
            return []
        return self._journal.after(position.offset if is_same else 0)[0]

    def _catch_up(self) -> Position:
        """Let the index follow the journal to its end; the caller holds the lock."""
        position = self._index.position()
        assert position is not None, "every index is given its place when it is first opened"
        begun, size = self._journal.begun(), self._journal.size()
        self._check_store(position, begun)
        if begun is None or (begun.generation, size) < (position.generation, position.offset):
            return self._write_journal(position)
        if (begun.generation, size) == (position.generation, position.offset):
            return position
        events = self._pending(position)
        followed = replace(_after(position, events), generation=begun.generation, offset=size)
        with self._index.writing() as writer:
            for event in events:
                writer.apply(event)
            writer.place(followed)
        return followed

    def _write_journal(self, position: Position) -> Position:
        """Rewrite a lost or shortened journal from the index."""
        _log.warning(
            "%s: was lost or cut off; written anew from %s",
            self._folder / JOURNAL,
            self._index.name,
        )
        known = History(position.store, position.generation + 1, position.last, position.days)
        history = doctor.history_of(self._index, known)
        offset = self._journal.write(history.events())
        self._place(history, offset)
        return doctor.position_of(history, offset)

    def _sweep(self) -> None:
        """Remove what killed processes were writing."""
        if not self._is_swept:
            sweep(self._folder)
            self._pictures.sweep()
            self._is_swept = True


def _result(row: Row, pictures: Pictures) -> StoredResult:
    kept = row.kept
    return StoredResult(
        id=kept.number,
        path=pictures.path(kept.place),
        sha256=kept.sha256,
        media_type=kept.media_type,
        width=kept.width,
        height=kept.height,
        run=kept.run,
        kept_at=kept.kept_at,
        record=row.record,
    )


def _counted(kept: Sequence[Kept], progress: Progress) -> Generator[Kept]:
    """Yield the results, reporting how many are done."""
    for done, one in enumerate(kept):
        progress(ProgressEvent(stage="move results", done=done, total=len(kept)))
        yield one
    progress(ProgressEvent(stage="move results", done=len(kept), total=len(kept)))


def _copy(kept: Kept, source: Pictures, target: Pictures) -> bool:
    """Copy a result's file as it is, edited or not; False where there is none at the source.

    Raises `DamagedError` where another file lies in its place at the target.
    """
    digest = source.digest(kept.place)
    if not digest:
        return False
    if target.is_taken(kept.place):
        if target.digest(kept.place) == digest:
            return True
        raise DamagedError(f"{target.path(kept.place)}: another file lies there; move it away")
    data = source.read(kept.place)
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        raise DamagedError(f"{source.path(kept.place)}: changed while it was copied; try again")
    target.write(kept.place, data)
    return True


def _is_listed(known: Row, place: str, image: IODT) -> bool:
    """Whether a row already says all of the image, and is not hidden."""
    kept = known.kept
    return (kept.place, kept.sha256) == (place, image.sha256) and not known.deleted


def _kept(
    known: Row | DamagedRow | Unlisted | None, place: str, image: IODT, run: str, new_number: int
) -> Kept:
    """The line of the journal for an image: with the number that it has, or a new one."""
    number, kept_at = new_number, datetime.now(UTC)
    if isinstance(known, Row | Unlisted):
        number, kept_at = known.kept.number, known.kept.kept_at
    elif known is not None:
        number = known.number
    return Kept(
        number=number,
        place=place,
        sha256=image.sha256,
        size=len(image.data),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        run=run,
        kept_at=kept_at,
    )


def _today(position: Position) -> list[Event]:
    """The line that counts today as a day of use, where it is not counted yet."""
    days = position.days.seen(datetime.now(UTC))
    return [] if days == position.days else [NewDay(days=days)]


def _after(position: Position, events: Sequence[Event]) -> Position:
    """The position with numbers and days as the events leave them."""
    last, days = position.last, position.days
    for event in events:
        if isinstance(event, Kept):
            last = max(last, event.number)
        elif isinstance(event, Begun):
            last, days = max(last, event.last), event.days
        elif isinstance(event, NewDay):
            days = event.days
    return replace(position, last=last, days=days)
