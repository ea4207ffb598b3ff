"""Stars, boards and free-text search of a store's results, and copies of them."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.gallery import Shelf, archive, packed_folder
from components.results_store import LocalResultsStore, create
from interfaces.iodt import ResultQuery
from tests.helpers import make_iodt


@pytest.fixture
def store(tmp_path: Path) -> LocalResultsStore:
    store = create(tmp_path)
    for seed in range(6):
        store.keep(make_iodt(seed), f"000{seed % 2}-Ніч")
    return store


@pytest.fixture
def shelf(store: LocalResultsStore, tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf.sqlite", store)


def test_stars_and_boards_say_what_they_changed(shelf: Shelf) -> None:
    assert shelf.star([1, 2], is_starred=True) == [1, 2]
    assert shelf.star([2, 3], is_starred=True) == [3]
    assert shelf.starred([1, 4]) == {1}
    assert shelf.place([1, 4], "Best") == {1: None, 4: None}
    assert shelf.place([1, 2], "Sea") == {1: "Best", 2: None}
    assert [(b.name, b.num_results, b.cover) for b in shelf.boards()] == [
        ("Best", 1, 4),
        ("Sea", 2, 2),
    ]
    assert shelf.star([1, 2, 3, 4], is_starred=False) == [1, 2, 3]
    shelf.place([4], None)
    assert [board.name for board in shelf.boards()] == ["Sea"]


@pytest.mark.parametrize(
    "text", ["ніч", "НІЧ seed", "WAVES", "wav 0001", "2 dcgan", "seed 3", "16x16"]
)
def test_text_is_found_anywhere_in_any_case(shelf: Shelf, text: str) -> None:
    assert shelf.find(ResultQuery(), text=text)
    assert shelf.find(ResultQuery(), text=f"{text} · {text}")
    assert not shelf.find(ResultQuery(), text=f"{text} nowhere")


def test_a_number_is_meant_as_it_stands(shelf: Shelf, store: LocalResultsStore) -> None:
    kept = store.keep(make_iodt(55), "later")
    assert shelf.find(ResultQuery(), text="55") == [kept.id]
    assert len(shelf.find(ResultQuery(), text="seed 5")) == 1


def test_numbers_that_were_asked_for_stay_asked_for(shelf: Shelf) -> None:
    shelf.star([1, 2], is_starred=True)
    assert shelf.find(ResultQuery(numbers=(2, 3)), starred=True) == [2]
    assert shelf.find(ResultQuery(numbers=(3,)), starred=True) == []


def test_conditions_hold_together_and_with_typed_fields(
    shelf: Shelf, store: LocalResultsStore
) -> None:
    shelf.star([2, 4], is_starred=True)
    shelf.place([2], "Моря")
    assert shelf.find(ResultQuery(), text="моря") == [2]
    assert shelf.find(ResultQuery(first_seed=2), starred=True) == [4]
    assert shelf.find(ResultQuery(), starred=True, board="") == [4]
    assert shelf.find(ResultQuery(), starred=False) == [6, 5, 3, 1]
    store.delete([4])
    assert shelf.find(ResultQuery(), starred=True) == [2]
    assert shelf.find(ResultQuery(deleted="only"), starred=True) == [4]
    kept = store.keep(make_iodt(77), "later")
    assert shelf.find(ResultQuery(), text="seed 77") == [kept.id]


def test_a_result_that_came_back_under_its_old_number_is_found(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    store.delete([2])
    away = _Without(store, {3, 4})
    shelf = Shelf(tmp_path / "shelf.sqlite", away)
    shelf.star([3], is_starred=True)
    assert shelf.find(ResultQuery(), starred=True) == []
    assert not shelf.find(ResultQuery(), text="seed 2")
    away.hidden = {5}
    assert shelf.find(ResultQuery(), starred=True) == [3]
    assert shelf.find(ResultQuery(), text="seed 2") == [3]
    away.hidden = set()
    assert shelf.find(ResultQuery(), text="seed 4") == [5]


class _Without:
    """A store whose index lacks some of its results, as before it is repaired."""

    def __init__(self, store: LocalResultsStore, hidden: set[int]) -> None:
        self.store = store
        self.hidden = hidden

    def numbers(self, query: ResultQuery) -> list[int]:
        return [number for number in self.store.numbers(query) if number not in self.hidden]

    def count(self, query: ResultQuery) -> int:
        return len(self.numbers(query))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@settings(max_examples=30, deadline=None)
@given(marks=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["a", "b", None])), max_size=12))
def test_what_was_moved_can_be_moved_back(
    marks: list[tuple[int, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("shelf")
    shelf = Shelf(place / "shelf.sqlite", create(place))
    undo: list[dict[int, str | None]] = []
    for number, board in marks:
        undo.append(shelf.place([number], board))
    for before in reversed(undo):
        for number, board in before.items():
            shelf.place([number], board)
    assert shelf.boards_of(range(1, 7)) == {}


def test_an_archive_holds_every_picture_under_a_name_of_its_own(
    store: LocalResultsStore,
) -> None:
    results = [store.keep(make_iodt(1), run) for run in ("one", "two")]
    data = b"".join(archive(results, lambda result: store.read(result.id)))
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        assert len(set(packed.namelist())) == 2
        assert all(packed.read(name) == store.read(results[0].id) for name in packed.namelist())


def test_one_bad_picture_or_clock_ends_no_archive(store: LocalResultsStore) -> None:
    results = [store.get(number) for number in range(1, 6)]
    results[0].path.write_bytes(b"rubbish")
    results[1].path.unlink()
    for place, year in ((2, 1970), (3, 2108)):
        moment = results[place].kept_at.replace(year=year)
        results[place] = results[place].model_copy(update={"kept_at": moment})
    data = b"".join(archive(results, lambda result: store.read(result.id)))
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        *names, last = packed.namelist()
        assert names == [result.path.name for result in results[2:]]
        faults = packed.read(last).decode().splitlines()
    assert faults[0].endswith("its file was changed since it was kept")
    assert faults[1].startswith(results[1].path.name) and "removed" in faults[1]


@pytest.mark.parametrize("year", [0.0, 4.4e9])
def test_a_model_is_packed_whatever_the_clock_says(
    year: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.json").write_text("{}")
    monkeypatch.setattr("time.time", lambda: year)
    with zipfile.ZipFile(io.BytesIO(b"".join(packed_folder(tmp_path, "mine")))) as packed:
        assert packed.namelist() == ["mine/model.json"]


def test_a_board_has_one_name_however_it_is_composed(shelf: Shelf) -> None:
    shelf.place([1], "Cafe\u0301")
    shelf.place([2], "Caf\u00e9")
    assert [(board.name, board.num_results) for board in shelf.boards()] == [("Caf\u00e9", 2)]
    assert shelf.find(ResultQuery(), board="Cafe\u0301") == [2, 1]


def test_fifty_thousand_results_are_searched_and_starred_at_once(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3
    import time

    shelf.follow()
    monkeypatch.setattr(shelf, "follow", lambda: None)  # the store has none of those below
    with sqlite3.connect(tmp_path / "shelf.sqlite") as database:
        database.executemany(
            "INSERT INTO texts VALUES (?, ?)",
            ((number, f"seed {number} dcgan waves " * 8) for number in range(100, 50_100)),
        )
    started = time.monotonic()
    assert not shelf.find(ResultQuery(), text="nowhere at all")
    assert len(shelf.star(range(100, 1100), is_starred=True)) == 1000
    assert time.monotonic() - started < 5
