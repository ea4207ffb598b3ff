"""A trainer that learns nothing: its distance is a formula, its files are those of the real one."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interfaces.igme import IGME, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.measurement import Measurement
from interfaces.progress import Progress, ProgressEvent
from tests.helpers import digest

BATCH_SIZE = 10
SECONDS_PER_IMAGE = 0.5

Formula = Callable[[dict[str, Any]], float]
Hook = Callable[[TrainingSettings, int], list[dict[str, Any]] | None]


def frechet_of(value: float, **changes: Any) -> Measurement:
    fields = {
        "metric": "frechet",
        "value": value,
        "low": value - 1,
        "high": value + 2,
        "num_generated": 1000,
        "num_real": 29,
        "against": "training",
        "dataset_digest": digest("prepared"),
        "features": "embedded",
        "features_sha256": digest("encoder"),
        "resizer": "none",
        "precision": "float32, float64",
    }
    return Measurement.model_validate(fields | changes)


class FakeTrainer:
    """Ten images a step; on the way the distance falls from four times its final value.

    `hook` is called after each step with the settings and the images seen; it may raise, and what
    it returns is written as the guardian's lines.
    """

    def __init__(
        self, formula: Formula, hook: Hook | None = None, step_seconds: float = 0.0
    ) -> None:
        self.formula = formula
        self.hook = hook
        self.step_seconds = step_seconds
        self.num_steps = 0
        self.measured: dict[str, Any] = {}

    def train(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress
    ) -> IGME:
        run.mkdir(parents=True, exist_ok=True)
        (run / "state.json").touch()
        images_seen = int((run / "state.json").read_text() or 0)
        assert settings.total_images is not None
        while images_seen < settings.total_images:
            before, images_seen = images_seen, images_seen + BATCH_SIZE
            self.num_steps += 1
            time.sleep(self.step_seconds)
            progress(ProgressEvent(stage="train", done=images_seen, note=f"{images_seen} images"))
            self._write_curves(run, images_seen)
            for line in (self.hook(settings, images_seen) if self.hook else None) or []:
                _append(run / "guardian.jsonl", line)
            every = settings.measure_images
            if every and images_seen // every > before // every:
                share = images_seen / settings.total_images
                now = self._measure(settings, 1 + 3 * max(0.0, 1 - share))
                row = {"images_seen": images_seen, "seconds": images_seen * SECONDS_PER_IMAGE}
                measurements = [now.model_dump(mode="json")]
                _append(run / "measurements.jsonl", row | {"measurements": measurements})
            (run / "state.json").write_text(str(images_seen))
        return self._model(prepared, settings, run, images_seen)

    def _measure(self, settings: TrainingSettings, factor: float) -> Measurement:
        return frechet_of(factor * self.formula(settings.options), **self.measured)

    def _write_curves(self, run: Path, images_seen: int) -> None:
        names = "images_seen,seconds,generator_loss,discriminator_loss,real_score,fake_score\n"
        if not (run / "curves.csv").exists():
            (run / "curves.csv").write_text(names)
        numbers = [images_seen, images_seen * SECONDS_PER_IMAGE, 1.5, 0.5 + 1 / images_seen, 2, -1]
        with (run / "curves.csv").open("a") as stream:
            stream.write(",".join(map(str, numbers)) + "\n")

    def _model(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, images_seen: int
    ) -> IGME:
        (run / "model").mkdir(exist_ok=True)
        (run / "model" / "weights.safetensors").write_bytes(b"weights")
        measured = (self._measure(settings, 1.0),) if settings.measure_images else ()
        return IGME(
            directory=run / "model",
            family=settings.family,
            config=settings.options,
            weights_sha256=digest("weights"),
            resolution=prepared.resolution,
            styles=prepared.styles,
            dataset_name=prepared.name,
            dataset_digest=prepared.digest,
            images_seen=images_seen,
            metrics={"training_seconds": images_seen * SECONDS_PER_IMAGE},
            measurements=measured,
        )


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
