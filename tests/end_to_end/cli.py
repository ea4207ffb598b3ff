"""Running the command line as a person does: a process of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

# A run that takes seconds: few pictures, tiny networks, plain resampling.
TRAINING = (
    "--family=dcgan_wi",
    "--train.options.batch-size=8",
    "--generator-channels=4",
    "--discriminator-channels=4",
    "--resolution=16",
    "--checkpoint-seconds=0.2",
    "--measure-images=0",
)
SHORT = "--total-images=64"
QUICK = (*TRAINING, "--count=3", "--enhancer=lanczos")


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(REPOSITORY / "pipeline.py"), *map(str, arguments)]


def without_privileges() -> list[str]:
    """Command that makes root an ordinary user, whom permissions bind; empty for anybody else."""
    if os.name == "nt" or os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read and write anything, and there is no setpriv to change that")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def atelier(
    *arguments: str | Path, cwd: Path, timeout: float = 120, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *command(*arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
