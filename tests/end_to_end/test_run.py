"""The whole pipeline: once through, stopped and resumed, with replaced parts."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from components.common.checkpoints import load_state
from components.common.credentials.reading import read_credentials
from tests.end_to_end.cli import QUICK, SHORT, TRAINING, atelier, command, environment, here


def digests(workspace: Path) -> dict[str, tuple[bytes, str]]:
    """Every stored picture of a workspace by name: its pixels and its metadata.

    Its signature is another in every file.
    """
    return {p.name: _held(p) for p in (workspace / "results").rglob("*.png")}


def _held(path: Path) -> tuple[bytes, str]:
    with Image.open(path) as image:
        return image.tobytes(), image.info["XML:com.adobe.xmp"]


def rows(workspace: Path) -> int:
    with sqlite3.connect(workspace / "results" / "results.sqlite") as database:
        return database.execute("SELECT count(*) FROM results").fetchone()[0]


def test_from_a_folder_to_stored_images(paintings: Path, tmp_path: Path) -> None:
    measured = [flag for flag in QUICK if flag != "--measure-images=0"]
    measured += ["--measure-count=64", "--measure-features=embedded"]
    done = atelier("run", "--data", paintings, *measured, SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24 images, 2 styles" in done.stderr
    assert "contact sheet" in done.stderr
    assert "look at the samples" in done.stderr  # how good the model is, as after `train`
    workspace = tmp_path / "workspace"
    (run,) = (workspace / "runs").iterdir()
    assert sorted(digests(workspace)) == ["000000.png", "000001.png", "000002.png"]
    assert rows(workspace) == 3
    for path in (workspace / "results").rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (64, 64)
            assert image.mode == "RGB"
    credentials = read_credentials((run / "contact-sheet.png").read_bytes(), "image/png")
    assert credentials is not None
    assert credentials.is_intact
    with Image.open(run / "contact-sheet.png") as sheet:
        assert sheet.width > 2 * 64
    model = json.loads((run / "training" / "model" / "model.json").read_text())
    assert model["measurements"]

    shown = here("results", "show", "--json", "1", cwd=tmp_path)
    assert '"family": "dcgan_wi"' in shown.stdout
    listed = here("results", "list", "--last-seed", "1", cwd=tmp_path)
    assert len(listed.stdout.splitlines()) == 1 + 2
    by_file = here(
        "results",
        "show",
        "--json",
        run / ".." / ".." / "results" / run.name / "000001.png",
        cwd=tmp_path,
    )
    assert '"seed": 1' in by_file.stdout

    again = atelier("run", "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert rows(workspace) == 3


@pytest.mark.slow
def test_the_stages_one_by_one(paintings: Path, tmp_path: Path) -> None:
    data = ("--data", paintings)
    inspected = atelier("inspect", *data, cwd=tmp_path)
    assert inspected.returncode == 0, inspected.stderr
    assert "night" in inspected.stdout
    prepared = atelier("preprocess", *data, "--resolution=16", cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    trained = atelier("train", *data, "--family=wgan_gp", *TRAINING[1:], SHORT, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    longer = atelier("train", "--resume", "--total-images=128", cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr
    refused = atelier("train", "--resume", "--family=dcgan", cwd=tmp_path)
    assert refused.returncode == 1
    assert "train.family was 'wgan_gp', not 'dcgan'" in refused.stderr

    made = atelier(
        "generate", "--seeds=5,9-10", "--scale=1", "--format=webp", "--lossless", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    files = sorted((tmp_path / "workspace" / "results").rglob("*.webp"))
    assert [path.stem for path in files] == ["000005", "000009", "000010"]

    converted = atelier("convert", *files, "--format=avif", "--output=out", cwd=tmp_path)
    assert converted.returncode == 0, converted.stderr
    shown = atelier("results", "show", "--json", tmp_path / "out" / "000009.avif", cwd=tmp_path)
    assert '"seed": 9' in shown.stdout, shown.stderr

    (tmp_path / "broken.png").write_bytes(b"not a picture")
    enlarged = atelier(
        "enhance", paintings, "broken.png", "--enhancer=lanczos", "--output=big", cwd=tmp_path
    )
    assert enlarged.returncode == 3, enlarged.stderr
    assert "broken.png" in enlarged.stderr
    big = list((tmp_path / "big").rglob("*.png"))
    assert len(big) == 24
    with Image.open(big[0]) as image:
        assert image.size == (200, 160)


@pytest.mark.slow
def test_folders_are_enlarged_each_in_its_place_and_once(paintings: Path, tmp_path: Path) -> None:
    (paintings / "day" / "phone.heic").write_bytes(b"not read")
    with Image.open(paintings / "day" / "0 painting.png") as image:
        image.save(paintings / "day" / "0 painting.bmp")
    command = ("enhance", paintings, "--enhancer=lanczos", "--output", paintings / "big")
    made: list[dict[str, int]] = []
    for more in ((), (), ("--format=webp",), ("--scale=16",)):
        done = here(*command, *more, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "phone.heic" in done.stderr and "1 of 26 could not be used" in done.stderr
        files = (path for path in (paintings / "big").rglob("*.*"))
        made.append(
            {p.relative_to(paintings / "big").as_posix(): p.stat().st_mtime_ns for p in files}
        )
    assert len(made[0]) == 25
    assert {"day/0 painting.png", "day/0 painting-2.png", "night/1 painting.png"} <= made[0].keys()
    assert made[1] == made[0]  # nothing was computed again
    assert len(made[2]) == 50  # another format is another picture
    assert len(made[3]) == 75  # and so is another size, beside the first one
    assert made[0].items() <= made[3].items()  # no file was replaced


def test_the_store_keeps_each_of_ones_own_pictures_once(paintings: Path, tmp_path: Path) -> None:
    command = ("enhance", paintings / "day", "--enhancer=lanczos")
    for _ in range(2):
        done = here(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "12 that were there already" in done.stderr
    assert rows(tmp_path / "workspace") == 12


REPLACEMENT = """
import numpy as np
from interfaces.iedt import IEDT
from interfaces.record import EnhancementRecord

