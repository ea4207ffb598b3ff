"""Collections behind URLs: an S3 server of the tests' own, fsspec's memory, and a place away."""

import io
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.workspace import Workspace
from components.common.shipped import SHIPPED_MODELS
from components.training_store import LocalTrainingStore, create
from interfaces.cache import _cache_at
from interfaces.errors import DamagedError, NotFoundError, RefusedError, UnavailableError
from interfaces.igme import IGME
from interfaces.itdt import TrainingImage
from interfaces.places import (
    Range,
    Url,
    _filesystem,
    fetch_ahead,
    fetched,
    open_place,
    place_of,
    read_range,
)
from tests.components.training_store.test_training_store import (
    collect,
    encoded,
    picture,
    reasons,
    write,
)
from tests.s3 import s3_bucket

fsspec = pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'atelier[remote]'")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("interfaces.places._FIRST_WAIT_SECONDS", 0.01)
    return tmp_path / "cache" / "places"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket on a real HTTP server that speaks S3; its name."""
    with s3_bucket("paintings"):
        yield "paintings"


@pytest.fixture
def memory() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    yield "memory://art"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def store(tmp_path: Path) -> LocalTrainingStore:
    return create(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names that sort differently as paths and as text, in Cyrillic and with spaces; two bad."""
    root = tmp_path / "art"
    names = ["waves/one.png", "waves/deep/two.png", "waves-2/c d.png", "лес/ёлки у реки.png"]
    for seed, name in enumerate(names):
        write(root / name, encoded(picture(seed)))
    write(root / "waves" / "cut.png", encoded(picture(9))[:300])
    write(root / "waves" / "empty.png", b"")
    write(root / "README.txt", b"no picture")
    write(root / ".hidden" / "x.png", encoded(picture(8)))
    return root


def upload(folder: Path, url: str) -> str:
    system = fsspec.filesystem(url.partition("://")[0])
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            system.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


