"""Model training: a prepared set (IPDT) in, a model (IGME) out.

    from components.training import create

    model = create(workspace).train(prepared, TrainingSettings(total_images=100_000), run, silent)

Torch is imported by the first call, not by this door.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from components.training.records import (
    SCORES,
    Distance,
    Intervention,
    Measured,
    TrainingFolder,
    frechet,
)
from components.training.tracking import check_trackers
from components.training.verdict import Verdict
from interfaces.igme import IGME, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import Progress

T = TypeVar("T")


class LocalTrainer:
    """Trains in this process and those that `torchrun` started beside it.

    The port is `interfaces.igme.Trainer`.
    """

    def __init__(self, cache: Path) -> None:
        """Features of prepared sets, which measuring needs, are kept in the folder `cache`."""
        self.cache = cache

    def train(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress
    ) -> IGME:
        """Train in the folder `run`, or go on with what an earlier call left there.

        Leaves `settings.json`, `state.safetensors` and `state.previous.safetensors` (to go on
        from), `good.safetensors` (for the guardian to go back to), `curves.csv`, `curves.png`,
        `samples/`, `measurements.jsonl`, `guardian.jsonl`, `verdict.json`,
        `report.md`, `nearest.png` and `model/`.
        Ctrl-C saves the state and then raises KeyboardInterrupt.
        """
        from components.training.loop import train

        return train(prepared, settings, run, self.cache, progress)


def with_ranks(work: Callable[[], T]) -> T | None:
    """Do the work on rank 0, whose trainings the other processes of `torchrun` share.

    For a process that `torchrun` started. Returns None on the others, once rank 0 has done.
    """
    from components.training.crew import lead_or_follow

    return lead_or_follow(work)


def create(workspace: Path) -> LocalTrainer:
    """Make the component for the pipeline; each call names the folder it trains in."""
    return LocalTrainer(workspace / "features")


__all__ = [
    "SCORES",
    "Distance",
    "Intervention",
    "LocalTrainer",
    "Measured",
    "TrainingFolder",
    "Verdict",
    "check_trackers",
    "create",
    "frechet",
    "with_ranks",
]
