"""Features of a prepared set: computed once for each image, then read from the cache."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.common.checkpoints import load_state, save_state
from components.metrics.features import FeatureNetwork
from interfaces.errors import AtelierError, DamagedError, RefusedError
from interfaces.ipdt import IPDT
from interfaces.measurement import Against
from interfaces.progress import Progress, silent, within

_log = logging.getLogger("atelier")


PIECE = 1024
"""Images read at once."""


def reference_features(
    prepared: IPDT,
    network: FeatureNetwork,
    cache: Path,
    progress: Progress = silent,
    places: NDArray[np.int64] | None = None,
) -> Tensor:
    """Features of a prepared set's images, in their order: float32 (N, F), on the CPU.

    Where `places` names some images, the features of others may be NaN: they are computed when they
    are asked for. The folder `cache` keeps what is known under the digests of the set and of the
    network's weights and the resizer's name. A damaged file there is computed again with a warning.
    """
    key = "\n".join([prepared.digest, network.sha256, network.resizer])
    name = hashlib.sha256(key.encode("utf-8")).hexdigest()[:32]
    path = cache / f"features-{network.name}-{name}.safetensors"
    features = _known(path, key, (prepared.num_images, network.num_features))
    asked = np.arange(prepared.num_images) if places is None else places
    missing = asked[features[asked, 0].isnan().numpy()]
    if len(missing):
        _compute(features, missing, prepared, network, progress)
        save_state(path, {"key": key, "sha256": _digest(features), "features": features})
    return features


def _known(path: Path, key: str, shape: tuple[int, int]) -> Tensor:
    """Features from the cache; NaN where it has none."""
    if path.exists():
        try:
            return _read(path, key, shape)
        except AtelierError as error:
            _log.warning("%s; computing the features again", error)
    return torch.full(shape, torch.nan)


def _compute(
    features: Tensor,
    missing: NDArray[np.int64],
    prepared: IPDT,
    network: FeatureNetwork,
    progress: Progress,
) -> None:
    """Fill in the missing ones; a piece at a time, since the images may not fit in memory."""
    images = prepared.images()
    for start in range(0, len(missing), PIECE):
        piece = missing[start : start + PIECE]
        told = within(progress, start, len(missing))
        features[piece] = network.extract(images[piece], told)


def rows(
    prepared: IPDT, against: Against, held_out_fraction: float, style: str | None = None
) -> NDArray[np.int64]:
    """Places of the images that a figure compares with, of one style where it is named.

    Raises `AtelierError` where the set has no such style, or no such images.
    """
    training, held_out = prepared.split(held_out_fraction)
    everything = np.arange(prepared.num_images)
    places = {"training": training, "held-out": held_out, "all": everything}[against]
    if style is not None:
        places = places[prepared.labels()[places] == _place_of(style, prepared)]
    if len(places) == 0:
        what = f"{against} images" + (f" of style {style}" if style else "")
        raise RefusedError(
            f"{prepared.name}: there are no {what} to compare with; compare with all"
        )
    return places


def _place_of(style: str, prepared: IPDT) -> int:
    if style not in prepared.styles:
        raise RefusedError(
            f"style {style}: not in {prepared.name}; there are {', '.join(prepared.styles)}"
        )
    return prepared.styles.index(style)


def _read(path: Path, key: str, shape: tuple[int, int]) -> Tensor:
    state: Any = load_state(path)
    features = state.get("features") if isinstance(state, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    is_whole = (
        isinstance(features, Tensor)
        and features.shape == shape
        and features.dtype == torch.float32
        and (state.get("key"), state.get("sha256")) == (key, _digest(features))  # pyright: ignore[reportUnknownMemberType]
    )
    if not is_whole:
        raise DamagedError(f"{path}: damaged")
    return features  # type: ignore[return-value]


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()