@pytest.mark.slow
def test_a_bucket_is_the_collection_that_the_folder_is(
    s3: str, store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    local = collect(store, folder)
    remote = collect(store, upload(folder, f"s3://{s3}/art"))
    assert remote.digest == local.digest
    assert (remote.name, remote.images_per_style) == (local.name, local.images_per_style)
    assert reasons(remote) == reasons(local)
    for image in remote.images():
        assert image.read_bytes() == (folder / image.name).read_bytes()
        assert TrainingImage.model_validate_json(image.model_dump_json()) == image


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_in_a_bucket_is_read_by_ranges(
    s3: str, store: LocalTrainingStore, folder: Path, tmp_path: Path, kind: str
) -> None:
    archive = shutil.make_archive(
        str(tmp_path / "art"), {"tar.gz": "gztar"}.get(kind, kind), folder
    )
    url = f"s3://{s3}/archives/art.{kind}"
    fsspec.filesystem("s3").pipe_file(url, Path(archive).read_bytes())
    assert collect(store, url).digest == collect(store, archive).digest


def test_a_changed_object_is_noticed(memory: str, store: LocalTrainingStore, folder: Path) -> None:
    first = collect(store, upload(folder, memory))
    assert collect(store, memory).digest == first.digest
    fsspec.filesystem("memory").pipe_file(f"{memory}/waves/one.png", encoded(picture(77)))
    second = collect(store, memory)
    assert second.digest != first.digest
    by_name = {image.name: image.read_bytes() for image in second.images()}
    assert by_name["waves/one.png"] == encoded(picture(77))


def test_pictures_can_be_prepared_from_a_place_that_only_this_process_sees(
    memory: str, store: LocalTrainingStore, folder: Path, tmp_path: Path
) -> None:
    from components.preprocessing import create as create_preprocessor
    from interfaces.ipdt import PreprocessingSettings
    from interfaces.progress import silent

    preprocessor, settings = create_preprocessor(tmp_path), PreprocessingSettings(resolution=16)
    remote = preprocessor.preprocess(collect(store, upload(folder, memory)), settings, silent)
    local = preprocessor.preprocess(collect(store, folder), settings, silent)
    assert remote.digest == local.digest


# The cache


def test_the_cache_stays_within_its_bound(
    memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cache_at.cache_clear()
    bound = 1 << 20
    monkeypatch.setenv("ATELIER_CACHE_GIB", str(bound / 2**30))
    data = os.urandom(200 * 20_000)
    fsspec.filesystem("memory").pipe_file(f"{memory}/a", data)
    ranges = [Range(Url(f"{memory}/a"), "1", 20_000 * i, 20_000) for i in range(200)]
    for start in range(0, 200, 10):
        fetch_ahead(ranges[start : start + 10])
        read_range(ranges[0])  # in use, so it is never the one to give way
    sizes = [path.stat().st_size for path in cache.rglob("*") if path.is_file()]
    assert bound // 2 < sum(sizes) <= bound
    fsspec.filesystem("memory").rm_file(f"{memory}/a")
    assert read_range(ranges[0]) == data[:20_000]
    with pytest.raises(NotFoundError):
        read_range(ranges[50])


def test_a_file_over_the_bound_is_there_to_be_opened(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cache_at.cache_clear()
    monkeypatch.setenv("ATELIER_CACHE_GIB", str(2**20 / 2**30))
    data = os.urandom(5 * 2**20)
    fsspec.filesystem("memory").pipe_file(f"{memory}/large", data)
    assert fetched(Url(f"{memory}/large")).read_bytes() == data


def test_a_torn_copy_is_not_believed(memory: str, cache: Path) -> None:
    fsspec.filesystem("memory").pipe_file(f"{memory}/a", b"0123456789")
    wanted = Range(Url(f"{memory}/a"), "1", 2, 5)
    assert read_range(wanted) == b"23456"
    (copy,) = (path for path in cache.rglob("*") if path.is_file())
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    assert read_range(wanted) == b"23456"


def test_a_bound_that_is_no_number_is_refused(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_CACHE_GIB", "much")
    with pytest.raises(RefusedError, match="ATELIER_CACHE_GIB=much"):
        read_range(Range(Url(f"{memory}/a"), "1", 0, 1))


@given(data=st.binary(min_size=1, max_size=200), seeks=st.lists(st.integers(0, 220), max_size=9))
def test_an_open_place_reads_as_a_file_does(data: bytes, seeks: list[int]) -> None:
    fsspec.filesystem("memory").pipe_file("memory://open/a", data)
    truth = io.BytesIO(data)
    with open_place(Url("memory://open/a")) as stream:
        for seek in seeks:
            assert stream.seek(seek) == truth.seek(seek)
            assert stream.read(7) == truth.read(7)
        assert stream.seek(-1, io.SEEK_END) == truth.seek(-1, io.SEEK_END)
        assert stream.read() == truth.read()


# What is refused


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/a", "not a protocol"),
        ("reference://x", "not a protocol"),
        ("s3://key:secret@bucket/a", "password"),
        ("https://user@host/a.zip", "password"),
        ("s3://bucket/a::file:///etc/passwd", "plain URL"),
        ("s3://bucket/../../etc", "plain URL"),
        ("s3://", "plain URL"),
        ("s3://bucket/a\nb", "plain URL"),
        ("https://key:secret@[::1/a.zip", "plain URL"),
        ("https://host:port/a.zip", "plain URL"),
    ],
)
def test_a_url_that_is_not_plain_is_refused(store: LocalTrainingStore, url: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said) as error:
        collect(store, url)
    assert "secret" not in str(error.value)


def test_file_urls_are_paths(tmp_path: Path) -> None:
    assert place_of((tmp_path / "a b").as_uri()) == tmp_path / "a b"


def test_what_a_server_lists_outside_its_folder_is_left_out(
    memory: str, store: LocalTrainingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(folder, memory)
    system = _filesystem("memory")
    honest = system.ls

    def lying(path: str, detail: bool) -> list[dict[str, object]]:
        stranger = {"type": "file", "size": 9, "created": 0}
        names = ["/art/../etc/x.png", "/etc/x.png", "/art/..", "/art/.", "/art/", "/art//x.png"]
        return [*honest(path, detail=detail), *({"name": name} | stranger for name in names)]

    monkeypatch.setattr(system, "ls", lying)
    assert collect(store, memory).digest == collect(store, folder).digest


def test_a_missing_package_is_named(
    store: LocalTrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _filesystem.cache_clear()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UnavailableError, match=r"gcsfs.*pip install"):
        collect(store, "gs://bucket/a")


def test_nothing_there_is_said_in_a_line(s3: str, store: LocalTrainingStore) -> None:
    with pytest.raises(NotFoundError, match="s3://paintings/missing: there is no such"):
        collect(store, f"s3://{s3}/missing")


def test_a_place_away_is_tried_again_and_said_in_a_line(
    store: LocalTrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="s3fs is missing: pip install 'atelier[remote]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    _filesystem.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    for url in ("s3://paintings/art", f"http://127.0.0.1:{port}/art.zip"):
        with pytest.raises(UnavailableError, match=f"{url}: cannot be reached") as error:
            collect(store, url)
        assert "\n" not in str(error.value)
    _filesystem.cache_clear()


def test_an_interrupted_place_goes_on(
    memory: str, store: LocalTrainingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(folder, memory)
    system = _filesystem("memory")
    honest, calls = system.ls, [0]

    def shaky(path: str, detail: bool) -> list[dict[str, object]]:
        calls[0] += 1
        if calls[0] % 3:
            raise ConnectionResetError("the line broke")
        return honest(path, detail=detail)

    monkeypatch.setattr(system, "ls", shaky)
    assert collect(store, memory).digest == collect(store, folder).digest


# Models


def test_a_model_behind_a_url_is_copied_once_and_checked(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(SHIPPED_MODELS["shipped"], f"{memory}/model")
    model = Workspace(tmp_path / "workspace").find_model(f"{memory}/model")
    original = IGME.open(SHIPPED_MODELS["shipped"])
    assert model.digest == original.digest
    assert model.weights_path.read_bytes() == original.weights_path.read_bytes()
    for name in original.companions:
        assert model.companion_path(name).is_file()
    system = fsspec.filesystem("memory")
    system.rm_file(f"{memory}/model/weights.safetensors")
    assert Workspace(tmp_path).find_model(f"{memory}/model").directory == model.directory
    shutil.rmtree(model.directory)
    system.pipe_file(f"{memory}/model/weights.safetensors", b"other")
    with pytest.raises(DamagedError, match="another SHA-256"):
        Workspace(tmp_path).find_model(f"{memory}/model")
    assert list((tmp_path / "cache" / "models").glob("[!.]*")) == []
    with pytest.raises(NotFoundError, match=r"no model here"):
        Workspace(tmp_path).find_model(f"{memory}/nothing")
