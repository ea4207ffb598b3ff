"""Data sets as people keep them: each is the collection that a plain folder of it would be."""

import errno
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training_store import LocalTrainingStore, create
from components.training_store.parquet import Shard, _rows_of
from components.training_store.shards import expand_braces, has_braces
from interfaces.errors import AtelierError, RefusedError, UnavailableError
from interfaces.itdt import ITDT
from tests.components.training_store.test_training_store import (
    collect,
    encoded,
    picture,
    reasons,
    write,
)

STYLES = ("night sky", "waves", "лес")


@pytest.fixture
def store(tmp_path: Path) -> LocalTrainingStore:
    return create(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures of three styles in folders, and one that is cut off."""
    root = tmp_path / "art"
    for number in range(12):
        name = f"{STYLES[number % 3]}/{number:03d} œuvre.png"
        write(root / name, encoded(picture(number)))
    write(root / "waves" / "cut.png", encoded(picture(1))[:200])
    return root


def samples(folder: Path) -> list[tuple[str, str, bytes]]:
    """(style, file name, bytes) of every picture, in an order that no name has."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name[::-1])
    return [(path.parent.name, path.name, path.read_bytes()) for path in paths]


def write_shards(
    folder: Path, into: Path, num_shards: int, sidecar: Callable[[str], dict[str, bytes]]
) -> None:
    into.mkdir()
    for shard in range(num_shards):
        with tarfile.open(into / f"set-{shard:03d}.tar", "w") as archive:
            for style, name, data in samples(folder)[shard::num_shards]:
                stem = name.removesuffix(".png")
                files = {".png": data} | sidecar(style)
                for suffix, content in sorted(files.items()):
                    info = tarfile.TarInfo(stem + suffix)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))


def same(first: ITDT, second: ITDT) -> None:
    assert first.digest == second.digest
    assert first.images_per_style == second.images_per_style
    assert reasons(first) == reasons(second)
    for one, other in zip(first.images(), second.images(), strict=True):
        assert (one.name, one.style) == (other.name, other.style)
        assert one.read_bytes() == other.read_bytes()


# WebDataset


