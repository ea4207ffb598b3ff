"""Paper 004's Figs. 4 to 16 reproduced: what the network is given, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from atelier.experiments.figures import COLOURS
from atelier.experiments.sketch.numbers import (
    METHODS,
    Drawn,
    Judged,
    Method,
    Point,
    Ruler,
    SketchNumbers,
    front,
)
from atelier.experiments.words import short
from components.common.charts import Axes, new_figure
from components.common.durable import replacing
from components.common.images import contact_sheet, float_to_pixels, pixels_to_float
from components.families.drawing import distances
from interfaces.contract import Message
from interfaces.experiments import FIGURE_COUNT
from interfaces.igdt import ImageGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS, Device

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]

PAPER_SIDE = 64
"""The side, pixels, whose radii the report speaks of; at another they grow with it."""

TILE = 192
"""Side of a sheet's tiles, pixels, about: 64 × 64 enlarged three times."""
FAINT = 0.3
"""Strength of the constant noise on sheets: at full strength, as random as the mask's, it would
hide the mask from the eye. The paper's Fig. 12 shows it weakened too."""

LABELS: dict[Method, str] = {
    "noised_image": "noised_image, the paper's baseline (SDEdit)",
    "radius_mask": "radius_mask, the paper's method",
    "guided": "guided, ours",
}


class Sheet(Message):
    """One picture of the report."""

    file: str = Field(description="Its name beside the report.")
    caption: str = Field(description="What is seen on it.")


class PaperFigure(Message):
    """A figure of the paper repeated, or one of this project's own, with its numbers."""

    title: str = Field(description="Which figure, and what of.")
    sheets: tuple[Sheet, ...] = Field(description="Its pictures.")
    numbers: dict[str, SketchNumbers] = Field(description="By what they are of; may be none.")


@dataclass(frozen=True)
class Subject:
    """A drawing that was held out of training."""

    path: Path
    """File of the drawing, which the generator is given."""
    style: str
    pixels: Pixels
    """(S, S, 3)."""
    drawn: Drawn


@dataclass(frozen=True)
class Studio:
    """Makes pictures of drawings, measures them, and lays them out on sheets."""

    generator: ImageGenerator
    models: Mapping[Method, IGME]
    ruler: Ruler
    folder: Path
    common: Mapping[str, Any]
    """Options of every picture: steps and sampler."""
    first_seed: int
    device: Device
    watch: Callable[[int, str], None]
    """Told how many pictures were made, and of what."""

    @property
    def side(self) -> int:
        """Side of the pictures, pixels."""
        return self.models["guided"].resolution

    def seeds(self, count: int) -> list[int]:
        """The same for every drawing and setting, so that those alone make the difference."""
        return list(range(self.first_seed, self.first_seed + count))

    def pictures(
        self, method: Method, subject: Subject | None, seeds: Sequence[int], **options: float
    ) -> Pixels:
        """(N, S, S, 3), from a drawing or from noise alone; radii as the paper's, for 64 pixels."""
        if "radius" in options:
            options["radius"] *= self.side / PAPER_SIDE
        asked = IGS(
            seeds=tuple(seeds),
            options={**self.common, **options},
            originality=False,
            device=self.device,
            source=None if subject is None else subject.path,
            style=None if subject is None else subject.style,
        )
        made: list[Pixels] = []
        for batch in self.generator.generate(self.models[method], asked):
            made.append(float_to_pixels(batch.images))
            self.watch(len(batch.images), method)
        return np.concatenate(made)

    def sheet(self, name: str, pixels: Sequence[Pixels] | Pixels, caption: str) -> Sheet:
        """Pictures (S, S, 3) enlarged without smoothing, five in a row."""
        scale = max(1, round(TILE / self.side))
        tiles = [tile.repeat(scale, axis=0).repeat(scale, axis=1) for tile in pixels]
        with replacing(self.folder / name) as temporary:
            contact_sheet(tiles, columns=min(5, len(tiles))).save(temporary)
        return Sheet(file=name, caption=caption)

    def numbers(self, pixels: Pixels, subject: Subject) -> SketchNumbers:
        """Numbers of all pictures of a drawing together."""
        return self.ruler.numbers([self.ruler.judge(pixels, subject.drawn)])

    def by_setting(
        self, pixels: Pixels, subject: Subject, settings: Sequence[float], what: str
    ) -> dict[str, SketchNumbers]:
        """Numbers for each setting apart; the pictures of one setting follow one another."""
        judged: Judged = self.ruler.judge(pixels, subject.drawn)
        return {
            f"{what} {setting:g}": self.ruler.numbers(
                [judged[settings.index(setting) : len(settings) - settings[::-1].index(setting)]]
            )
            for setting in dict.fromkeys(settings)
        }


