"""Run the benchmarks and print their ratios: `make bench`, or `python -m benchmarks training`."""

import os
import platform
import sys
from importlib import import_module

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch

import torch

NAMES = (
    "preprocessing",
    "wire",
    "training",
    "enhancement",
    "diffusion",
    "overhead",
    "credentials",
)


def main() -> None:
    """Run those named on the command line, or all."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    )
    print(f"{'':<58} {'reference':>10} {'ours':>10}  times as fast")
    for name in sys.argv[1:] or NAMES:
        for ratio in import_module(f"benchmarks.{name}").benchmark():
            print(ratio, flush=True)


if __name__ == "__main__":
    main()
