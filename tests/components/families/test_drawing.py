"""Strokes found in pictures: against constructed drawings, scipy's distances, and bad sketches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from components.families.drawing import clean_sketch, distances, leave_out, strokes_of_pictures

SIDE = 64


def line_drawing(height: int, width: int, thickness: int) -> np.ndarray:
    """A box and its diagonal: 1 where drawn, (height, width)."""
    import cv2

    ink = np.zeros((height, width), np.uint8)
    corners = (width // 5, height // 5), (width * 4 // 5, height * 4 // 5)
    cv2.rectangle(ink, *corners, 1, thickness)
    cv2.line(ink, *corners, 1, thickness)
    return ink


def on_paper(ink: np.ndarray, paper: float | np.ndarray = 255.0, pen: float = 0.0) -> np.ndarray:
    """Opaque RGBA (H, W, 4): a pen of so much of the paper's lightness."""
    grey = np.where(ink > 0, pen * np.asarray(paper), paper)
    grey = np.clip(grey, 0, 255).round().astype(np.uint8)
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


def agreement(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of either's pixels that have one of the other's within a pixel, the lower one."""
    near = [ndimage.binary_dilation(one > 0, np.ones((3, 3))) for one in (found, wanted)]
    return min(near[1][found > 0].mean(), near[0][wanted > 0].mean())


# ---------------------------------------------------------------- pictures


def test_line_art_is_drawn_where_it_is_dark() -> None:
    ink = line_drawing(SIDE, SIDE, 2)
    picture = np.where(ink > 0, -0.8, 0.9).astype(np.float32)
    strokes = strokes_of_pictures(np.stack([picture] * 3)[None])
    np.testing.assert_array_equal(strokes[0, 0], ink)


def test_a_painting_is_drawn_along_the_border_of_its_shapes() -> None:
    disc = np.hypot(*(np.indices((SIDE, SIDE)) - 31.5)) < 18
    picture = np.where(disc, [[[0.4]], [[-0.3]], [[-0.5]]], [[[-0.6]], [[-0.2]], [[0.1]]])
    border = disc ^ ndimage.binary_erosion(disc)
    strokes = strokes_of_pictures(picture[None].astype(np.float32))[0, 0]
    assert agreement(strokes, border) > 0.95


def test_a_dim_painting_is_drawn_as_a_bright_one() -> None:
    rng = np.random.default_rng(0)
    bright = ndimage.gaussian_filter(rng.normal(size=(1, 3, SIDE, SIDE)), (0, 0, 4, 4))
    bright = (bright / np.abs(bright).max()).astype(np.float32)
    both = strokes_of_pictures(np.concatenate([bright, bright / 2]))
    assert agreement(both[0, 0], both[1, 0]) > 0.9


def test_edges_of_equal_lightness_and_other_colour_are_seen() -> None:
    picture = np.full((1, 3, SIDE, SIDE), -1.0, np.float32)
    picture[:, 0, :, :32] = 0.0  # red, of the same lightness as …
    picture[:, 1, :, 32:] = -0.49  # … this green
    strokes = strokes_of_pictures(picture)[0, 0]
    assert (strokes[4:-4, 30:34].max(axis=1) == 1).all()


def test_a_blank_picture_has_no_strokes() -> None:
    assert not strokes_of_pictures(np.full((2, 3, SIDE, SIDE), 0.2, np.float32)).any()


def test_strokes_are_the_same_wherever_a_picture_lies_in_memory() -> None:
    """OpenCV's sums of floats are not; a training could not be resumed exactly with them."""
    noise = np.random.default_rng(0).uniform(-1, 1, (4, 3, SIDE, SIDE)).astype(np.float32)
    wanted = strokes_of_pictures(noise)
    room = np.empty(noise.size + 16, np.float32)
    for offset in range(16):
        moved = room[offset : offset + noise.size].reshape(noise.shape)
        moved[:] = noise
        np.testing.assert_array_equal(strokes_of_pictures(moved), wanted)


@given(hnp.arrays(np.float32, (2, 1, 16, 16), elements=st.sampled_from([0.0, 0.0, 0.0, 1.0])))
@settings(deadline=None)
def test_distances_are_those_of_scipy_to_the_last_bit(strokes: np.ndarray) -> None:
    """OpenCV's roots are not, at some places in memory."""
    for found, one in zip(distances(strokes)[:, 0], strokes[:, 0], strict=True):
        wanted = ndimage.distance_transform_edt(one == 0) if one.any() else np.full((16, 16), 32.0)
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_whole_lines_are_left_out_by_their_draws() -> None:
    strokes = np.zeros((2, 1, 16, 16), np.float32)
    strokes[:, 0, 2, 3:9] = strokes[:, 0, 12, 3:9] = 1  # lines 1 and 2; 0 is the paper
    draws = np.array([[0.0, 0.9, 0.1]] * 2, np.float32)
    kept = leave_out(strokes, np.array([0.5, 1.0], np.float32), draws)
    assert not kept[0, 0, 2].any()
    np.testing.assert_array_equal(kept[0, 0, 12], strokes[0, 0, 12])
    np.testing.assert_array_equal(kept[1], strokes[1])


# ---------------------------------------------------------------- sketches


def test_a_sketch_of_the_right_size_is_taken_as_it_is() -> None:
    ink = line_drawing(SIDE, SIDE, 1)
    np.testing.assert_array_equal(clean_sketch(on_paper(ink), SIDE)[0], ink)


@pytest.mark.parametrize("thickness", [1, 2, 7, 20])
@pytest.mark.parametrize("side", [200, 640, 2500])
def test_a_larger_sketch_keeps_its_lines_and_their_width(side: int, thickness: int) -> None:
    found = clean_sketch(on_paper(line_drawing(side, side, thickness)), SIDE)[0]
    in_pixels = max(1, round(thickness * SIDE / side))
    wanted = line_drawing(SIDE, SIDE, in_pixels)
    assert agreement(found, wanted) > 0.95
    assert found.sum() < 1.8 * wanted.sum() + 40


def test_three_ways_to_hand_in_a_drawing_give_the_same_strokes() -> None:
    ink = line_drawing(640, 640, 8)
    rng = np.random.default_rng(0)
    rows, columns = np.indices(ink.shape) / 640
    paper = 190 - 60 * rows - 40 * columns**2 + rng.normal(0, 3, ink.shape)
    scan = on_paper(ink, paper, pen=0.45)
    page = np.zeros((640, 640, 4), np.uint8)  # black where opaque, and where not
    page[..., 3] = ink * 255
    wanted = clean_sketch(on_paper(ink), SIDE)[0]
    assert agreement(wanted, line_drawing(SIDE, SIDE, 1)) > 0.95
    np.testing.assert_array_equal(clean_sketch(page, SIDE)[0], wanted)
    found = clean_sketch(scan, SIDE)[0]
    assert agreement(found, wanted) == 1.0
    assert abs(found.sum() / wanted.sum() - 1) < 0.1


@given(st.integers(70, 300), st.integers(70, 300))
@settings(max_examples=20, deadline=None)
def test_the_shape_is_kept_and_the_rest_is_paper(height: int, width: int) -> None:
    ink = np.zeros((height, width), np.uint8)
    ink[[0, -1]] = ink[:, [0, -1]] = 1  # a frame around the whole sheet
    rows, columns = np.nonzero(clean_sketch(on_paper(ink), SIDE)[0])
    found = np.ptp(rows) + 1, np.ptp(columns) + 1
    scale = SIDE / max(height, width)
    assert found == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert abs((rows.min() + rows.max()) - (SIDE - 1)) <= 1
    assert abs((columns.min() + columns.max()) - (SIDE - 1)) <= 1


def test_dust_is_not_drawn() -> None:
    ink = line_drawing(1280, 1280, 12)
    dusty = ink.copy()
    rows, columns = np.random.default_rng(0).integers(0, 1280, (2, 200))
    dusty[rows, columns] = 1
    clean = clean_sketch(on_paper(ink), SIDE)
    assert np.abs(clean_sketch(on_paper(dusty), SIDE) - clean).sum() <= 2


WHITE = on_paper(np.zeros((100, 100)))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (WHITE, "empty"),
        (np.zeros((100, 100, 4), np.uint8), "empty"),
        (on_paper(np.ones((100, 100))), "black all over"),
        (on_paper(1 - line_drawing(100, 100, 5)), "more dark than light"),
        (WHITE[:1, :1], "1×1 pixels"),
        (np.broadcast_to(WHITE[:1, :1], (6000, 8000, 4)), "8000×6000 pixels"),
    ],
)
def test_what_is_no_sketch_is_refused_in_one_line(pixels: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        clean_sketch(pixels, SIDE)
    assert "\n" not in str(raised.value)
