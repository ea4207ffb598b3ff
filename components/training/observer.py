"""Measurements of a training: how good its pictures are, and how far they spread."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.common.images import float_to_pixels, pixels_to_float
from components.common.tensors import tensor_of
from components.families import AnyFamily
from components.families.port import FamilyConfig, FamilySampler, Request
from components.families.sampling import SAMPLING_BATCH
from components.families.trainer import FamilyTrainer
from components.metrics import (
    FeatureNetwork,
    Neighbours,
    Reference,
    load_features,
    reference_features,
)
from components.metrics.clusters import Clusters
from components.metrics.distances import MIN_IMAGES, spread
from components.metrics.judging import evenly
from components.training.records import TrainingFolder
from components.training.sources import FromTheSet
from interfaces.errors import AtelierError
from interfaces.igme import TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.measurement import Figures, Measurement
from interfaces.progress import Progress, ProgressEvent

_log = logging.getLogger("atelier")

NUM_LOOKED_AT = 256
"""Pictures of each kind at which the guardian looks."""

MAX_MEASURED_AGAINST = 5_000
"""Real images of a measurement during training: KID's work grows with their square."""

WORTH_HALVING = 240.0
"""Seconds of a budget from which it is measured in the middle too."""

UNMEASURED = 128
"""Pictures at most that a report shows and compares where none were to be measured."""

AT_ONCE = 8 * SAMPLING_BATCH
"""Pictures made between two reports of progress."""


@dataclass(frozen=True)
class Made:
    """Pictures by which a network was judged."""

    images_seen: int
    pixels: NDArray[np.uint8]
    """(N, S, S, 3)."""
    labels: NDArray[np.int64]
    """(N,): the style that each was made in."""


