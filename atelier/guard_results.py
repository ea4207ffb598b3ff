"""Guards of what stands at the end of a run: the results store, and the user interface.

Ours are left bare, since theirs are the longest lists and the most frequent calls, and their own
tests hold them to the port. `atelier.guard.keep` looks at what any store says that it kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from atelier.guard import Component, fault_of_kept
from interfaces.iodt import (
    IODT,
    FileFacts,
    Movable,
    Rebuildable,
    RebuildReport,
    ResultPage,
    ResultQuery,
    ResultsGallery,
    ResultsStore,
    SeedFinder,
    StoredResult,
)
from interfaces.progress import Progress, ProgressEvent
from interfaces.ui import Choices, UserInterface


class GuardedResultsStore:
    """A results store whose answers are checked against what was asked.

    It has the port's methods, and those of each further protocol that the store itself offers and
    of no other: whoever asks with `isinstance` finds of the guard what is true of the store.
    """

    def __init__(self, inner: ResultsStore, component: Component) -> None:
        self.inner = inner
        self.component = component
        # As attributes of the instance: `isinstance` of a protocol sees these, where it passes
        # over `__getattr__`, and a method of the class would be offered for every store.
        if isinstance(inner, SeedFinder):
            self.kept_seeds = _Seeds(inner, component).kept_seeds
        if isinstance(inner, ResultsGallery):
            gallery = _Gallery(inner, component)
            self.page, self.count, self.numbers = gallery.page, gallery.count, gallery.numbers
            self.read, self.delete = gallery.read, gallery.delete
            self.restore, self.purge = gallery.restore, gallery.purge
        if isinstance(inner, Movable):
            self.move = _Mover(inner, component).move
        if isinstance(inner, Rebuildable):
            self.rebuild = _Rebuilder(inner, component).rebuild

    def keep(self, image: IODT, run: str) -> StoredResult:
        """As the store itself."""
        with self.component.called():
            found = self.inner.keep(image, run)
        result = self.component.message(found, StoredResult)
        if fault := fault_of_kept(result, image, run):
            raise self.component.broke(fault)
        return result

    def find(self, query: ResultQuery) -> list[StoredResult]:
        """As the store itself."""
        with self.component.called():
            found = self.inner.find(query)
        if not isinstance(found, list):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self.component.broke(f"gave a {type(found).__name__} where a list is due")
        results = [self.component.message(result, StoredResult) for result in found]
        _check_fit(self.component, results, query)
        return results

    def get(self, result_id: int) -> StoredResult:
        """As the store itself."""
        with self.component.called():
            found = self.inner.get(result_id)
        result = self.component.message(found, StoredResult)
        if result.id != result_id:
            raise self.component.broke(f"gave result {result.id} where {result_id} was asked for")
        return result


def _check_fit(component: Component, results: Sequence[StoredResult], query: ResultQuery) -> None:
    if len(results) > query.limit:
        raise component.broke(f"gave {len(results)} results where at most {query.limit} are due")
    seen: set[int] = set()
    for result in results:
        if query.run is not None and result.run != query.run:
            raise component.broke(
                f"gave a result of run {result.run!r} where run {query.run!r} was asked for"
            )
        if result.id in seen:
            raise component.broke(f"gave result {result.id} twice")
        seen.add(result.id)


def _whole(component: Component, found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise component.broke(f"gave {found!r} where a number of results is due")
    return found


@dataclass(frozen=True)
class _Seeds:
    """Guard of a store's search for seeds: it may name only seeds that were asked for."""

    inner: SeedFinder
    component: Component

    def kept_seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> dict[int, int]:
        with self.component.called():
            found = self.inner.kept_seeds(run, model_digest, seeds)
        if not isinstance(found, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self.component.broke(f"gave a {type(found).__name__} where a dict is due")
        if strange := found.keys() - set(seeds):
            raise self.component.broke(f"named seed {min(strange)}, which was not asked for")
        return found


@dataclass(frozen=True)
class _Gallery:
    """Pages and counts that fit their query, and numbers where numbers are due."""

    inner: ResultsGallery
    component: Component

    def page(self, query: ResultQuery, cursor: str | None = None) -> ResultPage:
        with self.component.called():
            found = self.inner.page(query, cursor)
        page = self.component.message(found, ResultPage)
        _check_fit(self.component, page.results, query)
        return page

    def count(self, query: ResultQuery) -> int:
        with self.component.called():
            found = self.inner.count(query)
        return _whole(self.component, found)

    def numbers(self, query: ResultQuery) -> list[int]:
        with self.component.called():
            found = self.inner.numbers(query)
        if not isinstance(found, list):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self.component.broke(f"gave a {type(found).__name__} where a list is due")
        return [_whole(self.component, number) for number in found]

    def read(self, result_id: int) -> bytes:
        with self.component.called():
            found = self.inner.read(result_id)
        if not isinstance(found, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self.component.broke(
                f"gave a {type(found).__name__} where a file's bytes are due"
            )
        return found

    def delete(self, result_ids: Sequence[int]) -> int:
        with self.component.called():
            found = self.inner.delete(result_ids)
        return _whole(self.component, found)

    def restore(self, result_ids: Sequence[int]) -> int:
        with self.component.called():
            found = self.inner.restore(result_ids)
        return _whole(self.component, found)

    def purge(self, older_than: timedelta) -> int:
        with self.component.called():
            found = self.inner.purge(older_than)
        return _whole(self.component, found)


@dataclass(frozen=True)
class _Mover:
    """Guard of a store that can move: its answer must be a number of results."""

    inner: Movable
    component: Component

    def move(self, place: str, progress: Progress) -> int:
        with self.component.called():
            found = self.inner.move(place, progress)
        return _whole(self.component, found)


@dataclass(frozen=True)
class _Rebuilder:
    """Guard of a store that can rebuild its index: its answer must be a valid report."""

    inner: Rebuildable
    component: Component

    def rebuild(self, read: Callable[[Path], FileFacts], progress: Progress) -> RebuildReport:
        with self.component.called():
            found = self.inner.rebuild(read, progress)
        return self.component.message(found, RebuildReport)


@dataclass(frozen=True)
class GuardedInterface:
    """A user interface whose choices are checked, and whose failures are one line."""

    inner: UserInterface
    component: Component

    def ask(self, proposed: Choices) -> Choices:
        """As the interface itself."""
        with self.component.called():
            found = self.inner.ask(proposed)
        return self.component.message(found, Choices)

    def watch(self, event: ProgressEvent) -> None:
        """As the interface itself."""
        with self.component.called():
            self.inner.watch(event)

    def say(self, line: str) -> None:
        """As the interface itself."""
        with self.component.called():
            self.inner.say(line)

    def warn(self, line: str) -> None:
        """As the interface itself."""
        with self.component.called():
            self.inner.warn(line)

    def close(self) -> None:
        """As the interface itself."""
        with self.component.called():
            self.inner.close()
