"""`results doctor`: whatever becomes of the index, files and journal bring it back."""

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from components.conversion import create as create_converter
from components.conversion import read_facts
from components.results_store import LocalResultsStore, create, report_lines
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.iodt import IODT, Rebuildable, RebuildReport, ResultQuery, StoredResult
from tests.components.results_store.conftest import only_sqlite
from tests.components.results_store.test_results_store import files_of, older_version
from tests.helpers import Clock, make_file_origin, make_iedt, make_iodt

EVERYTHING = ResultQuery(deleted="too", limit=1_000_000)
RUNS = ("0001-dcgan-test", "0002 «Мова»", "")


@pytest.fixture
def store(tmp_path: Path) -> LocalResultsStore:
    return create(tmp_path)


def pictures(number: int, first: int = 0, side: int = 8, name: str = "") -> Iterator[IODT]:
    """Files as conversion writes them, each with its record."""
    for seed in range(first, first + number):
        batch = make_iedt(1, side, seed)
        if name:
            batch = batch.model_copy(update={"origins": (make_file_origin(name),)})
        yield from create_converter(Path()).convert([batch], ICS(format="webp"))


def fill(store: LocalResultsStore, images: int | Sequence[IODT] = 12) -> list[StoredResult]:
    """Results of two runs and of none: that number of new pictures, or the given ones."""
    given = pictures(images) if isinstance(images, int) else images
    return [store.keep(image, RUNS[place % len(RUNS)]) for place, image in enumerate(given)]


def rebuilt(store: LocalResultsStore) -> RebuildReport:
    report = store.rebuild(read_facts)
    for line in report_lines(report):
        assert "\n" not in line and line.isprintable()
    return report


def delete_database(database: Path) -> None:
    database.unlink()


def empty(database: Path) -> None:
    database.write_bytes(b"")


def cut(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:6000])


def cut_to_a_page(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:8192])


def cut_within_the_header(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:50])


def noise(database: Path) -> None:
    database.write_bytes(random.Random(0).randbytes(database.stat().st_size))


def zeros(database: Path) -> None:
    database.write_bytes(bytes(database.stat().st_size))


def a_text(database: Path) -> None:
    database.write_text("these are not results\n" * 99)


def a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def a_link_to_nowhere(database: Path) -> None:
    database.unlink()
    database.symlink_to(database.parent / "nowhere")


def another_programs(database: Path) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("CREATE TABLE results (score REAL)")


def another_stores(database: Path) -> None:
    elsewhere = create(database.parent.parent / "elsewhere")
    elsewhere.keep(make_iodt(0), "run")
    shutil.copy(database.parent.parent / "elsewhere" / "results" / database.name, database)


DAMAGES: list[Callable[[Path], None]] = [
    delete_database,
    empty,
    cut,
    cut_to_a_page,
    cut_within_the_header,
    noise,
    zeros,
    a_text,
    a_folder,
    a_link_to_nowhere,
    another_programs,
    another_stores,
]


@only_sqlite
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_stops_with_advice_and_is_made_anew(
    damage: Callable[[Path], None], store: LocalResultsStore, tmp_path: Path
) -> None:
    kept = fill(store)
    store.delete([kept[4].id, kept[7].id])
    before = store.find(EVERYTHING)
    damage(tmp_path / "results" / "results.sqlite")
    is_others = damage is another_stores
    for used in (create(tmp_path), store):
        if used is store and is_others:
            continue  # it has looked once, and the database is sound
        for look in (
            lambda used=used: used.find(ResultQuery()),
            lambda used=used: used.count(ResultQuery()),
            lambda used=used: used.get(kept[0].id),
            lambda used=used: used.keep(make_iodt(99), "run"),
            lambda used=used: used.delete([1]),
            lambda used=used: used.purge(timedelta(0)),
        ):
            with pytest.raises(AtelierError, match=r"results\.sqlite: .*`results doctor`") as said:
                look()
            assert "\n" not in str(said.value)
    report = rebuilt(create(tmp_path))
    assert report.index_fault
    assert len(report.restored) == report.num_listed == len(kept)
    assert report.num_deleted == 2
    for found in (report.lost, report.edited, report.strangers, report.taken_in):
        assert found == ()
    again = create(tmp_path)
    assert again.find(EVERYTHING) == before
    assert again.count(ResultQuery(deleted="only")) == 2
    assert again.keep(next(pictures(1, first=50)), "run").id == kept[-1].id + 1
    assert rebuilt(again).index_fault is None


