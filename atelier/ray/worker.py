"""Worker of the cluster, which does one piece of work after another and loads models once."""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import ray

from components import conversion, enhancement, generation
from components.common.credentials.places import credential_files
from components.common.durable import assembling, publish, sweep, write_bytes
from interfaces.cache import cache_root
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT, Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import Converter
from interfaces.progress import Progress, ProgressEvent

_log = logging.getLogger("atelier")

_SECONDS_BETWEEN_REPORTS = 0.2


@dataclass(frozen=True)
class Shop:
    """A worker's own components, which keep their networks from one piece of work to the next."""

    generator: ImageGenerator = field(default_factory=lambda: generation.create(Path()))
    enhancer: Enhancer = field(default_factory=lambda: enhancement.create(Path()))
    converter: Converter = field(default_factory=lambda: conversion.create(Path()))


class Work(Protocol):
    """A piece of work: sent to a worker, and sent again where that worker is lost."""

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        """Do it => messages as bytes, in order. The same work has the same answer."""
        ...


@dataclass(frozen=True)
class Generating:
    """Some of a request's pictures, by their seeds."""

    model: bytes
    """IGME."""
    files: "ray.ObjectRef[dict[str, bytes]] | None"
    """The model's files by name, for a machine that does not have its folder."""
    settings: bytes
    """IGS, whose seeds are those of these pictures alone."""
    threads: int
    """Threads that the machine in front computes with: a picture's last bits depend on them."""

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        """Make the pictures => IGDT."""
        _compute_with(self.threads)
        model = at_hand(IGME.from_bytes(self.model), self.files)
        batches = shop.generator.generate(model, IGS.from_bytes(self.settings), progress)
        return [batch.to_bytes() for batch in batches]


@dataclass(frozen=True)
class Enlarging:
    """Some pictures of a batch, to be enlarged as the machine in front would."""

    batch: bytes
    """IGDT."""
    settings: bytes
    """IES."""
    pixels: int | None
    """Input pixels of the whole request."""
    measured: Mapping[str, str]
    """Measurements of the machine in front: `components.common.remembering.answers`."""
    threads: int
    """Threads, as for generating."""

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        """Enlarge the pictures => IEDT."""
        from components.common.remembering import take_over  # it brings torch

        _compute_with(self.threads)
        take_over(self.measured)
        batches, settings = [IGDT.from_bytes(self.batch)], IES.from_bytes(self.settings)
        enlarged = shop.enhancer.enhance(batches, settings, progress, self.pixels)
        return [batch.to_bytes() for batch in enlarged]


def _compute_with(threads: int) -> None:
    """Let torch compute with this many threads, of which Ray grants one for each processor."""
    import torch

    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Encoding:
    """Some pictures of a batch, to be encoded and signed."""

    batch: bytes
    """IEDT."""
    settings: bytes
    """ICS."""
    certificate: str | None
    """Fingerprint of the certificate that is to sign; None where nothing signs."""

    def carry_out(self, shop: Shop, progress: Progress) -> list[bytes]:
        """Encode the pictures => one IODT each. Never makes a certificate."""
        if self.certificate is not None:
            _check_certificate(self.certificate)
        images = shop.converter.convert(
            [IEDT.from_bytes(self.batch)], ICS.from_bytes(self.settings)
        )
        return [image.to_bytes() for image in images]


def _check_certificate(wanted: str) -> None:
    from components.common.credentials.identity import fingerprint, open_identity

    files = credential_files()
    if fingerprint(open_identity(files).certificate) != wanted:
        raise RefusedError(
            f"{os.uname().nodename}: signs with another certificate than the machine that asks; "
            "copy that one's there (`credentials export`, `credentials import`), or leave "
            "signatures out (--no-sign)"
        )


def at_hand(model: IGME, files: "ray.ObjectRef[dict[str, bytes]] | None") -> IGME:
    """The model in a folder of this machine: its own where that is here, else a copy in the cache.

    The copy is made by the first worker of a machine and stays for the next ones.
    """
    if model.directory.is_dir() or files is None:
        return model
    models = cache_root() / "models"
    target = models / f"{model.digest[:16]}-{model.weights_sha256[:8]}"
    if not target.is_dir():
        sweep(models, is_ours=True)
        with assembling(models) as made:
            _unpack(ray.get(files), made / "model", target)
    return model.model_copy(update={"directory": target})


def _unpack(files: Mapping[str, bytes], folder: Path, target: Path) -> None:
    for name, data in files.items():
        write_bytes(folder / name, data)
    try:
        publish(folder, target)
    except OSError:
        if not target.is_dir():  # else another worker of this machine was quicker
            raise


@dataclass(frozen=True)
class LogLine:
    """Line that a component logged."""

    level: int
    text: str


Said = ProgressEvent | LogLine | list[bytes]
"""Messages that come back from a worker: reports, and last the answer."""


class Worker:
    """An actor: does one piece of work at a time."""

    def __init__(self) -> None:
        self._shop = Shop()
        self._thread = ThreadPoolExecutor(max_workers=1)

    def ready(self) -> None:
        """Answer, once the process is up."""

    def carry_out(self, work: Work, environment: Mapping[str, str]) -> Iterator[Said]:
        """Do the work, telling how it goes; the last item is the answer.

        Raises what the work raises. `environment` holds the variables of the machine in front that
        say where things lie.
        """
        os.environ.update(environment)
        said: SimpleQueue[Said | None] = SimpleQueue()
        with _overheard(said.put):
            answer: Future[list[bytes]] = self._thread.submit(
                work.carry_out, self._shop, _seldom(said.put)
            )
            answer.add_done_callback(lambda _: said.put(None))
            while (one := said.get()) is not None:
                yield one
        yield answer.result()


@contextmanager
def _overheard(tell: Callable[[Said], None]) -> Generator[None]:
    """Meanwhile, what components log is told."""
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: tell(LogLine(record.levelno, record.getMessage()))
    _log.setLevel(logging.INFO)
    _log.addHandler(handler)
    try:
        yield
    finally:
        _log.removeHandler(handler)


def _seldom(tell: Callable[[Said], None]) -> Progress:
    """Passes on a few reports a second: each crosses the network."""
    told = 0.0

    def progress(event: ProgressEvent) -> None:
        nonlocal told
        if (now := time.monotonic()) - told >= _SECONDS_BETWEEN_REPORTS:
            told = now
            tell(event)

    return progress


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of a model's folder by name."""
    paths: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
