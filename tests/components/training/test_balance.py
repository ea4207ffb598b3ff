"""The bias of data and of what was made, against shares that are known, and what evens it out."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from components.families import FAMILIES
from components.training import create
from components.training.balance import Balance, balance_lines, balance_of
from components.training.observer import Observer
from interfaces.errors import AtelierError
from interfaces.igme import TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import silent
from tests.components.families.test_every_family import TINY
from tests.helpers import digest

KINDS = {"red": 60, "green": 30, "blue": 10}
"""Pictures of each: plain colours with a little noise."""

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}


def plain(kind: str, count: int, seed: int) -> np.ndarray:
    """Pictures uint8 (count, 16, 16, 3) of nearly one colour."""
    noise = np.random.default_rng(seed).normal(0, 4, (count, 16, 16, 3))
    return np.clip(np.array(COLOURS[kind]) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def prepared(tmp_path: Path) -> IPDT:
    """100 pictures without styles, six of ten of them red."""
    folder = tmp_path / "set"
    folder.mkdir()
    images = np.concatenate([plain(kind, count, 0) for kind, count in KINDS.items()])
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", np.zeros(len(images), np.int64))
    digests = "".join(digest(f"file {place}") + "\n" for place in range(len(images)))
    (folder / "sources.txt").write_text(digests)
    return IPDT(
        directory=folder,
        name="colours",
        num_images=len(images),
        resolution=16,
        styles=("all",),
        source_digest=digest("collection"),
        digest=digest("colours"),
    )


def settings(**changes: object) -> TrainingSettings:
    chosen = {"family": "r3gan", "options": TINY["r3gan"], "total_images": 40, "measure_count": 64}
    chosen |= {"held_out_fraction": 0.0, "guardian": "off", "measure_images": 0}
    return TrainingSettings.model_validate(chosen | changes)


def observer(prepared: IPDT, cache: Path, **changes: object) -> Observer:
    family = FAMILIES["r3gan"]
    config = family.config.model_validate(TINY["r3gan"])
    return Observer(prepared, settings(**changes), family, config, cache, silent)


def balance(observing: Observer, made: dict[str, int]) -> Balance:
    pixels = np.concatenate([plain(kind, count, 1) for kind, count in made.items()])
    return balance_of(observing, pixels, observing.encoder.extract(pixels))


def share_of(kind: str, observing: Observer, found: Balance, shares: np.ndarray) -> float:
    """The share of all groups to which the pictures of this kind belong."""
    starts = dict(zip(KINDS, np.cumsum([0, *KINDS.values()]), strict=False))
    members = found.data_groups[starts[kind] : starts[kind] + KINDS[kind]]
    return float(shares[np.unique(members)].sum())


def test_what_was_made_is_compared_with_what_was_learnt(prepared: IPDT, tmp_path: Path) -> None:
    observing = observer(prepared, tmp_path / "cache")
    found = balance(observing, {"red": 180, "green": 20})
    for kind, count in KINDS.items():
        assert share_of(kind, observing, found, found.data) == pytest.approx(count / 100)
    assert share_of("red", observing, found, found.made) == pytest.approx(0.9)
    assert share_of("green", observing, found, found.made) == pytest.approx(0.1)
    assert share_of("blue", observing, found, found.made) == 0
    assert found.distance >= 0.3 - 1e-9  # 30 of 100 are red instead of green or blue
    assert_allclose(found.shown, found.data)
    text = "\n".join(balance_lines(observing, found))
    assert re.search(r"Made too seldom: group \d \(\d+ % for \d+ %\); too often: group \d", text)


def test_pictures_like_those_learnt_from_are_off_by_chance_alone(
    prepared: IPDT, tmp_path: Path
) -> None:
    found = balance(observer(prepared, tmp_path / "cache"), KINDS)
    assert found.distance <= 3 * found.by_chance
    assert_allclose(found.made_lightness, found.shown_lightness, atol=2)
    assert_allclose(found.palette.made, found.palette.shown, atol=0.1)


def test_balancing_by_cluster_shows_every_group_equally_often(
    prepared: IPDT, tmp_path: Path
) -> None:
    found = balance(observer(prepared, tmp_path / "cache", cluster_balanced=True), KINDS)
    assert_allclose(found.shown, 1 / len(found.shown))
    assert found.data.max() > 1.5 / len(found.data)


def test_a_training_may_be_balanced_by_cluster_and_reports_it(
    prepared: IPDT, tmp_path: Path
) -> None:
    trainer, run = create(tmp_path), tmp_path / "run"
    trainer.train(prepared, settings(cluster_balanced=True), run, silent)
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "| group | learnt from | shown | made |" in report
    with Image.open(run / "balance.png") as picture:
        assert picture.width > 1000
    with pytest.raises(AtelierError, match="cluster_balanced was True, is now False"):
        trainer.train(prepared, settings(), run, silent)


def test_it_is_balanced_by_one_of_the_two() -> None:
    with pytest.raises(ValueError, match="style_balanced or cluster_balanced"):
        settings(style_balanced=True, cluster_balanced=True)
