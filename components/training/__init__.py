"""Model training: a prepared set (IPDT) in, a model (IGME) out.

    from components.training import create

    model = create(workspace).train(prepared, TrainingSettings(total_images=100_000), run, silent)

Torch is imported by the first call, not by this door.
"""

from pathlib import Path

from components.training.records import (
    Distance,
    Intervention,
    Measured,
    TrainingFolder,
    frechet,
)
from interfaces.igme import IGME, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import Progress


class LocalTrainer:
    """Trains on this machine, in this process. The port is `interfaces.igme.Trainer`."""

    def __init__(self, cache: Path) -> None:
        """Features of prepared sets, which measuring needs, are kept in the folder `cache`."""
        self.cache = cache

    def train(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress
    ) -> IGME:
        """Train in the folder `run`, or go on with what an earlier call left there.

        Leaves `settings.json`, `state.safetensors` and `state.previous.safetensors` (to go on
        from), `good.safetensors` (for the guardian to go back to), `curves.csv`, `curves.png`,
        `samples/`, `measurements.jsonl`, `guardian.jsonl`, `report.md`, `nearest.png` and `model/`.
        Ctrl-C saves the state and then raises KeyboardInterrupt.
        """
        from components.training.loop import train

        return train(prepared, settings, run, self.cache, progress)


def create(workspace: Path) -> LocalTrainer:
    """Make the component for the pipeline; each call names the folder it trains in."""
    return LocalTrainer(workspace / "features")


__all__ = [
    "Distance",
    "Intervention",
    "LocalTrainer",
    "Measured",
    "TrainingFolder",
    "create",
    "frechet",
]
