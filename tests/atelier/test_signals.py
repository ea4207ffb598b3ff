"""What ends a command that runs in the background, as a shell really starts it."""

import os
import signal
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither nohup nor these")

SLEEPER = """
import os, time
from atelier.commands.console import settle
settle()
try:
    print(os.getpid(), flush=True)
    while True:
        time.sleep(0.1)
        print("working", flush=True)
except KeyboardInterrupt:
    print("ended", flush=True)
"""


def _start(*prefix: str) -> tuple["subprocess.Popen[str]", int]:
    """A command that has settled, and its process; it lies below the shell's, where one starts it.

    The shell runs it with `&`, which ignores Ctrl-C where there is no job control.
    """
    shell = subprocess.Popen(
        [*prefix, "sh", "-c", '"$@" & wait', "-", sys.executable, "-c", SLEEPER],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Whoever runs the tests may have had it ignored, as nohup does.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert shell.stdout is not None
    return shell, int(shell.stdout.readline())


def _goes_on(shell: "subprocess.Popen[str]") -> bool:
    """Whether it works on after what it was sent: the lines of before it, and some more."""
    assert shell.stdout is not None
    return all(shell.stdout.readline() == "working\n" for _ in range(5))


def test_ctrl_c_is_not_meant_for_it_and_a_request_to_end_is() -> None:
    shell, pid = _start()
    os.kill(pid, signal.SIGINT)
    assert _goes_on(shell)
    os.kill(pid, signal.SIGTERM)
    assert shell.communicate(timeout=30)[0].endswith("ended\n")


def test_under_nohup_it_outlives_the_terminal() -> None:
    shell, pid = _start("nohup")
    os.kill(pid, signal.SIGHUP)
    assert _goes_on(shell)
    os.kill(pid, signal.SIGTERM)
    assert shell.communicate(timeout=30)[0].endswith("ended\n")


def test_without_nohup_it_ends_with_the_terminal() -> None:
    shell, pid = _start()
    os.kill(pid, signal.SIGHUP)
    assert shell.communicate(timeout=30)[0].endswith("ended\n")
