"""One entry of the ledger, measured in a process of its own.

The assignment comes as JSON on standard input; what is measured goes out line by line as JSON, so
that nothing of it is lost when the process ends in the middle.
"""

import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from atelier.experiments.ledger.gauges import (
    MB,
    NVML,
    RAPL,
    EnergyMeter,
    available_bytes,
    peak_resident_bytes,
    resident_bytes,
)
from components.common.durable import replacing
from components.common.images import float_to_pixels, open_upright, pixels_to_float, to_rgb
from interfaces.batch import ImageBatch
from interfaces.contract import Message
from interfaces.errors import AtelierError, DamagedError
from interfaces.iedt import IEDT, Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.record import FileOrigin

if TYPE_CHECKING:  # the worker imports torch when it measures, the ledger's door never
    import torch

GROWTH = 1.05
"""Least gain in images a second from a batch twice as large; with less the search ends."""

SHARE_OF_MEMORY = 0.8
"""Share of the remaining memory that a larger batch may be expected to take at most."""

_BATCHES = 3
"""Batches that a batch size is measured by, the first of them to warm up."""

TimedWork = Literal["generate", "encode and decode", "enlarge"]


class Assignment(Message):
    """Model or enlarger that a worker is to measure, and how."""

    task: TimedWork = Field(description="What is timed.")
    factory: str = Field(description="Who makes the component, as 'package:factory'.")
    workspace: Path = Field(description="What the factory is given.")
    pictures: Path = Field(description="Folder where the pictures are kept.")
    device: str = Field(description="'cpu', 'cuda' or 'mps'.")
    images: int = Field(ge=2, description="Pictures one by one, after the one to warm up.")
    max_batch: int = Field(ge=1, description="Larger batches are not tried.")
    batch_seconds: float = Field(gt=0, description="A longer measurement is not begun.")
    model: Path | None = Field(default=None, description="Folder of the model (IGME).")
    generate: IGS | None = Field(default=None, description="What the model is asked for.")
    enhance: IES | None = Field(default=None, description="What the enlarger is asked for.")
    samples: tuple[Path, ...] = Field(default=(), description="Pictures that are enlarged.")
    enlarged_side: int = Field(default=64, description="Side they are brought to, pixels.")


Tell = Callable[[dict[str, JsonValue]], None]


def main() -> None:
    """Carry out the assignment on standard input; the row's fields go out, a line at a time.

    A failure is such a field; what else is said goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries that print must not mix with the answers

    def tell(fields: dict[str, JsonValue]) -> None:
        import json

        print(json.dumps(fields), file=answers, flush=True)

    tell({"pid": os.getpid()})
    try:
        measure(Assignment.model_validate_json(sys.stdin.buffer.read()), tell)
    except Exception as error:  # whatever an entry does, it is one row
        traceback.print_exc()
        tell({"failure": reason_of(error)})


def reason_of(error: Exception) -> str:
    """Reason that an error gives, in one line for a person."""
    if isinstance(error, AtelierError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    said = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {said}".removesuffix(": ")


def measure(assignment: Assignment, tell: Tell) -> None:
    """Load, warm up, make the pictures one by one, then look for the best batch."""
    work = _Work(assignment)
    import torch  # of no family's doing, and so part of the level before loading

    gauges = _Gauges(torch.device(assignment.device))
    tell({"threads": torch.get_num_threads(), "ram_before_mb": gauges.in_mb(gauges.before)})
    began = perf_counter()
    pictures = work.batches(1, assignment.images + 1)
    tell({"loading_seconds": perf_counter() - began})
    began = perf_counter()
    first = _next(pictures, 1)
    tell({"warm_up_seconds": perf_counter() - began, **work.facts(first), **gauges.told()})
    resting = resident_bytes()
    seconds = _one_by_one(assignment, pictures, gauges, tell)
    meter = gauges.meter
    joules = None if meter.joules is None else meter.joules / assignment.images
    tell({"joules": joules, "energy_source": meter.source})
    _find_best_batch(assignment, work, len(seconds) / sum(seconds), resting, tell)


def _one_by_one(
    assignment: Assignment, pictures: Iterator[ImageBatch], gauges: "_Gauges", tell: Tell
) -> list[float]:
    """The paper's protocol; the pictures are kept outside the time that is taken."""
    seconds: list[JsonValue] = []
    for number in range(1, assignment.images + 1):
        gauges.meter.start()
        began = perf_counter()
        batch = _next(pictures, 1)
        seconds.append(perf_counter() - began)
        gauges.meter.stop()
        _keep(batch, assignment.pictures / f"{number}.png")
        tell({"seconds": seconds, **gauges.told()})
    return [second for second in seconds if isinstance(second, float)]


def _find_best_batch(
    assignment: Assignment, work: "_Work", rate: float, resting: int | None, tell: Tell
) -> None:
    """Double the batch while it pays, and time and memory allow; `rate` is images a second."""
    rates: list[JsonValue] = [[1, rate]]
    tell({"batches": rates})
    size = 2
    while not (ending := _why_not(assignment, size, rate, resting)):
        tell({"batches_ended": f"the process ended at batches of {size}"})  # unless it does not
        try:
            faster = _rate(work, size)
        except Exception as error:  # the figures that there are stay
            ending = f"batches of {size}: {reason_of(error)}"
            break
        rates.append([size, faster])
        tell({"batches": rates})
        if faster < GROWTH * rate:
            ending = f"batches of {size} were no faster"
            break
        rate, size = faster, 2 * size
    tell({"batches_ended": ending})


