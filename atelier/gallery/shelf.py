"""Stars, boards and free-text search over the results of one store."""

import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import Field

from components.common.names import canonical
from interfaces.contract import Message
from interfaces.errors import UnavailableError
from interfaces.iodt import ResultQuery, ResultsGallery, StoredResult

_SCHEMA = """
CREATE TABLE IF NOT EXISTS marks (
    result INTEGER PRIMARY KEY,
    is_starred INTEGER NOT NULL DEFAULT 0,
    board TEXT                      -- NULL where it lies on none
) STRICT;
CREATE INDEX IF NOT EXISTS marks_by_board ON marks (board);
CREATE TABLE IF NOT EXISTS texts (
    result INTEGER PRIMARY KEY,
    text TEXT NOT NULL              -- all that its record says, case folded
) STRICT;
"""

_AT_ONCE = 1000

_SET = {
    "is_starred": "INSERT INTO marks (result, is_starred) VALUES (?, ?) "
    "ON CONFLICT (result) DO UPDATE SET is_starred = excluded.is_starred",
    "board": "INSERT INTO marks (result, board) VALUES (?, ?) "
    "ON CONFLICT (result) DO UPDATE SET board = excluded.board",
}


class Board(Message):
    """A named set of results; it exists as long as it holds one."""

    name: str = Field(min_length=1, max_length=100, description="What the person calls it.")
    num_results: int = Field(ge=1, description="Results on it that are not deleted.")
    cover: int = Field(ge=1, description="Number of the newest of them.")


class Shelf:
    """A person's notes on results, by their numbers; may be used by several threads.

    The texts are copies of what the records say, made when they are first searched; a shelf whose
    database is lost loses stars and boards, and no picture.
    """

    def __init__(self, path: Path, store: ResultsGallery) -> None:
        self._path = path
        self._store = store
        self._following = threading.Lock()

    # ------------------------------------------------------------ marks

    def star(self, results: Sequence[int], *, is_starred: bool) -> list[int]:
        """Star these results, or take their stars away; the numbers of those that changed."""
        starred = self.starred(results)
        changed = [number for number in results if (number in starred) != is_starred]
        self._mark("is_starred", [(number, int(is_starred)) for number in changed])
        return changed

    def place(self, results: Sequence[int], board: str | None) -> dict[int, str | None]:
        """Move results to a board, or off every board; where those that moved lay before."""
        board = None if board is None else canonical(board)
        before = self.boards_of(results)
        moved = {number: before.get(number) for number in results}
        moved = {number: name for number, name in moved.items() if name != board}
        self._mark("board", [(number, board) for number in moved])
        return moved

    def starred(self, results: Sequence[int] | None = None) -> set[int]:
        """Numbers of the starred ones among these results, or among all where none are named."""
        with self._reading() as database:
            found = database.execute("SELECT result FROM marks WHERE is_starred")
            known = {number for (number,) in found}
        return known if results is None else known.intersection(results)

    def boards_of(self, results: Sequence[int]) -> dict[int, str]:
        """The board of each of these results that lies on one."""
        with self._reading() as database:
            found = database.execute("SELECT result, board FROM marks WHERE board IS NOT NULL")
            known: dict[int, str] = dict(found)
        return {number: known[number] for number in results if number in known}

    def boards(self) -> list[Board]:
        """Every board, by name."""
        with self._reading() as database:
            rows = database.execute("SELECT board, result FROM marks WHERE board IS NOT NULL")
            held: dict[str, list[int]] = {}
            for name, number in rows:
                held.setdefault(canonical(name), []).append(number)
        shown = {n for numbers in held.values() for n in numbers}
        alive: set[int] = set()
        if shown:
            alive.update(self._store.numbers(ResultQuery(numbers=tuple(shown))))
        kept = {name: alive.intersection(numbers) for name, numbers in sorted(held.items())}
        return [
            Board(name=name, num_results=len(numbers), cover=max(numbers))
            for name, numbers in kept.items()
            if numbers
        ]

    def _mark(self, column: str, values: Sequence[tuple[int, int | str | None]]) -> None:
        with self._writing() as database:
            database.executemany(_SET[column], values)

    # ------------------------------------------------------------ searching

    def find(
        self,
        query: ResultQuery,
        *,
        text: str = "",
        starred: bool | None = None,
        board: str | None = None,
    ) -> list[int]:
        """Numbers of the results that fit in every respect, in the query's order.

        `text`: words that must all stand somewhere in what is known of a result, in any case;
        `board`: its name, or "" for what lies on none.
        """
        wanted = self.narrowed(query, text=text, starred=starred, board=board)
        return [] if wanted is None else self._store.numbers(wanted)

    def narrowed(
        self,
        query: ResultQuery,
        *,
        text: str = "",
        starred: bool | None = None,
        board: str | None = None,
    ) -> ResultQuery | None:
        """The query, with `numbers` where text, star or board are asked for; None: nothing fits."""
        conditions = list(_conditions(text.split(), starred, board))
        if not conditions:
            return query
        self.follow()
        where = " AND ".join(condition for condition, _ in conditions)
        values = [value for _, given in conditions for value in given]
        with self._reading() as database:
            found = database.execute(
                "SELECT texts.result FROM texts LEFT JOIN marks ON marks.result = texts.result "
                f"WHERE {where}",
                values,
            )
            numbers = tuple(number for (number,) in found)
        if query.numbers is not None:
            numbers = tuple(set(query.numbers).intersection(numbers))
        return query.model_copy(update={"numbers": numbers}) if numbers else None

    def follow(self) -> None:
        """Read the records of what the store holds since this was last done, the oldest first.

        What a repaired store has again comes back under its old number, below the newest.
        """
        everything = ResultQuery(deleted="too")
        with self._following:
            count, last = self._extent()
            newest = self._store.page(everything.model_copy(update={"limit": 1})).results
            if (newest[0].id if newest else 0) <= last and count == self._store.count(everything):
                return
            known, every = self._known(), set(self._store.numbers(everything))
            self._forget(known - every)
            fresh = sorted(every - known)
            for start in range(0, len(fresh), _AT_ONCE):
                numbers = tuple(fresh[start : start + _AT_ONCE])
                query = ResultQuery(numbers=numbers, deleted="too", limit=_AT_ONCE)
                self._note(self._store.page(query).results)

    def _extent(self) -> tuple[int, int]:
        """How many texts there are, and the highest number among them."""
        with self._reading() as database:
            count, last = database.execute("SELECT count(*), max(result) FROM texts").fetchone()
        return count, last or 0

    def _known(self) -> set[int]:
        with self._reading() as database:
            return {number for (number,) in database.execute("SELECT result FROM texts")}

    def _forget(self, gone: Iterable[int]) -> None:
        """Drop the texts of results that the store holds no more; their marks stay."""
        with self._writing() as database:
            numbers = ((number,) for number in gone)
            database.executemany("DELETE FROM texts WHERE result = ?", numbers)

    def _note(self, results: Sequence[StoredResult]) -> None:
        rows = [(result.id, described(result)) for result in results]
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", rows)

    # ------------------------------------------------------------ the database

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with closing(self._open()) as database:
            try:
                yield database
            except sqlite3.DatabaseError as error:
                raise self._explained(error) from error

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        with self._reading() as database, database:
            yield database

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            database = sqlite3.connect(self._path, timeout=30)
            database.create_function("folded", 1, _folded, deterministic=True)
            database.create_function("composed", 1, _composed, deterministic=True)
            database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error
        return database

    def _explained(self, error: sqlite3.DatabaseError) -> UnavailableError:
        return UnavailableError(
            f"{self._path}: stars and boards cannot be read or written ({error}); see that the "
            "disk is not full, or move the file away to begin again"
        )


