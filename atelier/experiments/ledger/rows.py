"""Rows of the ledger: all that is known of one measured model or enlarger."""

from dataclasses import dataclass
from statistics import mean, stdev

from pydantic import Field, FiniteFloat

from atelier.experiments.ledger.gauges import Machine
from atelier.experiments.ledger.worker import TimedWork
from interfaces.contract import Message
from interfaces.measurement import Measurement


class LedgerRow(Message):
    """Costs of one model or enlarger: a row of paper 003's Table 1."""

    name: str = Field(description="As the person called it; and what was done, where not usual.")
    task: TimedWork = Field(description="What was timed.")
    family: str | None = Field(description="The model's family; None for an enlarger.")
    digest: str | None = Field(description="Digest of the model, or of the enlarger's own file.")
    asked: str = Field(description="What it was asked for besides a seed; '': nothing.")
    device: str = Field(description="Where it ran.")
    load_average: FiniteFloat | None = Field(
        description="Processes that ran or waited in the minute before; None: unknown."
    )
    fingerprint: str = Field(description="Digest over all that makes the figures comparable.")
    pid: int | None = Field(default=None, description="The process that was measured.")
    threads: int | None = Field(default=None, description="Threads that torch computes with.")
    precision: str | None = Field(default=None, description="Arithmetic of the network.")
    width: int | None = Field(default=None, description="Width of its pictures, pixels.")
    height: int | None = Field(default=None, description="Height of its pictures, pixels.")
    loading_seconds: FiniteFloat | None = Field(
        default=None, description="From being asked to being ready, seconds; in no other figure."
    )
    warm_up_seconds: FiniteFloat | None = Field(
        default=None, description="The first picture, seconds; in no other figure."
    )
    seconds: tuple[FiniteFloat, ...] = Field(
        default=(), description="Each picture, one by one, seconds."
    )
    ram_before_mb: FiniteFloat | None = Field(
        default=None, description="Before loading, with the component made and torch imported, MB."
    )
    ram_above_mb: FiniteFloat | None = Field(
        default=None, description="Peak above that, loading and pictures one by one, MB."
    )
    ram_total_mb: FiniteFloat | None = Field(default=None, description="The same peak in all, MB.")
    vram_allocated_mb: FiniteFloat | None = Field(
        default=None, description="Peak of what tensors took of the GPU's memory, MB."
    )
    vram_reserved_mb: FiniteFloat | None = Field(
        default=None, description="Peak of what torch held of it, MB."
    )
    vram_driver_mb: FiniteFloat | None = Field(
        default=None, description="By how much more the driver says is taken than before, MB."
    )
    joules: FiniteFloat | None = Field(default=None, description="Energy for a picture, joules.")
    energy_source: str = Field(
        default="", description="Source of the energy reading, or why there is none."
    )
    batches: tuple[tuple[int, FiniteFloat], ...] = Field(
        default=(), description="Sizes of batches tried, each with its images a second."
    )
    batches_ended: str = Field(default="", description="Why no larger batch was tried.")
    measurements: tuple[Measurement, ...] = Field(
        default=(), description="How good the model's pictures were found in its training."
    )
    failure: str | None = Field(default=None, description="Why there are no figures.")

    @property
    def mean_seconds(self) -> float:
        """Average of the pictures one by one; there must be two."""
        return mean(self.seconds)

    @property
    def deviation_seconds(self) -> float:
        """Their sample standard deviation (n - 1)."""
        return stdev(self.seconds)

    @property
    def best_batch(self) -> tuple[int, float] | None:
        """The size that makes the most images a second, and how many."""
        return max(self.batches, key=lambda batch: batch[1], default=None)

    @property
    def size(self) -> str:
        """Size of its pictures in words: '64×64'; '–' where it has none."""
        return f"{self.width}×{self.height}" if self.width else "–"


@dataclass(frozen=True)
class Ledger:
    """All rows, and what they have in common."""

    rows: tuple[LedgerRow, ...]
    machine: Machine
    num_waiting: int
    """Entries that are still to be measured."""