class Repeat:
    def planned(self, settings, pixels=None):
        return EnhancementRecord(enhancer="repeat", weights_sha256=None,
                                 scale=settings.scale, strength=1.0)

    def enhance(self, batches, settings, progress, pixels):
        for batch in batches:
            big = np.repeat(np.repeat(batch.images, settings.scale, 2), settings.scale, 3)
            yield IEDT(images=big, origins=batch.origins, enhancement=self.planned(settings))

class Misfit:
    def enhance(self, batches):
        return []

    def planned(self, settings, pixels=None):
        return None

class Empty:
    pass

class Slow(Repeat):
    def enhance(self, batches, settings, progress, pixels):
        import time
        for batch in super().enhance(batches, settings, progress, pixels):
            time.sleep(0.25)
            yield batch

make = lambda workspace: Repeat()
slow = lambda workspace: Slow()
misfit = lambda workspace: Misfit()
empty = lambda workspace: Empty()
"""


@pytest.mark.slow
def test_a_component_is_replaced_by_flag_and_by_toml(paintings: Path, tmp_path: Path) -> None:
    (tmp_path / "their_package.py").write_text(REPLACEMENT)
    by_flag = atelier(
        "run",
        "--data",
        paintings,
        *QUICK,
        SHORT,
        "--component=enhancement=their_package:make",
        cwd=tmp_path,
    )
    assert by_flag.returncode == 0, by_flag.stderr
    assert '"enhancer": "repeat"' in atelier("results", "show", "--json", "1", cwd=tmp_path).stdout
    (tmp_path / "mine.toml").write_text('[components]\nenhancement = "their_package:make"\n')
    by_toml = atelier("generate", "--count=1", "--preset=mine.toml", cwd=tmp_path)
    assert by_toml.returncode == 0, by_toml.stderr
    assert '"enhancer": "repeat"' in atelier("results", "show", "--json", "4", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ("enhancement=their_package:misfit", "does not take (batches, settings, progress, pixels)"),
        ("enhancement=their_package:empty", "has no method enhance()"),
        ("enhancement=their_package:nothing", "cannot be made"),
        ("enhancement=no_such_package:make", "cannot be made"),
        ("enhancment=their_package:make", "unknown; there are training_store"),
        ("enhancement", "name=package:factory"),
    ],
)
def test_a_replacement_that_does_not_fit_is_refused_at_start(
    replacement: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "their_package.py").write_text(REPLACEMENT)
    refused = here("run", f"--component={replacement}", cwd=tmp_path)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_mistyped_component_is_named_before_what_it_would_have_done(tmp_path: Path) -> None:
    given = ("--component=convert=their_package:make", "--format=ppm")
    refused = atelier("generate", *given, cwd=tmp_path)
    assert refused.returncode == 1
    assert "component 'convert': unknown; there are training_store" in refused.stderr


def kill_at_random(arguments: Sequence[str], cwd: Path, times: int, longest: float) -> int:
    """Run, kill -9 at random moments, resume; returns how often a process was really killed."""
    rng = random.Random(times)
    killed = 0
    for _ in range(times):
        process = subprocess.Popen(
            command(*arguments),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.3, longest))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    return killed


def compare_killed_with_undisturbed(
    arguments: Sequence[str], folder: Path, times: int, longest: float, count: int
) -> None:
    disturbed, undisturbed = folder / "disturbed", folder / "undisturbed"
    for name in (disturbed, undisturbed):
        name.mkdir()
        (name / "their_package.py").write_text(REPLACEMENT)
    assert kill_at_random(arguments, disturbed, times, longest) >= times // 2
    for name in (disturbed, undisturbed):
        done = atelier(*arguments, cwd=name, timeout=600)
        assert done.returncode == 0, done.stderr
    wanted = digests(undisturbed / "workspace")
    assert len(wanted) == count
    assert digests(disturbed / "workspace") == wanted
    assert rows(disturbed / "workspace") == count


@pytest.mark.slow
def test_killed_in_training_and_resumed_equals_undisturbed(paintings: Path, tmp_path: Path) -> None:
    arguments = ("run", "--resume", "--data", str(paintings), *QUICK, "--total-images=8000")
    compare_killed_with_undisturbed(arguments, tmp_path, times=8, longest=8.0, count=3)


@pytest.mark.slow
def test_killed_while_images_are_made_equals_undisturbed(paintings: Path, tmp_path: Path) -> None:
    """The enlarger takes a quarter of a second an image, so most kills fall between two."""
    slow = ("--component=enhancement=their_package:slow", "--generate.batch-size=1")
    arguments = ("run", "--resume", "--data", str(paintings), *TRAINING, SHORT, *slow)
    arguments = (*arguments, "--count=30")
    compare_killed_with_undisturbed(arguments, tmp_path, times=8, longest=7.0, count=30)


# ---------------------------------------------------------------- resuming


def start(*arguments: str, cwd: Path, prefix: Sequence[str] = ()) -> "subprocess.Popen[str]":
    whole = [*prefix, *command(*arguments)]
    return subprocess.Popen(whole, cwd=cwd, env=environment(), stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_interrupted_it_says_how_to_go_on(
    paintings: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ("run", "--data", str(paintings), *QUICK, "--total-images=1000000")
    process = start(*arguments, cwd=tmp_path)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("train:"):
            process.send_signal(number)
    assert process.wait() == 130
    assert lines[-1] == "stopped; nothing that was finished is lost; `run --resume` goes on\n"
    (state,) = tmp_path.rglob("state.safetensors")
    assert state.stat().st_size > 1000


@pytest.mark.slow
def test_in_the_background_only_a_request_to_end_ends_it(paintings: Path, tmp_path: Path) -> None:
    """As `nohup` and a shell's `&` start it: hang-up and Ctrl-C are ignored, and stay so."""
    arguments = ("run", "--data", str(paintings), *QUICK, "--total-images=1000000")
    ignoring = ["sh", "-c", 'trap "" HUP INT; exec "$@"', "-"]
    process = start(*arguments, cwd=tmp_path, prefix=ignoring)
    assert process.stderr is not None
    left = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("train:") and left:
            process.send_signal(left.pop(0))
    assert process.wait() == 130 and not left
    assert lines[-1] == "stopped; nothing that was finished is lost; `run --resume` goes on\n"
    (state,) = tmp_path.rglob("state.safetensors")
    assert load_state(state)["images_seen"] > 0


