"""The largest pictures that people have: what inspecting, enlarging and converting them costs.

`python -m benchmarks.large`: a PNG of 100 megapixels in a few kilobytes and a grainy scan of 30
megapixels (JPEG) through each command, in a process of its own: its last line, seconds of the clock
and of the processor, and peak memory.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "pipeline.py")]
COMMANDS = {
    "inspect": "inspect --data {data} --workspace {ws}",
    "enhance ×4": "enhance {data} --scale 4 --output {ws}/enlarged --workspace {ws}",
    "enhance ×1": "enhance {data} --scale 1 --output {ws}/same --workspace {ws}",
    "convert": "convert {data} --format webp --output {ws}/converted --workspace {ws}",
}


def main() -> None:
    """Make both pictures, and give each to every command."""
    with tempfile.TemporaryDirectory() as folder:
        for name, picture in {"100 megapixels, PNG": _flat, "30 megapixels, scan": _scan}.items():
            data = Path(folder) / picture.__name__
            data.mkdir()
            picture(data)
            for command, words in COMMANDS.items():
                typed = words.format(data=data, ws=Path(folder) / "ws").split()
                print(f"{name}: {command}: {run(typed)}", flush=True)


def run(words: list[str]) -> str:
    """Run a command; what it said last, and what it took."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen([*PROGRAM, *words], stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    return (
        f"exit {os.waitstatus_to_exitcode(status)}, {seconds:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time, "
        f"peak {used.ru_maxrss / 1024:.0f} MiB; {last[:120]}"
    )


def _flat(folder: Path) -> None:
    Image.new("RGB", (10_000, 10_000), (120, 60, 30)).save(folder / "flat.png")


def _scan(folder: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    smooth = np.asarray(coarse.resize((6600, 4600), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-12, 13, smooth.shape, np.int16)
    scan = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
    scan.save(folder / "scan.jpg", quality=95)


if __name__ == "__main__":
    main()
