"""A worker and a server for the tests: real processes, and pictures that cost nothing.

python -m tests.atelier.jobs.fake_painter worker WORKSPACE
python -m tests.atelier.jobs.fake_painter serve WORKSPACE
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import settings
from atelier.handlers import ORDERS, GenerateOrder, InspectOrder, Places, TrainOrder
from atelier.handlers.train import TrainHandler
from atelier.jobs import (
    AnnouncedStore,
    LocalUploads,
    WorkerKeeper,
    WorkspaceCatalogue,
    run_worker,
)
from atelier.jobs import create as create_queue
from atelier.workspace import Workspace
from components.results_store import create as create_store
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.iodt import IODT, ResultQuery, StoredResult
from interfaces.jobs import Control, Job
from interfaces.orders import Lane
from interfaces.progress import ProgressEvent
from tests.helpers import REPOSITORY, make_iodt

if TYPE_CHECKING:
    from atelier.server import Backend

COMMAND = [sys.executable, "-m", "tests.atelier.jobs.fake_painter"]
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY)}


class Painter:
    """Carries out a job as the pipeline would; its order's options say how it misbehaves."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace

    def __call__(self, job: Job, control: Control) -> None:
        with (self.workspace / "began.txt").open("a") as log:
            log.write(f"{job.id} {os.getpid()}\n")
        if isinstance(job.order, GenerateOrder):
            self._paint(job, job.order, control)
        elif isinstance(job.order, TrainOrder):
            self._train(job, control)
        elif isinstance(job.order, InspectOrder):
            control.say(f"looked at {self.workspace}/embedded")
            control.conclude({"lines": ["10 images"], "odd": float("nan")})

    def _paint(self, job: Job, order: GenerateOrder, control: Control) -> None:
        store = AnnouncedStore(create_store(self.workspace), control)
        run = job.run or f"{job.id:04d}-fake"
        control.began(run)
        seeds, options = order.choices.generate.chosen_seeds, order.choices.generate.options
        kept = {r.record.origin.seed for r in store.find(ResultQuery(run=run, limit=1000))}  # type: ignore[union-attr]
        for done, seed in enumerate(seeds):
            control.report(ProgressEvent(stage="make images", done=done, total=len(seeds)))
            if seed in kept:
                continue
            if seed == options.get("die at"):
                os.kill(os.getpid(), signal.SIGKILL)
            if seed == options.get("fail at"):
                raise AtelierError(f"{self.workspace}/models: \n gone")
            if seed == options.get("break at"):
                raise ValueError("secret")
            if seed == options.get("hang at"):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
                time.sleep(3600)
            time.sleep(options.get("seconds", 0.0))
            store.keep(make_iodt(seed), run)

    def _train(self, job: Job, control: Control) -> None:
        """Holds an interrupt back until its state is saved, as the training loop does."""
        control.began(f"{job.id:04d}-training")
        interrupts: list[int] = []
        previous = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
        try:
            while not interrupts:
                control.report(ProgressEvent(stage="train", done=1, total=100))
                time.sleep(0.02)
            (self.workspace / f"state-{job.id}.txt").write_text(f"saved {len(interrupts)}")
        finally:
            signal.signal(signal.SIGINT, previous)
        raise KeyboardInterrupt


def convert(result: StoredResult, wanted: ICS) -> IODT:
    """A result in another format, as far as the server can tell."""
    image = make_iodt(result.record.origin.seed)  # type: ignore[union-attr]
    return image.model_copy(update={"media_type": f"image/{wanted.format}"})


def make_backend(workspace: Path) -> "Backend":
    from atelier.gallery import Shelf
    from atelier.server import Backend, Thumbnails  # a worker is not to wait for it

    uploads = LocalUploads(workspace / "uploads")
    catalogue = WorkspaceCatalogue(Workspace(workspace), uploads)
    store = create_store(workspace)
    return Backend(
        workspace=workspace,
        queue=create_queue(workspace, ORDERS),
        store=store,
        shelf=Shelf(workspace / "shelf.sqlite", store),
        catalogue=catalogue,
        uploads=uploads,
        thumbnails=Thumbnails(workspace / "thumbnails"),
        check=lambda order: None,
        settings_of_training=partial(
            TrainHandler().settings, places=Places(Workspace(workspace), uploads, catalogue)
        ),
        convert=convert,
        enhancers=("auto", "lanczos"),
        absent_enhancers=lambda: ("lanczos",),
        presets={name: settings.load_preset(name) for name in settings.preset_names()},
    )


def keeper(workspace: Path, lane: Lane = "quick") -> WorkerKeeper:
    return WorkerKeeper(
        create_queue(workspace, ORDERS),
        [*COMMAND, "worker", str(workspace), lane],
        workspace / "worker.log",
        ENVIRONMENT,
    )


def main(what: str, place: str, lane: str = "quick") -> None:
    workspace = Path(place)
    if what == "worker":
        of = "long" if lane == "long" else "quick"
        run_worker(create_queue(workspace, ORDERS), Painter(workspace), sys.stdin.buffer, of)
    else:
        from atelier.server import Safety, create_app, serve

        app = create_app(make_backend(workspace), Safety())
        with keeper(workspace):
            serve(app, "127.0.0.1", 0, lambda address: print(address, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
