"""The results store: names, the index, and what is left when a process is killed."""

import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.common.durable import sha256_of
from components.results_store import LocalResultsStore, create
from components.results_store.columns import ORDERS, condition
from components.results_store.sqlite import _DIALECT, SqliteIndex
from interfaces.errors import AtelierError
from interfaces.iodt import IODT, ResultQuery, StoredResult
from interfaces.record import InputRecord
from tests.components.results_store.conftest import only_sqlite
from tests.helpers import (
    REPOSITORY,
    digest,
    make_file_origin,
    make_iodt,
    make_origin,
    make_record,
)

EVERYTHING = ResultQuery(limit=1_000_000)


@pytest.fixture
def store(tmp_path: Path) -> LocalResultsStore:
    return create(tmp_path)


def own_file(name: str, seed: int = 0) -> IODT:
    """A picture that came from a person's file of this name."""
    record = make_record().model_copy(update={"origin": make_file_origin(name)})
    return make_iodt(seed).model_copy(update={"record": record})


def same_seed(picture: int) -> IODT:
    """One of many different pictures that all say that they are seed 0."""
    record = make_record(0).model_copy(update={"drift": float(picture)})
    return make_iodt(picture).model_copy(update={"record": record})


def older_version(database: sqlite3.Connection, version: int) -> None:
    """Take from a database what later versions added."""
    newer = {
        1: ("drift", "originality"),
        2: ("deleted_at",),
        3: ("DROP TABLE position", "DROP TABLE unlisted", "deleted_day", "size"),
        4: (
            *(f"DROP INDEX results_{name}" for name in ("search", "deleted", "by_style", "by_run")),
            *(f"DROP INDEX results_by_{name}" for name in ("family", "drift", "originality")),
            "CREATE INDEX results_by_family ON results (family, style)",
        ),
    }
    for old in range(4, version - 1, -1):
        for change in newer[old]:
            is_column = " " not in change
            database.execute(f"ALTER TABLE results DROP COLUMN {change}" if is_column else change)
    database.execute(f"PRAGMA user_version = {version}")


def files_of(folder: Path) -> set[Path]:
    """Every picture in a store's folder, under its final name."""
    return {
        path
        for path in (folder / "results").rglob("*")
        if path.is_file() and not path.name.startswith((".", "results."))
    }


# ---------------------------------------------------------------- names


def test_a_file_is_named_after_its_seed(store: LocalResultsStore, tmp_path: Path) -> None:
    assert store.keep(make_iodt(7), "0001-dcgan-test").path == (
        tmp_path / "results" / "0001-dcgan-test" / "000007.png"
    )
    assert store.keep(make_iodt(7), "").path == tmp_path / "results" / "loose" / "000007.png"
    record = make_record(12_345_678)
    long = store.keep(make_iodt(3).model_copy(update={"record": record}), "run")
    assert long.path.name == "12345678.png"


def test_the_format_is_in_the_name(store: LocalResultsStore) -> None:
    suffixes = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tif"}
    for number, (name, suffix) in enumerate(suffixes.items()):
        image = same_seed(number).model_copy(update={"media_type": f"image/{name}"})
        assert store.keep(image, "run").path.name == f"000000{suffix}"


def test_a_persons_file_keeps_its_name(store: LocalResultsStore) -> None:
    assert store.keep(own_file("Моя картина №1.final.jpeg"), "run").path.name == (
        "Моя картина №1.final.png"
    )


def test_a_picture_reworked_in_no_run_has_its_sources_name(store: LocalResultsStore) -> None:
    image = make_iodt(0)
    own = InputRecord(role="source", name="mon été.jpg", sha256=digest("source"))
    origin = image.record.origin.model_copy(update={"inputs": (own,)})
    record = image.record.model_copy(update={"origin": origin})
    image = image.model_copy(update={"record": record})
    assert store.keep(image, "").path.name == "mon été.png"
    assert store.keep(image, "run").path.name == "000000.png"


def test_a_name_in_use_gets_the_digest(store: LocalResultsStore) -> None:
    first, second = (store.keep(same_seed(number), "run") for number in (0, 1))
    assert first.path.name == "000000.png"
    assert second.path.name == f"000000-{second.sha256[:8]}.png"
    assert first.path.read_bytes() != second.path.read_bytes()


