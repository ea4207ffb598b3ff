"""Promises that every training store must keep: those of `interfaces/itdt.py`."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.contracts.refusals import refused
from interfaces.components import Components
from interfaces.itdt import ITDT, CollectionSettings, TrainingStore
from interfaces.progress import ProgressEvent, silent


@pytest.fixture
def store(parts: Components) -> TrainingStore:
    return parts.training_store


@pytest.fixture
def paintings(tmp_path: Path) -> Path:
    root = tmp_path / "paintings"
    rng = np.random.default_rng(0)
    for place in range(6):
        path = root / ["waves", "дюны и лес"][place % 2] / f"picture {place}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20 + place, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (root / "waves" / "again.png").write_bytes((root / "waves" / "picture 0.PNG").read_bytes())
    (root / "waves" / "empty.jpg").write_bytes(b"")
    (root / "waves" / "text.jpg").write_text("no picture")
    (root / "waves" / "cut.png").write_bytes((root / "waves" / "picture 2.PNG").read_bytes()[:900])
    (root / "waves" / "tiny.png").write_bytes(_png(3, 3))
    (root / "waves" / "huge.png").write_bytes(_png(400, 400))
    (root / "notes.txt").write_text("neither an image nor a fault")
    return root


def _png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def collect(store: TrainingStore, data: Path) -> ITDT:
    settings = CollectionSettings(data=str(data), max_pixels=100_000)
    return store.collect(settings, silent)


def test_the_message_agrees_with_its_manifest(store: TrainingStore, paintings: Path) -> None:
    message = collect(store, paintings)
    images = list(message.images())
    assert len(images) == message.num_images == 7
    assert message.images_per_style == {"waves": 4, "дюны и лес": 3}
    assert len(list(message.quarantined())) == message.num_quarantined
    kinds = [pair.kind for pair in message.duplicates()]
    assert kinds.count("exact") == message.num_exact_duplicates == 1
    assert kinds.count("near") == message.num_near_duplicates
    assert ITDT.from_bytes(message.to_bytes()) == message


def test_images_are_what_the_manifest_says(store: TrainingStore, paintings: Path) -> None:
    for image in collect(store, paintings).images():
        data = image.read_bytes()
        assert data == (paintings / image.name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == image.sha256
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.width, picture.height) == (image.width, image.height)
            assert picture.mode == image.mode


def test_bad_files_are_put_aside_with_a_reason(store: TrainingStore, paintings: Path) -> None:
    quarantined = list(collect(store, paintings).quarantined())
    names = {Path(file.name).name for file in quarantined}
    assert names == {"empty.jpg", "text.jpg", "cut.png", "tiny.png", "huge.png"}
    assert all(file.detail for file in quarantined)
    reasons = {Path(file.name).name: file.reason for file in quarantined}
    assert reasons["tiny.png"] == "tiny"
    assert reasons["huge.png"] == "oversized"
    assert reasons["text.jpg"] == "not an image"


def test_order_and_digest_come_from_the_content(
    store: TrainingStore, paintings: Path, tmp_path: Path
) -> None:
    first, second = collect(store, paintings), collect(store, paintings)
    assert first.digest == second.digest
    assert list(first.images()) == list(second.images())
    (paintings / "waves" / "picture 4.PNG").write_bytes(_png(30, 30))
    assert collect(store, paintings).digest != first.digest


def test_progress_is_reported(store: TrainingStore, paintings: Path) -> None:
    events: list[ProgressEvent] = []
    store.collect(CollectionSettings(data=str(paintings)), events.append)
    assert events
    assert all(event.total is None or event.done <= event.total for event in events)


def test_collections_that_cannot_be_used_are_refused(store: TrainingStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"text")
    (tmp_path / "unknown.xyz").write_bytes(b"\0" * 100)
    for name in ("missing", "empty", "bad", "unknown.xyz"):
        with refused():
            collect(store, tmp_path / name)
