"""Eight sketches, drawn as a person would with a few strokes: an eye, a face, a house, …

    python -m tests.drawings FOLDER    writes each as a PNG

Coordinates are shares of the paper's side, from the upper left corner.
"""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw

Point = tuple[float, float]
Stroke = list[Point]

SIDE = 512
WIDTH = 9


def arc(
    x: float, y: float, width: float, height: float, start: float = 0, end: float = 360
) -> Stroke:
    """Part of an ellipse around (x, y); degrees clockwise from the right."""
    turns = [math.radians(start + (end - start) * step / 48) for step in range(49)]
    return [(x + width / 2 * math.cos(turn), y + height / 2 * math.sin(turn)) for turn in turns]


def curve(*points: Point) -> Stroke:
    """A smooth stroke through the points: Catmull and Rom's spline."""
    ends = [points[0], *points, points[-1]]
    stroke: Stroke = []
    for before, start, end, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for step in range(13):
            t = step / 12
            x, y = (
                0.5
                * (
                    2 * q
                    + (r - p) * t
                    + (2 * p - 5 * q + 4 * r - s) * t**2
                    + (3 * q - p - 3 * r + s) * t**3
                )
                for p, q, r, s in zip(before, start, end, after, strict=True)
            )
            stroke.append((x, y))
    return stroke


def eye() -> Iterator[Stroke]:
    yield curve((0.10, 0.55), (0.30, 0.34), (0.52, 0.28), (0.75, 0.36), (0.92, 0.55))
    yield curve((0.10, 0.55), (0.32, 0.70), (0.55, 0.74), (0.78, 0.68), (0.92, 0.55))
    yield arc(0.52, 0.51, 0.36, 0.40)
    yield arc(0.52, 0.51, 0.14, 0.16)
    yield curve((0.12, 0.30), (0.38, 0.14), (0.66, 0.14), (0.90, 0.28))


def face() -> Iterator[Stroke]:
    yield curve((0.26, 0.34), (0.26, 0.58), (0.36, 0.80), (0.50, 0.88), (0.64, 0.80), (0.74, 0.58))
    yield curve((0.74, 0.58), (0.75, 0.34), (0.64, 0.14), (0.50, 0.10), (0.36, 0.14), (0.26, 0.34))
    yield curve((0.33, 0.42), (0.39, 0.39), (0.45, 0.42))
    yield curve((0.55, 0.42), (0.61, 0.39), (0.67, 0.42))
    yield curve((0.50, 0.42), (0.48, 0.58), (0.53, 0.61))
    yield curve((0.40, 0.71), (0.50, 0.74), (0.60, 0.71))
    yield curve((0.36, 0.84), (0.24, 0.94), (0.12, 1.0))
    yield curve((0.64, 0.84), (0.76, 0.94), (0.88, 1.0))


def house() -> Iterator[Stroke]:
    yield [(0.20, 0.46), (0.20, 0.84), (0.80, 0.84), (0.80, 0.46)]
    yield [(0.12, 0.50), (0.50, 0.18), (0.88, 0.50)]
    yield [(0.44, 0.84), (0.44, 0.62), (0.58, 0.62), (0.58, 0.84)]
    yield [(0.27, 0.56), (0.37, 0.56), (0.37, 0.68), (0.27, 0.68), (0.27, 0.56)]
    yield [(0.66, 0.31), (0.66, 0.20), (0.73, 0.20), (0.73, 0.37)]
    yield curve((0.0, 0.86), (0.50, 0.84), (1.0, 0.87))


def tree() -> Iterator[Stroke]:
    yield curve((0.44, 0.92), (0.47, 0.72), (0.45, 0.55))
    yield curve((0.58, 0.92), (0.55, 0.72), (0.57, 0.55))
    yield curve((0.45, 0.58), (0.24, 0.58), (0.16, 0.42), (0.26, 0.28), (0.38, 0.14), (0.52, 0.10))
    yield curve((0.52, 0.10), (0.70, 0.14), (0.80, 0.28), (0.86, 0.44), (0.76, 0.58), (0.57, 0.58))
    yield curve((0.50, 0.60), (0.44, 0.44), (0.36, 0.36))
    yield curve((0.52, 0.54), (0.60, 0.42), (0.66, 0.36))
    yield curve((0.06, 0.92), (0.50, 0.91), (0.94, 0.93))


