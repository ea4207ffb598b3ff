"""Promises that every preprocessor must keep: those of `interfaces/ipdt.py`."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.contracts.refusals import refused
from atelier.contracts.samples import digest
from interfaces.capabilities import capabilities_of
from interfaces.components import Components
from interfaces.ipdt import IPDT, USUAL_TRANSFORM, PreprocessingSettings, Preprocessor
from interfaces.itdt import ITDT, TrainingImage
from interfaces.progress import ProgressEvent, silent


@pytest.fixture
def preprocessor(parts: Components) -> Preprocessor:
    return parts.preprocessing


@pytest.fixture
def collection(tmp_path: Path) -> ITDT:
    """Five pictures, wide and tall, as a training store would hand them over."""
    images: list[TrainingImage] = []
    for place, (width, height) in enumerate([(16, 16), (21, 16), (16, 30), (9, 9), (64, 50)]):
        path = tmp_path / f"{place}.png"
        rng = np.random.default_rng(place)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        data = path.read_bytes()
        images.append(
            TrainingImage(
                name=path.name,
                file=path,
                length=len(data),
                style=["waves", "dunes"][place % 2],
                width=width,
                height=height,
                mode="RGB",
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    lines = "".join(f"{image.model_dump_json()}\n" for image in images)
    (tmp_path / "images.jsonl").write_text(lines)
    return ITDT(
        name="test",
        source="test",
        manifest=tmp_path,
        num_images=5,
        images_per_style={"dunes": 2, "waves": 3},
        num_quarantined=0,
        num_exact_duplicates=0,
        num_near_duplicates=0,
        digest=digest(lines),
    )


def prepare(preprocessor: Preprocessor, collection: ITDT, resolution: int = 16) -> IPDT:
    settings = PreprocessingSettings(resolution=resolution)
    return preprocessor.preprocess(collection, settings, silent)


def test_the_message_agrees_with_its_files(preprocessor: Preprocessor, collection: ITDT) -> None:
    prepared = prepare(preprocessor, collection)
    assert prepared.images().shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(prepared.labels(), [1, 0, 1, 0, 1])
    assert prepared.styles == collection.styles
    assert prepared.source_digest == collection.digest
    sources = (prepared.directory / "sources.txt").read_text().splitlines()
    assert sources == [image.sha256 for image in collection.images()]
    assert IPDT.from_bytes(prepared.to_bytes()) == prepared


def test_pixels_are_what_the_transform_says(preprocessor: Preprocessor, collection: ITDT) -> None:
    declared = capabilities_of(preprocessor, "preprocessing").transform
    assert prepare(preprocessor, collection).transform == declared
    if declared != USUAL_TRANSFORM:
        pytest.skip(f"declares a transform of its own: {declared}")
    images = prepare(preprocessor, collection).images()
    boxes = [(0, 0, 16, 16), (2, 0, 18, 16), (0, 7, 16, 23), (0, 0, 9, 9), (7, 0, 57, 50)]
    for image, box, pixels in zip(collection.images(), boxes, images, strict=True):
        with Image.open(image.file) as picture:
            square = picture.crop(box).resize((16, 16), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(pixels, np.asarray(square))


def test_the_same_request_is_the_same_set(preprocessor: Preprocessor, collection: ITDT) -> None:
    first = prepare(preprocessor, collection)
    assert prepare(preprocessor, collection).digest == first.digest
    assert prepare(preprocessor, collection, 32).digest != first.digest


def test_changed_bytes_are_refused(preprocessor: Preprocessor, collection: ITDT) -> None:
    victim = next(collection.images()).file
    Image.new("RGB", (16, 16), "red").save(victim)
    with refused():
        prepare(preprocessor, collection)


def test_progress_is_reported(preprocessor: Preprocessor, collection: ITDT) -> None:
    events: list[ProgressEvent] = []
    settings = PreprocessingSettings(resolution=16)
    preprocessor.preprocess(collection, settings, events.append)
    assert (events[-1].done, events[-1].total) == (5, 5)
