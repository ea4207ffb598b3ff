"""Full disks: one line says so, what is there is whole, and with room the work is finished.

`python -m benchmarks.full_disks [10] [run generate enhance convert adopt]`, as root on Linux: so
many times, in turn over these, a command writes to a disk (tmpfs) of a random share of the size it
needs. Then the disk grows, the command is given again, and its results must be equal to the byte
to undisturbed ones, without a temporary file left.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kills import COMMANDS, Work, check_whole, litter, made, make_inputs


def main(number: int, kinds: list[str], seed: int = 0) -> None:
    """Fill so many disks, in turn over these kinds of work."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder) / "inputs")
        works = {kind: Work(kind, Path(folder), Path(folder) / "inputs") for kind in kinds}
        for work in works.values():
            work.measure()
        for trial in range(number):
            kind = kinds[trial % len(kinds)]
            needed = _size(Path(folder) / f"{kind}-whole")
            room = max(4096, int(rng.uniform(0.02, 0.98) * needed))
            said = fill(works[kind], Path(folder) / f"{kind}-full", room)
            print(f"{trial + 1}/{number} {kind} with {room / needed:.0%} of its room: {said}")


def fill(work: Work, place: Path, room: int) -> str:
    """Do the work where there is too little room, then where there is enough."""
    with _disk(place, room):
        process = work.begin(place)
        said, _ = process.communicate(timeout=600)
        assert "Traceback" not in said, said[-3000:]
        num_whole = check_whole(place)
        subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
        work.wait(work.begin(place), place)
        assert made(place) == work.whole, made(place).items() ^ work.whole.items()
        assert not litter(place), litter(place)
        last = said.strip().splitlines()[-1][:110] if said.strip() else ""
        return f"exit {process.returncode}, {num_whole} files whole; then equal. {last}"


@contextmanager
def _disk(place: Path, size: int) -> Generator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def _size(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


if __name__ == "__main__":
    if os.name != "posix" or os.geteuid() != 0:
        sys.exit("full_disks: mounts small disks, which only root can")
    main(int((sys.argv[1:] or ["10"])[0]), sys.argv[2:] or list(COMMANDS))
