"""Pictures to 256 in one process, by a plain pool, and over Ray with workers and machines killed.

`python -m benchmarks.over_ray 400`: the shipped model, enlarged by the embedded network, encoded
without signatures (which differ each time). Two workers, one thread each; three are killed on the
way. Then two machines with a worker each, of which one is killed half way: a second raylet on this
machine, ended by SIGKILL. Times begin with everything loaded, and what loading took is printed
beside them.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "RAY_worker_niceness": "0"}

from atelier.assembly import assemble
from atelier.ray import REPLACEMENTS
from components.common.shipped import SHIPPED_MODELS
from interfaces.components import Components
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS

WORKERS = 2
KILLS = 3
_AT_ONCE = 8


@dataclass(frozen=True)
class Made:
    """One way's files, and its seconds: to start and load, then for all the pictures."""

    digests: list[str]
    start: float
    seconds: float


def main(number: str) -> None:
    """Make this many pictures each way."""
    count = int(number)
    print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    alone = _timed(lambda seeds: _files(assemble(Path("unused")), seeds), count)
    _say("one process", alone, alone)
    import ray

    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    parts = assemble(Path("unused"), REPLACEMENTS)
    killed: set[int] = set()
    quarter = count // (KILLS + 1)
    at = range(quarter, quarter * (KILLS + 1), quarter)
    killing = _timed(
        lambda seeds: _killing(_files(parts, seeds), at, partial(_kill, killed)), count
    )
    assert len(killed) == KILLS
    _say(f"Ray, {KILLS} workers killed", killing, alone)
    _say("Ray", _timed(lambda seeds: _files(parts, seeds), count), alone)
    ray.shutdown()
    _say("Ray, 1 of 2 machines killed", _with_a_machine_lost(count), alone)
    with get_context("spawn").Pool(WORKERS) as pool:
        _say("a plain pool", _timed(lambda seeds: _pooled(pool.imap, seeds), count), alone)


def _timed(make: Callable[[range], Iterator[str]], count: int) -> Made:
    begun = time.perf_counter()
    list(make(range(WORKERS * _AT_ONCE)))
    start = time.perf_counter() - begun
    begun = time.perf_counter()
    digests = list(make(range(count)))
    return Made(digests, start, time.perf_counter() - begun)


def _files(parts: Components, seeds: range) -> Iterator[str]:
    """Make files from seeds; yields their digests."""
    model = IGME.open(SHIPPED_MODELS["shipped"])
    # A picture's place in the request is in its record, so a part of one begins with a skip.
    wanted = IGS(count=seeds.stop, skip=seeds.start, batch_size=4 * _AT_ONCE)
    generated = parts.generation.generate(model, wanted)
    enlarged = parts.enhancement.enhance(generated, IES(enhancer="embedded", route="float32"))
    for image in parts.conversion.convert(enlarged, ICS(sign=False)):
        yield image.sha256


def _pooled(imap: Callable[..., Iterator[list[str]]], seeds: range) -> Iterator[str]:
    parts = [seeds[start : start + _AT_ONCE] for start in range(0, len(seeds), _AT_ONCE)]
    for digests in imap(_in_a_pool, parts):
        yield from digests


_PARTS: list[Components] = []


def _in_a_pool(seeds: range) -> list[str]:
    if not _PARTS:
        _PARTS.append(assemble(Path("unused")))
    return list(_files(_PARTS[0], seeds))


def _with_a_machine_lost(count: int) -> Made:
    """Over two machines, of which one is killed after half of the pictures."""
    import ray
    from ray.cluster_utils import Cluster

    # Not a real second machine: its raylet has its own workers and memory, and the same processors.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=WORKERS - 1)
    ray.init(address=cluster.address, log_to_driver=False)
    here = ray.get_runtime_context().get_node_id()  # either of them, which must live on
    (other,) = (node for node in cluster.list_all_nodes() if node.node_id != here)
    parts = assemble(Path("unused"), REPLACEMENTS)
    (raylet,) = (info.process for info in other.all_processes["raylet"])
    lost = _timed(lambda seeds: _killing(_files(parts, seeds), [count // 2], raylet.kill), count)
    assert raylet.wait() == -signal.SIGKILL
    ray.shutdown()
    cluster.shutdown()
    return lost


def _killing(digests: Iterator[str], at: Sequence[int], kill: Callable[[], None]) -> Iterator[str]:
    """The digests; something is killed after each of these numbers of them."""
    for number, digest in enumerate(digests, 1):
        if number in at:
            kill()
        yield digest


def _kill(killed: set[int]) -> None:
    """Kill a worker that was not killed before."""
    pid = max(_workers() - killed)
    os.kill(pid, signal.SIGKILL)
    killed.add(pid)


def _workers() -> set[int]:
    lines = {path.parent.name: path for path in Path("/proc").glob("[0-9]*/cmdline")}
    return {int(pid) for pid, path in lines.items() if b"ray::Worker" in _read(path)}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def _say(name: str, made: Made, alone: Made) -> None:
    same = sum(a == b for a, b in zip(made.digests, alone.digests, strict=True))
    print(
        f"{name:<27} start {made.start:6.1f} s, then {len(made.digests)} pictures in "
        f"{made.seconds:6.1f} s, {alone.seconds / made.seconds:.2f} times as fast; "
        f"{same} files equal",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
