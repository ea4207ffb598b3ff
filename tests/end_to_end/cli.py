"""Running the command line as a person does: a process of its own; or here, which is quicker."""

import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pipeline import main
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


def here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which waits for torch once."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, _undone():
        patch.chdir(cwd)
        patch.setenv("COLUMNS", "100")
        patch.setenv("NO_COLOR", "1")
        patch.setattr(sys, "path", [*sys.path])
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextmanager
def _undone() -> Generator[None]:
    """Put back what a command changes in its process."""
    log, handler = logging.getLogger("atelier"), signal.getsignal(signal.SIGTERM)
    handlers = log.handlers
    try:
        yield
    finally:
        log.handlers = handlers
        signal.signal(signal.SIGTERM, handler)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0]
    return lines[0]
