"""`results doctor` on a store whose index is lost, as a person who lost it meets it.

`python -m benchmarks.doctor [1000] [50000]`: for each number, a store of that many pictures of
64×64 in runs of 100, of which 3 % are deleted, 1 % edited and 0.5 % foreign. The index is removed;
what the doctor says is compared with what was done, and timed with the journal and without.
"""

import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from components.conversion import create as create_converter
from components.conversion import read_facts
from components.results_store import create, report_lines
from components.results_store.names import DATABASE, JOURNAL
from interfaces.ics import ICS
from interfaces.iodt import IODT, RebuildReport, ResultQuery
from tests.helpers import make_iedt

_BATCH = 100


def main(numbers: list[int]) -> None:
    """Measure stores of these sizes."""
    for number in numbers or (1000, 50_000):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), number)


def measure(workspace: Path, number: int) -> None:
    """Damage a store, let the doctor mend it, and compare."""
    results = workspace / "results"
    fill(results, number)
    examine(workspace, "from the files alone, without a journal")
    deleted, edited, foreign = damage(results)
    (results / DATABASE).unlink()
    report = examine(workspace, f"{number} results, with the journal")
    assert {found.place for found in report.lost} == deleted
    assert {found.place for found in report.edited} == edited
    assert {found.place for found in report.strangers} == foreign
    unrestorable = len(report.lost) + len(report.without_record)
    assert report.num_listed == len(report.restored) == number - unrestorable
    for line in report_lines(report):
        if not line.startswith("  "):
            print(f"  {line}")
    examine(workspace, "again, with the index")
    began = time.perf_counter()
    page = create(workspace).page(ResultQuery())
    print(f"  first page of {len(page.results)}: {1000 * (time.perf_counter() - began):.0f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    journal = (results / JOURNAL).stat().st_size / 2**20
    print(f"  journal {journal:.1f} MiB; peak memory of the process {peak:.0f} MiB", flush=True)


def examine(workspace: Path, what: str) -> RebuildReport:
    """Run the doctor, timed."""
    began, worked = time.perf_counter(), time.process_time()
    report = create(workspace).rebuild(read_facts)
    wall, processor = time.perf_counter() - began, time.process_time() - worked
    print(f"{what}: {wall:.1f} s ({processor:.1f} s of processor time)", flush=True)
    return report


def fill(results: Path, number: int) -> None:
    """Write the files where the store puts them."""
    for image in pictures(number):
        seed = image.record.origin.seed if image.record.origin.kind == "generated" else 0
        path = results / f"{seed // 100:04d}-run" / f"{seed:06d}{image.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data)


def pictures(number: int) -> Iterator[IODT]:
    """Encoded pictures, each with its record."""
    batches = (make_iedt(_BATCH, 64, seed) for seed in range(0, number, _BATCH))
    return create_converter(Path()).convert(batches, ICS(format="webp"))


def damage(results: Path) -> tuple[set[str], set[str], set[str]]:
    """Delete 3 %, edit 1 % and add 0.5 % => places of each."""
    files = sorted(results.glob("*/*.webp"))
    chosen = random.Random(0).sample(files, len(files) * 4 // 100)
    num_edited = len(files) // 100
    for place, path in enumerate(chosen):
        if place >= num_edited:
            path.unlink()
        elif place % 2:
            path.write_bytes(path.read_bytes() + b"\0")
        else:
            Image.new("RGB", (64, 64)).save(path)
    foreign = [files[0].parent / f"holiday {n}.webp" for n in range(len(files) // 200)]
    whole = next(path for path in files if path not in chosen)
    for place, path in enumerate(foreign):
        if place % 2:
            shutil.copy(whole, path)
        else:
            Image.new("RGB", (64, 64)).save(path)
    groups = chosen[num_edited:], chosen[:num_edited], foreign
    deleted, edited, added = (
        {path.relative_to(results).as_posix() for path in group} for group in groups
    )
    return deleted, edited, added


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]])
