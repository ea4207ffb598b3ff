"""Features of a prepared set: computed once for each network, then read from the cache."""

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
from interfaces.errors import AtelierError
from interfaces.ipdt import IPDT
from interfaces.measurement import Against
from interfaces.progress import Progress, silent

_log = logging.getLogger("atelier")


def reference_features(
    prepared: IPDT, network: FeatureNetwork, cache: Path, progress: Progress = silent
) -> Tensor:
    """Features of all images of a prepared set, in their order: float32 (N, F), on the CPU.

    The folder `cache` keeps them under the digests of the set and of the network's weights and the
    resizer's name. A damaged file there is computed anew, with a warning.
    """
    key = "\n".join([prepared.digest, network.sha256, network.resizer])
    name = hashlib.sha256(key.encode("utf-8")).hexdigest()[:32]
    path = cache / f"features-{network.name}-{name}.safetensors"
    shape = (prepared.num_images, network.num_features)
    if path.exists():
        try:
            return _read(path, key, shape)
        except AtelierError as error:
            _log.warning("%s; computing the features anew", error)
    features = network.extract(prepared.images(), progress)
    save_state(path, {"key": key, "sha256": _digest(features), "features": features})
    return features


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
        raise AtelierError(
            f"{prepared.name}: there are no {what} to compare with; compare with all"
        )
    return places


def _place_of(style: str, prepared: IPDT) -> int:
    if style not in prepared.styles:
        raise AtelierError(
            f"style {style}: not in {prepared.name}; there are {', '.join(prepared.styles)}"
        )
    return prepared.styles.index(style)


def _read(path: Path, key: str, shape: tuple[int, int]) -> Tensor:
    state: Any = load_state(path)
    features = state.get("features") if isinstance(state, dict) else None
    is_whole = (
        isinstance(features, Tensor)
        and features.shape == shape
        and features.dtype == torch.float32
        and (state.get("key"), state.get("sha256")) == (key, _digest(features))
    )
    if not is_whole:
        raise AtelierError(f"{path}: damaged")
    return features  # type: ignore[return-value]


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()
