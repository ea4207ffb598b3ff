"""The training store: every kind of collection, every kind of bad file."""

import errno
import gzip
import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from components.common.parallel import ProcessPool, WorkerDiedError
from components.training_store import LocalTrainingStore, create, report_lines
from components.training_store.containers import Entry, read_entry
from components.training_store.hashing import MAX_DISTANCE, near_pairs, perceptual_hash
from components.training_store.inspection import Limits, inspect
from components.training_store.layouts import Candidate, style_level
from interfaces.errors import AtelierError
from interfaces.itdt import ITDT, CollectionSettings, TrainingStore
from interfaces.progress import ProgressEvent, silent
from tests.helpers import REPOSITORY, shared

LIMITS = Limits.of(CollectionSettings())


def picture(seed: int = 0, width: int = 48, height: int = 40) -> Image.Image:
    """A smooth random picture with detail enough to be told from others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(side: int = 50_000) -> bytes:
    """A valid PNG of side × side grey zeros in a few megabytes (one bit a pixel: few kilobytes)."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPool]:
    with ProcessPool() as pool:
        yield pool


@pytest.fixture(autouse=True)
def _warm_workers(workers: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one pool for all tests here, since starting one takes longer than most of them."""
    monkeypatch.setattr("components.training_store.store.ProcessPool", lambda: nullcontext(workers))


@pytest.fixture
def store(tmp_path: Path) -> LocalTrainingStore:
    return create(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three styles in folders, six pictures, among them names in Cyrillic and with spaces."""
    root = tmp_path / "my paintings"
    write(root / "waves" / "one.PNG", encoded(picture(1)))
    write(root / "waves" / "deep" / "two.jpeg", encoded(picture(2), "JPEG", quality=95))
    write(root / "лес" / "ёлки у реки.webp", encoded(picture(3), "WEBP", lossless=True))
    write(root / "лес" / "b.Tiff", encoded(picture(4), "TIFF"))
    write(root / "night sky" / "c d.bmp", encoded(picture(5), "BMP"))
    write(root / "loose.gif", encoded(picture(6), "GIF"))
    write(root / "README.txt", b"not counted")
    write(root / ".hidden.png", b"not counted either")
    write(root / "labels.csv", b"nor this")
    return root


def collect(store: LocalTrainingStore, data: Path | str, **settings: object) -> ITDT:
    return store.collect(CollectionSettings(data=str(data), **settings), silent)


def reasons(collection: ITDT) -> dict[str, str]:
    return {file.name: file.reason for file in collection.quarantined()}


def pixels(collection: ITDT) -> dict[str, tuple[str, bytes]]:
    return {
        image.name: (
            image.style,
            Image.open(io.BytesIO(image.read_bytes())).convert("RGB").tobytes(),
        )
        for image in collection.images()
    }


# Folders


def test_folder_gives_every_image_its_top_folder_as_style(
    store: LocalTrainingStore, folder: Path
) -> None:
    collection = collect(store, folder)
    assert isinstance(store, TrainingStore)
    assert {image.name: image.style for image in collection.images()} == {
        "waves/one.PNG": "waves",
        "waves/deep/two.jpeg": "waves",
        "лес/ёлки у реки.webp": "лес",
        "лес/b.Tiff": "лес",
        "night sky/c d.bmp": "night sky",
        "loose.gif": "my paintings",
    }
    assert collection.name == "my paintings"
    assert collection.num_quarantined == 0
    assert [image.name for image in collection.images()] == sorted(
        (image.name for image in collection.images()), key=lambda name: name.split("/")
    )


def test_links_in_circles_are_walked_once(store: LocalTrainingStore, folder: Path) -> None:
    outside = write(folder.parent / "elsewhere" / "far.png", encoded(picture(7))).parent
    write(folder.parent / "stray.png", encoded(picture(8)))
    (outside / "back").symlink_to(folder)
    (folder / "waves" / "again").symlink_to(folder)
    (folder / "up").symlink_to(folder.parent)
    (folder / "linked").symlink_to(outside)
    (folder / "linked too").symlink_to(outside)
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "nowhere.png").symlink_to("missing.png")
    collection = collect(store, folder)
    assert collection.num_images == 7
    assert collection.images_per_style["linked"] == 1
    assert reasons(collection) == {
        "itself.png": "unreadable",
        "nowhere.png": "unreadable",
        "linked/back/": "unsupported",
        "linked too/": "unsupported",
        "up/": "unsupported",
        "waves/again/": "unsupported",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX pipes")
def test_a_pipe_is_not_waited_for(store: LocalTrainingStore, folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert reasons(collect(store, folder)) == {"pipe.png": "unsupported"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_unicode_is_put_aside(store: LocalTrainingStore, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(encoded(picture()))
    assert reasons(collect(store, folder)) == {r"\udcff\udcfe.png": "unreadable"}


def test_unreadable_files_and_folders_are_put_aside(
    store: LocalTrainingStore, folder: Path
) -> None:
    locked = write(folder / "waves" / "locked.png", encoded(picture(7)))
    locked.chmod(0)
    closed = write(folder / "closed" / "in.png", encoded(picture(8))).parent
    closed.chmod(0)
    try:
        if os.access(locked, os.R_OK):
            pytest.skip("this user (root?) may read everything")
        found = reasons(collect(store, folder))
        assert found == {"waves/locked.png": "unreadable", "closed/": "unreadable"}
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize(
    ("folders", "level"),
    [
        ({"a", "b"}, 0),
        ({"a"}, 0),
        ({"a/deep"}, 0),
        ({"a/deep", "b"}, 0),
        ({"paintings/a", "paintings/b"}, 1),
        ({"paintings", "paintings/a"}, 0),
        ({"train/a", "test/a", "test/b"}, 1),
        ({"train/a"}, 1),
        ({"artbench-10-imagefolder-split/train/a", "artbench-10-imagefolder-split/test/a"}, 2),
        ({"train", "test"}, 0),
        (set(), 0),
        ({"paintings/a", "paintings/b", ""}, 1),
        ({"paintings", "paintings/a", "paintings/b"}, 1),
        ({"train", "train/a", "train/b"}, 1),
        ({"train/a", "train/b", "test"}, 1),
        ({"top", "top/train", "top/train/a", "top/train/b", "top/test/a"}, 2),
        ({"paintings/a", "paintings/b", "sketches"}, 0),
        ({"a/deep", "a/deeper", "b", "c"}, 0),
    ],
)
def test_wrappers_and_splits_are_no_styles(folders: set[str], level: int) -> None:
    assert style_level({tuple(filter(None, name.split("/"))): 9 for name in folders}) == level


def test_artbench_image_folder(store: LocalTrainingStore, tmp_path: Path) -> None:
    root = tmp_path / "artbench-10-imagefolder-split"
    for place, name in enumerate(["train/baroque/a", "train/ukiyo_e/b", "test/baroque/c"]):
        write(root / f"{name}.jpg", encoded(picture(place), "JPEG"))
    for data in (root, tmp_path):
        assert collect(store, data).images_per_style == {"baroque": 2, "ukiyo_e": 1}


# Archives


def pack(folder: Path, target: Path, compression: int) -> Path:
    with zipfile.ZipFile(target, "w", compression) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return target


def pack_tar(folder: Path, target: Path, mode: str) -> Path:
    with tarfile.open(target, mode) as archive:
        archive.add(folder, ".")
    return target


PACKERS: dict[str, Callable[[Path, Path], Path]] = {
    "zip stored": lambda folder, to: pack(folder, to / "my paintings.zip", zipfile.ZIP_STORED),
    "zip deflated": lambda folder, to: pack(folder, to / "my paintings.zip", zipfile.ZIP_DEFLATED),
    "tar": lambda folder, to: pack_tar(folder, to / "my paintings.tar", "w:"),
    "tar.gz": lambda folder, to: pack_tar(folder, to / "my paintings.tar.gz", "w:gz"),
    "tar.xz": lambda folder, to: pack_tar(folder, to / "my paintings.tar.xz", "w:xz"),
    "tar.bz2 by another name": lambda folder, to: pack_tar(folder, to / "my paintings", "w:bz2"),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_an_archive_gives_what_its_folder_gives(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, packer: str
) -> None:
    (tmp_path / "packed").mkdir()
    packed = collect(store, PACKERS[packer](folder, tmp_path / "packed"))
    plain = collect(store, folder)
    assert pixels(packed) == pixels(plain)
    assert packed.images_per_style == plain.images_per_style
    assert packed.digest == plain.digest
    assert packed.manifest != plain.manifest  # each says where its own bytes lie


def test_hostile_zip_members_are_put_aside(store: LocalTrainingStore, tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    good = encoded(picture(1))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../up/good.png", good)
        archive.writestr("c:\\style\\other.png", encoded(picture(2)))
        archive.writestr("__MACOSX/style/._good.png", b"resource fork")
        archive.writestr("style/lzma.png", good, zipfile.ZIP_LZMA)
        archive.writestr("style/locked.png", good)
        archive.writestr("style/bent.png", encoded(picture(3)))
        archive.writestr("style/bomb.bmp", bytes(20_000_000), zipfile.ZIP_DEFLATED)
        archive.writestr("style/liar.png", encoded(picture(4)), zipfile.ZIP_DEFLATED)
        archive.writestr("style/line\nbreak.png", b"text")
        places = {name: archive.getinfo(name) for name in archive.namelist()}
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    locked = data.index(b"style/locked.png", directory) - 46
    data[locked + 8] |= 1  # encrypted
    liar = data.index(b"style/liar.png", directory) - 46
    data[liar + 24 : liar + 28] = struct.pack("<I", 10)  # declares ten bytes unpacked
    bent = places["style/bent.png"].header_offset + 30 + len("style/bent.png") + 60
    data[bent] ^= 1
    path.write_bytes(data)
    collection = collect(store, path, max_pixels=100_000)
    assert {image.name for image in collection.images()} == {"up/good.png", "c:/style/other.png"}
    assert reasons(collection) == {
        "style/lzma.png": "unsupported",
        "style/locked.png": "unsupported",
        "style/bent.png": "corrupt",
        "style/bomb.bmp": "not an image",
        "style/liar.png": "corrupt",
        r"style/line\nbreak.png": "not an image",
    }


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(bytes(1 << 24)) + packed.flush()
    path = write(tmp_path / "body", body)
    for declared, reason in ((1 << 40, "oversized"), (100, "corrupt")):
        entry = Entry("bomb.png", path, 0, len(body), declared, "deflate")
        finding = inspect(Candidate(entry, "style"), LIMITS)
        assert finding.quarantined is not None
        assert finding.quarantined.reason == reason


def test_cp437_and_utf8_names_without_the_flag(store: LocalTrainingStore, tmp_path: Path) -> None:
    path = tmp_path / "names.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("лес/a.png", encoded(picture(1)))
        archive.writestr("cafe/b.png", encoded(picture(2)))
    unflagged = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        begin = 0
        while (begin := unflagged.find(magic, begin)) >= 0:
            unflagged[begin + place + 1] &= ~0x08
            begin += 4
    path.write_bytes(unflagged.replace(b"cafe", b"caf\x82"))  # é in code page 437
    assert set(collect(store, path).images_per_style) == {"лес", "café"}


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_cut_tar_gives_what_is_there(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, cut: float
) -> None:
    path = pack_tar(folder, tmp_path / "cut.tar", "w:")
    whole = pixels(collect(store, path))
    with tarfile.open(path) as archive:
        last = max(member.offset_data + member.size for member in archive)
    path.write_bytes(path.read_bytes()[: int(last * cut)])
    collection = collect(store, path)
    assert 0 < collection.num_images < len(whole)
    assert "truncated" in reasons(collection).values()
    assert pixels(collection).items() <= whole.items()


def test_a_tar_with_a_damaged_header_says_so(
    store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    path = pack_tar(folder, tmp_path / "bent.tar", "w:")
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
    data = bytearray(path.read_bytes())
    data[members[-2].offset + 150] ^= 1  # within the checksum
    path.write_bytes(data)
    assert reasons(collect(store, path)) == {"bent.tar/": "truncated"}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("cut.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "cut off"),
        ("one.gz", gzip.compress(b"text", mtime=0), "holds no tar"),
        ("cut.zip", b"PK\x03\x04" + bytes(100), "cut off"),
        ("a.rar", b"Rar!\x1a\x07\0", "RAR archives are not read"),
        ("a.txt", b"hello", "not a collection"),
        ("a.jpg", b"hello", "a single image"),
        ("empty", b"", "not a collection"),
    ],
)
def test_what_is_no_collection_is_refused_in_one_line(
    store: LocalTrainingStore, tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(AtelierError, match=message) as error:
        collect(store, write(tmp_path / name, data))
    assert "\n" not in str(error.value)


def test_missing_and_empty_collections_are_refused(
    store: LocalTrainingStore, tmp_path: Path
) -> None:
    with pytest.raises(AtelierError, match="no such file or folder"):
        collect(store, tmp_path / "missing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AtelierError, match="holds no images"):
        collect(store, empty)
    write(empty / "pictures.zip", b"")
    with pytest.raises(AtelierError, match=r"it holds pictures\.zip"):
        collect(store, empty)
    write(empty / "bad.png", b"text")
    with pytest.raises(AtelierError, match="not one usable image; put aside: 1 not an image"):
        collect(store, empty)


# CIFAR-style binaries


def cifar_batch(labels: list[int], seed: int) -> tuple[bytes, np.ndarray]:
    planes = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    rows = b"".join(
        bytes([label]) + row.tobytes() for label, row in zip(labels, planes, strict=True)
    )
    return rows, planes


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "zip"])
def test_cifar_binaries_come_back_pixel_for_pixel(
    store: LocalTrainingStore, tmp_path: Path, form: str
) -> None:
    root = tmp_path / "artbench-10-batches-bin"
    first, planes = cifar_batch([0, 1, 1], seed=0)
    second, more = cifar_batch([1, 0, 9], seed=1)
    write(root / "data_batch_1.bin", first)
    write(root / "test_batch.bin", second + b"\0" * 10)
    write(root / "batches.meta.txt", b"art_nouveau\nbaroque\n\n")
    data = root
    if form.startswith("tar"):
        data = pack_tar(root, tmp_path / f"a.{form}", "w:gz" if form == "tar.gz" else "w:")
    if form == "zip":
        data = pack(root, tmp_path / "a.zip", zipfile.ZIP_STORED)
    collection = collect(store, data)
    images = list(collection.images())
    assert collection.images_per_style == {"art_nouveau": 2, "baroque": 3}
    assert reasons(collection) == {
        "test_batch.bin/00002": "corrupt",
        "test_batch.bin/00003": "truncated",
    }
    read = np.stack([np.frombuffer(i.read_bytes(), np.uint8).reshape(3, 32, 32) for i in images])
    np.testing.assert_array_equal(read, np.concatenate([planes, more[:2]]))
    assert {(i.width, i.height, i.encoding) for i in images} == {(32, 32, "rgb planes")}


def test_a_cifar_file_of_terabytes_is_not_read(store: LocalTrainingStore, tmp_path: Path) -> None:
    root = tmp_path / "cifar"
    write(root / "data_batch_2.bin", cifar_batch([0, 1], seed=0)[0])
    for name in ("data_batch_1.bin", "batches.meta.txt"):
        os.truncate(write(root / name, b""), 1 << 40)
    collection = collect(store, root)
    assert collection.images_per_style == {"class 000": 1, "class 001": 1}
    assert reasons(collection) == {"data_batch_1.bin": "oversized", "batches.meta.txt": "oversized"}


def test_cifar_pickles_are_refused(store: LocalTrainingStore, tmp_path: Path) -> None:
    write(tmp_path / "cifar" / "data_batch_1", pickle.dumps({b"data": b""}))
    write(tmp_path / "cifar" / "batches.meta", pickle.dumps({}))
    with pytest.raises(AtelierError, match="take the binary version"):
        collect(store, tmp_path / "cifar")


def test_deflated_cifar_is_refused(store: LocalTrainingStore, tmp_path: Path) -> None:
    write(tmp_path / "c" / "data_batch_1.bin", cifar_batch([0], 0)[0])
    with pytest.raises(AtelierError, match="unpack it"):
        collect(store, pack(tmp_path / "c", tmp_path / "c.zip", zipfile.ZIP_DEFLATED))


# Parquet


@pytest.mark.parametrize("is_struct", [True, False])
def test_parquet_gives_images_and_named_styles(
    store: LocalTrainingStore, tmp_path: Path, is_struct: bool
) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    blobs = [encoded(picture(seed)) for seed in range(5)]
    names = ["baroque", "ukiyo_e"]
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    column = [{"bytes": blob, "path": None} for blob in blobs] if is_struct else blobs
    table = pa.table({"image": [*column, None], "label": [0, 1, 0, 1, None, 0]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "train-00000.parquet"
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    for data in (path, tmp_path / "data"):
        collection = collect(store, data)
        assert [image.read_bytes() for image in collection.images()] == blobs
        assert collection.images_per_style == {"baroque": 2, "ukiyo_e": 2, "unlabelled": 1}
        assert reasons(collection) == {"train-00000/0000005": "unsupported"}
    assert len(list((tmp_path / "workspace" / "unpacked").iterdir())) == 2  # unpacked once


def test_parquet_without_styles_or_images(store: LocalTrainingStore, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "eyes.parquet"
    parquet.write_table(pa.table({"bytes": [encoded(picture())]}), path)
    assert collect(store, path).images_per_style == {"eyes": 1}
    parquet.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(AtelierError, match="no column of image bytes"):
        collect(store, path)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(AtelierError, match="not a readable parquet file"):
        collect(store, path)


def test_parquet_without_pyarrow_says_what_to_install(
    store: LocalTrainingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(AtelierError, match=r"atelier\[parquet\]"):
        collect(store, write(tmp_path / "a.parquet", b"PAR1"))


# Styles from a CSV


@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_csv_overrides_folders(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, divider: str
) -> None:
    rows = [
        ("file", "style"),
        ("waves/one.PNG", "storm"),
        ("waves\\deep\\two.jpeg", "calm"),
        ("b.Tiff", "лес"),
    ]
    table = "\r\n".join(divider.join(row) for row in rows)
    path = write(tmp_path / "styles.csv", b"\xef\xbb\xbf" + table.encode())
    collection = collect(store, folder, styles_csv=path)
    assert collection.images_per_style == {"calm": 1, "storm": 1, "unlabelled": 3, "лес": 1}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"name,label\na,b\n", "must name the columns file,style"),
        (b"", "must name the columns file,style"),
        (b"file,style\nother.png,a\n", "names not one image"),
        (b"file,style\n\xff\xfe,a\n", "not a readable CSV"),
    ],
)
def test_a_useless_csv_is_refused(
    store: LocalTrainingStore, folder: Path, tmp_path: Path, table: bytes, message: str
) -> None:
    with pytest.raises(AtelierError, match=message):
        collect(store, folder, styles_csv=write(tmp_path / "s.csv", table))


# Single files


def judged(data: bytes, tmp_path: Path, limits: Limits = LIMITS) -> tuple[str, str]:
    """("good", mode) or (reason, detail)."""
    path = write(tmp_path / "file", data)
    entry = Entry("file", path, 0, len(data), len(data))
    finding = inspect(Candidate(entry, "style"), limits)
    if finding.quarantined is not None:
        return finding.quarantined.reason, finding.quarantined.detail
    assert finding.image is not None
    return "good", finding.image.mode


HOSTILE: dict[str, tuple[bytes, str]] = {
    "truncated.jpg": (encoded(picture(1, 300, 300), "JPEG")[:-3000], "truncated"),
    "truncated.png": (encoded(picture(2, 300, 300))[:2000], "truncated"),
    "truncated.webp": (encoded(picture(3, 300, 300), "WEBP")[:-200], "truncated"),
    "truncated.gif": (encoded(picture(4, 300, 300), "GIF")[:-2000], "truncated"),
    "truncated.bmp": (encoded(picture(4, 300, 300), "BMP")[:-2000], "truncated"),
    "header only.png": (encoded(picture(2))[:20], "truncated"),
    "empty.jpg": (b"", "truncated"),
    "text.jpg": (b"This is no picture.", "not an image"),
    "page.jpg": (b"<!DOCTYPE html><title>404</title>", "not an image"),
    "zeros.png": (bytes(1000), "not an image"),
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "bomb.png": (png_bomb(), "oversized"),
    "dot.png": (encoded(picture(5, 1, 1)), "tiny"),
    "strip.png": (encoded(picture(5, 600, 15)), "tiny"),
    "heic.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported"),
    "flipped.png": (
        (lambda data: data[:200] + bytes(40) + data[240:])(encoded(picture(6, 300, 300))),
        "corrupt",
    ),
}


def good_oddities() -> dict[str, tuple[bytes, str, tuple[int, int]]]:
    """Unusual files that are good: bytes, mode, size as shown."""
    base = picture(9)
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 30)
    palette = base.quantize(16)
    frames = [picture(20), picture(21)]
    moving = {"save_all": True, "append_images": frames[1:]}
    return {
        "cmyk.jpg": (encoded(base.convert("CMYK"), "JPEG"), "CMYK", (48, 40)),
        "deep.png": (encoded(grey16), "I;16", (48, 40)),
        "animated.gif": (encoded(frames[0], "GIF", **moving), "P", (48, 40)),
        "animated.webp": (encoded(frames[0], "WEBP", **moving), "RGB", (48, 40)),
        "turned.jpg": (encoded(base, "JPEG", exif=exif), "RGB", (40, 48)),
        "palette.png": (encoded(palette, transparency=3), "P", (48, 40)),
        "grey alpha.png": (encoded(base.convert("LA")), "LA", (48, 40)),
        "bits.png": (encoded(base.convert("1")), "1", (48, 40)),
        "photo.avif": (encoded(base, "AVIF"), "RGB", (48, 40)),
        "float.tif": (encoded(base.convert("F"), "TIFF"), "F", (48, 40)),
        "plain.ppm": (encoded(base, "PPM"), "RGB", (48, 40)),
    }


def test_the_hostile_set(store: LocalTrainingStore, folder: Path) -> None:
    for name, (data, _) in HOSTILE.items():
        write(folder / "ряд файлов" / name, data)
    odd = good_oddities()
    for name, (data, _, _) in odd.items():
        write(folder / "odd but good" / name, data)
    (folder / "circle").symlink_to(folder)
    started = time.monotonic()
    collection = collect(store, folder)
    assert time.monotonic() - started < 20
    assert reasons(collection) == {
        "circle/": "unsupported",
        **{f"ряд файлов/{name}": reason for name, (_, reason) in HOSTILE.items()},
    }
    assert {
        image.name.removeprefix("odd but good/"): (image.mode, (image.width, image.height))
        for image in collection.images()
        if image.style == "odd but good"
    } == {name: (mode, size) for name, (_, mode, size) in odd.items()}
    assert collection.num_images == 6 + len(odd)
    report = "\n".join(report_lines(collection))
    for name, (_, reason) in HOSTILE.items():
        assert f"ряд файлов/{name}: {reason}" in report


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    image_format=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"]),
    kept=st.floats(0, 1),
    progressive=st.booleans(),
)
def test_a_cut_file_is_found_or_complete(
    tmp_path_factory: pytest.TempPathFactory, image_format: str, kept: float, progressive: bool
) -> None:
    """A file that lost its end is quarantined, or decodes to the very pixels of the whole one."""
    whole = encoded(
        picture(3, 64, 64),
        image_format,
        **({"progressive": progressive} if image_format == "JPEG" else {}),
    )
    cut = whole[: int(kept * len(whole))]
    verdict, _ = judged(cut, tmp_path_factory.mktemp("cut"))
    if verdict == "good":
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in (cut, whole)]
        assert images[0].tobytes() == images[1].tobytes()


STARTS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"MM\0*", b"BM", b"qoif"]
STARTS += [b"RIFF\xff\0\0\0WEBPVP8 ", b"P6 20 20 255\n"]


@hypothesis_settings(deadline=None, max_examples=100)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
def test_no_bytes_whatsoever_raise(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    judged(start + rest, tmp_path_factory.mktemp("noise"))


def test_a_crashing_decoder_costs_one_file(
    store: LocalTrainingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ProcessPool.call

    def crash_at_two(pool: ProcessPool, function: Callable, work: tuple) -> object:
        if any(item.entry.name.endswith("two.jpeg") for item in work[0]):
            return call(pool, os._exit, 9)
        return call(pool, function, work)

    monkeypatch.setattr(ProcessPool, "call", crash_at_two)
    collection = collect(store, folder)
    assert reasons(collection) == {"waves/deep/two.jpeg": "corrupt"}
    assert collection.num_images == 5


# Duplicates


def test_the_same_picture_again_is_found_and_others_are_not(
    store: LocalTrainingStore, tmp_path: Path
) -> None:
    root = tmp_path / "doubles"
    for seed in range(40):
        write(root / f"different {seed:02}.png", encoded(picture(seed, 200, 160)))
    original = picture(7, 200, 160)
    write(root / "z same.png", encoded(original))
    write(root / "z jpeg.jpg", encoded(original, "JPEG", quality=40))
    write(root / "z half.png", encoded(original.resize((100, 80), Image.Resampling.LANCZOS)))
    write(root / "z grey.png", encoded(original.convert("L")))
    for level in range(0, 256, 64):
        write(root / f"z blank {level:03}.png", encoded(Image.new("L", (64, 64), level)))
        paper = np.random.default_rng(level).normal(level, 0.7, (64, 64)).clip(0, 255)
        write(root / f"z paper {level:03}.png", encoded(Image.fromarray(paper.astype(np.uint8))))
    ramp = np.tile(np.arange(128, dtype=np.uint8), (128, 1))
    write(root / "z ramp.png", encoded(Image.fromarray(ramp)))
    write(root / "z ramp down.png", encoded(Image.fromarray(ramp.T.copy())))
    write(root / "z blank again.png", encoded(Image.new("L", (64, 64), 64)))
    collection = collect(store, root)
    found = {(pair.name, pair.of, pair.kind) for pair in collection.duplicates()}
    assert found == {
        ("z same.png", "different 07.png", "exact"),
        ("z jpeg.jpg", "different 07.png", "near"),
        ("z half.png", "different 07.png", "near"),
        ("z grey.png", "different 07.png", "near"),
        ("z blank again.png", "z blank 064.png", "exact"),
    }
    assert (collection.num_exact_duplicates, collection.num_near_duplicates) == (2, 3)
    assert all(pair.distance <= MAX_DISTANCE for pair in collection.duplicates())


@hypothesis_settings(deadline=None, max_examples=50)
@given(st.data())
def test_banded_search_equals_comparing_all_pairs(data: st.DataObject) -> None:
    roots = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=8).map(
        lambda bits: sum(1 << b for b in set(bits))
    )
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(roots), flips), max_size=30))
    hashes = [root ^ flip for root, flip in drawn]
    expected = {}
    for later, value in enumerate(hashes):
        for earlier in range(later):
            distance = (value ^ hashes[earlier]).bit_count()
            if distance <= MAX_DISTANCE:
                expected[later] = (earlier, distance)
                break
    assert near_pairs(np.array(hashes, dtype=np.uint64)) == expected


