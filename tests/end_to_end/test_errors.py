"""Bad input: one clear line, what was wrong and what to do; exit code not 0, no traceback."""

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from components.common.sameness import hold_the_same
from tests.end_to_end.cli import (
    QUICK,
    SHORT,
    atelier,
    command,
    environment,
    here,
    one_line,
    without_privileges,
)
from tests.end_to_end.test_rework import model_in


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "--count", "0"), "generate.count"),
        (("generate", "--cuont", "3"), "--count"),
        (("genrate",), "generate"),
        (("generate", "--model", "nowhere"), "no model here (model.json is missing)"),
        (("generate", "--model", "nowhere"), "no model here"),
        (("run", "--data", "nowhere", "--enhancer=lanczos"), "nowhere"),
        (("run", "--preset", "nowhere"), "nowhere"),
        (("run", "--learning-rate", "-1"), "learning_rate"),
        (("run", "--family", "nonsense"), "there are dcgan"),
        (("run", "--train.seed", "x"), "train.seed"),
        (("run", "--run", "0007-x", "--resume"), "0007-x"),
        (("train", "--resume"), "no `train` run here to resume"),
        (("run", "--resume"), "no `run` run here to resume"),
        (("inspect", "my-paintings"), "my-paintings: a value goes with a flag"),
        (("run", "--enhancer=lanczos", "--weights=y"), "leave one of them out"),
        (("enhance", "nowhere.png"), "nowhere.png"),
        (("results", "show", "999"), "999"),
        (("results", "show", "nowhere.png"), "nowhere.png"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert message in one_line(here(*arguments, cwd=tmp_path))


def test_an_environment_variable_that_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_GENERATE_CUONT", "3")
    assert "ATELIER_GENERATE_CUONT" in one_line(atelier("generate", cwd=tmp_path))


def test_a_corrupt_model_file(tmp_path: Path) -> None:
    own = tmp_path / "workspace" / "models" / "own"
    weights = model_in(own, "dcgan", generator_channels=4, discriminator_channels=4).weights_path
    weights.write_bytes(weights.read_bytes()[:-100])
    generate = ("generate", "--model=own", "--enhancer=lanczos")
    assert "damaged or exchanged" in one_line(here(*generate, cwd=tmp_path))
    (weights.parent / "model.json").write_text('{"family": "dcgan"}')
    assert "IGME" in one_line(here(*generate, cwd=tmp_path))


@pytest.mark.slow
def test_a_full_disk(paintings: Path, tmp_path: Path) -> None:
    """A file system of 400 kB where root may make one, else a limit on the size of a file."""
    (tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path / "small")]
    is_mounted = shutil.which("mount") and subprocess.run(mount, check=False).returncode == 0
    limit = [] if is_mounted else ["bash", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "-"]
    try:
        arguments = ("run", "--data", paintings, *QUICK, SHORT)
        line = one_line(atelier(*arguments, cwd=tmp_path / "small", prefix=limit))
    finally:
        if is_mounted:
            subprocess.run(["umount", str(tmp_path / "small")], check=True)
    assert "the disk is full; free some space" in line


def test_no_permission_to_write(paintings: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    arguments = ("run", "--data", paintings, *QUICK, SHORT)
    done = atelier(*arguments, cwd=tmp_path, prefix=without_privileges())
    tmp_path.chmod(0o700)
    assert "no permission" in one_line(done)


def test_no_permission_to_read_a_file_of_the_collection(paintings: Path, tmp_path: Path) -> None:
    closed = paintings / "day" / "closed.png"
    closed.write_bytes((paintings / "day" / "0 painting.png").read_bytes())
    closed.chmod(0)
    done = atelier("inspect", "--data", paintings, cwd=tmp_path, prefix=without_privileges())
    assert done.returncode == 0
    assert "day/closed.png: unreadable, cannot be read: Permission denied" in done.stdout


def test_one_bad_file_never_ends_the_others_work(tmp_path: Path) -> None:
    """Whichever step fails: reading, enlarging, encoding, naming."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "z.png", "n" * 246 + ".png"):
        Image.new("RGB", (12, 10), "red").save(folder / name)
    Image.new("RGB", (5000, 4), "red").save(folder / "b, too wide for WebP.png")
    (folder / "c, cut.png").write_bytes((folder / "a.png").read_bytes()[:40])
    command = ("enhance", "in", "--output=out", "--enhancer=lanczos", "--format=webp")
    done = here(*command, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert {path.stem[:5] for path in (tmp_path / "out").iterdir()} == {"a", "z", "nnnnn"}
    assert "too wide" in done.stderr and "cut.png" in done.stderr
    assert "2 of 5 could not be used" in done.stderr


def test_a_result_that_was_damaged_meanwhile_is_made_again(tmp_path: Path) -> None:
    Image.effect_noise((60, 40), 50).save(tmp_path / "a.png")
    command = ("enhance", "a.png", "--output=out", "--enhancer=lanczos")
    assert here(*command, cwd=tmp_path).returncode == 0
    made = tmp_path / "out" / "a.png"
    whole = made.read_bytes()
    made.write_bytes(whole[: len(whole) * 3 // 5])  # its record stands before the pixels
    done = here(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert hold_the_same(made.read_bytes(), whole)
    assert len(list(made.parent.iterdir())) == 1


@pytest.mark.parametrize(
    "surroundings",
    [
        pytest.param({"PYTHONIOENCODING": "cp1252"}, marks=pytest.mark.slow),
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        pytest.param({"COLUMNS": "0"}, marks=pytest.mark.slow),
        {"COLUMNS": "-3"},
        {"TERM": "dumb"},
    ],
)
def test_a_command_works_on_any_console(surroundings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "d" / "a.png")
    (tmp_path / "d" / "їжак\x1b[31m.png").write_text("no picture")
    done = subprocess.run(
        command("inspect", "--data", "d"),
        cwd=tmp_path,
        env=environment() | surroundings,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr and b"\x1b" not in done.stdout + done.stderr


def test_help_is_printed_however_narrow_the_console(tmp_path: Path) -> None:
    done = subprocess.run(
        command("inspect", "--help"),
        env=environment() | {"COLUMNS": "0"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"--data" in done.stdout