def test_a_file_that_is_not_ours_is_left_alone(store: LocalResultsStore, tmp_path: Path) -> None:
    store.keep(make_iodt(1), "run")
    strange = tmp_path / "results" / "run" / "000000.png"
    strange.write_text("a person's notes")
    result = store.keep(make_iodt(0), "run")
    assert result.path != strange
    assert strange.read_text() == "a person's notes"


@pytest.mark.parametrize("strange", ["edited", "folder", "link to nowhere", "link to a file"])
def test_whatever_lies_where_a_result_was_is_left_alone(
    strange: str, store: LocalResultsStore, tmp_path: Path
) -> None:
    """Keeping again finds the name taken: the result goes beside it, and its row with it."""
    first = store.keep(make_iodt(0), "run")
    outside = tmp_path / "outside.txt"
    outside.write_text("a person's notes")
    if strange == "edited":
        first.path.write_bytes(b"touched up by hand")
    else:
        first.path.unlink()
        if strange == "folder":
            first.path.mkdir()
        else:
            first.path.symlink_to(outside if strange == "link to a file" else tmp_path / "nowhere")
    again = store.keep(make_iodt(0), "run")
    assert (again.id, again.sha256) == (first.id, first.sha256)
    assert again.path != first.path
    assert again.path.read_bytes() == make_iodt(0).data
    assert store.find(EVERYTHING) == [again]
    assert store.keep(make_iodt(0), "run") == again
    if strange == "edited":
        assert first.path.read_bytes() == b"touched up by hand"
    assert first.path.is_dir() == (strange == "folder")
    assert first.path.is_symlink() == strange.startswith("link")
    assert outside.read_text() == "a person's notes"
    assert not (tmp_path / "nowhere").exists()


hostile = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.text(st.sampled_from('./\\:~ \0\n\r\t*?"<>|%$`é🐈\u202e\u2028'), min_size=1, max_size=12),
    st.text(st.sampled_from("Жa🐈"), min_size=200, max_size=300),
    st.sampled_from(["CON", "nul.png", "COM1.tar.gz", "LPT9", "aux .png", "..", ".", "-", "~root"]),
    st.sampled_from(
        ["../../x.png", "/etc/passwd", "C:\\x.png", "\\\\host\\share", "results.sqlite"]
    ),
    st.sampled_from(["RESULTS.sqlite-journal", "results.sqlite", "AUX .txt", "CON" + " " * 99]),
    st.sampled_from([".lock", ".partial.png", "a.partial", "x\0.png", "a/../../b.png"]),
)


def _is_plain_everywhere(name: str) -> bool:
    stem = name.split(".")[0].rstrip(" ").upper()
    reserved = {"CON", "PRN", "AUX", "NUL"} | {f"{p}{n}" for p in ("COM", "LPT") for n in range(10)}
    return (
        PureWindowsPath(name).name == PurePosixPath(name).name == name
        and not set(name) & set('<>:"/\\|?*')
        and all(ord(character) >= 32 for character in name)
        and not name.endswith((".", " "))
        and not name.startswith(".")
        and stem not in reserved
        and len(name.encode()) <= 200
    )


@only_sqlite
def test_no_name_leaves_the_store(store: LocalResultsStore, tmp_path: Path) -> None:
    pictures = [make_iodt(number) for number in range(4)]

    @settings(max_examples=200, deadline=None)
    @given(hostile, hostile, st.sampled_from(pictures))
    def stays(name: str, run: str, picture: IODT) -> None:
        record = make_record().model_copy(update={"origin": make_file_origin(name)})
        result = store.keep(picture.model_copy(update={"record": record}), run)
        assert result.path.read_bytes() == picture.data
        folder, file = result.path.resolve().relative_to((tmp_path / "results").resolve()).parts
        assert _is_plain_everywhere(folder) and _is_plain_everywhere(file)
        assert store.get(result.id).run == run

    stays()
    assert {path.name for path in tmp_path.iterdir() if path.name != "cache"} == {"results"}


# ---------------------------------------------------------------- the index


def test_nothing_is_written_by_looking(store: LocalResultsStore, tmp_path: Path) -> None:
    assert store.find(ResultQuery()) == []
    with pytest.raises(AtelierError, match="result 1: there is none"):
        store.get(1)
    assert not (tmp_path / "results").exists()


