"""The wheel in a clean environment, beside a host project with a `settings.py` of its own."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.cli import environment
from tests.end_to_end.test_documents import painting, snippet
from tests.helpers import REPOSITORY


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a clean environment with the wheel in it.

    The dependencies are lent by this environment through a path file, which brings packages but
    none of its editable installs; so Atelier itself comes from the wheel alone.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that no earlier build's leftovers get into the wheel
    for name in ("components", "interfaces", "settings"):
        shutil.copytree(REPOSITORY / name, source / name)
    for name in ("pipeline.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    run(*build, "--wheel-dir", folder, source, cwd=folder)
    venv.create(folder / "clean", symlinks=True)
    scripts = folder / "clean" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / Path(sys.executable).name
    (wheel,) = folder.glob("atelier-*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd=folder)
    (site,) = (folder / "clean").rglob("site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return scripts


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A project of somebody else's, with its own `settings.py`."""
    (tmp_path / "settings.py").write_text("THEIRS = True\n")
    painting(tmp_path / "painting.png")
    (tmp_path / "art").mkdir()
    painting(tmp_path / "art" / "one.png")
    return tmp_path


def test_ten_lines_enlarge_a_picture(installed: Path, host: Path) -> None:
    script = "import settings\nassert settings.THEIRS\n" + snippet("README.md", "enlarge")
    script += "import components\nassert 'site-packages' in components.__file__\n"
    (host / "enlarge.py").write_text(script)
    run(installed / "python", "enlarge.py", cwd=host)
    with Image.open(host / "painting-x4.webp") as image:
        assert image.size == (160, 160)
        assert np.asarray(image).std() > 10


def test_the_command_works_beside_their_settings(installed: Path, host: Path) -> None:
    assert "enhance" in run(installed / "atelier", "--help", cwd=host).stdout
    run(
        installed / "atelier",
        "enhance",
        "painting.png",
        "--enhancer=lanczos",
        "--output=big",
        cwd=host,
    )
    with Image.open(host / "big" / "painting.png") as image:
        assert image.size == (160, 160)
    listed = run(
        installed / "atelier", "inspect", "--preset", "papers/dcgan", "--data", "art", cwd=host
    )
    assert "1 image" in listed.stdout


def test_importing_the_pipeline_beside_their_settings_says_what_is_wrong(
    installed: Path, host: Path
) -> None:
    (host / "theirs.py").write_text("import pipeline\n")
    done = subprocess.run(
        [str(installed / "python"), "theirs.py"],
        cwd=host,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "hides Atelier's own `settings`" in done.stderr
