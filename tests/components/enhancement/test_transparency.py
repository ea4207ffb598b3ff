"""Enlarging transparent pictures: what does not show has no part in what does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.enhancement import RealESRGANEnhancer
from components.enhancement.transparency import bled
from interfaces.ies import IES
from interfaces.igdt import IGDT
from tests.helpers import make_file_origin

LEVEL = 2 / 255


def disc(side: int, ground: float) -> tuple[np.ndarray, np.ndarray]:
    """A light disc with a soft edge, on fully transparent ground of a colour."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip(side / 3 - np.hypot(x, y), 0, 1).astype(np.float32)[None, None]
    images = np.where(alpha > 0, np.float32(0.9), np.float32(ground)).repeat(3, axis=1)
    return images, alpha


@pytest.mark.parametrize("enhancer", ["lanczos", "embedded"])
def test_a_disc_looks_the_same_on_whatever_is_hidden(enhancer: str) -> None:
    """Enlarged from black, white and its own colour, what shows is the same within a level."""
    results = []
    for ground in (-1.0, 1.0, 0.9):
        images, alpha = disc(32, ground)
        batch = IGDT(images=images, alpha=alpha, origins=(make_file_origin("disc.png"),))
        chosen = IES(enhancer=enhancer, scale=4, device="cpu", route="float32")
        (result,) = RealESRGANEnhancer().enhance([batch], chosen)
        results.append(result)
    for result in results[:2]:
        assert result.alpha is not None and results[2].alpha is not None
        np.testing.assert_array_equal(result.alpha, results[2].alpha)
        shows = np.broadcast_to(result.alpha > 0, result.images.shape)
        difference = np.abs(result.images - results[2].images)[shows]
        assert difference.max() <= LEVEL
        assert np.abs(result.images[shows] - 0.9).max() < 3 * LEVEL  # no ring, dark or light


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_hidden_pixels_take_the_nearest_colour_that_shows(
    height: int, width: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    alpha = (rng.random((1, 1, height, width)) < share).astype(np.float32)
    filled = bled(images, alpha)
    shows = np.argwhere(alpha[0, 0] > 0)
    if not len(shows):
        np.testing.assert_array_equal(filled, images)
        return
    for y, x in np.ndindex(height, width):
        distances = np.hypot(*(shows - (y, x)).T)
        nearest = shows[np.isclose(distances, distances.min())]
        colours = images[0, :, nearest[:, 0], nearest[:, 1]]
        assert (filled[0, :, y, x] == colours).all(axis=1).any()
