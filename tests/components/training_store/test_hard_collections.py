"""Collections that lose pictures or styles in other tools: strays, names, encodings, workspaces."""

import csv
import io
import os
import socket
import tarfile
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from components.common.names import canonical, printable
from components.common.parallel import ProcessPool
from components.training_store import LocalTrainingStore, create, report_lines
from components.training_store.containers import Entry
from components.training_store.layouts import shard_styles
from components.training_store.styles import read_styles
from components.training_store.zip_names import member_names
from interfaces.errors import AtelierError
from interfaces.itdt import ITDT, CollectionSettings
from interfaces.progress import silent


def png(seed: int = 0) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalTrainingStore:
    return create(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two styles of two pictures."""
    root = tmp_path / "paintings"
    for place, name in enumerate(["blue/0", "blue/1", "red/0", "red/1"]):
        write(root / f"{name}.png", png(place))
    return root


def collect(store: LocalTrainingStore, data: Path, styles_csv: Path | None = None) -> ITDT:
    return store.collect(CollectionSettings(data=str(data), styles_csv=styles_csv), silent)


def put_aside(collection: ITDT) -> dict[str, str]:
    return {file.name: file.detail for file in collection.quarantined()}


# Strays


@pytest.mark.parametrize("stray", ["cover.png", "all/cover.png", "extras/cover.png"])
def test_a_stray_picture_takes_no_style_away(
    store: LocalTrainingStore, tmp_path: Path, stray: str
) -> None:
    for place, name in enumerate(["blue/0", "blue/1", "red/0", "red/1"]):
        write(tmp_path / "zip" / "all" / f"{name}.png", png(place))
    write(tmp_path / "zip" / stray, png(9))
    assert collect(store, tmp_path / "zip").images_per_style == {"blue": 2, "red": 2, "zip": 1}


# Workspaces


def test_a_workspace_in_the_collection_is_no_part_of_it(folder: Path) -> None:
    before = collect(create(folder / "workspace"), folder)
    for made in ("results/loose/1.png", "runs/0001-x/training/samples/1.png", "red/2.png"):
        write(folder / "workspace" / made, png(7))
    (folder / "red" / "made").symlink_to(folder / "workspace" / "results")
    after = collect(create(folder / "workspace"), folder)
    elsewhere = collect(create(folder.parent / "another"), folder)
    assert before.num_images == 4
    assert before.digest == after.digest == elsewhere.digest
    assert after.num_quarantined == 0


@pytest.mark.parametrize("mark", ["results/results.journal", "jobs.sqlite"])
def test_a_workspace_that_never_listed_a_collection_is_no_part_of_one(
    folder: Path, mark: str
) -> None:
    before = collect(create(folder.parent / "another"), folder)
    write(folder / "made" / "results" / "0001-x" / "1.png", png(7))
    write(folder / "made" / mark, b"")
    assert collect(create(folder.parent / "another"), folder).digest == before.digest


def test_a_collection_in_the_workspace_can_be_named(tmp_path: Path) -> None:
    write(tmp_path / "workspace" / "results" / "a.png", png())
    store = create(tmp_path / "workspace")
    assert collect(store, tmp_path / "workspace" / "results").num_images == 1
    with pytest.raises(AtelierError, match="is the workspace itself"):
        collect(store, tmp_path / "workspace")


# Pipes, sockets, devices, links


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX pipes")
def test_what_is_no_file_is_named_and_never_opened(
    store: LocalTrainingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "red" / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    monkeypatch.chdir(folder)  # a socket's path has a hundred bytes at most
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
        collection = collect(store, folder)
    assert collection.num_images == 4
    assert put_aside(collection) == dict.fromkeys(
        ["red/pipe.png", "zero.png", "socket.png"], "a pipe, socket or device, not a file"
    )
    for data in (folder / "red" / "pipe.png", Path("/dev/zero")):
        with pytest.raises(AtelierError, match="a pipe, socket or device"):
            collect(store, data)
    with pytest.raises(AtelierError, match="a pipe, socket or device"):
        collect(store, folder, styles_csv=folder / "red" / "pipe.png")


def test_a_tars_header_that_lies_ends_the_tar_and_nothing_else(
    store: LocalTrainingStore, tmp_path: Path
) -> None:
    path = tmp_path / "art.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, headers in (("a.png", {}), ("b.png", {"GNU.sparse.map": "abc"})):
            data = png()
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), headers
            archive.addfile(member, io.BytesIO(data))
    found = store.collect(CollectionSettings(data=str(path)), silent)
    assert [image.name for image in found.images()] == ["a.png"]
    assert [file.reason for file in found.quarantined()] == ["truncated"]


def header(kind: bytes, size: int) -> bytes:
    """A tar's header that says something of the file after it."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("name", ["art-1.tar", "art-{1..1}.tar"])
@pytest.mark.parametrize(
    "headers, detail",
    [
        ((header(tarfile.GNUTYPE_LONGNAME, 2) + b"b".ljust(512, b"\0")) * 2000, "too many headers"),
        ((header(tarfile.XHDTYPE, 6) + b"6 a=b\n".ljust(512, b"\0")) * 2000, "too many headers"),
        ((header(tarfile.XHDTYPE, 1 << 20) + bytes(1 << 20)) * 3, "too many headers"),
        (header(tarfile.XHDTYPE, 1 << 32), "a header of 4,294,967,296 bytes"),
    ],
    ids=["names", "pax", "long", "large"],
)
def test_headers_without_end_end_the_tar(
    store: LocalTrainingStore, tmp_path: Path, name: str, headers: bytes, detail: str
) -> None:
    with tarfile.open(tmp_path / "art-1.tar", "w") as archive:
        for place in range(2):
            member = tarfile.TarInfo(f"{place}.png")
            member.size = len(png(place))
            archive.addfile(member, io.BytesIO(png(place)))
        end = archive.offset
    path = tmp_path / "art-1.tar"
    path.write_bytes(path.read_bytes()[:end] + headers)
    found = collect(store, tmp_path / name)
    assert found.num_images >= 1  # the last sample of a shard goes on where its tar is cut off
    (fault,) = found.quarantined()
    assert fault.reason == "truncated" and detail in fault.detail


def test_what_is_no_file_in_a_tar_is_named(store: LocalTrainingStore, tmp_path: Path) -> None:
    kinds = {
        "a/device.png": tarfile.CHRTYPE,
        "a/link.png": tarfile.SYMTYPE,
        "a/other name.png": tarfile.LNKTYPE,
        "a/pipe.png": tarfile.FIFOTYPE,
        "b": tarfile.DIRTYPE,
    }
    with tarfile.open(tmp_path / "mine.tar", "w") as archive:
        picture, data = tarfile.TarInfo("a/1.png"), png()
        picture.size = len(data)
        archive.addfile(picture, io.BytesIO(data))
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a/1.png"
            archive.addfile(member)
    collection = collect(store, tmp_path / "mine.tar")
    assert put_aside(collection) == dict.fromkeys(
        [name for name in kinds if name != "b"], "a link, device or sparse file"
    )


def test_a_linked_folder_within_another_is_listed_once(
    store: LocalTrainingStore, folder: Path
) -> None:
    outside = write(folder.parent / "outside" / "deep" / "x.png", png(8)).parent
    (folder / "a link").symlink_to(outside)
    (folder / "b link").symlink_to(outside.parent)
    collection = collect(store, folder)
    assert collection.images_per_style == {"a link": 1, "blue": 2, "red": 2}
    assert put_aside(collection) == {
        "b link/deep/": "the same folder was listed before, by another name"
    }


# Names


def test_names_that_look_the_same_are_one_style(store: LocalTrainingStore, tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Café") for form in ("NFC", "NFD")]
    for place, name in enumerate(forms):
        write(tmp_path / "d" / name / f"{place}.png", png(place))
    if len(list((tmp_path / "d").iterdir())) == 1:
        pytest.skip("this file system holds them to be one folder already")
    assert collect(store, tmp_path / "d").images_per_style == {"Café": 2}


@given(st.text())
def test_a_printable_name_is_one_safe_line_in_nfc(name: str) -> None:
    shown = printable(name)
    assert canonical(shown) == shown == printable(shown)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    assert printable(unicodedata.normalize("NFD", name)) == shown


@pytest.mark.skipif(os.name != "posix", reason="other systems allow no such names")
def test_any_name_is_listed_journalled_and_reported(
    store: LocalTrainingStore, folder: Path
) -> None:
    names = [b"caf\xe9.png", b"\x1b[31mred.png", b"new\nline.png", b"style\x07/a.png"]
    for place, name in enumerate(names):
        write(Path(os.fsdecode(os.fsencode(folder) + b"/" + name)), png(10 + place))
    collection = collect(store, folder)
    report = "\n".join(report_lines(collection))
    assert r"caf\udce9.png: unreadable, its name is not valid Unicode" in report
    assert {r"\x1b[31mred.png", r"new\nline.png", r"style\x07/a.png"} <= {
        image.name for image in collection.images()
    }
    assert report.isprintable() or set(filter(lambda one: not one.isprintable(), report)) == {"\n"}
    assert collect(store, folder).digest == collection.digest


def packed(path: Path, names: Sequence[str], code_page: str) -> Path:
    """A zip whose names are in a code page, without a word of which."""
    lengths = [len(name.encode(code_page)) for name in names]
    stand_ins = [letter * length for letter, length in zip("abcde", lengths, strict=False)]
    with zipfile.ZipFile(path, "w") as archive:
        for place, stand_in in enumerate(stand_ins):
            archive.writestr(stand_in, png(place))
    data = path.read_bytes()
    for stand_in, name in zip(stand_ins, names, strict=True):
        data = data.replace(stand_in.encode(), name.encode(code_page))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("code_page", "names"),
    [
        ("cp866", ["Импрессионизм/утро.png", "Барокко/и я/вечер 2.png"]),
        ("cp437", ["Café à Paris/élan.png", "Jugendstil/Straße.png", "Olé/señor.png"]),
        ("utf-8", ["Импрессионизм/утро.png", "Café/élan.png"]),
    ],
)
def test_zip_names_of_any_old_code_page(
    store: LocalTrainingStore, tmp_path: Path, code_page: str, names: list[str]
) -> None:
    collection = collect(store, packed(tmp_path / "a.zip", names, code_page))
    assert {image.name for image in collection.images()} == set(names)
    assert set(collection.styles) == {name.partition("/")[0] for name in names}


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


_CYRILLIC_WORD = st.text("абвгдежзийклмнопрстуфхцчшщъыьэюяАБВЯ", min_size=3, max_size=12)


@given(st.lists(_CYRILLIC_WORD, min_size=1, max_size=5))
def test_russian_names_are_told_by_their_words(words: list[str]) -> None:
    assume(not any(is_utf8(word.encode("cp866")) for word in words))
    members = [zipfile.ZipInfo(word.encode("cp866").decode("cp437")) for word in words]
    assert member_names(members) == words


# Members that cannot be read


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_of_unreadable_members_says_why(
    store: LocalTrainingStore, tmp_path: Path, method: int
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("red/a.png", png())
    name = "LZMA" if method == zipfile.ZIP_LZMA else "bzip2"
    with pytest.raises(AtelierError, match=rf"red/a.png \(unsupported: packed by {name}"):
        collect(store, path)


@pytest.mark.parametrize("is_cut", [True, False], ids=["its start is lost", "zip64"])
def test_a_member_outside_the_zip_is_put_aside(
    store: LocalTrainingStore, tmp_path: Path, is_cut: bool
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("red/a.png", png())
        archive.writestr("red/b.png", png(1))
        if not is_cut:
            archive.infolist()[0].header_offset = 2**64 - 2
    if is_cut:
        path.write_bytes(path.read_bytes()[10:])
    collection = collect(store, path)
    assert [image.name for image in collection.images()] == ["red/b.png"]
    assert put_aside(collection) == {"red/a.png": "the zip does not hold it where it says"}


def test_an_encrypted_zip_says_so(store: LocalTrainingStore, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for style in ("red", "blue"):
            archive.writestr(f"all/{style}/a.png", png())
    data = bytearray(path.read_bytes())
    red = data.index(b"all/red", data.index(b"PK\x01\x02")) - 46
    data[red + 8] |= 1
    path.write_bytes(data)
    collection = collect(store, path)
    assert collection.images_per_style == {"blue": 1}
    assert put_aside(collection) == {"all/red/a.png": "encrypted in the zip; unpack it first"}
    data[data.index(b"all/blue", red) - 46 + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(AtelierError, match="encrypted in the zip"):
        collect(store, path)


def test_empty_members_cost_no_worker(
    store: LocalTrainingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for place in range(600):
            archive.writestr(f"{place}.png", b"")
    monkeypatch.setattr(ProcessPool, "call", lambda *_: pytest.fail("a worker was asked"))
    with pytest.raises(AtelierError, match=r"600 truncated; the first: 0.png"):
        collect(store, path)


# CSV


def table(path: Path, rows: Sequence[Sequence[str]], divider: str, encoding: str) -> Path:
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=divider).writerows(rows)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("divider", [",", ";", "\t", "|"])
def test_any_divider_and_title(tmp_path: Path, divider: str, encoding: str) -> None:
    rows = [["title, year; place\tx|y", "File", " style "], ["x", "é,ü;1.png", "Rococo; late"]]
    path = table(tmp_path / "s.csv", rows, divider, encoding)
    assert read_styles(path).find("é,ü;1.png") == "Rococo; late"


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(",;\t|"),
    st.text('aé,;|\t"\n x', min_size=1).filter(lambda title: title.strip()),
    st.text('bü,;|\t"\n y', min_size=1).filter(lambda style: style.strip()),
)
def test_what_csv_writes_is_read_back(tmp_path: Path, divider: str, title: str, style: str) -> None:
    rows = [[title, "style", "file"], ["x", style, "1.png"]]
    path = table(tmp_path / "s.csv", rows, divider, "utf-8")
    assert read_styles(path).find("1.png") == printable(style.strip())


def test_names_of_a_csv_are_found_in_any_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Café à Paris.png")
    rows = [["file", "style"], [decomposed, "a"], ["upper.png", "b"], ["x/T.png", "c"]]
    styles = read_styles(table(tmp_path / "s.csv", [*rows, ["x/t.png", "d"]], ";", "utf-8"))
    assert styles.find("in/Café à Paris.png") == "a"
    assert styles.find("Upper.PNG") == "b"
    assert (styles.find("x/T.png"), styles.find("x/t.png")) == ("c", "d")
    assert styles.find("X/T.PNG") is None  # which of the two is meant?


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("file;style\r\na.png;Café\r\n".encode("cp1252"), "save it as 'CSV UTF-8'"),
        (b"file,style\na.png,x\na.png,y\n", "gives a.png two styles, x and y"),
        ("file,style".encode("utf-16")[:-1], "save it as"),
    ],
)
def test_a_csv_that_cannot_be_trusted_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(AtelierError, match=message):
        read_styles(write(tmp_path / "s.csv", data))


def test_excels_own_first_line_is_no_header(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", b"sep=;\r\nfile;style\r\na.png;x\r\n")
    assert read_styles(path).find("a.png") == "x"


# Parquet


def test_text_that_is_not_utf8_costs_no_picture(store: LocalTrainingStore, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    raw = pa.array([b"caf\xe9", b"ok", None], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    paths = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    images = pa.array([png(seed) for seed in range(3)])
    pictures = pa.StructArray.from_arrays([images, paths], ["bytes", "path"])
    for place, style in enumerate((texts, texts.dictionary_encode())):
        path = tmp_path / f"{place}.parquet"
        parquet.write_table(pa.table({"image": pictures, "style": style}), path)
        expected = {r"caf\xe9": 1, "ok": 1, "unlabelled": 1}
        assert collect(store, path).images_per_style == expected


def test_folders_of_shards_name_styles_and_a_damaged_shard_is_put_aside(
    store: LocalTrainingStore, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for place, style in enumerate(("Baroque", "Ukiyo_e")):
        path = tmp_path / "d" / style / "0000.parquet"
        path.parent.mkdir(parents=True)
        parquet.write_table(pa.table({"image": [png(2 * place), png(2 * place + 1)]}), path)
    whole = (tmp_path / "d" / "Baroque" / "0000.parquet").read_bytes()
    write(tmp_path / "d" / "Baroque" / "0001.parquet", whole[:-60])
    collection = collect(store, tmp_path / "d")
    assert collection.images_per_style == {"Baroque": 2, "Ukiyo_e": 2}
    assert {image.name for image in collection.images()} >= {"Baroque/0000/0000000"}
    assert "not a readable parquet file" in put_aside(collection)["Baroque/0001"]


@pytest.mark.parametrize(
    ("files", "styles"),
    [
        (["data/train-0", "data/train-1"], [None, None]),
        (["train/0", "test/0"], [None, None]),
        (["plain/train/0", "plain/test/0"], [None, None]),
        (["a/0", "b/0", "b/1"], ["a", "b", "b"]),
        (["all/a/0", "all/b/0", "more"], ["a", "b", None]),
        (["train/a/0", "test/b/0"], ["a", "b"]),
        (["0", "1"], [None, None]),
    ],
)
def test_which_folders_of_shards_are_styles(files: list[str], styles: list[str | None]) -> None:
    entries = [Entry(f"{name}.parquet", Path(name), 0, 1, 1) for name in files]
    found = shard_styles(entries)
    assert [style for _, _, style in found] == styles
    assert len({name for _, name, _ in found}) == len(files)