def test_another_opening_finds_the_same(store: LocalResultsStore, tmp_path: Path) -> None:
    kept = [store.keep(make_iodt(seed), "run") for seed in range(3)]
    assert create(tmp_path).find(ResultQuery()) == kept[::-1]


@only_sqlite
def test_a_store_can_be_moved(store: LocalResultsStore, tmp_path: Path) -> None:
    image = make_iodt()
    store.keep(image, "run")
    (tmp_path / "results").rename(tmp_path / "moved")
    (result,) = LocalResultsStore(tmp_path / "moved").find(ResultQuery())
    assert result.path.read_bytes() == image.data


@only_sqlite
def test_columns_are_typed_and_indexed(store: LocalResultsStore, tmp_path: Path) -> None:
    store.keep(make_iodt(2**40), "run")
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        (row,) = database.execute("SELECT seed, family, style, scale, width FROM results")
        assert row == (2**40, "dcgan", "waves", 4, 16)
        for query in ("seed = 1", "model_digest = 'x'", "family = 'x'", "run = 'x'"):
            plan = str(
                database.execute(
                    f"EXPLAIN QUERY PLAN SELECT * FROM results WHERE {query}"
                ).fetchall()
            )
            assert "USING INDEX" in plan
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_text_in_a_query_is_only_text(store: LocalResultsStore) -> None:
    store.keep(make_iodt(), "run'; DROP TABLE results; --")
    assert store.find(ResultQuery(style="' OR 1=1 --")) == []
    assert len(store.find(ResultQuery(run="run'; DROP TABLE results; --"))) == 1


@only_sqlite
def test_a_newer_store_is_refused(store: LocalResultsStore, tmp_path: Path) -> None:
    store.keep(make_iodt(), "run")
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    for look in (lambda: store.find(ResultQuery()), lambda: store.keep(make_iodt(1), "run")):
        with pytest.raises(AtelierError, match=r"newer version.*update Atelier"):
            look()


@only_sqlite
@pytest.mark.parametrize("damage", ["noise", "text", "torn"])
def test_a_damaged_database_is_one_clear_line(
    damage: str, store: LocalResultsStore, tmp_path: Path
) -> None:
    for seed in range(30):
        store.keep(make_iodt(seed), "run")
    database = tmp_path / "results" / "results.sqlite"
    whole = database.read_bytes()
    middle = len(whole) // 2
    database.write_bytes(
        {
            "noise": random.Random(0).randbytes(len(whole)),
            "text": b"not a database at all, but long enough to look at " * 20,
            "torn": whole[:4096] + b"\xff" * (middle - 4096),
        }[damage]
    )
    for look in (lambda: store.find(EVERYTHING), lambda: store.keep(make_iodt(99), "run")):
        with pytest.raises(AtelierError, match=r"results\.sqlite: .*`results doctor`") as refusal:
            look()
        assert "\n" not in str(refusal.value)


@only_sqlite
def test_a_folder_in_the_place_of_the_database(store: LocalResultsStore, tmp_path: Path) -> None:
    (tmp_path / "results" / "results.sqlite").mkdir(parents=True)
    for look in (lambda: store.find(EVERYTHING), lambda: store.keep(make_iodt(), "run")):
        with pytest.raises(AtelierError, match=r"results\.sqlite: .*`results doctor`"):
            look()


