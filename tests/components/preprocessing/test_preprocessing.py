"""Preprocessing: pixel for pixel Pillow's, once, and whole again after being killed."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components.common.parallel import ProcessPool
from components.preprocessing import LocalPreprocessor, centre_square, create, prepare
from interfaces.errors import AtelierError
from interfaces.ipdt import IPDT, PreprocessingSettings, Preprocessor
from interfaces.itdt import ITDT, CollectionSettings, TrainingImage
from interfaces.progress import ProgressEvent, silent
from tests.helpers import REPOSITORY, digest, shared

EIGHT = PreprocessingSettings(resolution=8)


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPool]:
    with ProcessPool() as pool:
        yield pool


@pytest.fixture(autouse=True)
def _warm_workers(workers: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one pool for all tests here, since starting one takes longer than most of them."""
    place = "components.preprocessing.preprocessor.ProcessPool"
    monkeypatch.setattr(place, lambda: nullcontext(workers))


@pytest.fixture
def preprocessor(tmp_path: Path) -> LocalPreprocessor:
    return create(tmp_path / "workspace")


def noise(seed: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def manifest(folder: Path, files: list[tuple[Path, str]]) -> ITDT:
    """A collection of image files with their styles, as a training store would hand it over."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for path, style in files:
        data = path.read_bytes()
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        images.append(
            TrainingImage(
                name=path.name,
                file=path,
                length=len(data),
                style=style,
                width=upright.width,
                height=upright.height,
                mode=Image.open(io.BytesIO(data)).mode,
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    return collection_of(folder, images)


def collection_of(folder: Path, images: list[TrainingImage]) -> ITDT:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.jsonl").write_text("".join(f"{i.model_dump_json()}\n" for i in images))
    styles = [image.style for image in images]
    return ITDT(
        name="test",
        source="test",
        manifest=folder,
        num_images=len(images),
        images_per_style={style: styles.count(style) for style in sorted(set(styles))},
        num_quarantined=0,
        num_exact_duplicates=0,
        num_near_duplicates=0,
        digest=digest("".join(image.name + image.style + image.sha256 for image in images)),
    )


@pytest.fixture
def collection(tmp_path: Path) -> ITDT:
    """Seventy noisy pictures of many shapes, in two styles: three chunks."""
    files = []
    for place in range(70):
        path = tmp_path / "pictures" / f"{place:02}.png"
        path.parent.mkdir(exist_ok=True)
        noise(place, 16 + place % 7, 16 + place % 5).save(path)
        files.append((path, ["waves", "dunes"][place % 2]))
    return manifest(tmp_path / "manifest", files)


def run(preprocessor: LocalPreprocessor, collection: ITDT, resolution: int = 8) -> IPDT:
    return preprocessor.preprocess(collection, PreprocessingSettings(resolution=resolution), silent)


# One picture


@given(width=st.integers(1, 400), height=st.integers(1, 400))
def test_the_square_is_as_large_as_can_be_and_in_the_middle(width: int, height: int) -> None:
    left, upper, right, lower = centre_square(width, height)
    assert right - left == lower - upper == min(width, height)
    assert 0 <= (width - right) - left <= 1
    assert 0 <= (height - lower) - upper <= 1


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    resolution=st.integers(8, 40),
    seed=st.integers(0, 1000),
)
def test_pixels_are_pillows(width: int, height: int, resolution: int, seed: int) -> None:
    picture = noise(seed, width, height)
    side = min(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    strip = np.asarray(picture)[upper : upper + side, left : left + side]
    size, bicubic = (resolution, resolution), Image.Resampling.BICUBIC
    expected = np.asarray(Image.fromarray(strip).resize(size, bicubic))
    np.testing.assert_array_equal(prepare(picture, resolution), expected)
    if (width - side) % 2 == 0 and (height - side) % 2 == 0:
        cropped = ImageOps.fit(picture, (side, side), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(strip, np.asarray(cropped))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = noise(0, 20, 30)
    converted = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
    pixels = prepare(converted, 8)
    assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)


# A collection


def test_a_prepared_set_is_its_pictures_in_order(
    preprocessor: LocalPreprocessor, collection: ITDT
) -> None:
    assert isinstance(preprocessor, Preprocessor)
    prepared = run(preprocessor, collection)
    expected = [prepare(Image.open(image.file), 8) for image in collection.images()]
    images = prepared.images()
    np.testing.assert_array_equal(images, expected)
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    assert prepared.styles == ("dunes", "waves")
    np.testing.assert_array_equal(prepared.labels(), [1, 0] * 35)
    sources = (prepared.directory / "sources.txt").read_text().split()
    assert sources == [image.sha256 for image in collection.images()]
    files = [(prepared.directory / name).read_bytes() for name in ("images.npy", "labels.npy")]
    assert prepared.digest == hashlib.sha256(b"".join(files)).hexdigest()
    assert prepared.source_digest == collection.digest
    names = {"images.npy", "labels.npy", "sources.txt", "ipdt.json"}
    assert {path.name for path in prepared.directory.iterdir()} == names
    assert IPDT.from_json((prepared.directory / "ipdt.json").read_bytes()) == prepared


def test_every_place_where_bytes_may_lie_gives_the_same_pixels(
    preprocessor: LocalPreprocessor, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    noise(3, 40, 24).save(tmp_path / "a.jpg", exif=exif)
    plain = manifest(tmp_path / "plain", [(tmp_path / "a.jpg", "a")])
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.jpg", "a.jpg")
        member = archive.getinfo("a.jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
    with tarfile.open(tmp_path / "a.tar") as tar:
        offset = tar.getmember("a.jpg").offset_data
    image = next(plain.images())
    deflated = {
        "file": tmp_path / "a.zip",
        "offset": member.header_offset + 30 + len("a.jpg"),
        "length": member.compress_size,
        "compression": "deflate",
    }
    places = [{}, deflated, {"file": tmp_path / "a.tar", "offset": offset}]
    results = []
    for number, place in enumerate(places):
        moved = collection_of(tmp_path / f"m{number}", [image.model_copy(update=place)])
        results.append(run(create(tmp_path / f"w{number}"), moved))
    assert len({result.digest for result in results}) == 1
    turned = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(results[0].images()[0], prepare(turned, 8))


def test_bare_planes_are_read_as_cifar_stores_them(
    preprocessor: LocalPreprocessor, tmp_path: Path
) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    path = tmp_path / "batch.bin"
    path.write_bytes(b"\x05" + planes.tobytes())
    image = TrainingImage(
        name="batch.bin/0",
        file=path,
        offset=1,
        length=192,
        encoding="rgb planes",
        style="a",
        width=8,
        height=8,
        mode="RGB",
        sha256=hashlib.sha256(planes.tobytes()).hexdigest(),
    )
    prepared = run(preprocessor, collection_of(tmp_path / "m", [image]))
    np.testing.assert_array_equal(prepared.images()[0], planes.transpose(1, 2, 0))


def test_a_finished_set_is_found_again_at_once(
    preprocessor: LocalPreprocessor, collection: ITDT, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(preprocessor, collection)
    monkeypatch.setattr(ProcessPool, "call", lambda *_: pytest.fail("prepared again"))
    renamed = collection.model_copy(update={"name": "another name"})
    assert run(preprocessor, renamed) == first.model_copy(update={"name": "another name"})


def test_resolution_and_content_each_have_their_own_place(
    preprocessor: LocalPreprocessor, collection: ITDT
) -> None:
    other = collection.model_copy(update={"digest": digest("other")})
    sets = [
        run(preprocessor, collection),
        run(preprocessor, collection, 9),
        run(preprocessor, other),
    ]
    assert len({prepared.directory for prepared in sets}) == 3
    assert sets[0].digest == sets[2].digest  # the same pixels, whatever their source
    assert sets[0].digest != sets[1].digest


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "sources.txt", "ipdt.json"])
def test_a_damaged_set_is_made_anew(
    preprocessor: LocalPreprocessor, collection: ITDT, name: str
) -> None:
    first = run(preprocessor, collection)
    path = first.directory / name
    path.write_bytes(path.read_bytes()[:-9])
    assert run(preprocessor, collection) == first
    np.testing.assert_array_equal(first.labels(), [1, 0] * 35)


@pytest.mark.parametrize("change", ["bytes", "shorter", "missing"])
def test_bytes_that_changed_since_inspection_are_refused(
    preprocessor: LocalPreprocessor, collection: ITDT, change: str
) -> None:
    victim = list(collection.images())[40].file
    original = victim.read_bytes()
    if change == "bytes":
        noise(999, 20, 20).save(victim)
    elif change == "shorter":
        victim.write_bytes(original[:-1])
    else:
        victim.unlink()
    with pytest.raises(AtelierError, match=r"40\.png") as error:
        run(preprocessor, collection)
    assert "\n" not in str(error.value)
    victim.write_bytes(original)
    assert run(preprocessor, collection).num_images == 70


def test_a_torn_chunk_is_made_again(
    preprocessor: LocalPreprocessor, collection: ITDT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may lose pixels that the journal already names."""
    stop = RuntimeError("power cut")

    def stop_after_two(*_: object) -> None:
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr("components.preprocessing.preprocessor._seal", stop_after_two)
        with pytest.raises(RuntimeError, match="power cut"):
            run(preprocessor, collection)
    (partial,) = (preprocessor._prepared).glob("*.partial")
    with (partial / "images.npy").open("r+b") as stream:
        stream.seek(128 + 32 * 8 * 8 * 3 + 5)  # within the second of three chunks
        stream.write(b"torn")
    events: list[ProgressEvent] = []
    prepared = preprocessor.preprocess(collection, EIGHT, events.append)
    assert events[0].done == 32
    expected = [prepare(Image.open(image.file), 8) for image in collection.images()]
    np.testing.assert_array_equal(prepared.images(), expected)


def test_progress_counts_to_the_end(preprocessor: LocalPreprocessor, collection: ITDT) -> None:
    events: list[ProgressEvent] = []
    preprocessor.preprocess(collection, EIGHT, events.append)
    assert [event.done for event in events] == [0, 32, 64, 70]
    assert {(event.stage, event.total) for event in events} == {("preprocess", 70)}


SCRIPT = """
import sys
from pathlib import Path
from components.preprocessing import create
from interfaces.ipdt import PreprocessingSettings
from interfaces.itdt import ITDT
collection = ITDT.from_json(Path(sys.argv[1]).read_bytes())
def watch(event): print(int(event.done), flush=True)
create(Path(sys.argv[2])).preprocess(collection, PreprocessingSettings(resolution=64), watch)
"""


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    files = []
    for place in range(640):
        path = tmp_path / "pictures" / f"{place:03}.png"
        path.parent.mkdir(exist_ok=True)
        if place < 40:
            noise(place, 200, 180).save(path)
        else:
            shutil.copy(tmp_path / "pictures" / f"{place % 40:03}.png", path)
        files.append((path, f"style {place % 3}"))
    collection = manifest(tmp_path / "manifest", files)
    undisturbed = run(create(tmp_path / "quiet"), collection, 64)
    message = tmp_path / "itdt.json"
    message.write_text(collection.to_json())
    workspace, starts = tmp_path / "killed", []
    for advance in (1, 3, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(message), str(workspace)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        starts.append(int(process.stdout.readline()))
        for _ in range(advance):
            process.stdout.readline()
        process.kill()
        process.communicate()
    events: list[ProgressEvent] = []
    resumed = create(workspace).preprocess(
        collection, PreprocessingSettings(resolution=64), events.append
    )
    starts.append(int(events[0].done))
    assert starts[0] == 0
    assert starts == sorted(set(starts))  # each run went on beyond the last one's start
    assert resumed.digest == undisturbed.digest
    np.testing.assert_array_equal(resumed.images(), undisturbed.images())
    leftovers = [path.name for path in (workspace / "prepared").iterdir() if path.is_dir()]
    assert leftovers == [resumed.directory.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk_is_an_error_not_a_crash(collection: ITDT, tmp_path: Path) -> None:
    message = tmp_path / "itdt.json"
    message.write_text(collection.to_json())
    limited = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    result = subprocess.run(
        [sys.executable, "-c", limited + SCRIPT, str(message), str(tmp_path / "full")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("OSError: [Errno 27]")


@pytest.mark.slow
def test_real_paintings(tmp_path: Path) -> None:
    from components.training_store import create as create_store

    settings = CollectionSettings(data=str(shared("data/paintings-128.zip")))
    collection = create_store(tmp_path).collect(settings, silent)
    started = time.monotonic()
    prepared = run(create(tmp_path), collection, 64)
    assert prepared.num_images == 17_713
    assert time.monotonic() - started < 120
    rng = np.random.default_rng(0)
    images = list(collection.images())
    for place in rng.choice(17_713, 20, replace=False):
        picture = Image.open(io.BytesIO(images[place].read_bytes())).convert("RGB")
        expected = picture.resize((64, 64), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(prepared.images()[place], np.asarray(expected))