def test_six_shards_are_the_collection_that_the_folder_is(
    store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    write_shards(
        folder,
        tmp_path / "shards",
        6,
        lambda style: {".json": json.dumps({"style": style, "caption": "x"}).encode()},
    )
    truth = collect(store, folder)
    same(collect(store, tmp_path / "shards" / "set-{000..005}.tar"), truth)
    same(collect(store, tmp_path / "shards"), truth)


def test_a_class_file_gives_the_style(
    store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    write_shards(folder, tmp_path / "named", 1, lambda style: {".cls": f"{style}\n".encode()})
    same(collect(store, tmp_path / "named" / "set-000.tar"), collect(store, folder))
    write_shards(
        folder, tmp_path / "numbers", 2, lambda style: {".cls": b"%d" % STYLES.index(style)}
    )
    collection = collect(store, tmp_path / "numbers" / "set-{000,001}.tar")
    assert collection.images_per_style == {"class 000": 4, "class 001": 4, "class 002": 4}


def test_webdataset_writes_what_is_read(
    store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is missing")
    with webdataset.TarWriter(str(tmp_path / "written.tar")) as writer:
        for style, name, data in samples(folder):
            sample = {"png": data, "json": {"label": style}}
            writer.write({"__key__": name.removesuffix(".png")} | sample)
    same(collect(store, tmp_path / "written.tar"), collect(store, folder))
    theirs = webdataset.WebDataset(str(tmp_path / "written.tar"), shardshuffle=False)
    assert {sample["__key__"] for sample in theirs} == {
        name.removesuffix(".png") for _, name, _ in samples(folder)
    }


def test_a_cut_shard_is_put_aside_from_there_on(
    store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    write_shards(folder, tmp_path / "shards", 2, lambda style: {".cls": style.encode()})
    path = tmp_path / "shards" / "set-001.tar"
    path.write_bytes(path.read_bytes()[:9000])
    collection = collect(store, tmp_path / "shards" / "set-{000..001}.tar")
    assert collection.num_images >= 6
    assert reasons(collection)["set-001/"] == "truncated"


def test_a_disk_that_fails_for_a_moment_costs_no_shard(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(stream: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    write_shards(folder, tmp_path / "shards", 2, lambda style: {".cls": style.encode()})
    data = tmp_path / "shards" / "set-{000..001}.tar"
    with monkeypatch.context() as patch:
        patch.setattr("components.training_store.shards.open_tar", fail)
        with pytest.raises(UnavailableError, match="cannot be read now"):
            collect(store, data)
    assert not {"set-000/", "set-001/"} & reasons(collect(store, data)).keys()


def test_equal_names_in_two_shards_stay_two(store: LocalTrainingStore, tmp_path: Path) -> None:
    for shard in range(2):
        (tmp_path / "in" / str(shard)).mkdir(parents=True)
        for number in range(2):
            data = encoded(picture(10 * shard + number))
            write(tmp_path / "in" / str(shard) / "waves" / f"{number}.png", data)
        with tarfile.open(tmp_path / f"s-{shard}.tar", "w") as archive:
            archive.add(tmp_path / "in" / str(shard) / "waves", "waves")
    collection = collect(store, tmp_path / "s-{0..1}.tar")
    assert [image.name for image in collection.images()] == [
        "s-1/waves/0.png",
        "s-1/waves/1.png",
        "waves/0.png",
        "waves/1.png",
    ]


def test_a_missing_shard_is_named(store: LocalTrainingStore, tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match=r"s-0\.tar: no such file; .* one of 3"):
        collect(store, tmp_path / "s-{0..2}.tar")


@given(first=st.integers(0, 300), last=st.integers(0, 300), width=st.integers(1, 5))
def test_braces_stand_for_numbers(first: int, last: int, width: int) -> None:
    text = f"a-{{{first:0{width}d}..{last:0{width}d}}}.tar"
    names = expand_braces(text)
    step = 1 if last >= first else -1
    assert [int(name[2:-4]) for name in names] == list(range(first, last + step, step))
    assert all(len(name) >= len("a-.tar") + width for name in names)
    assert has_braces(text)


def test_braces_as_a_shell_expands_them() -> None:
    braceexpand = pytest.importorskip("braceexpand", reason="braceexpand is missing")
    for text in ("x-{08..11}.tar", "{train,test}-{0..2}.tar", "plain.tar", "{a}.tar", "{3..1}"):
        assert expand_braces(text) == list(braceexpand.braceexpand(text))
    assert not has_braces("{a}.tar")
    with pytest.raises(RefusedError, match="more than 100,000 files"):
        expand_braces("{0..999}{0..999}")


# Hugging Face


@pytest.fixture
def theirs(folder: Path) -> object:
    """The folder as `datasets` loads it, less the picture that its own reader would choke on."""
    datasets = pytest.importorskip("datasets", reason="datasets is missing")
    label = datasets.ClassLabel(names=list(STYLES))
    rows = {
        "image": [{"bytes": data, "path": name} for _, name, data in samples(folder)],
        "label": [STYLES.index(style) for style, _, _ in samples(folder)],
    }
    features = datasets.Features({"image": datasets.Image(decode=False), "label": label})
    return datasets.Dataset.from_dict(rows, features=features)


def test_datasets_saved_to_disk_is_the_folder(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, theirs: object
) -> None:
    theirs.save_to_disk(tmp_path / "saved", num_shards=3)
    same(collect(store, tmp_path / "saved"), collect(store, folder))
    write(tmp_path / "saved" / "cache-0123456789abcdef.arrow", b"of a map()")
    same(collect(store, tmp_path / "saved"), collect(store, folder))


def test_a_dictionary_of_data_sets_is_the_folder(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, theirs: object
) -> None:
    import datasets

    split = theirs.train_test_split(test_size=4, seed=0)
    datasets.DatasetDict(split).save_to_disk(tmp_path / "saved")
    same(collect(store, tmp_path / "saved"), collect(store, folder))


def test_a_hub_like_folder_of_parquet_is_the_folder(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, theirs: object
) -> None:
    for place in range(2):
        path = tmp_path / "hub" / "data" / f"train-{place:05d}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        theirs.shard(2, place).to_parquet(path)
    write(tmp_path / "hub" / "README.md", b"---\nlicense: cc0-1.0\n---\n")
    same(collect(store, tmp_path / "hub"), collect(store, folder))


def arrow_file(path: Path, folder: Path, is_stream: bool) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    table = pa.table(
        {
            "image": [{"bytes": data, "path": name} for _, name, data in samples(folder)],
            "style": [style for style, _, _ in samples(folder)],
        }
    )
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)


@pytest.mark.parametrize("is_stream", [True, False])
def test_both_formats_of_arrow_are_read(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, is_stream: bool
) -> None:
    arrow_file(tmp_path / "art.arrow", folder, is_stream)
    same(collect(store, tmp_path / "art.arrow"), collect(store, folder))


def test_a_cut_arrow_file_is_named(store: LocalTrainingStore, folder: Path, tmp_path: Path) -> None:
    arrow_file(tmp_path / "art.arrow", folder, is_stream=True)
    data = (tmp_path / "art.arrow").read_bytes()
    write(tmp_path / "art.arrow", data[:600])
    with pytest.raises(AtelierError, match="not a readable arrow file"):
        collect(store, tmp_path / "art.arrow")


@pytest.mark.parametrize("path", ["/home/me/art/a.png", "../../a.png", "C:\\art\\a.png", "", None])
def test_a_path_in_a_row_leads_nowhere(
    store: LocalTrainingStore, tmp_path: Path, path: str | None
) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    import pyarrow.parquet

    row = {"image": [{"bytes": encoded(picture()), "path": path}], "style": ["waves"]}
    pyarrow.parquet.write_table(pa.table(row), tmp_path / "one.parquet")
    (image,) = collect(store, tmp_path / "one.parquet").images()
    assert not image.name.startswith("/") and ".." not in image.name
    assert image.name in ("waves/a.png", "C:/art/a.png", "one/0000000")
    assert image.style == "waves"


def test_a_picture_that_thousands_of_rows_share_is_not_unpacked(
    store: LocalTrainingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    import pyarrow.parquet

    monkeypatch.setattr("components.training_store.containers._MIN_UNPACKED_BYTES", 2**20)
    data = encoded(picture()) + bytes(range(256)) * 40
    table = pa.table({"image": pa.array([data] * 5000), "style": ["waves"] * 5000})
    path = tmp_path / "many.parquet"
    pyarrow.parquet.write_table(table, path)  # the bytes lie in it once
    assert path.stat().st_size < 2**18
    (fault,) = collect(store, path).quarantined()
    assert "unpacks to more than" in fault.detail
    (blob,) = tmp_path.rglob("*.images")
    assert blob.stat().st_size < 2**22


def test_a_large_value_that_rows_share_is_unpacked_once_at_a_time(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    import pyarrow.parquet

    large, path = bytes(2**20), tmp_path / "large.parquet"
    table = pa.table({"image": pa.array([large] * 64), "style": ["waves"] * 64})
    pyarrow.parquet.write_table(table, path)
    tracemalloc.start()
    try:
        assert sum(len(found.data) for found in _rows_of(Shard(path, "large", None))) == 2**26
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_schema_nested_without_end_names_no_styles(
    store: LocalTrainingStore, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    import pyarrow.parquet

    table = pa.table({"image": [encoded(picture())], "label": [0]})
    table = table.replace_schema_metadata({b"huggingface": b"[" * 200_000})
    pyarrow.parquet.write_table(table, tmp_path / "one.parquet")
    assert collect(store, tmp_path / "one.parquet").images_per_style == {"0": 1}


# Image folders with metadata


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_gives_the_styles(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, kind: str
) -> None:
    rows = [(f"images/{style} {name}", style) for style, name, _ in samples(folder)]
    for style, name, data in samples(folder):
        write(tmp_path / "flat" / "images" / f"{style} {name}", data)
    csv = "file_name,text,style\r\n" + "".join(f'{file},"a, b",{style}\r\n' for file, style in rows)
    jsonl = "".join(json.dumps({"file_name": file, "label": style}) + "\n" for file, style in rows)
    write(tmp_path / "flat" / f"metadata.{kind}", {"csv": csv, "jsonl": jsonl}[kind].encode())
    styles = write(
        tmp_path / "styles.csv", ("file,style\n" + "".join(f"{f},{s}\n" for f, s in rows)).encode()
    )
    found = collect(store, tmp_path / "flat")
    (tmp_path / "flat" / f"metadata.{kind}").unlink()
    same(found, collect(store, tmp_path / "flat", styles_csv=styles))
    assert found.images_per_style == collect(store, folder).images_per_style


def test_metadata_without_styles_changes_nothing(store: LocalTrainingStore, folder: Path) -> None:
    truth = collect(store, folder)
    write(folder / "metadata.csv", b"file_name,text\nwaves/000.png,hello\n")
    same(collect(store, folder), truth)


@pytest.mark.parametrize("data", [b'{"file_name": "a.png"', b"[1, 2]\n", b"\xff\xfe\x00"])
def test_damaged_metadata_is_named(store: LocalTrainingStore, folder: Path, data: bytes) -> None:
    write(folder / "metadata.jsonl", data)
    with pytest.raises(AtelierError, match=r"metadata\.jsonl: not readable"):
        collect(store, folder)
