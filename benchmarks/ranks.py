"""Trainings that 1, 2 and 4 processes share: gradients, weights after steps, images a second.

`python -m benchmarks.ranks 50`: WGAN-GP, R3GAN and diffusion as they are by default, batches of 16
random pictures of 32×32, joined by gloo on this machine, one torch thread each. What they differ by
from one process stands beside what one process with two threads differs by, which adds in another
order and does nothing else.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a rank is given its own
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, distributed

from components.families import FAMILIES
from components.families.port import Shape
from components.families.ranks import ALONE, Ranks
from components.families.trainer import FamilyTrainer, Machine

BATCH = 16
SHAPE = Shape(resolution=32, num_styles=2)
NAMES = ("wgan_gp", "r3gan", "sketch_diffusion")
WAYS = {"1 rank": (1, 1), "1 rank, 2 threads": (1, 2), "2 ranks": (2, 1), "4 ranks": (4, 1)}
"""Ranks, and threads of each."""

Found = dict[str, Any]
"""Findings of a rank: `gradients` and `weights` by name, `speed` in images a second."""


def main(steps: str) -> None:
    """Take this many steps of each family, in each way."""
    print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            found = {
                way: _shared(name, steps, Path(folder, way.replace(" ", "-")), *numbers)
                for way, numbers in WAYS.items()
            }
        for way, one in found.items():
            gradients, weights = (
                _largest(one[kind], found["1 rank"][kind]) for kind in ("gradients", "weights")
            )
            print(
                f"{name:<17} {way:<18} {one['speed']:6.1f} images/s; differ by {gradients:.1e} of "
                f"the largest gradient, after {steps} steps by {weights:.1e} of the largest weight",
                flush=True,
            )


def _shared(name: str, steps: str, folder: Path, count: int, threads: int) -> Found:
    """Findings of rank 0 of `count`, after a check that the others have its weights to the bit."""
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "rank", name, steps, str(folder), str(index)],
            env=os.environ | {"RANKS": str(count), "OMP_NUM_THREADS": str(threads)},
        )
        for index in range(count)
    ]
    assert [process.wait() for process in processes] == [0] * count
    first, *others = (torch.load(folder / f"{index}.pt") for index in range(count))
    for other in others:
        assert all(
            torch.equal(other["weights"][key], first["weights"][key]) for key in other["weights"]
        )
    return first


def _rank(name: str, steps: str, folder: str, index: str) -> None:
    ranks, count = ALONE, int(os.environ["RANKS"])
    if count > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting", rank=int(index), world_size=count
        )
        ranks = Ranks(int(index), count)
    family = FAMILIES[name]
    config = family.config.model_validate({"batch_size": BATCH})
    machine = Machine(torch.device("cpu"), torch.float32, torch.Generator().manual_seed(7), ranks)
    trainer = family.method().build_trainer(config, SHAPE, machine)
    torch.save(_trained(trainer, int(steps)), Path(folder, f"{index}.pt"))


def _trained(trainer: FamilyTrainer[Any], steps: int) -> Found:
    found: Found = {}
    began = time.perf_counter()
    for step in range(steps):
        rng = torch.Generator().manual_seed(step)
        images = torch.rand(BATCH, 3, 32, 32, generator=rng) * 2 - 1
        labels = torch.arange(BATCH) % 2
        rows = trainer.machine.ranks.rows
        trainer.step(rows(images), rows(labels), 1)
        found.setdefault("gradients", _gradients(trainer))
    found["speed"] = steps * BATCH / (time.perf_counter() - began)
    found["weights"] = {
        f"{name}.{key}": value
        for name, network in trainer.networks.items()
        for key, value in network.state_dict().items()
    }
    return found


def _gradients(trainer: FamilyTrainer[Any]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": parameter.grad.clone()
        for name, network in trainer.networks.items()
        for key, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def _largest(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest difference, as a share of the largest number."""
    largest = max(float(tensor.abs().max()) for tensor in wanted.values())
    return max(float((found[key] - wanted[key]).abs().max()) for key in wanted) / largest


if __name__ == "__main__":
    if sys.argv[1] == "rank":
        _rank(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
