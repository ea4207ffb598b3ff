"""The wheel in a clean environment, beside a host project with a `settings.py` of its own."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

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
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def build_wheel(folder: Path) -> Path:
    source = folder / "source"  # a copy, so that no earlier build's leftovers get into the wheel
    for name in ("atelier", "components", "interfaces", "settings"):
        shutil.copytree(REPOSITORY / name, source / name)
    for name in ("pipeline.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    run(*build, "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("atelier-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a clean environment with the wheel in it.

    The dependencies are lent by this environment through a path file, which brings packages but
    none of its editable installs; so Atelier itself comes from the wheel alone.
    """
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder)
    venv.create(folder / "clean", symlinks=True)
    scripts = folder / "clean" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / Path(sys.executable).name
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


@pytest.mark.slow
def test_ten_lines_enlarge_a_picture(installed: Path, host: Path) -> None:
    script = "import settings\nassert settings.THEIRS\n" + snippet("README.md", "enlarge")
    script += "import components\nassert 'site-packages' in components.__file__\n"
    (host / "enlarge.py").write_text(script)
    run(installed / "python", "enlarge.py", cwd=host)
    with Image.open(host / "painting-x4.webp") as image:
        assert image.size == (160, 160)
        assert np.asarray(image).std() > 10


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_replacement_proves_itself_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    code = "import atelier\nassert 'site-packages' in atelier.__file__\n"
    code += snippet("docs/adding-a-component.md", "replacement")
    (tmp_path / "your_module.py").write_text(code, encoding="utf-8")
    plugin = ("-m", "pytest", "--pyargs", "atelier.contracts")
    chosen = "--component=enhancement=your_module:create"
    done = run(installed / "python", *plugin, chosen, "-rA", cwd=tmp_path)
    assert "test_few_batches_are_taken_ahead" in done.stdout
    assert " passed" in done.stdout


ENLARGE = """
from pathlib import Path
import numpy as np
from PIL import Image
from components.conversion import read_picture
from components.enhancement import RealESRGANEnhancer
from components.common.images import float_to_pixels
from interfaces.ies import IES

picture = read_picture(Path("painting.png"))
settings = IES(scale=4, weights=Path("compact.safetensors"))
(enlarged,) = RealESRGANEnhancer().enhance([picture], settings)
Image.fromarray(float_to_pixels(enlarged.images)[0]).save("large.png")
assert enlarged.enhancement.enhancer == "compact"
"""


@pytest.mark.slow
def test_a_bare_environment_enlarges_through_real_esrgan(tmp_path: Path, host: Path) -> None:
    """Nothing is lent: the wheel brings all that it needs."""
    wheel = build_wheel(tmp_path)
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    constraints = ("--quiet", "--constraint", REPOSITORY / "constraints.txt")
    run(python, "-m", "pip", "install", *constraints, wheel, cwd=tmp_path)
    _save_compact_weights(host / "compact.safetensors")
    (host / "enlarge.py").write_text(ENLARGE)
    run(python, "enlarge.py", cwd=host)
    with Image.open(host / "large.png") as image:
        assert image.size == (160, 160)


def _save_compact_weights(path: Path) -> None:
    """A small SRVGGNetCompact, ×4, by its published names and shapes; seeded."""
    rng = torch.Generator().manual_seed(0)
    shapes = {"body.0": (16, 3), "body.2": (16, 16), "body.4": (48, 16)}
    weights = {}
    for name, (outputs, inputs) in shapes.items():
        weights[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=rng) * 0.05
        weights[f"{name}.bias"] = torch.zeros(outputs)
    for name in ("body.1", "body.3"):
        weights[f"{name}.weight"] = torch.full((16,), 0.25)
    save_file(weights, path)