@only_sqlite
def test_a_database_of_another_program(store: LocalResultsStore, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        database.execute("CREATE TABLE results (score REAL)")
    for look in (lambda: store.find(EVERYTHING), lambda: store.keep(make_iodt(), "run")):
        with pytest.raises(AtelierError, match=r"no index of results; `results doctor`"):
            look()


@only_sqlite
def test_a_database_that_was_never_filled(store: LocalResultsStore, tmp_path: Path) -> None:
    """A process killed between making the file and making its tables leaves it empty."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.sqlite").touch()
    assert store.find(EVERYTHING) == []
    kept = store.keep(make_iodt(), "run")
    assert store.find(EVERYTHING) == [kept]


@only_sqlite
@pytest.mark.parametrize(
    "column,value",
    [
        ("record", "{"),
        ("record", "{}"),
        ("record", "[" * 100_000),
        ("width", 0),
        ("path", "../../secret.png"),
        ("path", "/etc/passwd"),
        ("path", "run"),
        ("kept_at", "yesterday"),
        ("sha256", "abc"),
    ],
)
def test_a_damaged_row_hides_no_other(
    column: str,
    value: object,
    store: LocalResultsStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = [store.keep(make_iodt(seed), "run") for seed in range(5)]
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        database.execute(f"UPDATE results SET {column} = ? WHERE id = 2", (value,))
    whole = [result for result in reversed(kept) if result.id != 2]
    assert store.find(EVERYTHING) == whole
    (line,) = caplog.messages
    assert line.startswith("result 2: left out") and "`results doctor`" in line
    for sort_by in ("newest", "drift"):
        walked, cursor = [], None
        while True:
            page = store.page(ResultQuery(limit=1, sort_by=sort_by), cursor)
            walked += page.results
            if (cursor := page.next) is None:
                break
        assert walked == whole
    with pytest.raises(AtelierError, match=r"result 2: its row is damaged; `results doctor`"):
        store.get(2)
    store.delete([2])
    store.purge(timedelta(0))
    assert all(result.path.exists() for result in whole)
    assert kept[1].path.exists() == (column != "record")


def test_text_that_utf_8_cannot_hold(store: LocalResultsStore, tmp_path: Path) -> None:
    origin = make_origin().model_copy(update={"options": {"odd": "\udcff \0 \ud800"}})
    record = make_record().model_copy(update={"origin": origin})
    image = make_iodt().model_copy(update={"record": record})
    kept = store.keep(image, "run \udcff")
    assert kept.record == record
    assert kept.path.read_bytes() == image.data
    assert create(tmp_path).find(ResultQuery(run=kept.run)) == [kept]
    assert store.keep(image, "run \udcff") == kept


queries = st.builds(
    ResultQuery,
    run=st.none() | st.sampled_from(["", "a", "A", "b"]),
    family=st.none() | st.sampled_from(["dcgan", "wgan_gp", "other"]),
    style=st.none() | st.sampled_from(["waves", "Хвилі", "%", "", "WAVES"]),
    model_digest=st.none() | st.sampled_from(["a", "ab", "abf", "f", "ff", "b", "a" * 64]),
    first_seed=st.none() | st.integers(0, 5) | st.just(2**63 - 1),
    last_seed=st.none() | st.integers(0, 5) | st.just(2**63 - 1),
    most_drift=st.none() | st.sampled_from([0.0, 1.5, 4.0]),
    least_originality=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    sort_by=st.sampled_from(["newest", "drift", "originality"]),
    limit=st.integers(1, 30),
)


def _fits(result: StoredResult, query: ResultQuery) -> bool:
    """Whether a result fits a query, in plain Python."""
    if query.run not in (None, result.run):
        return False
    origin = result.record.origin
    drift = result.record.drift
    if query.most_drift is not None and (drift is None or drift > query.most_drift):
        return False
    if origin.kind == "file":
        elsewhere = {"run", "most_drift", "sort_by", "limit"}
        return query.model_dump(exclude=elsewhere, exclude_none=True) == {}
    least, originality = query.least_originality, origin.originality
    return (
        (least is None or (originality is not None and originality >= least))
        and query.family in (None, origin.family)
        and query.style in (None, origin.style)
        and origin.model_digest.startswith(query.model_digest or "")
        and (query.first_seed is None or origin.seed >= query.first_seed)
        and (query.last_seed is None or origin.seed <= query.last_seed)
    )


def _order(result: StoredResult, query: ResultQuery) -> tuple[bool, float]:
    """Key that a query sorts by, in Python: unknown figures last; the newest first among equals."""
    if query.sort_by == "newest":
        return (False, 0.0)
    origin = result.record.origin
    figure = result.record.drift
    if query.sort_by == "originality":
        figure = origin.originality if origin.kind == "generated" else None
    return (figure is None, figure or 0.0)


def test_find_gives_what_a_plain_filter_gives(store: LocalResultsStore) -> None:
    drawn = random.Random(0)
    all_kept = []
    for number in range(40):
        image = own_file(f"{number}.png", number)
        if number % 5:
            origin = make_origin().model_copy(
                update={
                    "family": drawn.choice(["dcgan", "wgan_gp"]),
                    "style": drawn.choice([None, "waves", "Хвилі", "%", ""]),
                    "model_digest": drawn.choice(["a" * 64, "ab" * 32, "abf" + "0" * 61, "f" * 64]),
                    "seed": drawn.choice([0, 1, 2, 3, 4, 2**63 - 1]),
                    "originality": drawn.choice([None, 0.0, 0.5, 0.9, 1.2]),
                }
            )
            drift = drawn.choice([None, 0.0, 1.5, 3.0, 9.5])
            record = make_record().model_copy(update={"origin": origin, "drift": drift})
            image = make_iodt(number).model_copy(update={"record": record})
        all_kept.append(store.keep(image, drawn.choice(["", "a", "A", "b"])))

    @settings(max_examples=150, deadline=None)
    @given(queries)
    def agrees(query: ResultQuery) -> None:
        fitting = [result for result in reversed(all_kept) if _fits(result, query)]
        fitting.sort(key=lambda result: _order(result, query))
        assert store.find(query) == fitting[: query.limit]

    agrees()


@only_sqlite
def test_a_search_reads_an_index_and_sorts_no_more_than_it_must(tmp_path: Path) -> None:
    SqliteIndex(tmp_path / "index.sqlite").create()

    @given(queries, st.sampled_from([None, "only", "too"]))
    def is_planned_well(query: ResultQuery, deleted: Any) -> None:
        where, values = condition(query.model_copy(update={"deleted": deleted}), None, _DIALECT)
        sought = f"SELECT id FROM results WHERE {where} ORDER BY {ORDERS[query.sort_by]}"
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sought}", values)]
        assert " INDEX " in plan[0]
        is_ranged = bool({"model_digest", "first_seed", "last_seed"} & set(values))
        if query.sort_by == "newest" and not is_ranged:
            assert len(plan) == 1, plan  # no sorting

    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as database:
        is_planned_well()


@only_sqlite
def test_a_database_of_the_first_version_is_brought_up_to_date(
    store: LocalResultsStore, tmp_path: Path
) -> None:
    record = make_record()
    origin = record.origin.model_copy(update={"originality": 0.7})
    image = make_iodt(1).model_copy(
        update={"record": record.model_copy(update={"origin": origin, "drift": 2.5})}
    )
    kept = store.keep(image, "run")
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        older_version(database, 1)
    (tmp_path / "results" / "results.journal").unlink()
    again = create(tmp_path)
    assert again.find(ResultQuery(most_drift=2.5, least_originality=0.7)) == [kept]
    assert again.find(ResultQuery(most_drift=2.4)) == []
    with sqlite3.connect(tmp_path / "results" / "results.sqlite") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (5,)


def test_a_name_whose_file_was_deleted_is_not_given_to_another(store: LocalResultsStore) -> None:
    gone = store.keep(same_seed(0), "run")
    gone.path.unlink()
    other = store.keep(same_seed(1), "run")
    assert other.path != gone.path
    assert store.keep(same_seed(0), "run") == gone
    assert sha256_of(gone.path) == gone.sha256


def test_what_a_killed_process_left_is_removed(store: LocalResultsStore, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    hidden = [
        tmp_path / "results" / run / name
        for run in ("", "run", "another run")
        for name in (f".000003.{ended.pid}.partial.png", f".Моя картина.{ended.pid}.partial.webp")
    ]
    foreign = [
        tmp_path / "results" / "run" / name
        for name in (".notes.partial.txt", ".x.partial.png", "x.7.partial.png", ".hidden.png")
    ]
    for path in hidden + foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half a pict")
    (tmp_path / "results" / "run" / "x.7.partial.png").unlink()  # a picture in a new store
    foreign.pop(2)
    store.keep(make_iodt(), "run")
    assert not any(path.exists() for path in hidden)
    assert all(path.read_bytes() == b"half a pict" for path in foreign)


@only_sqlite
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_only_be_read(store: LocalResultsStore, tmp_path: Path) -> None:
    kept = store.keep(make_iodt(0), "run")
    (tmp_path / "results" / "results.sqlite").chmod(0o400)
    assert store.find(EVERYTHING) == [kept]
    assert store.keep(make_iodt(0), "run") == kept  # it is there: nothing needs writing
    with pytest.raises(AtelierError, match=r"results\.sqlite: no permission to write"):
        store.keep(make_iodt(1), "run")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(store: LocalResultsStore, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o500)
    with pytest.raises(OSError, match="Permission"):
        store.keep(make_iodt(), "run")


# ---------------------------------------------------------------- more than one process

NUM_PICTURES = 150

# Keeps the same pictures in the same order, again and again, as a resumed run would.
KEEPER = """
import sys
from pathlib import Path
from components.results_store import create
from tests.components.results_store.test_results_store import NUM_PICTURES, same_seed
from tests.helpers import make_iodt

store = create(Path(sys.argv[1]))
first, step, mode = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
make = make_iodt if mode == "seeds" else same_seed
images = [make(n) for n in range(first, NUM_PICTURES, step)]
print("ready", flush=True)
sys.stdin.readline()
for image in images:
    store.keep(image, "run")
"""


def _start(folder: Path, first: int = 0, step: int = 1, mode: str = "seeds") -> Any:
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(folder), str(first), str(step), mode],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "ready\n"
    return keeper


def _go(keeper: Any) -> None:
    keeper.stdin.write("\n")
    keeper.stdin.flush()


def _check_whole(folder: Path) -> int:
    """No row without a file, every file whole and as its row says; the number of rows."""
    results = create(folder).find(EVERYTHING)
    for result in results:
        data = result.path.read_bytes()
        assert sha256_of(result.path) == result.sha256
        Image.open(io.BytesIO(data)).load()
    assert len({result.path for result in results}) == len(results)
    pictures = {make_iodt(number).sha256 for number in range(NUM_PICTURES)}
    for path in files_of(folder) - {result.path for result in results}:
        assert sha256_of(path) in pictures  # no row yet, but whole
    return len(results)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("index", "mode", "rounds"),
    [
        ("sqlite", "seeds", 3),
        *(
            pytest.param(index, mode, 12, marks=pytest.mark.slow)
            for index in ("sqlite", "postgres")
            for mode in ("seeds", "one seed")
        ),
    ],
    indirect=["index"],
)
def test_killed_at_any_moment_nothing_is_half_and_nothing_is_doubled(
    tmp_path: Path, mode: str, rounds: int
) -> None:
    rng = random.Random(0)
    rows, num_killed = 0, 0
    for _ in range(rounds):
        keepers = [_start(tmp_path, mode=mode) for _ in range(2)]
        for keeper in keepers:
            _go(keeper)
        for keeper in keepers:
            time.sleep(rng.uniform(0.005, 0.12))
            keeper.send_signal(signal.SIGKILL)
            num_killed += keeper.wait() == -signal.SIGKILL
        after = _check_whole(tmp_path)
        assert after >= rows
        rows = after
    assert num_killed >= rounds  # the test bites: most were still at work
    make = make_iodt if mode == "seeds" else same_seed
    images = [make(number) for number in range(NUM_PICTURES)]
    store = create(tmp_path)
    for image in images:
        store.keep(image, "run")
    assert _check_whole(tmp_path) == NUM_PICTURES
    assert len(files_of(tmp_path)) == NUM_PICTURES
    kept = {result.sha256 for result in store.find(EVERYTHING)}
    assert kept == {image.sha256 for image in images}
    assert not list((tmp_path / "results").rglob("*.partial*"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["seeds", "one seed"])
def test_processes_keep_at_once_and_nothing_is_overwritten(tmp_path: Path, mode: str) -> None:
    """Four processes: each picture is kept by two of them, all in a new store."""
    keepers = [_start(tmp_path, place % 2, 2, mode) for place in range(4)]
    for keeper in keepers:
        _go(keeper)
    store = create(tmp_path)
    while any(keeper.poll() is None for keeper in keepers):
        for result in store.find(EVERYTHING):  # looking on disturbs nobody
            assert result.path.exists()
    assert [keeper.wait() for keeper in keepers] == [0] * 4
    assert _check_whole(tmp_path) == NUM_PICTURES
    assert len(files_of(tmp_path)) == NUM_PICTURES


def test_threads_keep_at_once(store: LocalResultsStore, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    images = [same_seed(number) for number in range(20)] * 2
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda image: store.keep(image, "run"), images))
    assert results[:20] == results[20:]
    assert _check_whole(tmp_path) == 20


def test_digests_tell_names_apart() -> None:
    """The helpers' digests differ, or half of the above would prove nothing."""
    assert digest("a") != digest("b")
    assert len({same_seed(number).sha256 for number in range(NUM_PICTURES)}) == NUM_PICTURES
