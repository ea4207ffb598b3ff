"""Requests of the gallery to the results store: pages, counts, deleting, undo, 50 000 results."""

import random
import sqlite3
import statistics
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.results_store import LocalResultsStore, create
from components.results_store.journal import Kept
from components.results_store.sqlite import SqliteIndex
from interfaces.errors import AtelierError, NotFoundError
from interfaces.iodt import IODT, ResultQuery, StoredResult
from tests.components.results_store.conftest import only_sqlite
from tests.components.results_store.test_results_store import older_version
from tests.helpers import digest, make_iodt, make_origin, make_record

NO_TIME = timedelta(0)


@pytest.fixture
def store(tmp_path: Path) -> LocalResultsStore:
    return create(tmp_path)


def image(number: int, **changed: Any) -> IODT:
    """One of many pictures; `drift` and what belongs to the origin may be given."""
    drift = changed.pop("drift", None)
    origin = make_origin(number).model_copy(update=changed)
    record = make_record().model_copy(update={"origin": origin, "drift": drift})
    return make_iodt(number).model_copy(update={"record": record})


def walk(store: LocalResultsStore, query: ResultQuery) -> list[StoredResult]:
    """All pages, one after another."""
    found: list[StoredResult] = []
    cursor = None
    while True:
        page = store.page(query, cursor)
        found += page.results
        cursor = page.next
        if cursor is None:
            return found
        assert len(page.results) == query.limit


def test_pages_together_are_what_find_gives(store: LocalResultsStore) -> None:
    rng = random.Random(0)
    for number in range(25):
        store.keep(
            image(
                number,
                drift=rng.choice([None, 0.0, 0.1, 1 / 3, 2.5]),
                originality=rng.choice([None, 0.5, 0.7]),
                family=rng.choice(["dcgan", "r3gan"]),
            ),
            "run",
        )

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["newest", "drift", "originality"]),
        st.none() | st.sampled_from(["dcgan", "r3gan"]),
        st.integers(1, 30),
    )
    def agrees(sort_by: Any, family: str | None, limit: int) -> None:
        query = ResultQuery(sort_by=sort_by, family=family, limit=limit)
        everything = store.find(query.model_copy(update={"limit": 1000}))
        assert walk(store, query) == everything
        assert store.count(query) == len(everything)

    agrees()


def test_what_is_kept_and_deleted_meanwhile_doubles_and_hides_nothing(
    store: LocalResultsStore,
) -> None:
    kept = [store.keep(image(number), "run") for number in range(6)]
    query = ResultQuery(limit=2)
    first = store.page(query)
    store.keep(image(6), "run")
    store.delete([kept[5].id, kept[2].id])
    second = store.page(query, first.next)
    third = store.page(query, second.next)
    numbers = [result.id for page in (first, second, third) for result in page.results]
    assert numbers == [kept[n].id for n in (5, 4, 3, 1, 0)]
    assert third.next is None


@pytest.mark.parametrize(
    "cursor", ["", "x", ":", "1:", "nan:1", "inf:1", "1", "-1", "1:2:3", "9" * 99]
)
@pytest.mark.parametrize("sort_by", ["newest", "drift"])
def test_a_cursor_of_nobodys_is_refused(
    store: LocalResultsStore, cursor: str, sort_by: Any
) -> None:
    if (cursor, sort_by) == ("1", "newest"):
        return
    with pytest.raises(AtelierError, match="cursor"):
        store.page(ResultQuery(sort_by=sort_by), cursor)


def test_size_date_enhancer_and_format_are_typed_fields(store: LocalResultsStore) -> None:
    small, large = store.keep(image(0), "run"), make_iodt(1)
    enhancement = large.record.enhancement.model_copy(update={"enhancer": "embedded"})
    record = make_record(1).model_copy(update={"enhancement": enhancement})
    changed = {"width": 1024, "height": 512, "media_type": "image/webp", "record": record}
    big = store.keep(large.model_copy(update=changed), "run")
    now = datetime.now(UTC)
    for query, fitting in (
        ({"least_side": 1024}, [big]),
        ({"least_side": 1025}, []),
        ({"most_side": 16}, [small]),
        ({"enhancer": "embedded"}, [big]),
        ({"media_type": "image/webp"}, [big]),
        ({"kept_after": now - timedelta(hours=1), "kept_before": now}, [big, small]),
        ({"kept_after": now + timedelta(hours=1)}, []),
        ({"kept_before": small.kept_at}, []),
        ({"kept_before": big.kept_at.replace(tzinfo=None)}, [small]),
    ):
        assert store.find(ResultQuery(**query)) == fitting


def test_deleting_hides_and_restoring_brings_back(store: LocalResultsStore) -> None:
    kept = [store.keep(image(number), "run") for number in range(3)]
    assert store.delete([kept[1].id, 999, -1, 10**30]) == 1
    assert store.find(ResultQuery()) == [kept[2], kept[0]]
    assert store.find(ResultQuery(deleted="only")) == [kept[1]]
    assert store.find(ResultQuery(deleted="too")) == kept[::-1]
    assert store.get(kept[1].id) == kept[1] and kept[1].path.exists()
    assert store.delete([kept[1].id]) == 0
    assert store.restore([kept[1].id]) == 1
    assert store.find(ResultQuery()) == kept[::-1]


def test_keeping_a_deleted_image_again_brings_it_back(store: LocalResultsStore) -> None:
    kept = store.keep(image(0), "run")
    store.delete([kept.id])
    assert store.keep(image(0), "run") == kept
    assert store.find(ResultQuery()) == [kept]


