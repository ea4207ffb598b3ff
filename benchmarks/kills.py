"""Random kills: what was finished is whole, what is resumed comes out equal, nothing is left over.

`python -m benchmarks.kills [12] [run generate enhance convert adopt worker server]`: so many kills,
in turn over these. Each is done once undisturbed; then it is killed (SIGKILL, its whole group) at a
random moment after its first file and begun again until it ends. Every file met after a kill must
be whole, results and models must be equal to the byte to the undisturbed ones, and no temporary
file may be left. Nothing is signed: a signature holds the time.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import requests
import torch
from PIL import Image

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "pipeline.py")]
TRAINING = (
    "run --from none --family dcgan --preprocess.resolution 16 --total-images 1024 "
    "--checkpoint-seconds 0.05 --measure-images 0 --guardian off --scale 1 --count 6 "
    "--enhancer lanczos --workspace {place}/ws --data {inputs}/pictures"
)
GENERATION = (
    "generate --model shipped --seed 5 --count 12 --scale 1 --enhancer lanczos "
    "--workspace {place}/ws"
)
COMMANDS: dict[str, str] = {
    "run": TRAINING,
    "generate": GENERATION,
    "enhance": (
        "enhance {inputs}/pictures --enhancer lanczos --output {place}/out --workspace {place}/ws"
    ),
    "convert": "convert {inputs}/pictures --format webp --workspace {place}/ws",
    "adopt": "adopt {inputs}/there.pth {inputs}/back.pth --name turned --workspace {place}/ws",
}
KINDS = (*COMMANDS, "worker", "server")
_NEVER_EQUAL = ("model.json", "manifest.sig.json")
"""Files of a model that hold a time, or a signature over a fresh random number."""


def main(number: int, kinds: list[str], seed: int = 0) -> None:
    """Kill so many times, in turn over these kinds, and print what was found."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs"
        make_inputs(inputs)
        works = {kind: _work(kind, Path(folder), inputs) for kind in kinds}
        for kind, work in works.items():
            work.measure()
            print(f"{kind}: undisturbed {work.seconds:.1f} s, {len(work.whole)} files", flush=True)
        for trial in range(number):
            kind = kinds[trial % len(kinds)]
            print(f"{trial + 1}/{number} {kind}: {works[kind].disturb(rng)}", flush=True)
        for kind, work in works.items():
            print(f"{kind}: {work.num_killed} killed, {work.num_midway} of them midway", flush=True)


def make_inputs(folder: Path) -> None:
    """Twelve pictures, and the two generators of a small CycleGAN as its authors save them."""
    from tests.components.families.test_cyclegan import TheirGenerator

    (folder / "pictures").mkdir(parents=True)
    noise = torch.randint(0, 256, (12, 40, 40, 3), generator=torch.Generator().manual_seed(0))
    for place, pixels in enumerate(noise.to(torch.uint8).numpy()):
        Image.fromarray(pixels).save(folder / "pictures" / f"{place:02}.png")
    for name in ("there", "back"):
        torch.save(TheirGenerator(4, 6).state_dict(), folder / f"{name}.pth")


