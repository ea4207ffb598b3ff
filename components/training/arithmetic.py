"""float32 or bfloat16: measured where nobody can tell, and remembered for the machine."""

import hashlib
import json
import logging
import statistics
import time
from pathlib import Path

import torch

from components.common.devices import has_bfloat16_vectors, pick_dtype
from components.common.download import weights_cache
from components.common.durable import write_text
from components.families import Family
from components.families.port import FamilyConfig, Shape

_log = logging.getLogger("atelier")

STEPS = 4
SMALLEST_GAIN = 1.15
"""bfloat16 is taken where a step is so many times as fast: less is not worth its rounding."""


def choose_dtype(
    precision: str, family: Family, config: FamilyConfig, shape: Shape, device: torch.device
) -> torch.dtype:
    """The arithmetic of a training's networks.

    On a CPU with bfloat16 vector instructions but no matrix units, 'auto' takes a few steps in
    both, once for each machine, family and config: the answer is kept in the person's cache, so
    that the same training gives the same weights there the next time.
    """
    chosen = pick_dtype(precision, device)
    if precision != "auto" or chosen is torch.bfloat16 or not has_bfloat16_vectors(device):
        return chosen
    known = _cache_path(family, config, shape)
    try:
        gain = float(json.loads(known.read_text(encoding="utf-8"))["times_as_fast"])
    except (OSError, ValueError, KeyError, TypeError):
        gain = _measure(family, config, shape, device)
        _remember(known, gain)
    return torch.bfloat16 if gain >= SMALLEST_GAIN else torch.float32


def _cache_path(family: Family, config: FamilyConfig, shape: Shape) -> Path:
    machine = [dict(torch.cpu.get_capabilities()), torch.get_num_threads()]
    asked = [family.name, config.model_dump(mode="json"), shape.resolution, shape.num_styles]
    key = json.dumps([machine, torch.__version__, asked])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return weights_cache().parent / "arithmetic" / f"{digest}.json"


def _remember(path: Path, gain: float) -> None:
    try:
        write_text(path, json.dumps({"times_as_fast": round(gain, 3)}) + "\n")
    except OSError as error:  # it is measured again the next time
        _log.debug("%s: cannot be kept (%s)", path, error)


def _measure(family: Family, config: FamilyConfig, shape: Shape, device: torch.device) -> float:
    """How many times as fast a step is in bfloat16: medians of alternating steps."""
    images = torch.zeros(config.batch_size, 3, shape.resolution, shape.resolution, device=device)
    labels = torch.zeros(config.batch_size, dtype=torch.int64, device=device)
    trainers = [
        family.method().build_trainer(config, shape, device, dtype, torch.Generator())
        for dtype in (torch.float32, torch.bfloat16)
    ]
    seconds: list[list[float]] = [[], []]
    for _ in range(STEPS + 1):
        for trainer, spent in zip(trainers, seconds, strict=True):
            begun = time.perf_counter()
            trainer.step(images, labels, 1)
            spent.append(time.perf_counter() - begun)
    # The first of each is the warm-up.
    plain, reduced = (statistics.median(spent[1:]) for spent in seconds)
    return plain / reduced
