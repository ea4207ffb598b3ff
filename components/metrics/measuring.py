"""Features of generated and of real pictures => figures that carry what they depend on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from components.metrics import distances
from components.metrics.features import FeatureNetwork
from interfaces.errors import DamagedError, RefusedError
from interfaces.measurement import Against, Measurement, Metric

METRICS: tuple[Metric, ...] = ("frechet", "kid", "precision", "recall")

MAX_JUDGED = 10_000
"""Images of either set that neighbours are sought in: that work grows with the product."""

_MEASURES = {
    "frechet": distances.frechet,
    "kid": distances.kid,
    "precision": distances.precision,
    "recall": distances.recall,
    "coverage": distances.coverage,
}


def measure(
    generated: Tensor,
    real: Tensor,
    *,
    network: FeatureNetwork,
    against: Against,
    dataset_digest: str,
    style: str | None = None,
    metrics: Sequence[Metric] = METRICS,
) -> tuple[Measurement, ...]:
    """The figures asked for, in that order, of features (M, F) and (N, F) of the same network.

    `against` and `style` say which images of the prepared set the real ones are; precision, recall
    and coverage take at most 10 000 of either, evenly spread over the set, and say how many. Raises
    `AtelierError` under four images of either, or where features are not finite.
    """
    for features, whose in ((generated, "generated"), (real, "real")):
        _check(features, whose)
    return tuple(
        _measured(metric, generated, real, network, against, dataset_digest, style)
        for metric in metrics
    )


def _measured(
    metric: Metric,
    generated: Tensor,
    real: Tensor,
    network: FeatureNetwork,
    against: Against,
    dataset_digest: str,
    style: str | None,
) -> Measurement:
    if metric in ("precision", "recall", "coverage"):
        generated, real = _thinned(generated), _thinned(real)
    estimate = _MEASURES[metric](generated, real)
    return Measurement(
        metric=metric,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        num_generated=len(generated),
        num_real=len(real),
        against=against,
        dataset_digest=dataset_digest,
        features=network.name,
        features_sha256=network.sha256,
        resizer=network.resizer,
        precision="float32, float64",
        style=style,
    )


def _check(features: Tensor, whose: str) -> None:
    if len(features) < distances.MIN_IMAGES:
        raise RefusedError(
            f"{len(features)} {whose} images are too few to measure with; "
            f"give {distances.MIN_IMAGES} or more"
        )
    if not torch.isfinite(features).all():
        raise DamagedError(
            f"the {whose} images have features that are not finite; "
            "check the feature network's weights"
        )


def _thinned(features: Tensor) -> Tensor:
    """At most `MAX_JUDGED` features, spread, since a set's first ones are often of one style."""
    if len(features) <= MAX_JUDGED:
        return features
    return features[torch.arange(MAX_JUDGED) * len(features) // MAX_JUDGED]
