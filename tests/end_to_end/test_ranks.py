"""Training by several processes of `torchrun`: one that dies ends the rest, and it goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from components.common.checkpoints import load_state, load_weights
from interfaces.igme import IGME
from tests.end_to_end.cli import TRAINING, atelier, environment
from tests.helpers import REPOSITORY

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
PLAIN = (*TRAINING, "--guardian=off", "--held-out-fraction=0")


def start(folder: Path, ranks: int, *arguments: str) -> "subprocess.Popen[str]":
    pipeline = str(REPOSITORY / "pipeline.py")
    return subprocess.Popen(
        [*TORCHRUN, f"--nproc-per-node={ranks}", "--", pipeline, "train", *arguments],
        cwd=folder,
        env=environment() | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(folder: Path, ranks: int, *arguments: str) -> str:
    process = start(folder, ranks, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model = IGME.open(folder / "training/model")
    return load_weights(model.weights_path, model.weights_sha256)


def children(process_id: int) -> Sequence[int]:
    path = Path(f"/proc/{process_id}/task/{process_id}/children")
    return [int(child) for child in path.read_text().split()]


def rank_of(process_id: int) -> int | None:
    words = Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0")
    found = [word for word in words if word.startswith(b"RANK=")]
    return int(found[0][5:]) if found else None


@pytest.mark.slow
def test_two_ranks_stopped_and_resumed_give_the_weights_of_two_ranks_straight(
    tmp_path: Path, paintings: Path
) -> None:
    output = finished(tmp_path, 2, *PLAIN, f"--data={paintings}", "--total-images=128")
    assert output.count("model:") == 1  # rank 0 alone speaks
    finished(tmp_path, 2, *PLAIN, f"--data={paintings}", "--total-images=64")
    finished(tmp_path, 2, "--resume", "--run=0002", "--total-images=128")
    runs = tmp_path / "workspace/runs"
    straight, resumed = (weights(runs / f"000{n}-dcgan_wi-{paintings.name}") for n in (1, 2))
    for name, tensor in straight.items():
        assert torch.equal(tensor, resumed[name]), name

    # One process gives the same but for rounding, and goes on from what two have left.
    words = (*PLAIN, f"--data={paintings}", "--total-images=128")
    assert atelier("train", *words, cwd=tmp_path).returncode == 0
    alone = weights(runs / f"0003-dcgan_wi-{paintings.name}")
    for name, tensor in straight.items():
        torch.testing.assert_close(alone[name], tensor, rtol=0, atol=2e-3)
    done = atelier("train", "--resume", "--run=0002", "--total-images=192", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


THREADS_AFTER_WORK = """
import pathlib, torch
from components.training import with_ranks

def threads():
    names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
    return sum("gloo" in name for name in names)

def work():
    torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])  # imports much of torch.distributed
    return threads()

print(with_ranks(work), threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_no_thread_of_the_ranks_outlives_their_work() -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS_AFTER_WORK],
        cwd=REPOSITORY,
        env=environment() | address,
        capture_output=True,
        text=True,
        check=True,
    )
    during, after = map(int, done.stdout.split())
    assert during > 0
    assert after == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_rest_in_seconds_and_the_run_goes_on(
    tmp_path: Path, paintings: Path, victim: int
) -> None:
    process = start(tmp_path, 2, *PLAIN, f"--data={paintings}", "--total-images=10000000")
    states = tmp_path / f"workspace/runs/0001-dcgan_wi-{paintings.name}/training"
    until(lambda: (states / "state.previous.safetensors").exists(), 200)
    ranks = {rank_of(child): child for child in children(process.pid)}
    os.kill(ranks[victim], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)  # seconds, but for a busy machine's own
    assert process.returncode != 0
    assert not any(Path(f"/proc/{child}").exists() for child in ranks.values())
    assert output.count("error: rank 0: another process of this training has ended") == victim
    assert "error: rank 1" not in output
    seen = load_state(states / "state.safetensors")["images_seen"]
    finished(tmp_path, 2, "--resume", f"--total-images={seen + 64}")
    assert IGME.open(states / "model").images_seen == seen + 64


def until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.mark.slow
def test_what_cannot_be_shared_out_is_refused_in_one_line(tmp_path: Path, paintings: Path) -> None:
    process = start(tmp_path, 3, *PLAIN, f"--data={paintings}", "--total-images=64")
    output, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "error: batch_size 8 over 3 ranks" in output
