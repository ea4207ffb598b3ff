"""A store whose pictures lie below a URL: a real server that speaks S3, and fsspec's memory."""

import io
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from components.conversion import read_facts
from components.results_store import LocalResultsStore, create
from components.results_store.pictures import _below
from interfaces.errors import AtelierError, DamagedError, NotFoundError, RefusedError
from interfaces.iodt import ResultQuery
from interfaces.places import Url, _filesystem, fetched, list_files, place_of, remove, write_to
from tests.components.results_store.conftest import only_sqlite
from tests.end_to_end.cli import atelier
from tests.helpers import REPOSITORY, make_iodt
from tests.s3 import s3_bucket

pytestmark = only_sqlite

EVERYTHING = ResultQuery(limit=1000, deleted="too")


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'atelier[remote]'")
    with s3_bucket("results"):
        yield


@pytest.fixture
def place(server: None) -> Iterator[str]:
    """An empty folder of the bucket."""
    _below.cache_clear()
    place = "s3://results/museum"
    yield place
    for found in list_files(Url(place)):
        remove(Url(place) / found.place)


@pytest.fixture
def store(tmp_path: Path, place: str) -> LocalResultsStore:
    """A new store whose pictures are kept there."""
    store = create(tmp_path)
    store.move(place)
    return store


def files_at(place: str) -> set[str]:
    return {found.place for found in list_files(Url(place))} - {"results.store"}


def test_pictures_are_kept_found_and_read_there(
    store: LocalResultsStore, place: str, tmp_path: Path
) -> None:
    images = [make_iodt(seed) for seed in range(3)]
    results = [store.keep(image, "0001-run") for image in images]
    assert [str(one.path) for one in results] == [
        f"{place}/0001-run/{seed:06d}.png" for seed in range(3)
    ]
    assert files_at(place) == {f"0001-run/{seed:06d}.png" for seed in range(3)}
    assert not list((tmp_path / "results").rglob("*.png"))
    assert [store.read(one.id) for one in results] == [image.data for image in images]
    another = create(tmp_path)  # the place is known without being named again
    assert another.find(ResultQuery()) == results[::-1]
    assert another.keep(images[0], "0001-run") == results[0]
    with Image.open(fetched(another.get(2).path)) as image:
        assert image.size == (results[1].width, results[1].height)


def test_a_result_survives_the_wire(store: LocalResultsStore) -> None:
    kept = store.keep(make_iodt(0), "run")
    assert type(kept).model_validate_json(kept.model_dump_json()) == kept


def test_what_is_gone_or_changed_there_is_said(store: LocalResultsStore, place: str) -> None:
    gone, changed = store.keep(make_iodt(0), "run"), store.keep(make_iodt(1), "run")
    assert isinstance(gone.path, Url) and isinstance(changed.path, Url)
    remove(gone.path)
    write_to(changed.path, b"x" * len(make_iodt(1).data))
    with pytest.raises(NotFoundError, match="its file was removed"):
        store.read(gone.id)
    with pytest.raises(NotFoundError, match="its file was changed since"):
        store.read(changed.id)
    assert store.keep(make_iodt(0), "run") == gone
    assert store.read(gone.id) == make_iodt(0).data


def test_deleted_pictures_are_purged_there(store: LocalResultsStore, place: str) -> None:
    kept = [store.keep(make_iodt(seed), "run") for seed in range(2)]
    store.delete([kept[0].id])
    assert len(files_at(place)) == 2
    assert store.purge(timedelta(0)) == 1
    assert files_at(place) == {"run/000001.png"}


def test_a_lost_workspace_is_made_again_from_the_pictures(
    store: LocalResultsStore, place: str, tmp_path: Path
) -> None:
    images = [make_iodt(seed) for seed in range(3)]
    for image in images:
        store.keep(image, "0001-run")
    _below.cache_clear()
    with pytest.raises(RefusedError, match=r"results\.place of a new one"):
        create(tmp_path / "new").move(place)
    (tmp_path / "new" / "results" / "results.place").write_text(place + "\n")
    again = create(tmp_path / "new")
    with pytest.raises(RefusedError, match="results doctor"):
        again.keep(images[0], "0001-run")
    report = again.rebuild(read_facts)
    # Test pictures have no record of their own: they are named, and nothing is lost.
    assert len(report.strangers) + len(report.taken_in) == 3
    assert files_at(place) == {f"0001-run/{seed:06d}.png" for seed in range(3)}
    again.keep(images[0], "0001-run")  # the place still knows the store


def test_another_workspaces_place_is_refused(
    store: LocalResultsStore, place: str, tmp_path: Path
) -> None:
    store.keep(make_iodt(0), "run")
    _below.cache_clear()  # as another process would
    other = create(tmp_path / "other")
    with pytest.raises(RefusedError, match="another workspace"):
        other.move(place)
    assert other.keep(make_iodt(1), "run").path == (
        tmp_path / "other" / "results" / "run" / "000001.png"
    )


def test_a_damaged_row_leaves_no_picture_behind(place: str, tmp_path: Path) -> None:
    store = create(tmp_path)
    kept = [store.keep(make_iodt(seed), "0001-run") for seed in range(3)]
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        database.execute("UPDATE results SET record = '{' WHERE id = 2")
    with pytest.raises(DamagedError, match="`results doctor` first"):
        create(tmp_path).move(place)
    assert all(isinstance(one.path, Path) and one.path.is_file() for one in kept)
    create(tmp_path).rebuild(read_facts)
    assert create(tmp_path).move(place) == 3


