"""What a training sees of itself: how good its pictures are, how they spread, what it covers."""

import json
import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from components.common.durable import replacing, write_text
from components.common.images import float_to_pixels, pair_sheet, pixels_to_float
from components.families import Family
from components.families.port import (
    FamilyConfig,
    FamilySampler,
    FamilyTrainer,
    GuidedSampler,
)
from components.metrics import (
    FeatureNetwork,
    Neighbours,
    Reference,
    load_features,
    reference_features,
)
from components.metrics.distances import FEWEST_IMAGES, spread
from components.metrics.judging import STYLE_METRICS, STYLELESS_METRICS, evenly
from components.training.sources import FromTheSet
from interfaces.errors import AtelierError
from interfaces.igme import IGME, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.measurement import Figures, Measurement, Metric
from interfaces.progress import Progress

_log = logging.getLogger("atelier")

NUM_LOOKED_AT = 256
"""Pictures of each kind at which the guardian looks."""

MOST_MEASURED_AGAINST = 5_000
"""Real images of a measurement during training: KID's work grows with their square."""

NUM_PAIRS = 24

STYLES_NOTE = (
    "Precision is the share of a style's generated pictures that lie among its real ones, recall "
    "the share of the real ones that lie among the generated, coverage the share of the real ones "
    "that have a generated one near. In brackets: what real pictures reach in their place. A style "
    "far below the others was not learnt."
)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