def test_the_search_is_quick_for_a_hundred_thousand() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[50_000:50_100] = hashes[:100] ^ np.uint64(0b111)
    started = time.monotonic()
    pairs = near_pairs(hashes)
    assert time.monotonic() - started < 30
    assert {later: earlier for later, (earlier, _) in pairs.items()}.items() >= {
        50_000 + place: place for place in range(100)
    }.items()


def test_plain_pictures_have_no_hash() -> None:
    assert perceptual_hash(Image.new("RGB", (64, 64), "white")) is None
    assert perceptual_hash(picture(1)) is not None


# The manifest


def test_an_unchanged_collection_is_not_read_again(
    store: LocalTrainingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = collect(store, folder)
    with monkeypatch.context() as patch:
        patch.setattr(ProcessPool, "call", lambda *_: pytest.fail("decoded again"))
        assert collect(store, folder) == first
    write(folder / "waves" / "new.png", encoded(picture(11)))
    assert collect(store, folder).num_images == first.num_images + 1
    one = folder / "waves" / "one.PNG"
    one.write_bytes(encoded(picture(12)))
    changed = collect(store, folder)
    assert {image.name: image for image in changed.images()}["waves/one.PNG"].sha256 != {
        image.name: image for image in first.images()
    }["waves/one.PNG"].sha256


@pytest.mark.parametrize("file", ["itdt.json", "images.jsonl", "duplicates.jsonl"])
def test_a_damaged_manifest_is_made_anew(
    store: LocalTrainingStore, folder: Path, file: str
) -> None:
    first = collect(store, folder)
    path = first.manifest / file
    path.write_bytes(path.read_bytes()[:-20] or b"x")
    again = collect(store, folder)
    assert again == first
    assert len(list(again.images())) == first.num_images
    assert not list(again.manifest.glob("journal*"))


class _Here(ProcessPool):
    """A pool that works in this process, where a test can make reading fail."""

    def call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        return function(argument)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Errors that reading gives, by the name of the file."""
    faults: dict[str, Exception] = {}

    def read(entry: Entry) -> bytes:
        if entry.name in faults:
            raise faults[entry.name]
        return read_entry(entry)

    monkeypatch.setattr("components.training_store.store.ProcessPool", _Here)
    monkeypatch.setattr("components.training_store.inspection.read_entry", read)
    return faults


MACHINE_FAULTS = [OSError(errno.EIO, "Input/output error"), MemoryError(), WorkerDiedError()]


@pytest.mark.parametrize("fault", MACHINE_FAULTS, ids=["disk", "memory", "worker"])
def test_a_fault_of_the_machine_is_not_remembered_as_one_of_the_file(
    store: LocalTrainingStore, folder: Path, failing: dict[str, Exception], fault: Exception
) -> None:
    failing["waves/one.PNG"] = fault
    first = collect(store, folder)
    assert set(reasons(first)) == {"waves/one.PNG"}
    events: list[ProgressEvent] = []
    assert store.collect(CollectionSettings(data=str(folder)), events.append) == first
    assert not events  # while it lasts, nothing else is inspected again
    failing.clear()
    assert collect(store, folder).num_images == 6


def test_a_fault_that_is_over_is_not_taken_from_the_journal(
    store: LocalTrainingStore, folder: Path, failing: dict[str, Exception]
) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.stage == "inspect" and event.done:
            raise KeyboardInterrupt

    failing["waves/one.PNG"] = MACHINE_FAULTS[0]
    with pytest.raises(KeyboardInterrupt):
        store.collect(CollectionSettings(data=str(folder)), stop)
    failing.clear()
    assert collect(store, folder).num_images == 6


def test_names_and_limits_come_from_the_settings(store: LocalTrainingStore, folder: Path) -> None:
    write(folder / "large.png", encoded(picture(30, 200, 200)))
    assert reasons(collect(store, folder, max_pixels=10_000)) == {"large.png": "oversized"}
    tiny = reasons(collect(store, folder, min_side_pixels=100))
    assert set(tiny.values()) == {"tiny"}
    assert len(tiny) == 6


def test_progress_counts_to_the_end(store: LocalTrainingStore, folder: Path) -> None:
    events: list[ProgressEvent] = []
    store.collect(CollectionSettings(data=str(folder)), events.append)
    assert [event.stage for event in events] == ["inspect", "inspect"]
    assert [(event.done, event.total) for event in events] == [(0, 6), (6, 6)]


def test_the_report_reads_well(store: LocalTrainingStore, folder: Path) -> None:
    for seed in range(8):
        write(folder / "waves" / f"more {seed}.png", encoded(picture(40 + seed)))
    write(folder / "bad.png", b"text")
    write(folder / "waves" / "z.png", encoded(picture(40)))
    lines = report_lines(collect(store, folder))
    text = "\n".join(lines)
    assert lines[0] == "my paintings: 15 images to learn from"
    assert "  sizes         all 48×40 pixels" in lines
    assert "Unbalanced: waves has 11 times as many images as my paintings." in text
    assert "bad.png: not an image, the file holds text" in text
    assert "waves/z.png repeats waves/more 0.png (same bytes)" in text
    assert max(map(len, lines)) < 120


# Processes


def start_collecting(data: Path, workspace: Path) -> "subprocess.Popen[str]":
    code = (
        "import sys; from pathlib import Path\n"
        "from components.training_store import create\n"
        "from interfaces.itdt import CollectionSettings\n"
        "def watch(event): print(event.stage, int(event.done), flush=True)\n"
        "create(Path(sys.argv[2])).collect(CollectionSettings(data=sys.argv[1]), watch)\n"
    )  # deliberately without an `if __name__ == "__main__"` guard
    return subprocess.Popen(
        [sys.executable, "-c", code, str(data), str(workspace)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def many(tmp_path: Path) -> Path:
    root = tmp_path / "many"
    data = [encoded(picture(seed, 256, 256), "WEBP") for seed in range(50)]
    for place in range(800):
        write(root / f"style {place % 3}" / f"{place}.webp", data[place % 50])
    return root


def wait_for_images(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        stage, done = line.split()
        if stage == "inspect" and int(done) > 0:
            return
    pytest.fail("ended before it could be stopped")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_inspection_goes_on_where_it_stopped(many: Path, tmp_path: Path) -> None:
    undisturbed = collect(create(tmp_path / "quiet"), many)
    workspace = tmp_path / "killed"
    process = start_collecting(many, workspace)
    wait_for_images(process)
    process.kill()
    process.communicate()
    journal = next((workspace / "collections").glob("*/journal.jsonl"))
    with journal.open("a") as lines:
        lines.write('{"image": {"name": "torn')
    events: list[ProgressEvent] = []
    store = create(workspace)
    resumed = store.collect(CollectionSettings(data=str(many)), events.append)
    assert next(event for event in events if event.stage == "inspect").done > 0
    assert resumed.digest == undisturbed.digest
    assert list(resumed.images()) == list(undisturbed.images())
    assert list(resumed.duplicates()) == list(undisturbed.duplicates())
    assert resumed.num_exact_duplicates == 750


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_interrupting_ends_at_once_and_leaves_no_process(many: Path, tmp_path: Path) -> None:
    for stop in (signal.SIGINT, signal.SIGKILL):
        process = start_collecting(many, tmp_path / stop.name)
        wait_for_images(process)
        workers = children_of(process.pid)
        assert workers
        process.send_signal(stop)
        _, errors = process.communicate(timeout=5)
        assert errors.count("Traceback") == (stop is signal.SIGINT)
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            children.append(int(status.parent.name))
    return children


def test_pool_keeps_order_and_hands_errors_on() -> None:
    with ProcessPool(2) as pool:
        squares = pool.ordered(lambda number: pool.call(abs, -number), iter(range(50)))
        assert list(squares) == list(range(50))
        with pytest.raises(ValueError, match="invalid literal"):
            pool.call(int, "x")
        with pytest.raises(WorkerDiedError):
            pool.call(os._exit, 3)
        assert pool.call(abs, -1) == 1


@pytest.mark.slow
def test_embedded_collection(store: LocalTrainingStore) -> None:
    collection = collect(store, "embedded")
    assert collection.name == "embedded"
    assert len(collection.styles) > 1
    assert collection.num_quarantined == 0


@pytest.mark.slow
def test_real_paintings(store: LocalTrainingStore) -> None:
    collection = collect(store, shared("data/paintings-128.zip"))
    assert collection.images_per_style == {
        "Baroque": 3802,
        "Impressionism": 10567,
        "Pointillism": 403,
        "Rococo": 1876,
        "Ukiyo_e": 1065,
    }
    assert (collection.num_quarantined, collection.num_exact_duplicates) == (0, 0)