@pytest.mark.slow
def test_a_resumed_run_keeps_its_components_and_takes_a_new_budget(
    paintings: Path, tmp_path: Path
) -> None:
    (tmp_path / "their_package.py").write_text(REPLACEMENT)
    replaced = "--component=enhancement=their_package:make"
    begun = ("run", "--data", paintings, *QUICK, "--total-seconds=0.5", replaced)
    assert atelier(*begun, cwd=tmp_path).returncode == 0
    before = digests(tmp_path / "workspace")
    longer = atelier("run", "--resume", "--total-images=2000", cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr
    (run,) = (tmp_path / "workspace" / "runs").iterdir()
    assert '"images_seen": 2000' in (run / "training" / "model" / "model.json").read_text()
    shown = atelier("results", "show", "--json", "4", cwd=tmp_path)
    assert '"enhancer": "repeat"' in shown.stdout
    # The model is another now, so its pictures are new ones, and the old are kept beside them.
    after = digests(tmp_path / "workspace")
    assert len(after) == 6
    assert before.items() <= after.items()


def test_a_failed_start_leaves_no_run_behind(paintings: Path, tmp_path: Path) -> None:
    for wrong in ("--data=nowhere", "--weights=nowhere.pth", "--style=night", "--resolution=96"):
        data = () if wrong.startswith("--data") else ("--data", paintings)
        plain = () if wrong.startswith("--weights") else ("--enhancer=lanczos",)
        refused = here("run", *data, *TRAINING[:4], *plain, wrong, cwd=tmp_path)
        assert refused.returncode == 1, wrong
    assert not list(tmp_path.glob("workspace/runs/*"))


@pytest.mark.slow
def test_a_number_is_never_given_twice(paintings: Path, tmp_path: Path) -> None:
    arguments = ("run", "--data", paintings, *QUICK, SHORT)
    assert atelier(*arguments, cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "workspace" / "runs")
    assert atelier(*arguments, "--train.seed=9", cwd=tmp_path).returncode == 0
    (run,) = (tmp_path / "workspace" / "runs").iterdir()
    assert run.name.startswith("0002-")
    assert rows(tmp_path / "workspace") == 6


@pytest.mark.slow
def test_generate_goes_on_with_its_own_model_only(paintings: Path, tmp_path: Path) -> None:
    training = ("train", "--data", paintings, *TRAINING, SHORT)
    assert atelier(*training, cwd=tmp_path).returncode == 0
    assert atelier("generate", "--count=2", "--scale=1", cwd=tmp_path).returncode == 0
    shutil.move(tmp_path / "workspace", tmp_path / "moved")
    moved = atelier("generate", "--resume", "--workspace=moved", cwd=tmp_path)
    assert moved.returncode == 0, moved.stderr
    assert (
        atelier(
            "train", "--resume", "--total-images=128", "--workspace=moved", cwd=tmp_path
        ).returncode
        == 0
    )
    other = atelier("generate", "--resume", "--workspace=moved", cwd=tmp_path)
    assert other.returncode == 1
    assert "trained further" in other.stderr


# ---------------------------------------------------------------- files and terminals


def test_no_picture_of_a_person_is_replaced(tmp_path: Path) -> None:
    for place, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / "art" / place).mkdir(parents=True)
        Image.new("RGB", (20, 20), colour).save(tmp_path / "art" / place / "same name.png")
    own = (tmp_path / "art" / "a" / "same name.png").read_bytes()
    plain = ("--enhancer=lanczos",)
    assert here("enhance", "art", "--output=big", *plain, cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "big").iterdir())) == 2
    assert here("enhance", "art", "--output=big", *plain, cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "big").iterdir())) == 2
    assert here("enhance", "art/a", "--output=art/a", *plain, cwd=tmp_path).returncode == 0
    assert (tmp_path / "art" / "a" / "same name.png").read_bytes() == own
    assert len(list((tmp_path / "art" / "a").iterdir())) == 2


def test_a_terminal_is_given_back(paintings: Path, tmp_path: Path) -> None:
    """On a real terminal the bars end full, and the cursor is shown again."""
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command("preprocess", "--data", paintings),
        cwd=tmp_path,
        env={name: value for name, value in environment().items() if name != "NO_COLOR"}
        | {"TERM": "xterm"},
        stderr=child,
    )
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # the end, as Linux says it
        while piece := os.read(parent, 4096):
            shown += piece
    assert process.wait() == 0
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") > 0
    assert b"100%" in shown.rpartition(b"preprocess")[2]