def wave() -> Iterator[Stroke]:
    yield curve((0.0, 0.62), (0.16, 0.56), (0.30, 0.36), (0.48, 0.20), (0.66, 0.20), (0.76, 0.34))
    yield curve((0.76, 0.34), (0.64, 0.32), (0.54, 0.42), (0.56, 0.60), (0.70, 0.72), (1.0, 0.72))
    yield curve((0.30, 0.62), (0.42, 0.46), (0.52, 0.32))
    yield curve((0.0, 0.80), (0.22, 0.74), (0.44, 0.82), (0.66, 0.86), (1.0, 0.84))
    yield curve((0.14, 0.66), (0.30, 0.54), (0.42, 0.38))


def mountain() -> Iterator[Stroke]:
    yield [(0.0, 0.76), (0.20, 0.58), (0.30, 0.62), (0.54, 0.22), (0.78, 0.60), (1.0, 0.74)]
    yield [(0.42, 0.42), (0.48, 0.46), (0.53, 0.40), (0.59, 0.47), (0.66, 0.41)]
    yield curve((0.0, 0.84), (0.30, 0.80), (0.60, 0.84), (1.0, 0.82))
    yield arc(0.82, 0.22, 0.16, 0.16)


def vase() -> Iterator[Stroke]:
    yield curve((0.40, 0.40), (0.42, 0.50), (0.30, 0.62), (0.32, 0.80), (0.40, 0.92))
    yield curve((0.60, 0.40), (0.58, 0.50), (0.70, 0.62), (0.68, 0.80), (0.60, 0.92))
    yield arc(0.50, 0.40, 0.20, 0.05)
    yield [(0.40, 0.92), (0.60, 0.92)]
    for x, y in ((0.50, 0.14), (0.34, 0.22), (0.66, 0.22)):
        yield arc(x, y, 0.15, 0.13)
        yield curve((x, y + 0.065), ((x + 0.5) / 2, 0.32), (0.50, 0.39))
    yield curve((0.0, 0.90), (0.20, 0.89), (0.35, 0.90))
    yield curve((0.65, 0.90), (0.80, 0.89), (1.0, 0.90))


def boat() -> Iterator[Stroke]:
    yield curve((0.14, 0.68), (0.22, 0.80), (0.50, 0.83), (0.76, 0.80), (0.88, 0.66))
    yield curve((0.14, 0.68), (0.50, 0.71), (0.88, 0.66))
    yield [(0.50, 0.70), (0.50, 0.12)]
    yield curve((0.52, 0.14), (0.78, 0.36), (0.82, 0.60))
    yield [(0.82, 0.60), (0.52, 0.62)]
    yield curve((0.48, 0.18), (0.30, 0.40), (0.24, 0.60))
    yield [(0.24, 0.60), (0.48, 0.62)]
    yield curve((0.0, 0.86), (0.24, 0.88), (0.50, 0.90), (0.76, 0.88), (1.0, 0.86))


SKETCHES: dict[str, Callable[[], Iterator[Stroke]]] = {
    sketch.__name__: sketch for sketch in (eye, face, house, tree, wave, mountain, vase, boat)
}


def draw(name: str, side: int = SIDE) -> Image.Image:
    """The sketch of that name in black on white, (side, side)."""
    paper = Image.new("L", (side * 2, side * 2), 255)
    pen = ImageDraw.Draw(paper)
    width = round(2 * WIDTH * side / SIDE)
    for stroke in SKETCHES[name]():
        points = [(2 * side * x, 2 * side * y) for x, y in stroke]
        pen.line(points, fill=0, width=width, joint="curve")
        for x, y in (points[0], points[-1]):  # a pen's ends are round
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return paper.resize((side, side), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in SKETCHES:
        draw(name).save(folder / f"{name}.png")