class Observer:
    """Measurements of a training's pictures, by the features that its settings name.

    Spread and originality rest on the embedded encoder's in any case. Everything is drawn from
    fixed seeds, so that observing changes nothing of what is observed.
    """

    def __init__(
        self,
        prepared: IPDT,
        settings: TrainingSettings,
        family: AnyFamily,
        config: FamilyConfig,
        cache: Path,
        progress: Progress,
    ) -> None:
        self.prepared = prepared
        self.settings = settings
        self.family = family
        self.config = config
        self.cache = cache
        self.progress = progress
        self.labels = prepared.labels()
        self.made_styles = config.made_styles(len(prepared.styles))
        self.training, self.held_out = prepared.split(settings.held_out_fraction)
        self.measurements: list[dict[str, Any]] = []
        self._newest_made: Made | None = None
        self._newest_judged: Tensor | None = None

    @cached_property
    def encoder(self) -> FeatureNetwork:
        """The embedded encoder."""
        return load_features("embedded", device=self.settings.device)

    @cached_property
    def encoded(self) -> Tensor:
        """The encoder's features of every image of the prepared set, (N, F)."""
        return reference_features(self.prepared, self.encoder, self.cache, self.progress)

    @cached_property
    def clusters(self) -> Clusters:
        """Groups of like pictures among those that `shown` names."""
        return Clusters.of(self.encoded[self.shown])

    @cached_property
    def groups(self) -> np.ndarray:
        """The group of each image learnt from, (N,), for balancing: its cluster or its style."""
        if self.settings.cluster_balanced:
            return self.clusters.assign(self.encoded[self.training])
        return self.labels[self.training]

    @cached_property
    def judge(self) -> FeatureNetwork:
        """The network whose features the measurements rest on."""
        chosen = self.settings.measure_features
        if chosen == self.encoder.name:
            return self.encoder
        return load_features(chosen, device=self.settings.device, progress=self.progress)

    @cached_property
    def reference(self) -> Reference:
        """The pictures learnt from, as the judge sees them; of many pictures a part."""
        places = self.shown
        if len(places) > MAX_MEASURED_AGAINST:
            places = evenly(places, MAX_MEASURED_AGAINST)
        count = self.settings.measure_count
        return Reference.open(
            self.prepared, self.judge, places, "training", count, self.cache, self.progress
        )

    @cached_property
    def floor(self) -> Figures | None:
        """Figures of real pictures against others; None where there are too few."""
        return self.reference.floor(self.settings.measure_count, self.cache)

    def is_oversensitive(self) -> bool:
        """Whether the judge's features are too sensitive: see `Reference.is_oversensitive`."""
        return self.reference.is_oversensitive()

    @cached_property
    def _real_spread(self) -> float:
        if len(self.training) < 2:
            return 0.0  # one picture lies apart from none
        return spread(self.encoded[self.training])

    def resume(self, measurements: list[dict[str, Any]]) -> None:
        """Take up the measurements of a saved state, and forget the pictures made since.

        Another network may come to the same number of images: the one before collapsed.
        """
        self.measurements = measurements
        self._newest_made = self._newest_judged = None

    def measure(self, network: nn.Module, images_seen: int, seconds: float) -> None:
        """Fréchet distance, KID, precision and recall against what was learnt from.

        Under four pictures nothing can be measured, and nothing is.
        """
        if len(self.shown) < MIN_IMAGES:
            return
        judged = self.judged(self.made(network, images_seen))
        found = self.reference.overall(judged)
        row = {"images_seen": images_seen, "seconds": round(seconds, 1)}
        dumped = [measurement.model_dump(mode="json") for measurement in found]
        self.measurements.append(row | {"measurements": dumped})

    def made(self, network: nn.Module, images_seen: int) -> Made:
        """Pictures that measure a network after that many images, made once."""
        if self._newest_made is None or self._newest_made.images_seen != images_seen:
            count = self.settings.measure_count
            styles = self.styles(count if self.settings.measure_images else min(count, UNMEASURED))
            pixels = float_to_pixels(self.pictures(network, styles).numpy())
            self._newest_made = Made(images_seen, pixels, styles.argmax(dim=1).numpy())
            self._newest_judged = None
        return self._newest_made

    def judged(self, made: Made) -> Tensor:
        """The judge's features of the newest pictures made, (N, F)."""
        if self._newest_judged is None:
            self._newest_judged = self.judge.extract(made.pixels)
        return self._newest_judged

    def encoder_features(self, made: Made) -> Tensor:
        """The embedded encoder's features of the pictures, (N, F)."""
        if self.settings.measure_features == self.encoder.name:
            return self.judged(made)
        return self.encoder.extract(made.pixels)

    def is_halfway(self, seconds: float) -> bool:
        """Whether the middle of a longer budget of time has come without a measurement in it.

        Two measurements are what a trend needs.
        """
        budget = self.settings.total_seconds
        if budget is None or budget < WORTH_HALVING or not self.settings.measure_images:
            return False
        newest = self.measurements[-1]["seconds"] if self.measurements else 0.0
        return newest < budget / 4 and seconds >= budget / 2

    def has_measured(self, images_seen: int) -> bool:
        """Whether the newest measurement is of this moment."""
        return bool(self.measurements) and self.measurements[-1]["images_seen"] == images_seen

    @property
    def newest(self) -> tuple[Measurement, ...]:
        """The newest measurement's figures."""
        if not self.measurements:
            return ()
        return tuple(map(Measurement.model_validate, self.measurements[-1]["measurements"]))

    def look(self, trainer: FamilyTrainer[Any]) -> tuple[float, float | None]:
        """The pictures' spread as a share of the real ones', and the figure of over-fitting."""
        styles = self.styles(NUM_LOOKED_AT)
        pictures = self.pictures(trainer.network, styles)
        trainer.network.train()
        features = self.encoder.extract(float_to_pixels(pictures.numpy()))
        share = spread(features) / max(self._real_spread, 1e-12)
        return share, self._over_fitting(trainer, pictures, styles)

    def _over_fitting(
        self, trainer: FamilyTrainer[Any], pictures: Tensor, styles: Tensor
    ) -> float | None:
        if len(self.held_out) < NUM_LOOKED_AT // 4:
            return None
        device = next(trainer.network.parameters()).device
        made = trainer.scores(pictures.to(device), styles.argmax(dim=1).to(device))
        if made is None:
            return None
        learnt, unseen = (
            self._scores_of(trainer, evenly(places, NUM_LOOKED_AT), device)
            for places in (self.training, self.held_out)
        )
        if learnt is None or unseen is None:
            return None
        gap = learnt.mean() - made.mean()
        return float((learnt.mean() - unseen.mean()) / gap) if gap > 0 else None

    def _scores_of(
        self, trainer: FamilyTrainer[Any], places: np.ndarray, device: torch.device
    ) -> Tensor | None:
        images = tensor_of(pixels_to_float(self.prepared.images()[places])).to(device)
        return trainer.scores(images, tensor_of(self.labels[places]).to(device))

    def styles(self, count: int) -> Tensor:
        """A style for each picture (count, K), in the proportions of what was learnt from."""
        return self._rows(self.labels[evenly(self._by_style, count)])

    def in_turn(self, count: int) -> Tensor:
        """A style for each picture (count, K), one after the other."""
        made = np.array(self.made_styles)
        return self._rows(made[np.arange(count) % len(made)])

    def _rows(self, labels: np.ndarray) -> Tensor:
        return torch.eye(len(self.prepared.styles))[tensor_of(labels)]

    @cached_property
    def shown(self) -> np.ndarray:
        """Images learnt from, of the styles that the family makes; of all, where it has none."""
        is_made = np.isin(self.labels[self.training], self.made_styles)
        return self.training[is_made] if is_made.any() else self.training

    @cached_property
    def _by_style(self) -> np.ndarray:
        return self.shown[np.argsort(self.labels[self.shown], kind="stable")]

    def pictures(self, network: nn.Module, styles: Tensor) -> Tensor:
        """Pictures (n, 3, S, S) of the first seeds, one for each row of `styles`; reported."""
        sampler = self.sampler(network)
        return torch.cat(list(self._made(sampler, styles)))

    def _made(self, sampler: FamilySampler[Any], styles: Tensor) -> Iterator[Tensor]:
        total = len(styles)
        for first in range(0, total, AT_ONCE):
            rows = styles[first : first + AT_ONCE]
            seeds = range(first, first + len(rows))
            yield sampler.sample(Request(seeds, rows, self.family.options()))
            done = first + len(rows)
            self.progress(ProgressEvent(stage="measure", done=done, total=total, unit="pictures"))

    def sampler(self, network: nn.Module) -> FamilySampler[Any]:
        """Sampler of seeds; pictures of the set are the sources of a family that needs one."""
        sampler = self.family.method().build_sampler(network, self.config)
        if "source" in self.family.needs:
            return FromTheSet(sampler, self.prepared, self.shown)
        return sampler

    def save_neighbours(self, path: Path) -> str | None:
        """Compact features of what was learnt from, for originality; none of too few pictures.

        Returns the file's SHA-256.
        """
        sources = self.prepared.sources()
        digests = [sources[place] for place in self.training]  # pyright: ignore[reportUnknownVariableType]
        try:
            return Neighbours.fit(self.encoded[self.training], digests).save(path)  # pyright: ignore[reportUnknownArgumentType]
        except AtelierError as error:
            _log.warning("originality will not be reported: %s", error)
            return None

    def write(self, folder: TrainingFolder) -> None:
        """Write `measurements.jsonl`."""
        folder.write_measurements(self.measurements)