class Watch:
    """Measures a training's pictures by the features that its settings name.

    Spread and originality rest on the embedded encoder's in any case. Everything is drawn from
    fixed seeds, so that watching changes nothing of what is watched.
    """

    def __init__(
        self,
        prepared: IPDT,
        settings: TrainingSettings,
        family: Family,
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
        self.training, self.held_out = prepared.split(settings.held_out_fraction)
        self.measurements: list[dict[str, Any]] = []

    @cached_property
    def encoder(self) -> FeatureNetwork:
        """The embedded encoder."""
        return load_features("embedded", device=self.settings.device)

    @cached_property
    def encoded(self) -> Tensor:
        """The encoder's features of every image of the prepared set, (N, F)."""
        return reference_features(self.prepared, self.encoder, self.cache, self.progress)

    @cached_property
    def judge(self) -> FeatureNetwork:
        """The network whose features the measurements rest on."""
        chosen = self.settings.measure_features
        if chosen == self.encoder.name:
            return self.encoder
        return load_features(chosen, device=self.settings.device, progress=self.progress)

    @cached_property
    def reference(self) -> Reference:
        """What was learnt from, as the judge sees it; of many pictures a part."""
        if self.judge is self.encoder:
            features = self.encoded
        else:
            features = reference_features(self.prepared, self.judge, self.cache, self.progress)
        places = self.training
        if len(places) > MOST_MEASURED_AGAINST:
            places = evenly(places, MOST_MEASURED_AGAINST)
        return Reference(self.prepared, self.judge, features, places, "training")

    @cached_property
    def floor(self) -> Figures | None:
        """What real pictures reach against others; None of too few."""
        return self.reference.floor(self.settings.measure_count, self.cache)

    @cached_property
    def _real_spread(self) -> float:
        if len(self.training) < 2:
            return 0.0  # one picture lies apart from none
        return spread(self.encoded[self.training])

    def measure(self, network: nn.Module, images_seen: int, seconds: float) -> None:
        """Fréchet distance, KID, precision and recall against what was learnt from.

        Under four pictures nothing can be measured, and nothing is.
        """
        if len(self.training) < FEWEST_IMAGES:
            return
        found = self.reference.overall(
            self._features_of(network, self._styles(self.settings.measure_count))
        )
        row = {"images_seen": images_seen, "seconds": round(seconds, 1)}
        dumped = [measurement.model_dump(mode="json") for measurement in found]
        self.measurements.append(row | {"measurements": dumped})

    def has_measured(self, images_seen: int) -> bool:
        """Whether the newest measurement is of this moment."""
        return bool(self.measurements) and self.measurements[-1]["images_seen"] == images_seen

    @property
    def newest(self) -> tuple[Measurement, ...]:
        """The newest measurement's figures."""
        if not self.measurements:
            return ()
        return tuple(map(Measurement.model_validate, self.measurements[-1]["measurements"]))

    def look(self, trainer: FamilyTrainer) -> tuple[float, float | None]:
        """The pictures' spread as a share of the real ones', and the figure of over-fitting."""
        pictures, styles = self._pictures(trainer.network, self._styles(NUM_LOOKED_AT))
        trainer.network.train()
        features = self.encoder.extract(float_to_pixels(pictures.numpy()))
        share = spread(features) / max(self._real_spread, 1e-12)
        return share, self._over_fitting(trainer, pictures, styles)

    def _over_fitting(
        self, trainer: FamilyTrainer, pictures: Tensor, styles: Tensor
    ) -> float | None:
        if len(self.held_out) < NUM_LOOKED_AT // 4:
            return None
        device = next(trainer.network.parameters()).device
        made = trainer.scores(pictures.to(device), styles.argmax(dim=1).to(device))
        learnt, unseen = (
            self._scores_of(trainer, evenly(places, NUM_LOOKED_AT), device)
            for places in (self.training, self.held_out)
        )
        if made is None or learnt is None or unseen is None:
            return None
        gap = learnt.mean() - made.mean()
        return float((learnt.mean() - unseen.mean()) / gap) if gap > 0 else None

    def _scores_of(
        self, trainer: FamilyTrainer, places: np.ndarray, device: torch.device
    ) -> Tensor | None:
        images = torch.from_numpy(pixels_to_float(self.prepared.images()[places])).to(device)
        return trainer.scores(images, torch.from_numpy(self.labels[places]).to(device))

    def _styles(self, count: int) -> Tensor:
        """A style a picture (count, K), in the proportions of what was learnt from."""
        labels = self.labels[evenly(self.training[self._by_style], count)]
        return torch.eye(len(self.prepared.styles))[torch.from_numpy(labels)]

    @cached_property
    def _by_style(self) -> np.ndarray:
        return np.argsort(self.labels[self.training], kind="stable")

    def _pictures(self, network: nn.Module, styles: Tensor) -> tuple[Tensor, Tensor]:
        sampler = self.sampler(network)
        return sampler.sample(range(len(styles)), styles, self.family.options()), styles

    def sampler(self, network: nn.Module) -> FamilySampler:
        """Of seeds; pictures of the set are the sources of a family that needs one."""
        sampler = self.family.method().build_sampler(network, self.config)
        if "source" in self.family.needs:
            return FromTheSet(cast(GuidedSampler, sampler), self.prepared, self.training)
        return sampler

    def _features_of(self, network: nn.Module, styles: Tensor) -> Tensor:
        pictures, _ = self._pictures(network, styles)
        return self.judge.extract(float_to_pixels(pictures.numpy()))

    def save_neighbours(self, path: Path) -> str | None:
        """Compact features of what was learnt from, for originality; none of too few pictures.

        Returns the file's SHA-256.
        """
        sources = self.prepared.sources()
        digests = [sources[place] for place in self.training]
        try:
            return Neighbours.fit(self.encoded[self.training], digests).save(path)
        except AtelierError as error:
            _log.warning("originality will not be told: %s", error)
            return None

    def write(self, run: Path) -> None:
        """`measurements.jsonl`."""
        write_text(run / "measurements.jsonl", json_lines(self.measurements))

    def report(self, run: Path, model: IGME, network: nn.Module, log: list[dict[str, Any]]) -> None:
        """`report.md` and `nearest.png`: how good, which styles are covered, how original."""
        styles = self._styles(self.settings.measure_count)
        pictures, _ = self._pictures(network, styles)
        pixels = float_to_pixels(pictures.numpy())
        judged = self.judge.extract(pixels)
        encoded = judged if self.judge is self.encoder else self.encoder.extract(pixels)
        lines = [
            f"# {model.family}, learnt from {model.dataset_name}",
            "",
            f"{model.images_seen} images seen, {len(self.training)} learnt from, "
            f"{len(self.held_out)} held out.",
            "",
            *_how_good(model, self.floor),
            "",
            "## Styles",
            "",
            STYLES_NOTE,
            "",
            "| style | pictures learnt from | generated | precision | recall | coverage |",
            "|---|---|---|---|---|---|",
            *self._style_rows(judged, styles.argmax(dim=1).numpy()),
            "",
            "## Originality",
            "",
            self._originality(run, model, pixels, encoded),
            "",
            "## The guardian",
            "",
            *(
                f"- after {row['images_seen']} images: {row['saw']} {row['figures']}; {row['did']}"
                for row in log
            ),
        ]
        if not log:
            lines.append("Saw no trouble." if self.settings.guardian != "off" else "Was off.")
        write_text(run / "report.md", "\n".join(lines) + "\n")

    def _originality(self, run: Path, model: IGME, made: np.ndarray, encoded: Tensor) -> str:
        """A sentence for the report; the least original beside their nearest as a picture."""
        if not model.neighbours_path.exists():
            return "Too few different pictures were learnt from to say."
        neighbours = Neighbours.load(model.neighbours_path)
        distances, places = neighbours.nearest(encoded)
        figures = neighbours.originality(distances).numpy()
        least = np.argsort(figures)[:NUM_PAIRS]
        real = self.prepared.images()[self.training[places.numpy()[least]]]
        with replacing(run / "nearest.png") as temporary:
            pair_sheet(made[least], real).save(temporary)
        return (
            "1 is as far from the nearest training picture as those are from one another. Of "
            f"{len(figures)} pictures: median {np.median(figures):.2f}, least "
            f"{figures.min():.2f}. `nearest.png` shows the {len(least)} least original, each "
            "beside its nearest."
        )

    def _style_rows(self, features: Tensor, asked: np.ndarray) -> list[str]:
        """The report's table: a line for each style, in brackets what real pictures reach."""
        # A family that knows no styles may make any style with any seed.
        labels, told = None, STYLELESS_METRICS
        if self.family.is_conditional:
            labels, told = asked, STYLE_METRICS
        found = self.reference.by_style(features, labels)
        figures = Figures(overall=(), by_style=found)
        rows: list[str] = []
        for label, style in enumerate(self.prepared.styles):
            learnt = int((self.labels[self.training] == label).sum())
            made = len(features) if labels is None else int((labels == label).sum())
            cells = [
                _cell(figures, self.floor, metric, style) if metric in told else "–"
                for metric in STYLE_METRICS
            ]
            rows.append(f"| {style} | {learnt} | {made} | {' | '.join(cells)} |")
        return rows


def _cell(figures: Figures, floor: Figures | None, metric: Metric, style: str) -> str:
    found, real = figures.find(metric, style), floor.find(metric, style) if floor else None
    if found is None:
        return "too few"
    return f"{found.value:.2f}" + (f" ({real.value:.2f})" if real else "")


def _how_good(model: IGME, floor: Figures | None) -> list[str]:
    """The report's figures, what real pictures reach, and what the figures are good for."""
    lines = ["## How good", "", *(f"- {measured.line()}" for measured in model.measurements)]
    if not model.measurements:
        return [*lines, "Not measured."]
    if floor is not None:
        lines += ["", floor.floor_line()]
    return [*lines, "", f"To compare trainings with one another. {model.measurements[0].caution}"]
