# pyright: standard
"""Strokes: what is drawn in a training picture or in a person's sketch, arrays in, strokes out.

Strokes are float32 (N, 1, S, S): 1 where something is drawn, 0 elsewhere. Paper 004 makes its masks
«around every pixel of the input drawing» and does not say which pixels those are; we read: the dark
lines of a drawing on light paper, and in any other picture the lines that a person would trace.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# A picture is line art where most of it is paper: light, without colour, and some of it dark.
PAPER_LIGHTNESS = 0.75
PAPER_CHROMA = 0.08
PAPER_GRAIN = 0.05
MIN_PAPER = 0.5
MAX_INK = 0.4

# Lines of a painting are the strongest so many edges, after details under this width are gone
# (pixels at 64×64; both grow with the picture's side).
EDGE_SHARE = 0.1
DETAIL_SIGMA = 1.5
FRACTIONS = 16
FAINTEST_EDGE = 20.0 * FRACTIONS

MAX_PIXELS = 40_000_000
MIN_SIDE = 8
MAX_WORKED_SIDE = 2048
"""Sketches are cleaned at no more than this side: a line of one pixel in 8000 stays visible."""
FAINTEST_INK = 0.15
"""Share of the paper's lightness; less is its grain and its shadows."""
MIN_STROKES = 3


def strokes_of_pictures(images: Floats) -> Floats:
    """Pictures (N, 3, S, S) in [-1, 1] => strokes (N, 1, S, S), picture by picture.

    Line art, which is light paper with dark lines, is cut at the lightness that best parts the two
    (Otsu 1979). Of any other picture the strongest edges are taken: Canny's detector (1986) over
    each pixel's most changing colour, its threshold the picture's own, so that a dim painting is
    drawn like a bright one.
    """
    pixels = np.clip((images + 1) * 127.5, 0, 255).round().astype(np.uint8)
    pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return np.stack([_strokes(picture) for picture in pixels])[:, None]


def _strokes(pixels: Bytes) -> Floats:
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if not _is_line_art(pixels, grey):
        return _edges(pixels)
    _, ink = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    return ink.astype(np.float32)


def _is_line_art(pixels: Bytes, grey: NDArray[Any]) -> bool:
    chroma = pixels.max(axis=2).astype(np.float32) - pixels.min(axis=2)
    paper = _quantile(grey, 0.5)
    even = np.mean(np.abs(grey - paper) <= PAPER_GRAIN * 255)
    ink = np.mean(grey < paper / 2)
    return bool(
        paper >= PAPER_LIGHTNESS * 255
        and chroma.mean() <= PAPER_CHROMA * 255
        and even >= MIN_PAPER
        and 0 < ink <= MAX_INK
    )


def _quantile(values: NDArray[Any], share: float) -> float:
    """The quantile of a share; ten times as fast as NumPy's."""
    place = min(values.size - 1, int(share * values.size))
    return float(np.partition(values.ravel(), place)[place])


def _edges(pixels: Bytes) -> Floats:
    import cv2

    sigma = DETAIL_SIGMA * pixels.shape[0] / 64
    # Sixteenths, or soft shapes would have few directions; whole numbers, since OpenCV's sums of
    # floats hang on where an array lies in memory, and the same picture must have the same strokes.
    smooth = cv2.GaussianBlur(pixels.astype(np.uint16) * FRACTIONS, (0, 0), sigma)
    slopes = np.stack([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)])
    steepness = np.square(slopes).sum(axis=0)
    channel = steepness.argmax(axis=2)[..., None]
    x, y = (np.take_along_axis(slope, channel, axis=2).astype(np.int16) for slope in slopes)
    steepness = np.sqrt(steepness.max(axis=2))
    # Edges are thin and their slopes wide; the share is of the slopes.
    strong = max(_quantile(steepness, 1 - EDGE_SHARE), FAINTEST_EDGE)
    found = cv2.Canny(x, y, strong / 2, strong, L2gradient=True)
    return (found > 0).astype(np.float32)