def write_png(path: Path, pixels: Pixels) -> None:
    """Pixels (H, W, 3) as they are."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)


# ---------------------------------------------------------------- what the network is given


def noises(seeds: Sequence[int], side: int) -> Tensor:
    """The noise that each seed begins with, (N, 3, S, S): the sampler's own first draw."""
    import torch

    draws = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.stack([torch.randn(3, side, side, generator=draw) for draw in draws])


def noised(pixels: Pixels, intensities: Sequence[float], seeds: Sequence[int]) -> Pixels:
    """Pictures (N, S, S, 3), or one for all, under noise of the paper's intensities."""
    import torch

    from components.common.tensors import tensor_of
    from components.families.sketch_diffusion.noise import add_noise, noise_of

    levels = torch.tensor([noise_of(intensity) for intensity in intensities])
    images = tensor_of(pixels_to_float(pixels)).expand(len(levels), -1, -1, -1)
    return _seen(add_noise(images, noises(seeds, pixels.shape[-2]), levels))


def random_masks(
    subject: Subject, radii: Sequence[float], seeds: Sequence[int], around: Tensor
) -> Pixels:
    """Random noise within each radius (pixels of 64) of the drawing, and `around` beyond it."""
    import torch

    from components.common.tensors import tensor_of
    from components.families.sketch_diffusion.strokes import mask_within, masked

    side = subject.pixels.shape[0]
    scaled = torch.tensor(radii) * side / PAPER_SIDE
    far = tensor_of(distances(subject.drawn.strokes[None])).expand(len(radii), -1, -1, -1)
    return _seen(masked(noises(seeds, side), mask_within(far, scaled), around))


def constant_noise(model: IGME) -> Tensor:
    """The one background (3, S, S) of a model, which goes with its weights."""
    from components.common.checkpoints import load_weights

    return load_weights(model.weights_path, model.weights_sha256)["noise"]


def shown_strokes(subject: Subject, radius: float) -> list[Pixels]:
    """The two channels that guided is shown, as pictures (S, S, 3): black where they are 1."""
    import torch

    from components.common.tensors import tensor_of
    from components.families.sketch_diffusion.strokes import hints_of

    scaled = torch.tensor([radius * subject.pixels.shape[0] / PAPER_SIDE])
    hints = hints_of(tensor_of(distances(subject.drawn.strokes[None])), scaled)[0]
    return list(_seen((1 - 2 * hints)[:, None].expand(-1, 3, -1, -1)))


def _seen(images: Tensor) -> Pixels:
    """Values beyond black and white, as in noise, are shown as those."""
    return float_to_pixels(images.clamp(-1, 1).numpy())


# ---------------------------------------------------------------- the figures


def paper_figures(
    studio: Studio, first: Subject, second: Subject, training: Pixels, guided_radius: float
) -> tuple[PaperFigure, ...]:
    """Figs. 4 to 16, in the paper's order, then ours; `training` are 25 training pictures."""
    from_noise = studio.pictures("noised_image", None, studio.seeds(FIGURE_COUNT))
    return (
        _training(studio, training),
        _pure_noise(studio, first, from_noise),
        _full_noise(studio, first, from_noise),
        _decreasing(studio, first),
        _masks(studio, first),
        _mask_over_constant(studio, first),
        _radii(studio, first),
        _fixed_radius(studio, first, "Fig. 14", "fig14", "radius_mask", 7),
        _fixed_radius(studio, second, "Figs. 15 and 16", "fig16", "radius_mask", 7),
        _fixed_radius(studio, first, "Ours on the first drawing", "ours1", "guided", guided_radius),
        _fixed_radius(
            studio, second, "Ours on the second drawing", "ours2", "guided", guided_radius
        ),
    )


def _training(studio: Studio, training: Pixels) -> PaperFigure:
    count = len(training)
    seeds = studio.seeds(count)
    drawn = np.random.default_rng(studio.first_seed).integers(0, 16, count).tolist()
    listed = ", ".join(str(intensity) for intensity in drawn)
    return PaperFigure(
        title="Fig. 4: training pictures without and with noise",
        sheets=(
            studio.sheet("fig04a.png", training, f"{count} of the pictures that were learnt from."),
            studio.sheet(
                "fig04b.png",
                noised(training, drawn, seeds),
                "The same under noise of random intensities, as the baseline learns from them "
                f"(0 replaces the picture, 15 is the weakest); row by row: {listed}.",
            ),
        ),
        numbers={},
    )