def _conditions(
    words: Sequence[str], starred: bool | None, board: str | None
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for word in words:
        if word == "·":
            continue  # stands between the words of a name, as the page writes it
        # A number is meant as it stands: 7 is not 17, nor a digit of a digest.
        sought = f" {word} " if word.isdecimal() else word.casefold()
        yield "(instr(texts.text, ?) OR instr(folded(marks.board), ?))", (sought, sought)
    if starred is not None:
        yield "ifnull(marks.is_starred, 0) = ?", (int(starred),)
    if board == "":
        yield "marks.board IS NULL", ()
    elif board is not None:
        yield "composed(marks.board) = ?", (canonical(board),)


def _folded(text: str | None) -> str:
    return (text or "").casefold()


def _composed(name: str | None) -> str | None:
    return None if name is None else canonical(name)


def described(result: StoredResult) -> str:
    """All that can be searched for in a result: words between spaces, case folded."""
    record = result.record
    origin = record.origin
    parts = [f"#{result.id}", result.path.name, result.run, result.run.replace("-", " ")]
    parts += [f"{result.width}x{result.height}", f"{result.width} {result.height}"]
    parts += [f"{result.kept_at:%Y-%m-%d %Y %B}", result.media_type, record.enhancement.enhancer]
    if origin.kind == "generated":
        named = (origin.style, origin.towards_style, origin.prompt)
        parts += [f"seed {origin.seed}", origin.family, origin.dataset_name, origin.model_digest]
        parts += [text for text in named if text]
        parts += [given.name for given in origin.inputs]
        parts += [f"{name} {value}" for name, value in origin.options.items()]
    else:
        parts.append(origin.name)
    return f" {' '.join(' '.join(parts).split())} ".casefold()
