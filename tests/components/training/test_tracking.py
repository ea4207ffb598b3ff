"""Records that trackers keep of a training, read back by their own readers."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from components.training import create
from components.training.tracking import TRACKERS, Tracking
from interfaces.errors import UnavailableError
from interfaces.igme import IGME, TrainingSettings
from interfaces.progress import silent
from tests.helpers import REPOSITORY, tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")


def trained(folder: Path, images: int = 320, **settings: Any) -> IGME:
    """A tiny training in `folder/run`, followed as the settings say; it may go on."""
    options = {"batch_size": 8, "generator_channels": 4, "discriminator_channels": 4}
    wanted = TrainingSettings(
        family="dcgan",
        options=options,
        total_images=images,
        guardian="off",
        measure_images=160,
        measure_count=16,
        device="cpu",
        precision="float32",
        **settings,
    )
    if not (folder / "prepared").exists():
        (folder / "prepared").mkdir()
    prepared = tiny_prepared(folder / "prepared")
    return create(folder).train(prepared, wanted, folder / "run", silent)


def test_tensorboard_has_curves_measurements_pictures_settings_and_the_model(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = trained(tmp_path, tensorboard=True)
    found = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    tags = found.Tags()
    assert {"generator_loss", "discriminator_loss", "measured/embedded/frechet"} <= set(
        tags["scalars"]
    )
    assert [event.step for event in found.Scalars("generator_loss")] == [160, 320]
    measured = next(m for m in model.measurements if m.metric == "frechet")
    assert found.Scalars("measured/embedded/frechet")[-1].value == pytest.approx(measured.value)
    assert tags["images"] == ["samples"]
    settings = found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"family": "dcgan"' in settings
    described = found.Tensors("model/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert model.digest in described


def test_mlflow_has_one_run_that_a_resumed_training_goes_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra mlflow is not installed")
    place = (tmp_path / "tracked").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    trained(tmp_path, images=160, track="mlflow")
    model = trained(tmp_path, images=320, track="mlflow")
    client = tracking.MlflowClient(tracking_uri=place)
    number = client.get_experiment_by_name("atelier").experiment_id
    (run,) = client.search_runs([number])
    history = client.get_metric_history(run.info.run_id, "generator_loss")
    assert [metric.step for metric in history] == [160, 320]
    assert run.data.tags["model_digest"] == model.digest
    assert run.data.params["batch_size"] == "8"
    names = [file.path for file in client.list_artifacts(run.info.run_id, "samples")]
    assert "samples/000000320.png" in names


def test_weights_and_biases_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    model = trained(tmp_path, track="wandb")
    (run,) = (tmp_path / "run/wandb").glob("offline-run-*")
    (log,) = run.glob("*.wandb")
    # Its own process may write the last records after the run was finished.
    end = time.monotonic() + 60
    while model.digest.encode() not in told_in(log):
        assert time.monotonic() < end, "the model's digest was never written"
        time.sleep(0.1)
    for text in ("generator_loss", "measured/embedded/frechet", "dcgan"):
        assert text.encode() in told_in(log)
    assert list((run / "files/media/images").glob("samples_*.png"))


def told_in(log: Path) -> bytes:
    """An offline run's records: its blocks of 32 KiB without what parts a record between two.

    The file begins with 7 bytes; each piece has a header of 7: checksum, length, kind (LevelDB's
    log format).
    """
    data, told, place = log.read_bytes(), b"", 7
    while place + 7 <= len(data):
        left = 32_768 - place % 32_768
        if left < 7:
            place += left
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        told += data[place + 7 : place + 7 + length]
        place += 7 + length
    return told


def test_trackio_writes_to_the_trainings_folder(tmp_path: Path) -> None:
    """It runs in a process of its own: trackio reads where to write once, when it is imported."""
    if find_spec("trackio") is None:
        pytest.skip("the extra trackio is not installed")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.components.training.test_tracking import trained\n"
        "trained(Path(sys.argv[1]), track='trackio')"
    )
    environment = {name: text for name, text in os.environ.items() if name != "TRACKIO_DIR"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    model = IGME.open(tmp_path / "run/model")
    (store,) = (tmp_path / "run/trackio").glob("atelier*.db")
    with sqlite3.connect(store) as connection:
        rows = [json.loads(row) for (row,) in connection.execute("select metrics from metrics")]
    assert any("generator_loss" in row for row in rows)
    assert any(row.get("model_digest") == model.digest for row in rows)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'x'"), r"^trackio: .* \(No module named 'x'\)"),
        (ConnectionError("refused"), r"^trackio: cannot be told of the training \(refused\)"),
        (RuntimeError("no such account"), r"\(no such account\); .* or leave it out$"),
    ],
)
def test_a_tracker_that_cannot_be_opened_is_named_before_anything_is_trained(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(run: Path, identity: object) -> Any:
        raise error

    monkeypatch.setitem(TRACKERS, "trackio", opened)
    monkeypatch.setattr("components.training.tracking.find_spec", lambda name: name)
    with pytest.raises(UnavailableError, match=said):
        trained(tmp_path, track="trackio")
    assert not (tmp_path / "run/state.safetensors").exists()


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.training.tracking.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'atelier\[trackio\]'"):
        trained(tmp_path, track="trackio")
    assert not (tmp_path / "run/state.safetensors").exists()


class Broken:
    """A tracker whose server goes away after the first word."""

    def __init__(self) -> None:
        self.heard = 0

    def numbers(self, values: object, images_seen: int) -> None:
        self.heard += 1
        raise ConnectionError("the server is away")

    picture: Callable[..., None] = numbers
    model: Callable[..., None] = numbers

    def close(self) -> None:
        self.heard += 1


def test_a_tracker_that_fails_is_told_no_more_and_the_others_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = Broken(), Broken()
    tracking = Tracking({"first": first, "second": second})
    tracking.curves({"images_seen": 8, "generator_loss": 1.0})
    tracking.curves({"images_seen": 16, "generator_loss": 1.0})
    tracking.close()
    assert (first.heard, second.heard) == (1, 1)
    assert "first: no longer followed (the server is away)" in caplog.text