def _pure_noise(studio: Studio, subject: Subject, made: Pixels) -> PaperFigure:
    seeds = studio.seeds(FIGURE_COUNT)
    return PaperFigure(
        title="Figs. 5 and 6: from noise alone",
        sheets=(
            studio.sheet(
                "fig05.png", _seen(noises(seeds, studio.side)), "Given: 25 random noises."
            ),
            studio.sheet("fig06.png", made, "Made of them, by the baseline."),
        ),
        numbers={"against the first drawing": studio.numbers(made, subject)},
    )


def _full_noise(studio: Studio, subject: Subject, from_noise: Pixels) -> PaperFigure:
    seeds = studio.seeds(FIGURE_COUNT)
    made = studio.pictures("noised_image", subject, seeds, intensity=0)
    given = noised(subject.pixels[None], [0] * len(seeds), seeds)
    same = int((made == from_noise).all(axis=(1, 2, 3)).sum())
    return PaperFigure(
        title="Figs. 7 and 8: from a drawing under full noise",
        sheets=(
            studio.sheet(
                "fig07.png", [subject.pixels], "The first drawing, which was not learnt from."
            ),
            studio.sheet(
                "fig08_given.png", given, "Given: the drawing under noise of intensity 0."
            ),
            studio.sheet(
                "fig08.png",
                made,
                f"Made of them, by the seeds of Fig. 6: {same} of {len(made)} pictures are the "
                "same as there, to the last pixel.",
            ),
        ),
        numbers={"intensity 0": studio.numbers(made, subject)},
    )


def _decreasing(studio: Studio, subject: Subject) -> PaperFigure:
    intensities = np.linspace(0, 15, FIGURE_COUNT).round().tolist()
    seeds = studio.seeds(FIGURE_COUNT)
    made = [
        studio.pictures(
            "noised_image",
            subject,
            [seed for seed, mine in zip(seeds, intensities, strict=True) if mine == intensity],
            intensity=intensity,
        )
        for intensity in dict.fromkeys(intensities)
    ]
    pixels = np.concatenate(made)
    listed = ", ".join(f"{intensity:g}" for intensity in intensities)
    return PaperFigure(
        title="Figs. 9 and 10: from a drawing under less and less noise",
        sheets=(
            studio.sheet(
                "fig09.png",
                noised(subject.pixels[None], intensities, seeds),
                f"Given: the first drawing under noise of intensity, row by row, {listed}.",
            ),
            studio.sheet(
                "fig10.png",
                pixels,
                "Made of them, by the baseline; a seed for each.",
            ),
        ),
        numbers=studio.by_setting(pixels, subject, intensities, "intensity"),
    )


def _masks(studio: Studio, subject: Subject) -> PaperFigure:
    import torch

    paper = torch.ones(3, studio.side, studio.side)
    shown = random_masks(subject, [4, 7], studio.seeds(2), paper)
    strokes = np.repeat(255 * (subject.drawn.strokes[0] == 0)[..., None], 3, axis=2)
    return PaperFigure(
        title="Fig. 11: masks of random noise",
        sheets=(
            studio.sheet(
                "fig11.png",
                [subject.pixels, strokes.astype(np.uint8), *shown],
                "The first drawing, what counts as drawn in it, and the noise around every drawn "
                "pixel within a radius of 4 and of 7.",
            ),
        ),
        numbers={},
    )


def _mask_over_constant(studio: Studio, subject: Subject) -> PaperFigure:
    (seed,) = studio.seeds(1)
    constants = (_faint_constant(studio), constant_noise(studio.models["radius_mask"]))
    shown = [random_masks(subject, [7], [seed], constant)[0] for constant in constants]
    return PaperFigure(
        title="Fig. 12: the mask over the constant noise",
        sheets=(
            studio.sheet(
                "fig12.png",
                shown,
                "Radius 7. Left with the constant noise weakened, as in the paper, so that the "
                "mask's edge is seen; right as the network is given it.",
            ),
        ),
        numbers={},
    )


