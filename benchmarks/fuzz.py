"""Damaged pictures of fourteen formats through inspection, enlargement and conversion.

`python -m benchmarks.fuzz [280]`: so many files, made of small good ones by changing, cutting,
repeating or removing bytes. None may crash a command, hang it or take much memory; each is either
taken or named with a reason. It prints how many of each format were taken by each command.
"""

import io
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = {
    "png": ("RGB", {}), "apng": ("RGBA", {"save_all": True}), "jpg": ("RGB", {}),
    "webp": ("RGBA", {"lossless": True}), "avif": ("RGB", {}), "gif": ("P", {}),
    "tif": ("RGB", {"compression": "tiff_lzw"}), "bmp": ("RGB", {}), "jp2": ("RGB", {}),
    "ppm": ("RGB", {}), "qoi": ("RGB", {}), "ico": ("RGBA", {}), "pcx": ("RGB", {}),
    "sgi": ("RGB", {}),
}  # fmt: skip
PILLOW = {"apng": "PNG", "jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}
PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "pipeline.py")]
COMMANDS = {
    "inspect": "inspect --data {data} --workspace {ws}",
    "enhance": "enhance {data} --enhancer lanczos --output {ws}/enlarged --workspace {ws}",
    "convert": "convert {data} --output {ws}/converted --workspace {ws}",
}


def main(number: int, seed: int = 0) -> None:
    """Make so many damaged files, and give them to each command at once."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        data, ws = Path(folder) / "data" / "style", Path(folder) / "ws"
        data.mkdir(parents=True)
        for place in range(number):
            suffix = list(FORMATS)[place % len(FORMATS)]
            name = f"{place:05}.{'png' if suffix == 'apng' else suffix}"
            (data / name).write_bytes(damaged(good(suffix), rng))
        Image.effect_noise((48, 48), 90).save(data / "good.png")
        for command, words in COMMANDS.items():
            print(f"{command}: {run(command, words.format(data=data.parent, ws=ws), number)}")


def run(command: str, words: str, number: int) -> str:
    """Run a command over all; it must end well, and name what it did not take."""
    began = time.monotonic()
    done = subprocess.run(
        [*PROGRAM, *words.split()], capture_output=True, text=True, errors="replace",
        timeout=60 + number,
    )  # fmt: skip
    seconds = time.monotonic() - began
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said[-3000:]
    assert done.returncode in (0, 3), (done.returncode, said[-2000:])
    named = Counter(re.findall(r"style/(?:[^\s:]*)\.(\w+): ", said))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return (
        f"exit {done.returncode}, {sum(named.values())} of {number} named ({dict(named)}), "
        f"{seconds:.0f} s, peak memory {peak:.0f} MiB"
    )


def good(suffix: str) -> bytes:
    """A small picture of that format."""
    mode, options = FORMATS[suffix]
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).convert(mode)
    if suffix == "apng":
        options = options | {"append_images": [image.rotate(90)]}
    stream = io.BytesIO()
    image.save(stream, PILLOW.get(suffix, suffix.upper()), **options)
    return stream.getvalue()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change, cut, repeat or remove some of the bytes; most often near the beginning."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        place = min(int(rng.expovariate(1 / 60)), len(changed) - 1)
        if rng.random() < 0.3:
            place = rng.randrange(len(changed))
        kind = rng.randrange(6)
        if kind == 0:
            changed[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 1:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[place : place + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
        elif kind == 3 and len(changed) > 40:
            del changed[place : place + rng.randrange(1, 30)]
        elif kind == 4:
            changed[place:place] = changed[place : place + rng.randrange(1, 200)]
        elif rng.random() < 0.3 and len(changed) > 40:
            del changed[rng.randrange(20, len(changed)) :]
    return bytes(changed)


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["280"])[0]))