@only_sqlite
@pytest.mark.parametrize("is_deleted", [True, False])
def test_the_rollback_of_a_damaged_index_is_not_applied_to_the_new_one(
    is_deleted: bool, store: LocalResultsStore, tmp_path: Path
) -> None:
    database = tmp_path / "results" / "results.sqlite"
    fill(store, 3)
    with closing(sqlite3.connect(database)) as killed:
        killed.execute("PRAGMA cache_size = 1")
        killed.execute("BEGIN IMMEDIATE")
        killed.execute("UPDATE results SET record = record || hex(zeroblob(9000))")
        rollback = database.with_name("results.sqlite-journal").read_bytes()
        killed.rollback()
    fill(store, 12)
    before = store.find(EVERYTHING)
    database.with_name("results.sqlite-journal").write_bytes(rollback)
    database.unlink() if is_deleted else noise(database)
    rebuilt(create(tmp_path))
    assert create(tmp_path).find(EVERYTHING) == before


def test_a_sound_store_is_left_as_it_was(store: LocalResultsStore, tmp_path: Path) -> None:
    fill(store)
    before, files = store.find(EVERYTHING), files_of(tmp_path)
    report = rebuilt(store)
    assert report == RebuildReport(
        num_listed=len(before),
        num_deleted=0,
        restored=(),
        index_fault=None,
        damaged_index=None,
        had_journal=True,
        num_damaged_lines=0,
    )
    assert create(tmp_path).find(EVERYTHING) == before
    assert files_of(tmp_path) == files


@only_sqlite
@pytest.mark.parametrize("is_index_lost", [True, False])
def test_thirty_deleted_ten_edited_five_foreign(
    is_index_lost: bool, store: LocalResultsStore, tmp_path: Path
) -> None:
    images = list(pictures(100))
    kept = fill(store, images)
    rng = random.Random(0)
    gone, edited = (chosen := rng.sample(kept, 40))[:30], chosen[30:]
    for result in gone:
        result.path.unlink()
    for place, result in enumerate(edited):
        if place % 2:
            result.path.write_bytes(result.path.read_bytes() + b"\0")  # its record stays
        else:
            Image.new("RGB", (9, 9)).save(result.path)
    folder = kept[0].path.parent
    foreign = [folder / "holiday.png", folder / "000999.webp", folder.parent / "top.png"]
    for path in foreign:
        Image.new("RGB", (5, 5)).save(path)
    foreign += [folder / "a copy.webp", folder / "notes\n\x1b[31m.txt"]
    whole = next(result for result in kept if result not in chosen)
    shutil.copy(whole.path, foreign[3])
    foreign[4].write_text("my notes")
    if is_index_lost:
        (tmp_path / "results" / "results.sqlite").unlink()
    report = rebuilt(create(tmp_path))
    assert {found.number for found in report.lost} == {result.id for result in gone}
    assert {found.number for found in report.edited} == {result.id for result in edited}
    assert {found.place for found in report.strangers} == {
        path.relative_to(tmp_path / "results").as_posix() for path in foreign
    }
    unrestorable = {result.id for result in edited[::2]} if is_index_lost else set[int]()
    assert {found.number for found in report.without_record} == unrestorable
    missing = {result.id for result in gone} | unrestorable if is_index_lost else set[int]()
    again = create(tmp_path)
    assert again.find(EVERYTHING) == [r for r in kept[::-1] if r.id not in missing]
    assert all(path.exists() for path in foreign)
    number = again.keep(next(pictures(1, first=500)), "run").id
    assert number == kept[-1].id + 1
    # A picture that is made again has its old number, in the place of the lost one.
    assert again.keep(images[kept.index(gone[0])], gone[0].run) == gone[0]
    second = rebuilt(again)
    assert {found.number for found in second.lost} == {result.id for result in gone[1:]}
    assert second.taken_in == second.restored == ()


