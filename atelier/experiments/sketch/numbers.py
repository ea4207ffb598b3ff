"""Fidelity of pictures to a drawing, their variety, and the claims that rest on both.

Pixels are uint8 (N, S, S, 3), strokes float32 (N, 1, S, S), as `components.families.drawing` finds
them in a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from components.common.images import pixels_to_float
from components.families.drawing import distances, strokes_of_pictures
from interfaces.contract import Message

if TYPE_CHECKING:
    from components.metrics import FeatureNetwork
    from components.metrics.distances import Estimate

Method = Literal["noised_image", "radius_mask", "guided"]
METHODS: tuple[Method, ...] = ("noised_image", "radius_mask", "guided")

TOLERANCE = 1 / 32
"""Distance that a stroke may stray and still count as kept, in sides: 2 pixels of 64."""

FINE, COARSE = 1 / 64, 4 / 64
"""Detail is what lies between these two blurs (a Gaussian's σ, in sides); what is finer is grain,
which may be noise that was left over."""

NUM_UNRELATED = 200
NUM_SPREAD = 1000
NUM_VARIETIES = 5

_Floats = NDArray[np.float64]


class SketchNumbers(Message):
    """Measurements of the pictures made from one or several drawings: means over pictures."""

    drawings: int = Field(ge=1, description="Drawings that the pictures were made from.")
    pictures: int = Field(ge=1, description="Pictures in all.")
    kept: FiniteFloat = Field(description="Share of the drawing's strokes that the picture has.")
    near: FiniteFloat = Field(description="Share of the picture's strokes that are the drawing's.")
    overlap: FiniteFloat = Field(description="Harmonic mean of the two, picture by picture.")
    chance: FiniteFloat = Field(description="The overlap that unrelated pictures have.")
    fidelity: FiniteFloat = Field(
        description="The overlap, corrected for chance: 0 is chance, 1 is perfect."
    )
    feature_distance: FiniteFloat = Field(
        description="From the drawing's own picture, in distances between two training pictures."
    )
    detail: FiniteFloat = Field(
        description="Energy of structure of a few pixels, in that of the training pictures."
    )
    grain: FiniteFloat = Field(description="Energy of what is finer, likewise.")
    spread: FiniteFloat | None = Field(
        description="Mean distance between two pictures of one drawing: low is stable."
    )
    variety: FiniteFloat | None = Field(
        description="The spread, in distances between two training pictures."
    )


class Point(Message):
    """One point of a curve: what a method does at one setting, over several drawings."""

    method: Method = Field(description="How the drawing was followed.")
    setting: float = Field(description="Its intensity (noised_image) or its radius.")
    sketch_guidance: float = Field(default=1.0, description="How strongly strokes were followed.")
    numbers: SketchNumbers = Field(description="Means over the drawings.")
    by_drawing: tuple[tuple[FiniteFloat, FiniteFloat], ...] = Field(
        description="Variety and fidelity of each drawing."
    )


# ---------------------------------------------------------------- one picture


def overlap(
    strokes: NDArray[np.float32], drawn: NDArray[np.float32], tolerance: float
) -> tuple[_Floats, _Floats, _Floats]:
    """Strokes (N, 1, S, S) against those of one drawing (1, S, S), which has some.

    Three arrays (N,): the share of the drawing's strokes with one of the picture's within
    `tolerance` pixels, the share of the picture's with one of the drawing's, and their harmonic
    mean (boundary matching as by Martin, Fowlkes, Malik 2004, with distances for assignments).
    """
    is_drawn = drawn[0] > 0
    kept = (distances(strokes)[:, 0, is_drawn] <= tolerance).mean(axis=1)
    counts = strokes.sum(axis=(1, 2, 3), dtype=np.float64)
    inside = strokes * (distances(drawn[None]) <= tolerance)
    near = inside.sum(axis=(1, 2, 3), dtype=np.float64) / np.maximum(counts, 1)
    both = kept + near
    return kept, near, np.divide(2 * kept * near, both, out=np.zeros_like(both), where=both > 0)


def structure(pixels: NDArray[np.uint8]) -> tuple[_Floats, _Floats]:
    """Detail and grain of pictures, two arrays (N,): mean squares, pixels in [-1, 1]."""
    images = pixels_to_float(pixels).astype(np.float64)
    side = pixels.shape[1]
    slight, strong = (_blurred(images, blur * side) for blur in (FINE, COARSE))
    axes = (1, 2, 3)
    return np.square(slight - strong).mean(axis=axes), np.square(images - slight).mean(axis=axes)


def _blurred(images: _Floats, sigma: float) -> _Floats:
    from scipy.ndimage import gaussian_filter  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    blurred = np.empty_like(images)
    gaussian_filter(images, (0, 0, sigma, sigma), output=blurred, mode="nearest")
    return blurred


def spread(features: NDArray[np.floating]) -> float:
    """Mean distance between two of the features (N, F), N at least 2."""
    from scipy.spatial.distance import pdist

    return float(pdist(features.astype(np.float64)).mean())


# ---------------------------------------------------------------- pictures of a drawing


@dataclass(frozen=True)
class Drawn:
    """A drawing as its pictures are measured by it."""

    strokes: NDArray[np.float32]
    """(1, S, S)."""
    features: NDArray[np.float32]
    """(F,), of the drawing's own picture."""
    chance: float
    """Mean overlap of unrelated pictures."""


@dataclass(frozen=True)
class Judged:
    """Measurements of each picture of one drawing: arrays (N,), and features (N, F)."""

    kept: _Floats
    near: _Floats
    overlap: _Floats
    fidelity: _Floats
    feature_distance: _Floats
    detail: _Floats
    grain: _Floats
    features: NDArray[np.float32]
    chance: float

    def __getitem__(self, rows: slice) -> Judged:
        """Some of the pictures."""
        return Judged(
            kept=self.kept[rows],
            near=self.near[rows],
            overlap=self.overlap[rows],
            fidelity=self.fidelity[rows],
            feature_distance=self.feature_distance[rows],
            detail=self.detail[rows],
            grain=self.grain[rows],
            features=self.features[rows],
            chance=self.chance,
        )


@dataclass(frozen=True)
class Ruler:
    """Ruler for pictures: distances and detail relative to those of the training set."""

    network: FeatureNetwork
    tolerance: float
    """Pixels."""
    training_distance: float
    training_detail: float
    training_grain: float
    unrelated: NDArray[np.float32]
    """Strokes of training pictures (M, 1, S, S), by which chance is known."""

    @classmethod
    def of(
        cls,
        network: FeatureNetwork,
        images: NDArray[np.uint8],
        features: NDArray[np.float32],
        training: NDArray[np.int64],
    ) -> Self:
        """Make a ruler from a set's images (N, S, S, 3), features (N, F) and places learnt from."""
        unrelated = images[_spread_over(training, NUM_UNRELATED)]
        fine, finest = structure(unrelated)
        return cls(
            network=network,
            tolerance=max(1.0, TOLERANCE * images.shape[1]),
            training_distance=spread(features[_spread_over(training, NUM_SPREAD)]),
            training_detail=float(fine.mean()),
            training_grain=float(finest.mean()),
            unrelated=strokes_of_pictures(pixels_to_float(unrelated)),
        )

    def drawn(self, pixels: NDArray[np.uint8]) -> Drawn:
        """A drawing (S, S, 3), which has strokes."""
        strokes = strokes_of_pictures(pixels_to_float(pixels[None]))[0]
        chance = float(overlap(self.unrelated, strokes, self.tolerance)[2].mean())
        return Drawn(strokes, self.network.extract(pixels[None]).numpy()[0], chance)

    def judge(self, pixels: NDArray[np.uint8], drawn: Drawn) -> Judged:
        """Pictures (N, S, S, 3) made from a drawing."""
        strokes = strokes_of_pictures(pixels_to_float(pixels))
        kept, near, both = overlap(strokes, drawn.strokes, self.tolerance)
        features = self.network.extract(pixels).numpy()
        fine, finest = structure(pixels)
        distance = np.linalg.norm((features - drawn.features).astype(np.float64), axis=1)
        return Judged(
            kept=kept,
            near=near,
            overlap=both,
            fidelity=(both - drawn.chance) / max(1 - drawn.chance, 1e-6),
            feature_distance=distance / self.training_distance,
            detail=fine / self.training_detail,
            grain=finest / self.training_grain,
            features=features,
            chance=drawn.chance,
        )

    def numbers(self, judged: Sequence[Judged]) -> SketchNumbers:
        """Means over pictures, of one or several drawings with as many pictures each."""
        spreads = [spread(found.features) for found in judged if len(found.features) > 1]
        mean_spread = float(np.mean(spreads)) if spreads else None
        means = {
            name: float(np.mean([getattr(found, name).mean() for found in judged]))
            for name in _MEANS
        }
        return SketchNumbers(
            drawings=len(judged),
            pictures=sum(len(found.features) for found in judged),
            chance=float(np.mean([found.chance for found in judged])),
            spread=mean_spread,
            variety=None if mean_spread is None else mean_spread / self.training_distance,
            **means,
        )

    def point(
        self, method: Method, setting: float, guidance: float, judged: Sequence[Judged]
    ) -> Point:
        """A point of a curve, with its drawings one by one."""
        return Point(
            method=method,
            setting=setting,
            sketch_guidance=guidance,
            numbers=self.numbers(judged),
            by_drawing=tuple(
                (spread(found.features) / self.training_distance, float(found.fidelity.mean()))
                for found in judged
            ),
        )


_MEANS = ("kept", "near", "overlap", "fidelity", "feature_distance", "detail", "grain")


def _spread_over(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most this many; evenly spread, since the first ones of a set are often of one style."""
    count = min(count, len(places))
    return places[np.arange(count) * len(places) // count]


# ---------------------------------------------------------------- curves


Front = NDArray[np.float64]
"""(P, 2): variety rising, fidelity falling."""


def front(points: Sequence[tuple[float, float]]) -> Front:
    """Points (variety, fidelity) that no other excels in both: the upper envelope.

    Between two of them lie their mixtures: some pictures made with one setting and some with the
    other.
    """
    found: list[tuple[float, float]] = []
    for variety, fidelity in sorted(points, reverse=True):
        if not found or fidelity > found[-1][1]:
            found.append((variety, fidelity))
    return np.array(found[::-1], dtype=np.float64)


def fidelity_at(curve: Front, varieties: Sequence[float]) -> _Floats:
    """Fidelity at equal variety, along the envelope; beyond its ends, that of the end."""
    return np.interp(varieties, curve[:, 0], curve[:, 1])


def mean_fidelity(curve: Front, low: float, high: float) -> float:
    """The area under the envelope from variety `low` to `high`, by its width."""
    inner = curve[(curve[:, 0] > low) & (curve[:, 0] < high), 0]
    knots = np.array([low, *inner, high])
    return float(np.trapezoid(fidelity_at(curve, knots.tolist()), knots) / (high - low))


class Lead(Message):
    """By how much our mean fidelity is over another's, with a 95 % interval over drawings."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class Comparison(Message):
    """The methods' envelopes at equal variety, in the range that all of them reach."""

    varieties: tuple[FiniteFloat, ...] = Field(description="Evenly, both ends of the range first.")
    fidelity: dict[Method, tuple[FiniteFloat, ...]] = Field(description="At each of them.")
    mean_fidelity: dict[Method, FiniteFloat] = Field(
        description="Area under the envelope over the range, by its width."
    )
    lead: dict[Method, Lead] = Field(description="Of guided over each other method.")


def compare_curves(points: Sequence[Point]) -> Comparison | None:
    """The three methods at equal variety; None where no variety is reached by all.

    The intervals are the delete-one jackknife's over drawings, at least two.
    """
    from components.metrics.distances import jackknife

    num_drawings = len(points[0].by_drawing)
    everything = list(range(num_drawings))
    curves = _fronts(points, everything)
    low = max(float(curve[0, 0]) for curve in curves.values())
    high = min(float(curve[-1, 0]) for curve in curves.values())
    if low >= high:
        return None
    varieties = np.linspace(low, high, NUM_VARIETIES).tolist()
    means: dict[Method, float] = {
        method: mean_fidelity(curve, low, high) for method, curve in curves.items()
    }
    without = [
        {method: mean_fidelity(curve, low, high) for method, curve in part.items()}
        for part in (
            _fronts(points, everything[:place] + everything[place + 1 :]) for place in everything
        )
    ]
    lead: dict[Method, Lead] = {}
    for method in METHODS[:-1]:
        found = jackknife(
            means["guided"] - means[method], [part["guided"] - part[method] for part in without]
        )
        lead[method] = Lead(value=found.value, low=found.low, high=found.high)
    return Comparison(
        varieties=tuple(varieties),
        fidelity={
            method: tuple(fidelity_at(curve, varieties).tolist())
            for method, curve in curves.items()
        },
        mean_fidelity=means,
        lead=lead,
    )


def _fronts(points: Sequence[Point], drawings: Sequence[int]) -> dict[Method, Front]:
    """Each method's envelope over the means of some of the drawings."""
    return {
        method: front(
            [
                tuple(np.array(point.by_drawing)[list(drawings)].mean(axis=0).tolist())
                for point in points
                if point.method == method
            ]
        )
        for method in METHODS
    }


# ---------------------------------------------------------------- the paper's claims

AS_NOTHING = 0.1
"""Fidelity over that of pictures from noise alone that is as good as none: a tenth of the way from
chance to perfect."""
CLEAR = 0.25
"""A rise of fidelity that is clear: a quarter of the way from chance to perfect."""
IN_ORDER = 0.9
"""Rank correlation from which one is said to grow with the other."""
LESS_DETAIL = 0.9
"""Share of the other's detail below which detail counts as less."""
STILL_VARIES = 0.25
"""Variety that counts: a quarter of the training set's."""


class Claim(Message):
    """A claim of the paper or of this project, its figures, and whether they support it."""

    name: str = Field(description="A few words.")
    rule: str = Field(description="When we say that it holds.")
    figures: str = Field(description="What was found.")
    holds: bool = Field(description="Whether it does.")


def claims(
    points: Sequence[Point], from_noise: SketchNumbers, comparison: Comparison | None
) -> tuple[Claim, ...]:
    """The claims of paper 004 and that ours is better, judged by the points of the curves.

    Of noised_image there must be intensities 0 and 15, of radius_mask radii 2 and 7. `from_noise`
    are the baseline's pictures without a drawing, measured against each of the drawings: they know
    how such pictures look, so they may well be over chance.
    """
    return (
        *_claims_of_intensity(points, from_noise),
        *_claims_of_radius(points, from_noise),
        _ours(comparison),
    )


def _claims_of_intensity(points: Sequence[Point], from_noise: SketchNumbers) -> tuple[Claim, ...]:
    """Claims of the paper on a drawing under more and less noise."""
    weakest = _point(points, "noised_image", 15).numbers
    fullest = _point(points, "noised_image", 0).numbers
    rank_of_fidelity = _rank_correlation(points, lambda numbers: numbers.fidelity)
    rank_of_variety = _rank_correlation(points, lambda numbers: numbers.variety or 0.0)
    variety, left = fullest.variety or 0.0, weakest.variety or 0.0
    return (
        Claim(
            name="full noise ignores the drawing",
            rule=f"fidelity at intensity 0 within {AS_NOTHING:g} of what pictures from noise alone "
            "have by chance",
            figures=f"{fullest.fidelity:.3f} against {from_noise.fidelity:.3f}",
            holds=abs(fullest.fidelity - from_noise.fidelity) <= AS_NOTHING,
        ),
        Claim(
            name="less noise gives fidelity",
            rule=f"fidelity grows by {CLEAR:g} or more from intensity 0 to 15, and in order (rank "
            f"correlation with intensity {IN_ORDER:g} or more)",
            figures=f"{fullest.fidelity:.3f} to {weakest.fidelity:.3f}, correlation "
            f"{rank_of_fidelity:.2f}",
            holds=weakest.fidelity - fullest.fidelity >= CLEAR and rank_of_fidelity >= IN_ORDER,
        ),
        Claim(
            name="… and takes variety",
            rule="variety at intensity 15 is half of that at 0 or less, and falls in order "
            f"({-IN_ORDER:g} or less)",
            figures=f"{variety:.3f} to {left:.3f}, correlation {rank_of_variety:.2f}",
            holds=left <= variety / 2 and rank_of_variety <= -IN_ORDER,
        ),
    )


def _claims_of_radius(points: Sequence[Point], from_noise: SketchNumbers) -> tuple[Claim, ...]:
    """Claims of the paper on masks of a small and a larger radius."""
    small, seven = (_point(points, "radius_mask", radius).numbers for radius in (2, 7))
    sure = _mean([fidelity for _, fidelity in _point(points, "radius_mask", 7).by_drawing])
    variety = seven.variety or 0.0
    least = _point(points, "noised_image", 15).numbers.variety or 0.0
    return (
        Claim(
            name="radius 2 gives less detail than radius 7",
            rule=f"detail at radius 2 is {LESS_DETAIL:g} of that at 7 or less",
            figures=f"{small.detail:.3f} and {seven.detail:.3f}, in that of the training pictures",
            holds=small.detail <= LESS_DETAIL * seven.detail,
        ),
        Claim(
            name="radius 7 keeps the drawing and still varies",
            rule=f"fidelity over that of pictures from noise alone by {AS_NOTHING:g}, with 95 % "
            f"confidence over drawings; variety {STILL_VARIES:g} of the training set's or more, "
            "and more than at intensity 15",
            figures=f"fidelity {seven.fidelity:.3f} [{sure.low:.3f}, {sure.high:.3f}] against "
            f"{from_noise.fidelity:.3f}; variety {variety:.3f} against {least:.3f}",
            holds=sure.low > from_noise.fidelity + AS_NOTHING
            and variety >= max(STILL_VARIES, least),
        ),
    )


def _ours(comparison: Comparison | None) -> Claim:
    name = "ours lies above both curves"
    rule = (
        "at equal variety guided has more fidelity at every variety of the table, and its lead in "
        "the mean is over 0 with 95 % confidence"
    )
    if comparison is None:
        return Claim(name=name, rule=rule, figures="no variety is reached by all", holds=False)
    ours = comparison.fidelity["guided"]
    is_above = all(
        mine > theirs
        for method in comparison.lead
        for mine, theirs in zip(ours, comparison.fidelity[method], strict=True)
    )
    told = "; ".join(
        f"lead over {method} {lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
        for method, lead in comparison.lead.items()
    )
    told += "; above at every variety" if is_above else "; not above at every variety"
    return Claim(
        name=name,
        rule=rule,
        figures=told,
        holds=is_above and all(lead.low > 0 for lead in comparison.lead.values()),
    )


def _point(points: Sequence[Point], method: Method, setting: float) -> Point:
    found = (point for point in points if (point.method, point.setting) == (method, setting))
    return next(point for point in found if point.sketch_guidance == 1)


def _mean(values: Sequence[float]) -> Estimate:
    """A mean over drawings, at least two, with its 95 % interval."""
    from components.metrics.distances import jackknife

    total, rest = sum(values), len(values) - 1
    return jackknife(total / len(values), [(total - value) / rest for value in values])


def _rank_correlation(points: Sequence[Point], tell: Callable[[SketchNumbers], float]) -> float:
    """Spearman's correlation of a figure with the intensity; 0 where the figure never changes."""
    from scipy.stats import rankdata  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    baseline = [point for point in points if point.method == "noised_image"]
    ranks = [
        rankdata([tell(point.numbers) for point in baseline]),
        rankdata([point.setting for point in baseline]),
    ]
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])