def distances(strokes: Floats) -> Floats:
    """Distance of each pixel to the nearest drawn one, in pixels: (N, 1, S, S) => (N, 1, S, S).

    Euclidean, the float32 nearest to the truth; 2 S everywhere where nothing is drawn.
    """
    import cv2

    farthest = np.float32(2 * strokes.shape[-1])
    blank = (strokes < 0.5).astype(np.uint8)
    found = [
        cv2.distanceTransform(one, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if one.min() == 0
        else np.full(one.shape, farthest, np.float32)
        for one in blank[:, 0]
    ]
    # The squares are whole numbers. OpenCV's roots are off by a last bit that hangs on where an
    # array lies in memory, and a resumed training must see what an undisturbed one saw.
    squares = np.square(np.stack(found)).round()
    return np.sqrt(squares)[:, None]


def leave_out(strokes: Floats, shares: Floats, draws: Floats) -> Floats:
    """Leave whole lines out, as a person does who does not draw everything.

    Of the lines (connected strokes) of each picture in (N, 1, S, S), those stay whose draw, of
    `draws` (N, D) in [0, 1), is under the picture's share (N,); the D draws serve the lines in
    turn.
    """
    import cv2

    kept = np.empty_like(strokes)
    for picture, share, draw, place in zip(strokes, shares, draws, kept, strict=True):
        _, labels = cv2.connectedComponents(picture[0].astype(np.uint8), connectivity=8)
        place[0] = picture[0] * (draw[labels % len(draw)] < share)
    return kept


# ---------------------------------------------------------------- a person's sketch


def clean_sketch(pixels: Bytes, side: int) -> Floats:
    """A person's sketch, RGBA (H, W, 4), of any shape => strokes (1, side, side).

    A drawing with alpha is laid on white paper; paper that is grey or unevenly lit is divided out;
    what is then darker than the paper is ink. The shape is kept and the rest is paper. Lines keep
    their width in proportion, but never vanish: one that would be thinner than a pixel is a pixel.
    Raises `ValueError` where there is nothing to draw from.
    """
    height, width = pixels.shape[:2]
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"the sketch has {width}×{height} pixels; {MAX_PIXELS // 10**6} million are the most"
        )
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"the sketch has {width}×{height} pixels; draw on at least {MIN_SIDE}×{MIN_SIDE}"
        )
    lightness = _on_white(pixels)
    if lightness.max() < 128:
        raise ValueError("the sketch is black all over; draw dark lines on light paper")
    strokes = _reduced(_ink(lightness), side)
    if strokes.sum() < MIN_STROKES:
        raise ValueError("the sketch is empty; draw dark lines on light paper")
    if strokes.mean() > 0.5:
        raise ValueError("the sketch is more dark than light; draw dark lines on light paper")
    return strokes[None]


# In whole numbers throughout: the same sketch must give the same strokes, wherever it lies in
# memory, and OpenCV's sums of floats do not.


def _on_white(pixels: Bytes) -> Bytes:
    """Lightness (H, W), 0 to 255, at no more than the side that is worked at."""
    import cv2

    # Alpha before reduction: the colour under what is transparent means nothing.
    darkness = 255 - cv2.cvtColor(pixels, cv2.COLOR_RGBA2GRAY).astype(np.uint16)
    lightness = (255 - darkness * pixels[..., 3] // 255).astype(np.uint8)
    return _resized(lightness, min(1.0, MAX_WORKED_SIDE / max(lightness.shape)))


def _resized(image: Bytes, factor: float) -> Bytes:
    import cv2

    height, width = (max(1, round(side * factor)) for side in image.shape)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8)


def _ink(lightness: Bytes) -> Bytes:
    """Mask (H, W): 1 where lightness is under that of the paper around it, else 0."""
    import cv2

    share = lightness / np.maximum(_paper(lightness), 1)
    darkness = (255 * (1 - share).clip(0, 1)).astype(np.uint8)
    cut, _ = cv2.threshold(darkness, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return (darkness > max(cut, FAINTEST_INK * 255)).astype(np.uint8)


def _paper(lightness: Bytes) -> Bytes:
    """The lightness of the paper: the lightest in a wide neighbourhood, without steps."""
    import cv2

    # On a small copy: paper changes slowly. Means, so that the scanner's grain is not taken for it.
    small = _resized(lightness, min(1.0, 128 / max(lightness.shape)))
    reach = max(small.shape) // 4 * 2 + 1
    window = np.ones((reach, reach), np.uint8)
    closed = cv2.erode(cv2.dilate(small, window), window)  # lines filled, shadows kept
    smooth = cv2.GaussianBlur(closed, (0, 0), max(1.0, reach / 8))
    height, width = lightness.shape
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _reduced(ink: Bytes, side: int) -> Floats:
    """Ink (H, W) => strokes (side, side), padded with paper to a square."""
    import cv2

    factor = side / max(ink.shape)
    if factor <= 0.25:
        ink = _without_specks(ink, 0.5 / factor)
    strokes = _resized(ink * 255, factor) >= 128
    if factor < 1:
        # The middles of lines: nowhere within a pixel is one farther from the paper.
        depth = cv2.distanceTransform(ink, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        middles = (ink > 0) & (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)))
        rows, columns = (np.floor(places * factor).astype(int) for places in np.nonzero(middles))
        height, width = strokes.shape
        strokes[rows.clip(max=height - 1), columns.clip(max=width - 1)] = True
    height, width = strokes.shape
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.zeros((side, side), np.float32)
    padded[top : top + height, left : left + width] = strokes
    return padded


def _without_specks(ink: Bytes, smallest: float) -> Bytes:
    """A drawing without marks under this many pixels wide and high: dust, grain."""
    import cv2

    _, found_labels, found, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    labels = np.asarray(found_labels, np.int64)
    extent = np.maximum(found[:, cv2.CC_STAT_WIDTH], found[:, cv2.CC_STAT_HEIGHT])
    return ink * (extent >= smallest)[labels].astype(np.uint8)