def _why_not(assignment: Assignment, size: int, rate: float, resting: int | None) -> str:
    """Reason why batches of this size are not tried; '' where they are."""
    if size > assignment.max_batch:
        return f"larger ones than {assignment.max_batch} were not asked for"
    if _BATCHES * size / rate > assignment.batch_seconds:
        return f"batches of {size} would have taken over {assignment.batch_seconds:g} s to measure"
    peak, available = peak_resident_bytes(), available_bytes()
    # Twice the pictures take at most twice what working took so far; a GPU refuses by itself.
    if assignment.device == "cpu" and peak and resting and available is not None:
        expected = 2 * max(0, peak - resting)
        if expected > SHARE_OF_MEMORY * available:
            return f"batches of {size} might not have fitted into the memory"
    return ""


def _rate(work: "_Work", size: int) -> float:
    """Images a second in batches of a size at most; loading and the first ones are left out."""
    count, seen = _BATCHES * size, 0
    batches = work.batches(size, count)
    while seen < size:
        seen += len(_next(batches, size))
    warm, began = seen, perf_counter()
    while seen < count:
        seen += len(_next(batches, size))
    return (seen - warm) / (perf_counter() - began)


def _next(batches: Iterator[ImageBatch], size: int) -> ImageBatch:
    batch = next(batches, None)
    if batch is None or not 1 <= len(batch) <= size:
        found = "none" if batch is None else str(len(batch))
        raise DamagedError(f"the component gave {found} at once where {size} were asked for")
    return batch


def _keep(batch: ImageBatch, path: Path) -> None:
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(float_to_pixels(batch.images)[0]).save(temporary)


# ---------------------------------------------------------------- what is measured


class _Work:
    """A model or an enlarger behind its port: batches of a size on demand."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        module_name, _, factory_name = assignment.factory.partition(":")
        self._component = getattr(import_module(module_name), factory_name)(assignment.workspace)
        self._samples = [_sample(path, assignment.enlarged_side) for path in assignment.samples]

    def batches(self, size: int, count: int) -> Iterator[ImageBatch]:
        """`count` pictures, `size` or fewer at a time; what there is to load is loaded first."""
        assignment = self._assignment
        if assignment.enhance is not None:
            enhancer: Enhancer = self._component
            starts = range(0, count, size)
            return enhancer.enhance(
                (self._given(start, size) for start in starts), assignment.enhance
            )
        assert assignment.model is not None and assignment.generate is not None
        generator: ImageGenerator = self._component
        changes = {"count": count, "batch_size": size}
        request = assignment.generate.model_copy(update=changes)
        return generator.generate(IGME.open(assignment.model), request)

    def _given(self, start: int, size: int) -> IGDT:
        """So many of the samples, in turn."""
        chosen = [self._samples[n % len(self._samples)] for n in range(start, start + size)]
        images = np.concatenate([images for images, _ in chosen])
        return IGDT(images=images, origins=tuple(origin for _, origin in chosen))

    def facts(self, first: ImageBatch) -> dict[str, JsonValue]:
        """Facts about the first picture: its size, and the precision that it was computed in."""
        height, width = first.images.shape[2:]
        facts: dict[str, JsonValue] = {"width": width, "height": height}
        if isinstance(first, IEDT):
            return facts | {"precision": first.enhancement.route or "no network"}
        return facts


def _sample(path: Path, side: int) -> tuple[np.ndarray, FileOrigin]:
    """A picture's middle, brought to side × side: float32 (1, 3, side, side) in [-1, 1]."""
    from PIL import Image, ImageOps

    data = path.read_bytes()
    square = ImageOps.fit(to_rgb(open_upright(data)), (side, side), Image.Resampling.BICUBIC)
    sha256 = hashlib.sha256(data).hexdigest()
    return pixels_to_float(np.asarray(square)[None]), FileOrigin(name=path.name, sha256=sha256)


class _Gauges:
    """Memory and energy of this process on its device, from before anything is loaded."""

    def __init__(self, device: "torch.device") -> None:
        import torch

        self._is_cuda = device.type == "cuda"
        uuid = torch.cuda.get_device_properties(device).uuid if self._is_cuda else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self._gpu = None if uuid is None else NVML.open(str(uuid))  # pyright: ignore[reportUnknownArgumentType]
        self._used_before = self._gpu.used_bytes() if self._gpu else None
        self.meter = EnergyMeter(RAPL(), self._gpu)
        self.before = resident_bytes()

    def told(self) -> dict[str, JsonValue]:
        """Peaks so far, MB: fields of the ledger's row."""
        peak = peak_resident_bytes()
        above = None if peak is None or self.before is None else peak - self.before
        return {"ram_total_mb": self.in_mb(peak), "ram_above_mb": self.in_mb(above), **self._vram()}

    def _vram(self) -> dict[str, JsonValue]:
        if not self._is_cuda:
            return {}
        import torch

        used = self._gpu.used_bytes() if self._gpu else None
        driver: Any = None
        if used is not None and self._used_before is not None:
            driver = used - self._used_before
        return {
            "vram_allocated_mb": self.in_mb(torch.cuda.max_memory_allocated()),
            "vram_reserved_mb": self.in_mb(torch.cuda.max_memory_reserved()),
            "vram_driver_mb": self.in_mb(driver),
        }

    @staticmethod
    def in_mb(count: int | None) -> float | None:
        """Bytes as the tables have them; None stays."""
        return None if count is None else count / MB
