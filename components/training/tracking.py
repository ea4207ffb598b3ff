"""Reports of a training to a tracker: curves, measurements, sample grids, settings, its model.

One small port (`Tracker`) and four implementations. None needs an account or a network: TensorBoard
writes files, MLflow, trackio and Weights & Biases keep to the training's folder unless their own
environment variables (`MLFLOW_TRACKING_URI`, `TRACKIO_DIR`, `WANDB_MODE`) say otherwise.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.training.records import Measured
from interfaces.errors import UnavailableError
from interfaces.igme import IGME, TrainingSettings

_log = logging.getLogger("atelier")

PROJECT = "atelier"


class Tracker(Protocol):
    """A program in which a person follows a training."""

    def numbers(self, values: Mapping[str, float], images_seen: int) -> None:
        """Take numbers by name, at a moment of the training."""
        ...

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        """Take a picture's file."""
        ...

    def model(self, model: IGME) -> None:
        """Take the digests that identify the finished model."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class Tracking:
    """All trackers of a training, informed alike; there may be none.

    One that fails meanwhile (a server that is away, a full disk) is named and told no more: the
    training is worth more than its being followed.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:  # whatever a stranger's client raises
                del self._trackers[name]
                _log.warning("%s: no longer followed (%s)", name, error)

    def close(self) -> None:
        """Let every tracker write what it has not written yet."""
        self._tell(lambda tracker: tracker.close())

    def curves(self, row: Mapping[str, float]) -> None:
        """Tell a row of the curves."""
        values = {name: value for name, value in row.items() if name != "images_seen"}
        self._tell(lambda tracker: tracker.numbers(values, int(row["images_seen"])))

    def measured(self, row: Mapping[str, object]) -> None:
        """Tell a measurement; the figure of one style has the style in its name."""
        found = Measured.model_validate(row)
        values = {
            "/".join(filter(None, ("measured", one.features, one.metric, one.style))): one.value
            for one in found.measurements
        }
        self._tell(lambda tracker: tracker.numbers(values, found.images_seen))

    def samples(self, path: Path, images_seen: int) -> None:
        """Tell a sample grid."""
        self._tell(lambda tracker: tracker.picture("samples", path, images_seen))

    def model(self, model: IGME) -> None:
        """Tell the finished model."""
        self._tell(lambda tracker: tracker.model(model))


def check_trackers(settings: TrainingSettings) -> None:
    """Raise `UnavailableError` where a tracker that the settings name is not installed."""
    for name in settings.trackers:
        if find_spec(name) is None:
            raise UnavailableError(
                f"train: {name} is not installed; pip install 'atelier[{name}]', or leave it out"
            )


@contextmanager
def tracked(
    run: Path, settings: TrainingSettings, identity: Mapping[str, Any]
) -> Generator[Tracking]:
    """Follow a training in the folder `run` by what its settings name.

    `identity` is what the training is, as in `settings.json`. Raises `AtelierError` where a package
    is missing, or the tracker cannot be reached.
    """
    check_trackers(settings)
    tracking = Tracking({name: _open(name, run, identity) for name in settings.trackers})
    try:
        yield tracking
    finally:
        tracking.close()


def _open(name: str, run: Path, identity: Mapping[str, Any]) -> Tracker:
    try:
        return TRACKERS[name](run, identity)
    except Exception as error:  # whatever a stranger's client raises
        raise UnavailableError(
            f"{name}: cannot be told of the training ({error}); see its environment variables, or "
            "leave it out"
        ) from error


def _run_id(run: Path) -> str:
    """A training's own id, the same when it is resumed."""
    return hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]


def _run_name(run: Path) -> str:
    return run.parent.name if run.name == "training" else run.name


def flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The family's options among the other settings, each by its own name."""
    options = identity.get("options", {})
    return {name: v for name, v in identity.items() if name != "options"} | options


class _Board(Protocol):
    """The part of torch's `SummaryWriter`, which has no types, that is used here."""

    def add_text(self, tag: str, text_string: str, global_step: int | None = None) -> None: ...

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def add_image(
        self, tag: str, img_tensor: NDArray[np.uint8], global_step: int, *, dataformats: str
    ) -> None: ...

    def close(self) -> None: ...


def _board(folder: Path) -> _Board:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


class _TensorBoard:
    def __init__(self, run: Path, identity: Mapping[str, Any]) -> None:
        self._writer = _board(run / "tensorboard")
        self._writer.add_text("settings", _as_block(identity))

    def numbers(self, values: Mapping[str, float], images_seen: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, images_seen)

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, images_seen, dataformats="HWC")

    def model(self, model: IGME) -> None:
        self._writer.add_text("model", _as_block(_described(model)), model.images_seen)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, run: Path, identity: Mapping[str, Any]) -> None:
        self._wandb: Any = import_module("wandb")
        self._run: Any = self._wandb.init(
            project=PROJECT,
            name=_run_name(run),
            id=_run_id(run),
            resume="allow",
            dir=str(run),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=dict(identity),
        )

    def numbers(self, values: Mapping[str, float], images_seen: int) -> None:
        self._run.log(dict(values), step=images_seen)

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        self._run.log({name: self._wandb.Image(str(path))}, step=images_seen)

    def model(self, model: IGME) -> None:
        self._run.summary.update(_described(model))

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    def __init__(self, run: Path, identity: Mapping[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(run / "trackio"))
        self._trackio: Any = import_module("trackio")
        self._trackio.init(
            project=PROJECT, name=_run_name(run), config=dict(identity), resume="allow", embed=False
        )

    def numbers(self, values: Mapping[str, float], images_seen: int) -> None:
        self._trackio.log(dict(values), step=images_seen)

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        self._trackio.log({name: self._trackio.Image(str(path))}, step=images_seen)

    def model(self, model: IGME) -> None:
        self._trackio.log(_described(model), step=model.images_seen)

    def close(self) -> None:
        self._trackio.finish()


class _MLflow:
    def __init__(self, run: Path, identity: Mapping[str, Any]) -> None:
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run / 'mlflow.sqlite'}"
        self._client: Any = import_module("mlflow.tracking").MlflowClient(tracking_uri=place)
        experiment = self._client.get_experiment_by_name(PROJECT)
        artifacts = (run / "mlflow").resolve().as_uri()
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(PROJECT, artifact_location=artifacts)
        )
        wanted = f"tags.training = '{_run_id(run)}'"
        found = self._client.search_runs([number], wanted)
        tags = {"training": _run_id(run)}
        begun = (
            found[0]
            if found
            else self._client.create_run(number, tags=tags, run_name=_run_name(run))
        )
        self._run = begun.info.run_id
        for name, value in flat(identity).items():
            self._client.log_param(self._run, name, value)

    def numbers(self, values: Mapping[str, float], images_seen: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=images_seen)

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        self._client.log_artifact(self._run, str(path), name)

    def model(self, model: IGME) -> None:
        for name, value in _described(model).items():
            self._client.set_tag(self._run, name, value)

    def close(self) -> None:
        self._client.set_terminated(self._run)


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "trackio": _Trackio,
    "wandb": _WeightsAndBiases,
}
"""Trackers by the names that settings have for them."""


def _described(model: IGME) -> dict[str, str]:
    """Digests that identify a finished model; its files stay where they are."""
    return {
        "model_digest": model.digest,
        "weights_sha256": model.weights_sha256,
        "dataset_digest": model.dataset_digest or "",
    }


def _as_block(table: Mapping[str, object]) -> str:
    """JSON as a block of Markdown."""
    return "```json\n" + json.dumps(table, indent=2) + "\n```"
