"""The whole pipeline: once through, stopped and resumed, with replaced parts."""

import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.cli import QUICK, SHORT, TRAINING, atelier, command, environment


def digests(workspace: Path) -> dict[str, bytes]:
    """Every stored picture of a workspace by name: its bytes."""
    return {p.name: p.read_bytes() for p in (workspace / "results").rglob("*.png")}


def rows(workspace: Path) -> int:
    with sqlite3.connect(workspace / "results" / "results.sqlite") as database:
        return database.execute("SELECT count(*) FROM results").fetchone()[0]


def test_from_a_folder_to_stored_images(paintings: Path, tmp_path: Path) -> None:
    done = atelier("run", "--data", paintings, *QUICK, SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24 images, 2 styles" in done.stderr
    assert "contact sheet" in done.stderr
    workspace = tmp_path / "workspace"
    (run,) = (workspace / "runs").iterdir()
    assert sorted(digests(workspace)) == ["000000.png", "000001.png", "000002.png"]
    assert rows(workspace) == 3
    for path in (workspace / "results").rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (64, 64)
            assert image.mode == "RGB"
    with Image.open(run / "contact-sheet.png") as sheet:
        assert sheet.width > 2 * 64

    shown = atelier("results", "show", "1", cwd=tmp_path)
    assert '"family": "dcgan_wi"' in shown.stdout
    listed = atelier("results", "list", "--last-seed", "1", cwd=tmp_path)
    assert len(listed.stdout.splitlines()) == 2
    by_file = atelier(
        "results", "show", run / ".." / ".." / "results" / run.name / "000001.png", cwd=tmp_path
    )
    assert '"seed": 1' in by_file.stdout

    again = atelier("run", "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert rows(workspace) == 3


def test_the_stages_one_by_one(paintings: Path, tmp_path: Path) -> None:
    data = ("--data", paintings)
    inspected = atelier("inspect", *data, cwd=tmp_path)
    assert inspected.returncode == 0, inspected.stderr
    assert "night" in inspected.stdout
    prepared = atelier("preprocess", *data, "--resolution=16", cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    trained = atelier("train", *data, *TRAINING, SHORT, "--family=wgan_gp", cwd=tmp_path)
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
    shown = atelier("results", "show", tmp_path / "out" / "000009.avif", cwd=tmp_path)
    assert '"seed": 9' in shown.stdout, shown.stderr

    (tmp_path / "broken.png").write_bytes(b"not a picture")
    enlarged = atelier(
        "enhance", paintings, "broken.png", "--enhancer=lanczos", "--output=big", cwd=tmp_path
    )
    assert enlarged.returncode == 0, enlarged.stderr
    assert "broken.png" in enlarged.stderr
    big = list((tmp_path / "big").iterdir())
    assert len(big) == 24
    with Image.open(big[0]) as image:
        assert image.size == (200, 160)


REPLACEMENT = """
import numpy as np
from interfaces.iedt import IEDT
from interfaces.record import EnhancementRecord

class Repeat:
    def enhance(self, batches, settings):
        for batch in batches:
            big = np.repeat(np.repeat(batch.images, settings.scale, 2), settings.scale, 3)
            record = EnhancementRecord(enhancer="repeat", weights_sha256=None,
                                       scale=settings.scale, strength=1.0)
            yield IEDT(images=big, origins=batch.origins, enhancement=record)

class Misfit:
    def enhance(self, batches):
        return []

class Empty:
    pass

make = lambda workspace: Repeat()
misfit = lambda workspace: Misfit()
empty = lambda workspace: Empty()
"""


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
    assert '"enhancer": "repeat"' in atelier("results", "show", "1", cwd=tmp_path).stdout
    (tmp_path / "mine.toml").write_text('[components]\nenhancement = "their_package:make"\n')
    by_toml = atelier("generate", "--count=1", "--preset=mine.toml", cwd=tmp_path)
    assert by_toml.returncode == 0, by_toml.stderr
    assert '"enhancer": "repeat"' in atelier("results", "show", "4", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ("enhancement=their_package:misfit", "does not take (batches, settings)"),
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
    refused = atelier("run", f"--component={replacement}", cwd=tmp_path)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def kill_at_random(arguments: Sequence[str], cwd: Path, times: int) -> int:
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
        time.sleep(rng.uniform(0.3, 7.0))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    return killed


@pytest.mark.parametrize(
    ("times", "total_images"), [(4, 1600), pytest.param(50, 40_000, marks=pytest.mark.slow)]
)
def test_killed_and_resumed_equals_undisturbed(
    paintings: Path, tmp_path: Path, times: int, total_images: int
) -> None:
    arguments = ("run", "--resume", "--data", str(paintings), *QUICK)
    arguments = (*arguments, f"--total-images={total_images}")
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    disturbed.mkdir()
    undisturbed.mkdir()
    assert kill_at_random(arguments, disturbed, times) >= times // 2
    for folder in (disturbed, undisturbed):
        done = atelier(*arguments, cwd=folder, timeout=600)
        assert done.returncode == 0, done.stderr
    wanted = digests(undisturbed / "workspace")
    assert len(wanted) == 3
    assert digests(disturbed / "workspace") == wanted
    assert rows(disturbed / "workspace") == 3