@only_sqlite
def test_a_result_moved_inside_the_store_is_found_again(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    kept = fill(store)
    place = tmp_path / "results" / "favourites" / "nicest.webp"
    place.parent.mkdir()
    kept[3].path.rename(place)
    (tmp_path / "results" / "results.sqlite").unlink()
    (found,) = rebuilt(create(tmp_path)).moved
    assert (found.number, found.place) == (kept[3].id, "favourites/nicest.webp")
    moved = create(tmp_path).get(kept[3].id)
    assert moved == kept[3].model_copy(update={"path": place})


@only_sqlite
def test_damaged_rows_are_read_from_their_files(store: LocalResultsStore, tmp_path: Path) -> None:
    kept = fill(store)
    store.delete([6])
    database = tmp_path / "results" / "results.sqlite"
    with closing(sqlite3.connect(database)) as changed, changed:
        changed.execute("UPDATE results SET record = '{' WHERE id IN (2, 6)")
        changed.execute("UPDATE results SET path = '../../x.png' WHERE id = 3")
    assert [result.id for result in create(tmp_path).find(EVERYTHING)] == [
        result.id for result in kept[::-1] if result.id not in (2, 3, 6)
    ]
    assert rebuilt(create(tmp_path)).restored == (2, 3, 6)
    assert create(tmp_path).find(EVERYTHING) == kept[::-1]
    assert create(tmp_path).count(ResultQuery(deleted="only")) == 1


@only_sqlite
def test_numbers_are_never_given_out_twice(store: LocalResultsStore, tmp_path: Path) -> None:
    images = list(pictures(6))
    kept = fill(store, images)
    store.delete([kept[5].id, kept[4].id])
    assert store.purge(timedelta(0)) == 2
    kept[3].path.unlink()
    for _ in range(3):
        (tmp_path / "results" / "results.sqlite").unlink()
        rebuilt(create(tmp_path))
    again = create(tmp_path)
    assert again.find(EVERYTHING) == kept[2::-1]
    assert again.keep(next(pictures(1, first=70)), "run").id == 7
    assert again.keep(images[3], kept[3].run) == kept[3]


@only_sqlite
def test_what_was_deleted_stays_deleted(store: LocalResultsStore, tmp_path: Path) -> None:
    kept = fill(store, 6)
    store.delete([1, 2, 3, 4])
    store.restore([3])
    kept[0].path.unlink()
    kept[1].path.write_bytes(kept[1].path.read_bytes() + b"\0")
    store.purge(timedelta(0))
    assert kept[1].path.exists()  # somebody's work lies there
    store.delete([5])
    (tmp_path / "results" / "results.sqlite").unlink()
    report = rebuilt(create(tmp_path))
    assert [found.place for found in report.strangers] == [
        kept[1].path.relative_to(tmp_path / "results").as_posix()
    ]
    assert report.lost == ()
    again = create(tmp_path)
    assert again.find(ResultQuery()) == [kept[5], kept[2]]
    assert again.find(ResultQuery(deleted="only")) == [kept[4]]
    assert again.restore([5]) == 1


# ---------------------------------------------------------------- stores without a journal


def age(folder: Path, version: int = 3) -> None:
    """Make a store one of an older version."""
    with closing(sqlite3.connect(folder / "results" / "results.sqlite")) as database, database:
        older_version(database, version)
    (folder / "results" / "results.journal").unlink()


@only_sqlite
@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_store_is_given_a_journal(
    version: int, store: LocalResultsStore, tmp_path: Path
) -> None:
    kept = fill(store)
    if version == 3:
        store.delete([2])
    before = store.find(EVERYTHING)
    age(tmp_path, version)
    assert create(tmp_path).find(EVERYTHING) == before
    (tmp_path / "results" / "results.sqlite").unlink()
    rebuilt(create(tmp_path))
    again = create(tmp_path)
    assert again.find(EVERYTHING) == before
    assert again.count(ResultQuery(deleted="only")) == (version == 3)
    assert again.keep(make_iodt(99), "run").id == kept[-1].id + 1


@only_sqlite
def test_an_older_store_that_lost_its_index_is_filled_from_the_files(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    images = list(pictures(12))
    kept = fill(store, images)
    own = store.keep(next(pictures(1, name="Mon été.jpeg")), "")
    other = [store.keep(image, "twice") for image in pictures(2, side=9, name="same.png")]
    age(tmp_path)
    (tmp_path / "results" / "results.sqlite").unlink()
    with pytest.raises(AtelierError, match=r"is missing; `results doctor`"):
        create(tmp_path).find(ResultQuery())
    report = rebuilt(create(tmp_path))
    assert not report.had_journal
    assert len(report.taken_in) == report.num_listed == len(kept) + 3
    found = create(tmp_path).find(EVERYTHING)
    known = {result.path: result for result in [*kept, own, *other]}
    assert len(found) == len(known)
    for result in found:
        same = known[result.path].model_copy(update=result.model_dump(include={"id", "kept_at"}))
        assert result == same
    assert {r.run for r in found} == {"0001-dcgan-test", "0002 «Мова»", "", "twice"}
    for image in images:
        create(tmp_path).keep(image, "0001-dcgan-test")
    assert len(files_of(tmp_path)) == 15 + 8  # what is there already is not doubled


@only_sqlite
def test_an_older_copy_of_the_index_is_noticed_and_caught_up(
    store: LocalResultsStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "results" / "results.sqlite"
    kept = fill(store, 6)
    shutil.copy(database, tmp_path / "old")
    images = list(pictures(4, first=20))
    later = [store.keep(image, "later") for image in images]
    store.delete([kept[0].id])
    shutil.copy(tmp_path / "old", database)
    again = create(tmp_path)
    assert again.find(ResultQuery()) == kept[::-1]
    (line,) = caplog.messages
    assert "lacks 4 results" in line and "`results doctor`" in line
    new = again.keep(next(pictures(1, first=40)), "later")
    assert new.id == later[-1].id + 1
    assert again.find(ResultQuery()) == [new, *kept[:0:-1]]  # the deletion was caught up with
    assert again.keep(images[1], "later") == later[1]
    assert rebuilt(again).restored == (later[0].id, later[2].id, later[3].id)
    assert create(tmp_path).find(ResultQuery()) == [new, *later[::-1], *kept[:0:-1]]


# ---------------------------------------------------------------- damaged journals


def journal_of(folder: Path) -> Path:
    return folder / "results" / "results.journal"


@only_sqlite
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "noise", "head"])
def test_a_lost_journal_is_written_anew_from_the_index(
    damage: str, store: LocalResultsStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = fill(store)
    store.delete([1, 2])
    store.purge(timedelta(0))
    store.delete([3])
    journal = journal_of(tmp_path)
    whole = journal.read_bytes()
    if damage == "gone":
        journal.unlink()
    else:
        noisy = random.Random(0).randbytes(len(whole))
        cuts = {"cut": whole[: len(whole) // 2], "empty": b"", "noise": noisy}
        journal.write_bytes(cuts.get(damage, b"x" + whole[1:]))
    before = create(tmp_path).find(EVERYTHING)
    assert before == kept[:1:-1]
    new = create(tmp_path).keep(next(pictures(1, first=60)), "run")
    assert new.id == kept[-1].id + 1
    assert sum("written anew" in line for line in caplog.messages) == 1
    (tmp_path / "results" / "results.sqlite").unlink()
    rebuilt(create(tmp_path))
    assert create(tmp_path).find(EVERYTHING) == [new, *before]
    assert create(tmp_path).count(ResultQuery(deleted="only")) == 1


@only_sqlite
def test_a_torn_last_line_is_nothing_and_a_damaged_one_costs_itself(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    kept = fill(store, 5)
    journal = journal_of(tmp_path)
    with journal.open("ab") as stream:
        stream.write(b'{"event":"kept","number":6,"pla')
    new = create(tmp_path).keep(next(pictures(1, first=30)), "run")
    assert new.id == 6
    lines = journal.read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b'"place":"', b'"place":"../../../etc/')
    journal.write_bytes(b"\n".join(lines))
    (tmp_path / "results" / "results.sqlite").unlink()
    report = rebuilt(create(tmp_path))
    assert report.num_damaged_lines == 2
    (found,) = report.taken_in  # the result of the damaged line, by its file alone
    again = create(tmp_path).find(EVERYTHING)
    assert {result.path for result in again} == {result.path for result in [*kept, new]}
    assert {result.id for result in again} >= {kept[0].id, kept[-1].id, new.id}
    assert found.number == 7


def test_a_newer_journal_is_left_alone(store: LocalResultsStore, tmp_path: Path) -> None:
    fill(store, 3)
    journal = journal_of(tmp_path)
    newer = journal.read_bytes().replace(b'"version":1', b'"version":2,"stars":[1]')
    journal.write_bytes(newer)
    for look in (
        lambda: create(tmp_path).find(ResultQuery()),
        lambda: create(tmp_path).keep(make_iodt(9), "run"),
        lambda: create(tmp_path).rebuild(read_facts),
    ):
        with pytest.raises(AtelierError, match=r"newer version.*update Atelier"):
            look()
    assert journal.read_bytes() == newer


def test_the_doctor_makes_the_journal_shorter(store: LocalResultsStore, tmp_path: Path) -> None:
    kept = fill(store, 3)
    for _ in range(50):
        store.delete([1, 2])
        store.restore([1, 2])
    store.delete([3])
    length = journal_of(tmp_path).stat().st_size
    before = store.find(EVERYTHING)
    rebuilt(store)
    assert journal_of(tmp_path).stat().st_size < length / 4
    assert store.find(EVERYTHING) == before == create(tmp_path).find(EVERYTHING)
    assert store.keep(next(pictures(1, first=30)), "run").id == kept[-1].id + 1


def test_there_is_no_store_to_examine(store: LocalResultsStore, tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="there is no results store"):
        store.rebuild(read_facts)
    assert not (tmp_path / "results").exists()
    assert isinstance(store, Rebuildable)


# ---------------------------------------------------------------- clocks


WEEK = timedelta(days=7)


def test_a_clock_set_ahead_purges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "components.results_store.store")
    store = create(tmp_path)
    kept = [store.keep(make_iodt(seed), "run") for seed in range(3)]
    store.delete([kept[0].id])
    for days in (366, 366, 0, 366, 0, 3650):
        clock.ahead = timedelta(days=days)
        assert create(tmp_path).purge(WEEK) == 0
    assert kept[0].path.exists()
    clock.ahead = timedelta(0)
    assert create(tmp_path).restore([kept[0].id]) == 1


def test_what_was_deleted_a_week_of_use_ago_is_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "components.results_store.store")
    kept = create(tmp_path).keep(make_iodt(0), "run")
    create(tmp_path).delete([kept.id])
    purged_on = []
    for day in range(10):
        clock.ahead = timedelta(days=day, minutes=1)
        if create(tmp_path).purge(WEEK):
            purged_on.append(day)
    assert purged_on == [7]
    assert not kept.path.exists()


@only_sqlite
def test_days_of_use_survive_a_lost_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "components.results_store.store")
    kept = create(tmp_path).keep(next(pictures(1)), "run")
    create(tmp_path).delete([kept.id])
    for day in range(8):
        clock.ahead = timedelta(days=day, minutes=1)
        assert create(tmp_path).purge(WEEK) == (day == 7)
        (tmp_path / "results" / "results.sqlite").unlink()
        rebuilt(create(tmp_path))


# ---------------------------------------------------------------- how long it takes


@only_sqlite
@pytest.mark.slow
def test_a_thousand_results_are_made_anew_within_seconds(tmp_path: Path) -> None:
    store = create(tmp_path)
    kept = fill(store, 1000)
    (tmp_path / "results" / "results.sqlite").unlink()
    began = time.monotonic()
    report = rebuilt(create(tmp_path))
    print(f"{time.monotonic() - began:.1f} s")
    assert report.num_listed == len(kept)
    assert time.monotonic() - began < 60
