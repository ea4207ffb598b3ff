"""Generated pictures against a prepared set, as a whole and style by style, and their floor.

The floor is what real pictures reach that stand in for generated ones. A Fréchet distance of few
pictures is far above 0 and a recall far below 1 even then, so a figure means little without it.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from components.common.durable import write_text
from components.metrics.distances import MIN_IMAGES
from components.metrics.features import BATCH_SIZE, FeatureNetwork
from components.metrics.measuring import METRICS, measure
from components.metrics.reference import reference_features
from interfaces.ipdt import IPDT
from interfaces.measurement import Against, Figures, Measurement, Metric
from interfaces.progress import Progress

_log = logging.getLogger("atelier")

STYLE_METRICS: tuple[Metric, ...] = ("precision", "recall", "coverage")
STYLELESS_METRICS: tuple[Metric, ...] = ("recall", "coverage")
"""Metrics of pictures asked for in no style: precision would count other styles as faults."""

MIN_PER_STYLE = 8

UNSEEN_NOISE = 0.015
"""Standard deviation, in [-1, 1], of a noise that nobody sees: two of 255 levels."""
NUM_UNDER_NOISE = 128
"""Pictures at most that are put under it."""
OVERSENSITIVE = 0.5
"""Share of real pictures' precision that must be left under that noise."""


@dataclass(frozen=True)
class Reference:
    """Real pictures to measure against."""

    prepared: IPDT
    network: FeatureNetwork
    features: Tensor
    """The network's features of the set's images, (N, F): of those needed here at least."""
    places: NDArray[np.int64]
    """Places of the images that are compared with."""
    against: Against
    """The part of the set that those images are."""

    @classmethod
    def open(
        cls,
        prepared: IPDT,
        network: FeatureNetwork,
        places: NDArray[np.int64],
        against: Against,
        count: int,
        cache: Path,
        progress: Progress,
    ) -> "Reference":
        """Open with the features that figures of `count` pictures and their floor need, no others.

        The folder `cache` keeps them.
        """
        chosen, _ = stand_ins(places, prepared.labels(), count)
        needed = np.union1d(places, chosen)
        features = reference_features(prepared, network, cache, progress, needed)
        return cls(prepared, network, features, places, against)

    def figures(self, generated: Tensor, labels: NDArray[np.int64] | None) -> Figures:
        """Figures of features (M, F) with their styles (M,), or None where none was asked for.

        Raises `AtelierError` under four pictures of either.
        """
        return Figures(overall=self.overall(generated), by_style=self.by_style(generated, labels))

    def overall(self, generated: Tensor) -> tuple[Measurement, ...]:
        """Fréchet distance, KID, precision and recall of features (M, F)."""
        return self._measured(generated, self.places, METRICS)

    def by_style(
        self, generated: Tensor, labels: NDArray[np.int64] | None
    ) -> tuple[Measurement, ...]:
        """Precision, recall and coverage of each style that has at least eight of either.

        As many of either are compared, since the set with more would cover more for that alone.
        """
        found: list[Measurement] = []
        real_labels = self.prepared.labels()[self.places]
        for label, style in enumerate(self.prepared.styles):
            made = generated if labels is None else generated[labels == label]
            places = self.places[real_labels == label]
            count = min(len(made), len(places))
            if count >= MIN_PER_STYLE:
                metrics = STYLELESS_METRICS if labels is None else STYLE_METRICS
                pair = made[evenly(np.arange(len(made)), count)], evenly(places, count)
                found += self._measured(*pair, metrics, style)
        return tuple(found)

    def _measured(
        self,
        generated: Tensor,
        places: NDArray[np.int64],
        metrics: tuple[Metric, ...],
        style: str | None = None,
    ) -> tuple[Measurement, ...]:
        return measure(
            generated,
            self.features[places],
            network=self.network,
            against=self.against,
            dataset_digest=self.prepared.digest,
            style=style,
            metrics=metrics,
        )

    def floor(self, count: int, cache: Path) -> Figures | None:
        """Figures of as many real pictures, or as many as there are; None where there are too few.

        The folder `cache` keeps it. A damaged file there is computed again, with a warning.
        """
        chosen, compared = stand_ins(self.places, self.prepared.labels(), count)
        if min(len(chosen), len(compared)) < MIN_IMAGES:
            return None
        path = cache / f"floor-{self.network.name}-{self._key(chosen, compared)}.json"
        try:
            return Figures.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            _log.warning("%s: not readable (%s); computing the floor again", path, type(error))
        against = Reference(self.prepared, self.network, self.features, compared, self.against)
        found = against.figures(self.features[chosen], self.prepared.labels()[chosen])
        write_text(path, found.model_dump_json(indent=2) + "\n")
        return found

    def is_oversensitive(self) -> bool:
        """Whether noise that nobody sees makes real pictures look unlike the rest to the features.

        It does with flat colours, which no classifier was trained on: there a low precision says
        nothing of what a person would see. Up to 128 of the images are compared with the others;
        the fewer, the larger a fall it takes to tell, and under eight it is False. Raises
        `AtelierError` where features are not finite.
        """
        drawn = np.random.default_rng(0).permutation(self.places)
        chosen = drawn[: min(NUM_UNDER_NOISE, len(drawn) // 2)]
        rest = drawn[len(chosen) :]
        if min(len(chosen), len(rest)) < MIN_IMAGES:
            return False
        pixels, rng = self.prepared.images(), np.random.default_rng(0)
        noisy = torch.cat(
            [
                self.network.extract(_under_noise(pixels[part], rng))
                for part in np.array_split(chosen, -(-len(chosen) // BATCH_SIZE))
            ]
        )
        (plain,) = self._measured(self.features[chosen], rest, ("precision",))
        (under_noise,) = self._measured(noisy, rest, ("precision",))
        return under_noise.high < OVERSENSITIVE * plain.value

    def _key(self, chosen: NDArray[np.int64], compared: NDArray[np.int64]) -> str:
        """Names all that the floor's figures depend on."""
        network = self.network
        told = [self.prepared.digest, network.sha256, network.resizer, *METRICS, *STYLE_METRICS]
        key = hashlib.sha256("\n".join([*told, self.against]).encode("utf-8"))
        key.update(chosen.tobytes() + b"\n" + compared.tobytes())
        return key.hexdigest()[:32]


def _under_noise(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.normal(scale=UNSEEN_NOISE * 127.5, size=pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def stand_ins(
    places: NDArray[np.int64], labels: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the real images that stand in for `count` generated ones, and to compare with.

    They are drawn, always the same way, from the images of the same styles that are not compared
    with. Where those are fewer than half of the ones compared with would be, one half stands in
    against the other.
    """
    draw = np.random.default_rng(0)
    others = np.setdiff1d(np.flatnonzero(np.isin(labels, labels[places])), places)
    half = len(places) // 2
    if len(others) >= min(count, half):
        return draw.permutation(others)[:count], places
    drawn = draw.permutation(places)
    return drawn[:half][:count], drawn[half:]


def evenly(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the places, evenly spaced; each repeated where there are fewer."""
    return places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)]
