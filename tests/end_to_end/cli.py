"""Running the command line as a person does: a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import REPOSITORY

# A run that takes seconds: few pictures, tiny networks, plain resampling.
TRAINING = (
    "--train.options.batch-size=8",
    "--generator-channels=4",
    "--discriminator-channels=4",
    "--resolution=16",
    "--checkpoint-seconds=0.2",
)
SHORT = "--total-images=64"
QUICK = (*TRAINING, "--count=3", "--enhancer=lanczos")


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(REPOSITORY / "pipeline.py"), *map(str, arguments)]


def atelier(
    *arguments: str | Path, cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