def _radii(studio: Studio, subject: Subject) -> PaperFigure:
    radii = [float(radius) for radius in range(2, 12)]
    (seed,) = studio.seeds(1)
    made = np.concatenate(
        [studio.pictures("radius_mask", subject, [seed], radius=radius) for radius in radii]
    )
    return PaperFigure(
        title="Fig. 13: radii 2 to 11",
        sheets=(
            studio.sheet(
                "fig13_given.png",
                random_masks(subject, radii, [seed] * len(radii), _faint_constant(studio)),
                "Given: the first drawing's mask of radius 2 to 11, row by row; the random noise "
                "is the same in all ten, the constant noise shown weakened.",
            ),
            studio.sheet("fig13.png", made, "Made of them, one for each radius."),
        ),
        numbers=studio.by_setting(made, subject, radii, "radius"),
    )


def _fixed_radius(
    studio: Studio, subject: Subject, title: str, name: str, method: Method, radius: float
) -> PaperFigure:
    seeds = studio.seeds(FIGURE_COUNT)
    made = studio.pictures(method, subject, seeds, radius=radius)
    sheets = [
        _given_to_guided(studio, subject, name, radius)
        if method == "guided"
        else _given_to_mask(studio, subject, name, radius),
        studio.sheet(
            f"{name}.png", made, f"Made of it: 25 pictures at radius {radius:g}, of 25 seeds."
        ),
    ]
    return PaperFigure(
        title=f"{title}: {FIGURE_COUNT} at radius {radius:g} ({method})",
        sheets=tuple(sheets),
        numbers={f"radius {radius:g}": studio.numbers(made, subject)},
    )


def _given_to_mask(studio: Studio, subject: Subject, name: str, radius: float) -> Sheet:
    seeds = studio.seeds(4)
    shown = random_masks(subject, [radius] * len(seeds), seeds, _faint_constant(studio))
    return studio.sheet(
        f"{name}_given.png",
        [subject.pixels, *shown],
        f"The drawing, and what is given of it at radius {radius:g} for the first four seeds, the "
        "constant noise shown weakened.",
    )


def _faint_constant(studio: Studio) -> Tensor:
    return FAINT * constant_noise(studio.models["radius_mask"])


def _given_to_guided(studio: Studio, subject: Subject, name: str, radius: float) -> Sheet:
    (seed,) = studio.seeds(1)
    return studio.sheet(
        f"{name}_given.png",
        [
            subject.pixels,
            *shown_strokes(subject, radius),
            *_seen(noises([seed], studio.side)),
        ],
        "The drawing; what the network is shown of it: the strokes, and how near they are within "
        f"radius {radius:g}; and the first seed's noise, from which the whole picture is made.",
    )


# ---------------------------------------------------------------- the curves


def draw_sketch_curves(path: Path, points: Sequence[Point], from_noise: SketchNumbers) -> None:
    """Fidelity over variety, a line for each method; stronger guidance as hollow marks.

    A star is where pictures without a drawing lie.
    """

    figure = new_figure(figsize=(8.5, 6), layout="constrained")
    axes = figure.subplots()
    for method, colour in zip(METHODS, COLOURS, strict=False):
        _draw_curve(axes, [point for point in points if point.method == method], colour)
    alone = (from_noise.variety or 0.0, from_noise.fidelity)
    axes.plot(*alone, "*", color="black", markersize=11, label="from noise alone")
    axes.axhline(0, color="0.5", linewidth=1, linestyle=":")
    axes.text(0.01, 0, "chance", color="0.4", fontsize="small", va="bottom")
    axes.set(
        xlabel="variety (1: as the training set)",
        ylabel="fidelity (0: chance, 1: perfect)",
        title="What is kept of a drawing, and how much its pictures still vary",
    )
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_curve(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """Dots labelled by intensity or radius, over the upper envelope of all of them."""
    method = points[0].method
    reached = np.array([_place(point) for point in points])
    envelope = front([_place(point) for point in points])
    axes.plot(envelope[:, 0], envelope[:, 1], color=colour, alpha=0.2, linewidth=6)
    plain = [point for point in points if point.sketch_guidance == 1]
    line = np.array([_place(point) for point in plain])
    axes.plot(line[:, 0], line[:, 1], "o-", color=colour, markersize=4, label=LABELS[method])
    for point in plain:
        axes.annotate(
            short(point.setting),
            _place(point),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=7,
            color=colour,
        )
    if len(plain) < len(points):
        stronger = np.array([point.sketch_guidance != 1 for point in points])
        told = sorted({point.sketch_guidance for point in points} - {1.0})
        axes.plot(
            *reached[stronger].T,
            "o",
            color=colour,
            fillstyle="none",
            markersize=5,
            label=f"guided, sketch_guidance {', '.join(f'{value:g}' for value in told)}",
        )


def _place(point: Point) -> tuple[float, float]:
    return point.numbers.variety or 0.0, point.numbers.fidelity