class Work:
    """A command, done undisturbed and then killed and begun again."""

    def __init__(self, kind: str, folder: Path, inputs: Path) -> None:
        self.kind, self.folder, self.inputs = kind, folder, inputs
        self.seconds = 0.0
        """Between the first file and the end, undisturbed."""
        self.whole: dict[str, str] = {}
        self.num_killed = self.num_midway = 0

    def measure(self) -> None:
        """Do it undisturbed."""
        place = self.folder / f"{self.kind}-whole"
        process = self.begin(place)
        wait_for_a_file(process, place)
        began = time.monotonic()
        self.wait(process, place)
        self.seconds = time.monotonic() - began
        self.whole = made(place)
        assert self.whole, f"{self.kind} made nothing"

    def disturb(self, rng: random.Random) -> str:
        """Kill it at a random moment, and begin it again until it ends."""
        place = self.folder / f"{self.kind}-killed"
        after = rng.uniform(0.0, 1.0) * self.seconds
        process = self.begin(place)
        wait_for_a_file(process, place)
        time.sleep(after)
        self.num_killed += process.poll() is None
        self.kill(process)
        num_whole = check_whole(place)
        left = len(litter(place))
        self.num_midway += 0 < len(made(place)) < len(self.whole)
        self.wait(self.begin(place), place)
        found = made(place)
        assert found == self.whole, f"{self.kind}: differs: {found.items() ^ self.whole.items()}"
        self.settle(place)
        assert not litter(place), f"{self.kind}: left over: {litter(place)}"
        shutil.rmtree(place)
        return (
            f"killed after {after:.1f} s; {num_whole} files whole, {left} temporary; equal, swept"
        )

    def begin(self, place: Path) -> "subprocess.Popen[str]":
        """Start it, or go on with it."""
        command = COMMANDS[self.kind]
        if any(place.glob("ws/runs/*/run.json")):
            command = f"{self.kind} --resume --workspace {{place}}/ws"
        return start(command.format(place=place, inputs=self.inputs).split())

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """Kill its process group."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def wait(self, process: "subprocess.Popen[str]", place: Path) -> None:
        """Wait for its end, which must be a good one."""
        said, _ = process.communicate(timeout=600)
        is_there = self.kind == "adopt" and "is here already" in said
        assert process.returncode == 0 or is_there, f"{self.kind}: {said[-1000:]}"

    def settle(self, place: Path) -> None:
        """The next start, where ending it was not one."""


class ServedWork(Work):
    """A job of the page's server; what is killed is its worker, or the server itself."""

    def begin(self, place: Path) -> "subprocess.Popen[str]":
        """Start the server, and order the pictures where that was not done yet."""
        process = start(["ui", "--port", "0", "--workspace", str(place / "ws")])
        assert process.stdout is not None
        address = _address(process.stdout)
        models = requests.get(f"{address}/api/models", timeout=60).json()
        model = next(one["id"] for one in models if one["family"] == "r3gan")
        choices = {
            "generate": {"count": 12},
            "enhance": {"scale": 1, "enhancer": "lanczos"},
            "convert": {"sign": False},
        }
        order = {"kind": "generate", "model": model, "choices": choices}
        headers = {"Idempotency-Key": "once"}
        answer = requests.post(f"{address}/api/jobs", json=order, headers=headers, timeout=60)
        assert answer.status_code == 201, answer.text
        self._job = f"{address}/api/jobs/{answer.json()['id']}"
        return process

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """Kill the server with SIGKILL, or its worker, which the server starts again."""
        if self.kind == "worker":
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").parent.parent
            for task in children.glob("*/children"):
                for child in task.read_text().split():
                    os.kill(int(child), signal.SIGKILL)
        else:
            process.kill()
        time.sleep(0.5)
        if self.kind == "worker":
            end(process)
        process.wait(60)

    def wait(self, process: "subprocess.Popen[str]", place: Path) -> None:
        """Wait for the job, then end the server."""
        while (state := requests.get(self._job, timeout=60).json())["state"] != "done":
            assert state["state"] in ("waiting", "running"), state
            time.sleep(0.2)
        assert state["num_results"] == 12, state
        end(process)

    def settle(self, place: Path) -> None:
        """Start the server once more, and end it."""
        process = start(["ui", "--port", "0", "--workspace", str(place / "ws")])
        assert process.stdout is not None
        _address(process.stdout)
        end(process)


def _work(kind: str, folder: Path, inputs: Path) -> Work:
    return (Work if kind in COMMANDS else ServedWork)(kind, folder, inputs)


def start(words: list[str]) -> "subprocess.Popen[str]":
    """The program as a process group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *words],
        env=os.environ | {"ATELIER_CONVERT_SIGN": "false"},  # no two signatures are equal
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[str]") -> None:
    """End a server as Ctrl-C does."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)


def _address(output: IO[str]) -> str:
    for line in output:
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise AssertionError("the server did not start")


def wait_for_a_file(process: "subprocess.Popen[str]", place: Path) -> None:
    """Wait until it has written something, or ended."""
    while process.poll() is None and not any(path.is_file() for path in place.rglob("*")):
        time.sleep(0.01)


def litter(place: Path) -> list[Path]:
    """Temporary files."""
    return [path for path in place.rglob(".*") if ".partial" in path.name]


def made(place: Path) -> dict[str, str]:
    """Digests of what the work was done for: pictures, and models' files."""
    patterns = ("ws/results/*/*.*", "out/**/*.*", "ws/models/*/*", "ws/runs/*/training/model/*.s*")
    paths = {path for pattern in patterns for path in place.glob(pattern)}
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.is_file() and not path.name.startswith(".") and path.name not in _NEVER_EQUAL
    }


def check_whole(place: Path) -> int:
    """Read every file that has its final name to the end; their number."""
    checks: dict[str, Callable[[Path], object]] = {
        ".json": lambda path: json.loads(path.read_text()),
        ".png": _decode,
        ".webp": _decode,
        ".safetensors": _load,
    }
    paths = [path for path in place.rglob("*") if path.is_file() and path.name[0] != "."]
    for path in paths:
        if path.suffix in checks:
            checks[path.suffix](path)
    return len(paths)


def _decode(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _load(path: Path) -> None:
    from safetensors.torch import load_file

    load_file(path)


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["12"])[0]), sys.argv[2:] or list(KINDS))