def test_purging_removes_what_was_deleted_long_ago_and_nothing_else(
    store: LocalResultsStore,
) -> None:
    kept = [store.keep(image(number), "run") for number in range(4)]
    store.delete([kept[0].id, kept[1].id])
    kept[1].path.write_bytes(b"touched up by hand")
    assert store.purge(timedelta(hours=1)) == 0
    assert store.purge(NO_TIME) == 2
    assert not kept[0].path.exists()
    assert kept[1].path.read_bytes() == b"touched up by hand"
    assert store.find(ResultQuery(deleted="too")) == [kept[3], kept[2]]
    with pytest.raises(NotFoundError):
        store.get(kept[0].id)


def test_a_number_is_never_given_twice(store: LocalResultsStore) -> None:
    kept = [store.keep(image(number), "run") for number in range(3)]
    store.delete([result.id for result in kept])
    store.purge(NO_TIME)
    assert store.keep(image(7), "run").id > kept[2].id


def test_only_what_was_kept_is_read(store: LocalResultsStore) -> None:
    kept = store.keep(image(0), "run")
    assert store.read(kept.id) == make_iodt(0).data
    kept.path.write_bytes(make_iodt(1).data)
    with pytest.raises(NotFoundError, match="changed"):
        store.read(kept.id)
    kept.path.unlink()
    with pytest.raises(NotFoundError, match="removed"):
        store.read(kept.id)


def test_an_empty_store_has_no_pages_and_is_not_made_by_asking(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    assert store.page(ResultQuery()).results == ()
    assert store.count(ResultQuery()) == store.delete([1]) == store.purge(NO_TIME) == 0
    assert not (tmp_path / "results").exists()


@only_sqlite
def test_a_database_of_the_second_version_is_brought_up_to_date(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    kept = store.keep(image(0, drift=1.0), "run")
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        older_version(database, 2)
    (tmp_path / "results" / "results.journal").unlink()
    again = create(tmp_path)
    assert again.find(ResultQuery()) == [kept]
    assert again.delete([kept.id]) == 1
    assert again.count(ResultQuery()) == 0


def fill(folder: Path, number: int) -> LocalResultsStore:
    """A store with so many rows, made by the store's own insertion, without the files."""
    store = create(folder)
    store.keep(image(0), "0000-first")
    rng = random.Random(0)
    index = SqliteIndex(folder / "results" / "results.sqlite")
    with index.writing() as writer:
        for n in range(1, number):
            origin = make_origin(n).model_copy(
                update={
                    "family": rng.choice(["dcgan", "wgan_gp", "r3gan"]),
                    "style": rng.choice(["waves", "Ukiyo_e", "Rococo", None]),
                    "model_digest": digest(str(n % 20)),
                    "originality": rng.uniform(0, 2),
                }
            )
            record = make_record().model_copy(update={"origin": origin, "drift": rng.uniform(0, 9)})
            run = f"{n // 100:04d}-run"
            kept = Kept(
                number=n + 1,
                place=f"{run}/{n:06d}.png",
                sha256=digest(f"picture {n}"),
                size=1,
                media_type="image/png",
                width=16,
                height=16,
                run=run,
                kept_at=datetime.now(UTC),
            )
            writer.apply(kept, record)
    return store


SEARCHES: dict[str, dict[str, Any]] = {
    "everything": {},
    "family": {"family": "r3gan"},
    "family and style": {"family": "r3gan", "style": "Rococo"},
    "style": {"style": "waves"},
    "model": {"model_digest": digest("7")[:8]},
    "seeds": {"first_seed": 20_000, "last_seed": 30_000},
    "size and date": {"least_side": 16, "kept_after": datetime(2020, 1, 1, tzinfo=UTC)},
    "drift": {"most_drift": 3.0, "sort_by": "drift"},
    "originality": {"least_originality": 1.0, "sort_by": "originality"},
    "run": {"run": "0250-run"},
    "nothing": {"family": "nobody's"},
    "all at once": {
        "family": "r3gan", "style": "waves", "first_seed": 5, "most_drift": 8.0,
        "least_originality": 0.1, "enhancer": "lanczos", "sort_by": "drift",
    },
}  # fmt: skip


@pytest.mark.slow
@only_sqlite
def test_fifty_thousand_results_are_searched_in_an_instant(tmp_path: Path) -> None:
    store = fill(tmp_path, 50_000)
    for name, fields in SEARCHES.items():
        query = ResultQuery(limit=50, **fields)
        seconds = []
        for _ in range(5):
            began = time.process_time()
            page = store.page(query)
            store.count(query)
            seconds.append(time.process_time() - began)
        print(f"{name}: {1000 * statistics.median(seconds):.0f} ms")
        assert statistics.median(seconds) < 0.3, name
        if page.next:  # the last pages are as quick as the first
            began = time.process_time()
            cursor = "1000" if query.sort_by == "newest" else "1.5:1000"
            store.page(query, cursor)
            assert time.process_time() - began < 0.3, name


@only_sqlite
def test_the_newest_page_reads_no_more_than_it_shows(
    store: LocalResultsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sort of every row would make the first page slower the more there are."""
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*arguments, **options)
        database.set_trace_callback(statements.append)
        return database

    for seed in range(5):
        store.keep(make_iodt(seed), "run")
    monkeypatch.setattr(sqlite3, "connect", traced)
    first = store.page(ResultQuery(limit=2))
    store.page(ResultQuery(limit=2), first.next)
    sought = [statement for statement in statements if statement.startswith("SELECT id FROM")]
    assert len(sought) == 2
    with closing(connect(tmp_path / "results" / "results.sqlite")) as database:
        for statement in sought:
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not any("TEMP B-TREE" in step for step in plan), plan
