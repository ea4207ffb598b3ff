"""Many processes that take jobs from one queue: `python -m benchmarks.job_queue 8 1000`.

Each takes a job, finishes it and takes the next, without working on it, until nobody waits: the
most that the queue's database can give out. Every job must be taken once.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from atelier.handlers import ORDERS
from atelier.handlers.generate import GenerateOrder
from atelier.jobs import create
from interfaces.ui import Choices


def main(num_takers: str, num_jobs: str) -> None:
    """Measure, and see that no job was taken twice or left."""
    with tempfile.TemporaryDirectory() as folder:
        queue = create(Path(folder), ORDERS)
        order = GenerateOrder(kind="generate", model="0" * 16, choices=Choices())
        for _ in range(int(num_jobs)):
            queue.submit(order)
        print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
        command = [sys.executable, "-m", __spec__.name, "take", folder]
        takers = [
            subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for number in range(int(num_takers))
        ]
        for taker in takers:
            assert taker.stdout is not None
            taker.stdout.readline()  # it is ready
        began = time.perf_counter()
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.write(b"go\n")
            taker.stdin.flush()
        said = [taker.communicate()[0].decode().split() for taker in takers]
        seconds = time.perf_counter() - began
        taken = Counter(number for numbers in said for number in numbers)
        assert len(taken) == int(num_jobs), "a job was left"
        assert set(taken.values()) == {1}, "a job was taken twice"
        print(
            f"{num_takers} processes took and finished {num_jobs} jobs, each once, in "
            f"{seconds:.1f} s: {int(num_jobs) / seconds:.0f} a second"
        )


def _take(folder: str, worker: str) -> None:
    """Take jobs: say when ready, begin when told to, print the numbers of the jobs taken."""
    queue = create(Path(folder), ORDERS)
    print("ready", flush=True)
    sys.stdin.readline()
    while (job := queue.take(int(worker) + 1)) is not None:
        queue.finish(job.id, None)
        print(job.id)


if __name__ == "__main__":
    if sys.argv[1] == "take":
        _take(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
