"""The embedded collection: pictures that the project paints itself, for who has none yet.

Six styles of two hundred pictures, each the same on every machine:

- Chance comes from `PCG64`, and from its uniform numbers alone, whose stream is fixed.
- Colours are mixed with `+ - * /` and square roots, one numpy operation at a time, which
  IEEE 754 rounds alike everywhere. No fused or reordered sums: no BLAS, no `np.interp`.
- Sines, powers and exponentials may differ between processors in their last bit, 1e-16. They
  only shape smooth things, and tones are rounded once, at the end: a pixel changes when a tone
  lies that near to a rounding border, by estimate less than once in a thousand whole collections.
- Where such a bit would grow, in the iteration of Julia sets, there is none of these.
- Files are BMP, bare pixels: no compressor whose version could change the bytes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from PIL import Image

from components.common.durable import replacing
from interfaces.progress import Progress, ProgressEvent

EMBEDDED_NAME = "embedded"
PICTURES_PER_STYLE = 200
SIDE = 96

_FILE_BYTES = 54 + 3 * SIDE * SIDE  # a BMP's header and its pixels
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))

_Array = np.ndarray
_Choice = TypeVar("_Choice")

# Five tones each, from deep to pale.
_PALETTES = {
    "copper": "10302f 26635f 6fa39a e0a071 fbe2bd",
    "dawn": "2b2d52 6a4c7d c8647a f2a07b fde3b4",
    "ember": "2a1a2e 6b2737 c2452d f08a3c fbd98b",
    "glacier": "16263f 2f5377 6c98b4 b4d3db f5f3ea",
    "heather": "2c2440 5b4a78 9a7ba6 d9b1c0 f8e6dc",
    "indigo": "0d1238 24307a 5367b5 a3b0dd f5e9cf",
    "lagoon": "0f2f3f 1f5f6b 4a9c98 a5d3bd f4ecc9",
    "meadow": "1f3528 3f6b45 86a65a d3cd83 faf0cf",
    "mint": "12332f 2a6a5b 6db08f bfe0b8 fbf6da",
    "ochre": "33241c 73472b b9793c e3b56c f7e8c4",
    "rose": "3a1a33 7d2f55 cc5a71 f0a39a fde7d6",
    "wine": "2b0f1f 641a3a a6334f de7e63 f8d5a8",
}
_WHITE = np.ones(3)

# Places c on the rim of the Mandelbrot set whose Julia sets are full and richly lobed.
_JULIA_PLACES = (
    (-0.62, 0.43),
    (-0.52, 0.52),
    (-0.39, 0.59),
    (-0.3, 0.63),
    (-0.2, 0.72),
    (-0.1, 0.65),
    (0.3, 0.45),
    (0.34, 0.38),
    (0.36, 0.1),
)
_JULIA_STEPS = 40
_JULIA_BAIL = 1e4  # far out, where the smooth colouring has no seams


def paint_collection(directory: Path, progress: Progress) -> Path:
    """Paint what is not yet painted of the collection: `directory`/<style>/<number>.bmp.

    Every file appears whole or not at all, so an interrupted painting goes on where it was, and
    a finished one is recognised by its names and sizes. Returns `directory`.
    """
    paths = [
        directory / style / f"{index:04d}.bmp"
        for style in STYLES
        for index in range(PICTURES_PER_STYLE)
    ]
    for done, path in enumerate(paths, 1):
        if not _is_whole(path):
            style = path.parent.name
            _save(paint_picture(style, int(path.stem)), path)
            progress(ProgressEvent(stage="paint", done=done, total=len(paths), note=style))
    return directory


def paint_picture(style: str, index: int) -> _Array:
    """One picture of the collection: (SIDE, SIDE, 3), uint8. The same for the same arguments."""
    seed = SeedSequence([*style.encode(), index])
    canvas = STYLES[style](Generator(PCG64(seed)))
    levels = np.rint(np.clip(canvas, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(levels, 0, -1))


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == _FILE_BYTES


def _save(pixels: _Array, path: Path) -> None:
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="BMP", dpi=(96, 96))


# Chance.


def _between(rng: Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _scattered(rng: Generator, reach: float, count: int) -> _Array:
    return reach * (2.0 * rng.random(count) - 1.0)


def _pick(rng: Generator, choices: Sequence[_Choice]) -> _Choice:
    return choices[int(rng.random() * len(choices))]


def _pick_palette(rng: Generator, names: str) -> _Array:
    """One of the palettes named: (5, 3), 0 to 1."""
    tones = _PALETTES[_pick(rng, names.split())].split()
    return np.array([tuple(bytes.fromhex(tone)) for tone in tones]) / 255.0


# The canvas: (3, SIDE, SIDE), x to the right and y down from -1 to 1.


@cache
def _grid(side: int = SIDE) -> tuple[_Array, _Array]:
    axis = (2.0 * np.arange(side) + 1.0) / side - 1.0
    return np.broadcast_to(axis, (side, side)), np.broadcast_to(axis[:, None], (side, side))


def _away(x: _Array, y: _Array, a: float = 0.0, b: float = 0.0) -> _Array:
    """Distance from the point (a, b)."""
    return np.sqrt((x - a) ** 2 + (y - b) ** 2)


def _mix(first: _Array, second: _Array, share: float | _Array) -> _Array:
    return first + (second - first) * share


def _ramp(colours: Sequence[_Array] | _Array, tone: _Array) -> _Array:
    """Colours (K, 3), spread evenly over the tones 0 to 1 => (3, *`tone`'s shape)."""
    place = np.clip(tone, 0.0, 1.0) * (len(colours) - 1)
    node = np.minimum(place.astype(int), len(colours) - 2)
    share = place - node
    return np.stack([_mix(c[node], c[node + 1], share) for c in np.asarray(colours).T])


def _lay(canvas: _Array, colour: _Array, cover: _Array) -> None:
    """Paint `colour`, (3,) or a whole canvas, as thickly as `cover` says, 0 to 1."""
    for plane, tone in zip(canvas, colour, strict=True):
        plane += (tone - plane) * cover


def _within(distance: _Array, softness: float = 0.024) -> _Array:
    """Cover of a shape from its signed distance, negative inside: 1 inside, 0 outside.

    The edge is a little softer than a pixel is wide, 2 / SIDE, so that no steps are seen.
    """
    return np.clip(0.5 - distance / softness, 0.0, 1.0)


def _spread(lattice: _Array) -> _Array:
    """Values on a square lattice, smoothly interpolated over the canvas (Perlin's smoothstep)."""
    place = (np.arange(SIDE) + 0.5) / SIDE * (len(lattice) - 1)
    node = place.astype(int)
    share = place - node
    share = (share * share * (3.0 - 2.0 * share))[:, None]
    for _ in range(2):  # down the columns; then, turned over, along the rows
        lattice = _mix(lattice[node], lattice[node + 1], share).T
    return lattice


def _clouds(rng: Generator) -> _Array:
    """Fractal value noise, about -1 to 1: each octave twice as fine and half as high."""
    total = np.zeros((SIDE, SIDE))
    for octave in range(3):
        nodes = 2 ** (octave + 1) + 1
        total += _spread(2.0 * rng.random((nodes, nodes)) - 1.0) / 2**octave
    return total


# The styles. Each paints one canvas, tones 0 to 1.


def _blossom(rng: Generator) -> _Array:
    """A flower seen from above: rings of petals, each a rose curve, about a head of seeds."""
    x, y = _grid()
    x, y = x - _between(rng, -0.04, 0.04), y - _between(rng, -0.04, 0.04)
    ground = _pick_palette(rng, "lagoon meadow glacier mint indigo heather")
    deep, shade, body, light, pale = _pick_palette(rng, "dawn ember rose wine ochre heather")
    away, angle = _away(x, y), np.arctan2(y, x)
    canvas = _ramp(ground[:3], 0.575 + 0.3 * _clouds(rng) - 0.25 * away)
    petals, turn, fullness = _pick(rng, (5, 6, 7, 8)), 6.3 * rng.random(), _between(rng, 0.45, 1.1)
    wave = (angle + turn) * petals / 2
    lobes = np.abs(np.cos(wave)), np.abs(np.sin(wave))  # every other ring fills the gaps
    edges = [0.35 + 0.65 * lobe**fullness for lobe in lobes]
    for ring, reach in enumerate((0.92, 0.74, 0.55, 0.37)):
        edge, vein = reach * edges[ring % 2], 0.1 * lobes[ring % 2] ** 8
        _lay(canvas, deep, 0.55 * _within(away - edge - 0.05, 0.14))
        tone = away / reach - 0.25 + 0.16 * ring - vein
        _lay(canvas, _ramp([shade, body, light, pale], tone), _within(away - edge, 0.035))
    _lay(canvas, deep, _within(away - 0.17, 0.04))
    heart = np.s_[2 * SIDE // 5 : 3 * SIDE // 5, 2 * SIDE // 5 : 3 * SIDE // 5]
    for k in range(24):  # Vogel's model of a sunflower's head
        reach, turn = 0.032 * np.sqrt(k + 0.5), k * _GOLDEN_ANGLE
        seed = _away(x[heart], y[heart], reach * np.cos(turn), reach * np.sin(turn))
        _lay(canvas[:, *heart], _mix(light, pale, 0.5), _within(seed - 0.013))
    return canvas


def _composition(rng: Generator) -> _Array:
    """Discs, a beam and bars at right angles on warm paper, as the Suprematists set them."""
    x, y = _grid()
    warm = _pick_palette(rng, "ember wine ochre rose")
    cool = _pick_palette(rng, "lagoon glacier indigo copper")
    canvas = _ramp([warm[4], _mix(cool[4], _WHITE, 0.5)], 0.6 + 0.25 * _clouds(rng))
    tilt, mirror = _between(rng, -0.95, -0.35), _pick(rng, (-1.0, 1.0))
    x, y = mirror * x - _between(rng, -0.1, 0.1), y - _between(rng, -0.1, 0.1)
    along, across = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)

    def disc(colour: _Array, a: float, b: float, radius: float, cover: float = 1.0) -> None:
        _lay(canvas, colour, cover * _within(_away(along, across, a, b) - radius))

    def bar(colour: _Array, a: float, b: float, length: float, width: float) -> None:
        outside = np.maximum(np.abs(along - a) - length, np.abs(across - b) - width)
        _lay(canvas, colour, _within(outside))

    disc(warm[2], _between(rng, -0.1, 0.3), _between(rng, -0.25, -0.05), _between(rng, 0.36, 0.56))
    disc(cool[2], _between(rng, -0.6, -0.3), 0.3, _between(rng, 0.16, 0.32), 0.85)
    bar(cool[0], _between(rng, -0.1, 0.1), 0.1, _between(rng, 0.7, 0.95), _between(rng, 0.06, 0.11))
    bar(warm[3], _between(rng, 0.2, 0.5), 0.28, _between(rng, 0.2, 0.45), _between(rng, 0.03, 0.06))
    for b in (-0.2, -0.3, -0.4):
        bar(
            _pick(rng, (cool[0], cool[1])),
            _between(rng, -0.7, -0.2),
            b,
            _between(rng, 0.1, 0.4),
            0.022,
        )
    bar(warm[1], _between(rng, 0.25, 0.55), 0.0, 0.035, _between(rng, 0.45, 0.7))
    disc(_pick(rng, (warm[3], cool[0], cool[2])), 0.7, _between(rng, -0.6, -0.4), 0.09)
    return canvas


def _glass(rng: Generator) -> _Array:
    """A stained glass window: warm panes glow in a cool field, set like a sunflower's seeds.

    Panes are Voronoi cells; the lead lies where the two nearest seeds are equally near, Worley's
    F2 - F1.
    """
    x, y = _grid()
    warm = _pick_palette(rng, "ember dawn rose ochre")
    cool = _pick_palette(rng, "indigo lagoon mint glacier")
    count = 60
    reach = 1.45 * np.sqrt((np.arange(count) + 0.3) / count)
    angle = np.arange(count) * _GOLDEN_ANGLE + 6.3 * rng.random()
    seeds_x = reach * np.cos(angle) + _scattered(rng, 0.03, count)
    seeds_y = reach * np.sin(angle) + _scattered(rng, 0.03, count)
    first, second = np.full(x.shape, 9.0), np.full(x.shape, 9.0)
    pane = np.zeros(x.shape, dtype=int)
    for k in range(count):
        square = (x[:1] - seeds_x[k]) ** 2 + (y[:, :1] - seeds_y[k]) ** 2
        np.copyto(pane, k, where=square < first)
        second = np.minimum(second, np.maximum(square, first))
        first = np.minimum(first, square)
    first, second = np.sqrt(first), np.sqrt(second)
    glow = np.rint(5.0 * (1.08 - 0.95 * reach + _scattered(rng, 0.14, count)))
    colours = np.concatenate([cool[:3], warm[2:]])[np.clip(glow, 0, 5).astype(int)]
    colours *= (0.975 + _scattered(rng, 0.125, count))[:, None]
    canvas = colours.T[:, pane] * (1.16 - 1.3 * first)
    _lay(canvas, 0.4 * cool[0], _within(second - first - 0.03, 0.03))
    return canvas


def _julia(rng: Generator) -> _Array:
    """A Julia set of z^2 + c, its surroundings coloured by how soon they escape, smoothly.

    The smooth count of steps is n - log2(log |z|); points that stay are coloured by how near to
    the origin they came, Pickover's orbit trap.
    """
    x, y = _grid(2 * SIDE)
    colours = _pick_palette(rng, "ember lagoon rose indigo ochre heather copper dawn")
    c_x, c_y = np.array(_pick(rng, _JULIA_PLACES)) + _scattered(rng, 0.012, 2)
    t = _between(rng, -0.3, 0.3)  # a turn whose cosine and sine need only + - * /
    cosine, sine = (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)
    upper = slice(0, SIDE)  # -z goes the way of z: the lower half is this one, turned
    x, y = 1.5 * x[upper], 1.5 * y[upper]
    x, y = x * cosine - y * sine, x * sine + y * cosine
    steps, trap = np.zeros(x.shape), np.full(x.shape, 9.0)
    stays, size = np.ones(x.shape, dtype=bool), np.zeros(x.shape)
    for _ in range(_JULIA_STEPS):
        x_squared, y_squared = x * x, y * y
        size = x_squared + y_squared
        trap = np.minimum(trap, size)
        stays = size < _JULIA_BAIL
        steps += stays
        y = np.where(stays, 2.0 * x * y + c_y, y)
        x = np.where(stays, x_squared - y_squared + c_x, x)
    smooth = steps - np.log2(np.log(np.maximum(size, _JULIA_BAIL)) / np.log(_JULIA_BAIL))
    around = 1.15 * np.clip(smooth / _JULIA_STEPS, 0.0, 1.0) ** 0.6 - 0.2
    fine = _ramp(colours, np.where(stays, 0.95 - 0.9 * trap**0.35, around))
    fine = fine[:, ::2] + fine[:, 1::2]  # four samples to a pixel
    canvas = (fine[..., ::2] + fine[..., 1::2]) / 4.0
    return np.concatenate([canvas, canvas[:, ::-1, ::-1]], axis=1)


def _landscape(rng: Generator) -> _Array:
    """Mountains that fade into the distance, under a low sun, over still water."""
    x, y = _grid()
    deep, shade, body, light, pale = _pick_palette(
        rng, "dawn ember lagoon heather glacier ochre rose copper"
    )
    shore = _between(rng, 0.34, 0.46)
    canvas = _ramp([_mix(shade, body, 0.6), body, light, pale], (y + 1.0) / (shore + 0.9))
    sun = _away(x, y, _between(rng, -0.4, 0.4), _between(rng, -0.55, -0.25))
    _lay(canvas, pale, 0.75 * np.exp(-((sun / 0.45) ** 2)))
    _lay(canvas, _mix(pale, _WHITE, 0.6), _within(sun - 0.15))
    for far in (1.0, 0.7, 0.4, 0.1):
        below = y - (shore - 0.1 - 0.5 * far + (0.1 + 0.12 * far) * _ridge(rng))
        rock = _ramp([deep, shade, body, light], np.array(0.85 * far))
        _lay(canvas, rock, _within(-below, 0.032))
        _lay(canvas, _mix(rock, pale, 0.5), np.clip(0.9 * below, 0.0, 0.8))  # haze at its foot
    _reflect(canvas, shore)
    _lay(canvas, _mix(shade, deep, 0.5), 0.35 * _within(shore - y) * (y - shore + 0.3))
    return canvas


def _ridge(rng: Generator) -> _Array:
    """A mountain's line, (SIDE,), by spectral synthesis: sines as high as 1 / f^1.3."""
    x, _ = _grid()
    line = np.zeros(SIDE)
    for f in range(1, 25):
        line += np.sin(2.2 * f * x[0] + 6.3 * rng.random()) / f**1.3
    return line


def _reflect(canvas: _Array, shore: float) -> None:
    """Mirror in the water below the shore what is above it, row by row, with ripples."""
    water = int((shore + 1.0) * SIDE / 2)
    depth = np.arange(SIDE - water)
    ripple = np.sin(1.8 * depth + 6.0 * np.sin(0.46 * depth)) * (0.3 + 0.06 * depth)
    rows = water - 1 - depth + np.rint(ripple).astype(int)
    canvas[:, water:] = canvas[:, np.clip(rows, 0, water - 1)]


def _nocturne(rng: Generator) -> _Array:
    """A night sky in swirling strokes, with a moon, four stars, and the moon's path at sea."""
    x, y = _grid()
    colours = _pick_palette(rng, "indigo glacier lagoon")
    gold = _mix(_pick_palette(rng, "ember ochre dawn")[4], colours[4], 0.2)
    moon = _between(rng, -0.4, 0.4), _between(rng, -0.55, -0.3)
    stars = [
        (a + _between(rng, -0.2, 0.2), _between(rng, -0.9, 0.1)) for a in (-0.8, -0.3, 0.3, 0.8)
    ]
    sizes = (0.2, 0.06, 0.05, 0.05, 0.04)
    u, v, glow = _whirls([moon, *stars], sizes)
    horizon = 0.35
    sea = _within(horizon - y)
    sky = 1.0 - sea
    strokes = _strokes(rng, u * sky + sea, (v + 0.4 * _clouds(rng)) * sky)
    canvas = _ramp(colours, 0.14 + 0.24 * (y + 1.0) * sky - 0.1 * sea + 0.16 * strokes)
    _lay(canvas, gold, np.clip(glow * (0.95 + 0.35 * strokes), 0.0, 1.0) * sky)
    _lay(canvas, _mix(gold, colours[4], 0.6), _within(_away(x, y, *moon) - 0.12, 0.08))
    path = np.exp(-(((x - moon[0]) / (0.1 + 0.35 * np.maximum(y - horizon, 0.0))) ** 2)) * sea
    _lay(canvas, gold, np.clip(path * (0.55 + 1.1 * strokes), 0.0, 1.0))
    return canvas


def _whirls(
    lights: Sequence[tuple[float, float]], sizes: Sequence[float]
) -> tuple[_Array, _Array, _Array]:
    """A wind (u, v) from the left that circles round the lights, and the lights' glow, 0 to 1."""
    x, y = _grid()
    u, v, glow = np.ones(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    for (a, b), size in zip(lights, sizes, strict=True):
        away = _away(x, y, a, b)
        whirl = 2.5 * np.exp(-((away / (0.12 + 1.6 * size)) ** 2)) / (away + 0.05)
        u, v = u - whirl * (y - b), v + whirl * (x - a)
        glow = np.maximum(glow, 1.4 * np.exp(-((away / (1.1 * size)) ** 2)))
    return u, v, np.minimum(glow, 1.0)


def _strokes(rng: Generator, u: _Array, v: _Array) -> _Array:
    """Brush strokes along the wind (u, v), about -1 to 1.

    Line integral convolution (Cabral and Leedom): noise, averaged along the lines of the wind.
    """
    wind = np.stack([v, u]) / _away(u, v)
    nodes = 2 * SIDE // 3  # strokes a little broader than a pixel
    noise = _spread(rng.random((nodes, nodes)) - 0.5)
    total = np.zeros(noise.shape)
    for step in (0.8, -0.8):
        place = np.indices(noise.shape).astype(np.float64)
        for _ in range(10):
            row, column = np.clip(np.rint(place), 0, SIDE - 1).astype(int)
            total += noise[row, column]
            place = place + step * wind[:, row, column]
    return total / 2.0


STYLES: dict[str, Callable[[Generator], _Array]] = {
    "blossoms": _blossom,
    "compositions": _composition,
    "glass": _glass,
    "julia": _julia,
    "landscapes": _landscape,
    "nocturnes": _nocturne,
}
