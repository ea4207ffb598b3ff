"""The runnable cases in ../shared/trouble: small inputs and situations that break such tools.

Three of them start the program some fifty times or train as often, which takes minutes: they run
with TROUBLE=all in the environment.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

TROUBLE = REPOSITORY.parent / "shared" / "trouble"

LONG = {
    "20-environment": "starts the program fifty times",
    "21-tiny-datasets": "trains seventeen times",
    "22-models": "starts the program twenty-five times",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1000),  # for the long ones; the script itself is given less
    pytest.mark.skipif(not TROUBLE.is_dir(), reason=f"{TROUBLE} is missing"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="the cases are scripts for bash"),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all cases, with the collections that some borrow from another."""
    copy = tmp_path_factory.mktemp("trouble") / "cases"
    shutil.copytree(TROUBLE, copy, symlinks=True, ignore=_pipes)
    subprocess.run(
        [sys.executable, "build.py"], cwd=copy / "21-tiny-datasets", check=True, timeout=120
    )
    script = copy / "20-environment" / "repro.sh"
    script.write_text(script.read_text().replace("$B/clone", "$PROJECT"))  # no copy of the project
    script = copy / "25-resume-interrupted" / "repro.sh"
    # A slow machine beside other tests learns 20 000 images in more than a minute.
    script.write_text(script.read_text().replace("timeout 60 ", "timeout 300 "))
    return copy


def _pipes(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_fifo()}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in TROUBLE.glob("*/repro.sh")))
def test_the_case_is_right(cases: Path, name: str) -> None:
    if name in LONG and os.environ.get("TROUBLE") != "all":
        pytest.skip(f"{LONG[name]}; run with TROUBLE=all")
    done = subprocess.run(
        ["bash", str(cases / name / "repro.sh")],
        cwd=REPOSITORY,
        env=os.environ | {"PY": sys.executable, "PROJECT": str(REPOSITORY)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=900,
    )
    said = done.stdout + done.stderr
    if name == "01-alpha-halo":
        # Its own check ends with a number of NumPy's, which no exit status is made of: what it
        # prints is judged by the limit that it names.
        darkest = re.findall(r"darkest pixel .*: (\d+) pixels", done.stdout)
        assert len(darkest) == 2 and min(map(int, darkest)) >= 235, said[-2000:]
        return
    assert done.returncode == 0, said[-2000:]
