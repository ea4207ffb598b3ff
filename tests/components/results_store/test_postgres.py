"""The index in PostgreSQL: what differs from a file beside the pictures."""

import threading
from pathlib import Path

import pytest

from components.conversion import read_facts
from components.results_store import create
from components.results_store.index import DamagedIndexError, Index
from components.results_store.postgres import SCHEMA_VERSION, PostgresIndex
from components.results_store.sqlite import SqliteIndex
from interfaces.errors import RefusedError, UnavailableError
from interfaces.iodt import ResultQuery
from tests.components.results_store.test_doctor import fill
from tests.helpers import make_iodt
from tests.postgres import fresh_schema

psycopg = pytest.importorskip("psycopg", reason="psycopg: pip install 'atelier[postgres]'")


@pytest.fixture
def index() -> str:
    """Kind of the index, in place of the fixture that runs each test twice."""
    return "postgres"


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    url = fresh_schema(server)
    monkeypatch.setenv("ATELIER_RESULTS_INDEX", url)
    return url


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(statement.encode())


def test_nothing_lies_in_the_folder_but_files_and_journal(url: str, tmp_path: Path) -> None:
    create(tmp_path).keep(make_iodt(), "run")
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {".lock", "results.journal", "run"}


def test_a_lost_index_is_made_anew_from_the_files(url: str, tmp_path: Path) -> None:
    store = create(tmp_path)
    kept = fill(store)
    store.delete([3])
    everything = ResultQuery(deleted="too", limit=1000)
    before = store.find(everything)
    execute(url, "DROP TABLE results")
    with pytest.raises(DamagedIndexError, match="results doctor"):
        create(tmp_path).find(ResultQuery())
    report = create(tmp_path).rebuild(read_facts)
    assert report.num_listed == len(kept)
    assert create(tmp_path).find(everything) == before
    assert create(tmp_path).keep(make_iodt(99), "run").id == len(kept) + 1


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE results (id INTEGER, score REAL)",
        "CREATE TABLE schema_version (version INTEGER, applied_at TEXT)",
        "CREATE TABLE schema_version (version INTEGER)",
    ],
)
def test_another_programs_tables_are_not_dropped(url: str, tmp_path: Path, theirs: str) -> None:
    execute(url, theirs)
    (tmp_path / "results").mkdir()
    with pytest.raises(RefusedError, match="tables of another program"):
        create(tmp_path).rebuild(read_facts)
    table = theirs.split()[2]
    execute(url, f"SELECT * FROM {table}")  # raises where it is gone


def test_a_store_moves_between_the_databases(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = fill(create(tmp_path))
    monkeypatch.delenv("ATELIER_RESULTS_INDEX")
    with pytest.raises(DamagedIndexError):
        create(tmp_path).find(ResultQuery())
    create(tmp_path).rebuild(read_facts)
    assert create(tmp_path).find(ResultQuery(limit=100)) == kept[::-1]


def test_another_stores_index_is_not_written_over(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tmp_path / "one").keep(make_iodt(1), "run")
    monkeypatch.delenv("ATELIER_RESULTS_INDEX")
    create(tmp_path / "two").keep(make_iodt(2), "run")
    monkeypatch.setenv("ATELIER_RESULTS_INDEX", url)
    with pytest.raises(DamagedIndexError, match="another store"):
        create(tmp_path / "two").keep(make_iodt(3), "run")
    with pytest.raises(RefusedError, match="another store"):
        create(tmp_path / "two").rebuild(read_facts)
    assert create(tmp_path / "one").count(ResultQuery()) == 1


def test_tables_are_made_once_when_many_begin(url: str) -> None:
    threads = [threading.Thread(target=PostgresIndex(url).create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(url) as database:
        rows = database.execute("SELECT version FROM schema_version").fetchall()
    assert rows == [(SCHEMA_VERSION,)]


def test_a_newer_version_is_refused(url: str, tmp_path: Path) -> None:
    create(tmp_path).keep(make_iodt(), "run")
    execute(url, "UPDATE schema_version SET version = 1000")
    with pytest.raises(RefusedError, match="update Atelier"):
        create(tmp_path).find(ResultQuery())


def test_a_server_that_is_away_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_RESULTS_INDEX", f"postgresql:///art?host={tmp_path}")
    with pytest.raises(UnavailableError, match="postgresql:///art: cannot be reached") as error:
        create(tmp_path).keep(make_iodt(), "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results" / "results.journal").exists()


def test_a_lost_connection_is_made_anew(url: str, tmp_path: Path) -> None:
    store = create(tmp_path)
    store.keep(make_iodt(1), "run")
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'atelier' AND pid <> pg_backend_pid()",
    )
    with pytest.raises(UnavailableError):
        store.keep(make_iodt(2), "run")
    assert store.keep(make_iodt(2), "run").id == 2
    assert store.count(ResultQuery()) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mysql://host/art", "not a database's URL"),
        ("postgresql://me:secret@host/art", "PGPASSWORD"),
    ],
)
def test_other_urls_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv("ATELIER_RESULTS_INDEX", given)
    with pytest.raises(RefusedError, match=said) as error:
        create(tmp_path)
    assert "secret" not in str(error.value)


def test_both_databases_answer_alike(url: str, tmp_path: Path) -> None:
    """Text in any case and script sorts and compares by its bytes in both."""
    store = create(tmp_path)
    for seed, run in enumerate(["b", "B", "ä", "Z", "a\0b", "10", "9"]):
        store.keep(make_iodt(seed), run)
    postgres: Index = PostgresIndex(url)
    sqlite: Index = SqliteIndex(tmp_path / "copy.sqlite")
    position = postgres.position()
    assert position is not None
    sqlite.rebuild(list(postgres.rows()), postgres.unlisted(), position)
    queries = [
        ResultQuery(sort_by="drift"),
        ResultQuery(sort_by="originality", deleted="too"),
        ResultQuery(run="B"),
        ResultQuery(model_digest="0"),
        ResultQuery(kept_after=store.get(3).kept_at),
        ResultQuery(first_seed=2, last_seed=4, least_side=16, most_side=16),
        ResultQuery(numbers=(2, 5, 999)),
    ]
    for query in queries:
        assert postgres.find(query, None, 50) == sqlite.find(query, None, 50)
        assert postgres.count(query) == sqlite.count(query)
        assert postgres.numbers(query) == sqlite.numbers(query)