def test_a_store_moves_there_and_back(place: str, tmp_path: Path) -> None:
    store = create(tmp_path)
    results = [store.keep(make_iodt(seed), "run") for seed in range(4)]
    store.delete([results[3].id])
    edited = tmp_path / "results" / "run" / "000001.png"
    edited.write_bytes(b"edited")
    (tmp_path / "results" / "run" / "000002.png").unlink()
    (tmp_path / "results" / "run" / "mine.txt").write_text("mine")
    assert store.move(place) == 3
    assert files_at(place) == {f"run/{seed:06d}.png" for seed in (0, 1, 3)}
    assert [one.name for one in (tmp_path / "results" / "run").iterdir()] == ["mine.txt"]
    assert store.read(1) == make_iodt(0).data
    assert [one.id for one in store.find(EVERYTHING)] == [4, 3, 2, 1]
    assert store.move("here") == 3
    assert files_at(place) == set()
    assert edited.read_bytes() == b"edited"
    assert store.find(ResultQuery()) == results[2::-1]
    assert store.restore([4]) == 1


MOVER = """
import sys, signal, os
from pathlib import Path
from components.results_store import create
import components.results_store.store as module

honest, left = module._copy, [int(sys.argv[3])]

def copy(*arguments):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return honest(*arguments)

module._copy = copy
create(Path(sys.argv[1])).move(sys.argv[2])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_move_that_was_killed_goes_on(place: str, tmp_path: Path) -> None:
    store = create(tmp_path)
    results = [store.keep(make_iodt(seed), "run") for seed in range(6)]
    done = subprocess.run(
        [sys.executable, "-c", MOVER, str(tmp_path), place, "3"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(files_at(place)) == 3
    assert all(Path(one.path).exists() for one in results)  # nothing has left before all arrived
    assert store.read(1) == make_iodt(0).data
    assert store.move(place) == 6
    assert len(files_at(place)) == 6
    assert not list((tmp_path / "results").rglob("*.png"))
    assert store.read(6) == make_iodt(5).data


def test_a_foreign_file_in_the_way_is_not_replaced(place: str, tmp_path: Path) -> None:
    store = create(tmp_path)
    store.keep(make_iodt(0), "run")
    write_to(Url(place) / "run/000000.png", b"somebody's")
    with pytest.raises(DamagedError, match="another file lies there"):
        store.move(place)
    assert store.read(1) == make_iodt(0).data


@pytest.mark.parametrize(
    "place, said",
    [
        ("elsewhere", "name a URL"),
        ("/tmp/elsewhere", "name a URL"),
        ("https://example.org/pictures", "nothing is kept there"),
        ("hf://datasets/somebody/pictures", "nothing is kept there"),
        ("file:///tmp/elsewhere", "leads to a path"),
        ("s3://key@results/museum", "environment"),
        ("ftp://example.org/pictures", "not a protocol"),
    ],
)
def test_a_place_that_cannot_keep_pictures(tmp_path: Path, place: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        create(tmp_path).move(place)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "museum", "\0"])
def test_a_damaged_note_of_the_place_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.place").write_text(text)
    with pytest.raises(DamagedError, match=r"results\.place: .* is no URL"):
        create(tmp_path).find(ResultQuery())


def test_a_place_that_is_away_loses_nothing(
    store: LocalResultsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.places._FIRST_WAIT_SECONDS", 0.001)
    first = store.keep(make_iodt(0), "run")
    system = _filesystem("s3")

    def refuse(*arguments: object, **more: object) -> None:
        raise ConnectionResetError("the line broke")

    with monkeypatch.context() as away:
        away.setattr(system, "pipe_file", refuse)
        with pytest.raises(AtelierError, match="cannot be reached"):
            store.keep(make_iodt(1), "run")
    assert store.find(ResultQuery()) == [first]
    assert store.keep(make_iodt(1), "run").id == 2


@pytest.mark.slow
def test_the_promises_of_the_port_hold_there(tmp_path: Path) -> None:
    """The contract tests, against a store whose pictures lie in fsspec's memory."""
    name = "tests.components.results_store.test_elsewhere:create_in_memory"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "atelier.contracts.plugin", "--pyargs", "atelier.contracts"),
            f"--component=results_store={name}",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def create_in_memory(workspace: Path) -> LocalResultsStore:
    """A store whose pictures lie in this process's memory."""
    store = create(workspace)
    url = place_of(f"memory://results/{os.urandom(8).hex()}")
    store.move(str(url))
    return store


@pytest.mark.slow
def test_a_person_moves_the_results_and_goes_on(place: str, tmp_path: Path) -> None:
    """`results move`, then making, listing, showing and examining, by the command line."""

    def said(*words: str) -> str:
        done = atelier(*words, "--workspace", tmp_path / "w", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert f"new ones are kept at {place}" in said("results", "move", place)
    made = said("generate", "--model", "shipped", "--count", "2", "--enhance.enhancer", "lanczos")
    assert f"in {place}/" in made
    assert len(files_at(place)) == 2
    assert f"{place}/" in said("results", "list")
    assert f'"path": "{place}/' in said("results", "show", "1", "--json").replace("\\n", "")
    with Image.open(io.BytesIO(create(tmp_path / "w").read(1))) as image:
        assert image.size == (256, 256)
    assert "listed: 2 results" in said("results", "doctor")
    assert "2 moved" in said("results", "move", "here")
    assert files_at(place) == set()
