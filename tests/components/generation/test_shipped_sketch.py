"""The sketch model that comes with the project, on sketches drawn for the purpose."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.experiments.sketch.numbers import overlap
from components.common.checkpoints import load_weights
from components.common.shipped import SHIPPED_MODELS
from components.families.drawing import clean_sketch, strokes_of_pictures
from components.generation import LocalGenerator
from interfaces.errors import AtelierError
from interfaces.igme import IGME
from interfaces.igs import IGS
from tests.drawings import SKETCHES, draw

SIDE = 64
NAMES = tuple(SKETCHES)


@pytest.fixture(scope="module")
def model() -> IGME:
    return IGME.open(SHIPPED_MODELS["shipped-sketch"])


def drawn(name: str) -> np.ndarray:
    return clean_sketch(np.asarray(draw(name).convert("RGBA")), SIDE)


def painted(model: IGME, sketch: Path, seeds: str, **options: float) -> np.ndarray:
    """Float32 (N, 3, 64, 64)."""
    asked = IGS(seeds=seeds, sketch=sketch, options=options, originality=False, device="cpu")
    return np.concatenate([batch.images for batch in LocalGenerator().generate(model, asked)])


@pytest.fixture(scope="module")
def large() -> IGME:
    """The same model with its level of detail."""
    return IGME.open(SHIPPED_MODELS["shipped-sketch-128"])


def test_they_are_small_enough_to_ship(model: IGME, large: IGME) -> None:
    for each in (model, large):
        assert sum(file.stat().st_size for file in each.directory.iterdir()) < 20e6


def test_the_larger_ones_network_is_the_smaller_one_and_its_seeds_are_the_same(
    model: IGME, large: IGME
) -> None:
    small, whole = (load_weights(m.weights_path, m.weights_sha256) for m in (model, large))
    new = {name for name in whole if name not in small}
    assert new and all(name.startswith("detail.") for name in new)
    assert all(torch.equal(small[name], whole[name]) for name in small if name != "noise")
    asked = IGS(seeds="5", style="Rococo", originality=False, device="cpu")
    made = [next(iter(LocalGenerator().generate(each, asked))).images for each in (model, large)]
    assert made[1].shape == (1, 3, 2 * SIDE, 2 * SIDE)
    averages = made[1].reshape(1, 3, SIDE, 2, SIDE, 2).mean(axis=(3, 5))
    assert np.abs(averages - made[0]).mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_a_sketch_is_ink_on_a_clean_page(name: str) -> None:
    strokes = drawn(name)
    assert strokes.shape == (1, SIDE, SIDE)
    assert 0.02 < strokes.mean() < 0.25


@pytest.mark.slow
def test_pictures_keep_their_own_sketch_and_no_other(model: IGME, tmp_path: Path) -> None:
    names = ("house", "mountain", "wave")
    found = np.empty((len(names), len(names)))
    for row, name in enumerate(names):
        draw(name).save(tmp_path / f"{name}.png")
        strokes = strokes_of_pictures(painted(model, tmp_path / f"{name}.png", "0-3", radius=3))
        for column, other in enumerate(names):
            kept, _, _ = overlap(strokes, drawn(other), 2.0)
            found[row, column] = kept.mean()
    others = found[~np.eye(len(names), dtype=bool)]
    assert found.diagonal().min() > 0.6
    assert found.diagonal().min() > others.max() + 0.15


def test_pictures_of_one_sketch_vary(model: IGME, tmp_path: Path) -> None:
    draw("vase").save(tmp_path / "vase.png")
    one, two = painted(model, tmp_path / "vase.png", "0-1")
    assert np.abs(one - two).mean() > 0.1


@pytest.mark.slow
def test_a_seed_is_the_same_picture_alone_and_among_25(model: IGME, tmp_path: Path) -> None:
    draw("boat").save(tmp_path / "boat.png")
    many = painted(model, tmp_path / "boat.png", "0-24", radius=7)
    alone = painted(model, tmp_path / "boat.png", "17", radius=7)
    np.testing.assert_array_equal(many[17], alone[0])


@pytest.mark.parametrize(
    ("size", "grey", "said"),
    [
        ((640, 480), 255, "the sketch is empty; draw dark lines on light paper"),
        ((640, 480), 0, "the sketch is black all over; draw dark lines on light paper"),
        ((8000, 6000), 255, "the sketch has 8000×6000 pixels; 40 million are the most"),
        ((1, 1), 0, "the sketch has 1×1 pixels; draw on at least 8×8"),
    ],
)
def test_what_is_no_sketch_is_one_line(
    model: IGME, tmp_path: Path, size: tuple[int, int], grey: int, said: str
) -> None:
    path = tmp_path / "sketch.png"
    Image.new("L", size, grey).save(path)
    with pytest.raises(AtelierError) as refusal:
        painted(model, path, "0")
    assert str(refusal.value) == f"{path}: {said}"


def test_a_text_is_no_sketch(model: IGME, tmp_path: Path) -> None:
    path = tmp_path / "sketch.png"
    path.write_text("a drawing of a house")
    with pytest.raises(AtelierError, match=r"sketch\.png: not an image of a known format"):
        painted(model, path, "0")


def test_a_style_typed_in_another_way_is_recorded_as_the_model_spells_it(model: IGME) -> None:
    (batch,) = LocalGenerator().generate(model, IGS(style="ukiyo-e", count=1, options={"steps": 1}))
    assert batch.origins[0].style == "Ukiyo_e"
