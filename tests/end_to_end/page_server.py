"""The page over a worker that paints in no time, as processes of their own.

python -m tests.end_to_end.page_server worker WORKSPACE
python -m tests.end_to_end.page_server serve WORKSPACE PORT
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from PIL import Image

from atelier.handlers import (
    ORDERS,
    EnhanceOrder,
    GenerateOrder,
    InspectOrder,
    InterpolateOrder,
    TrainOrder,
)
from atelier.jobs import AnnouncedStore, WorkerKeeper, run_worker
from atelier.jobs import create as create_queue
from components.results_store import create as create_store
from interfaces.igme import IGME
from interfaces.iodt import ResultQuery
from interfaces.jobs import Control, Job
from interfaces.offers import Catalogue, ModelOffer
from interfaces.progress import ProgressEvent
from tests.atelier.jobs.fake_painter import ENVIRONMENT, make_backend
from tests.helpers import digest, make_iodt

COMMAND = [sys.executable, "-m", "tests.end_to_end.page_server"]

_MODEL = ModelOffer(
    id=digest("model")[:16],
    name="0001-dcgan-test",
    family="dcgan",
    description="a painter for the tests",
    resolution=16,
    styles=("dots", "waves"),
    style_counts=(10, 10),
    is_conditional=True,
    takes=(),
    needs=(),
    dataset_name="test",
    images_seen=1000,
    digest=digest("model"),
    is_default=True,
)
_DRAWING = {
    "id": digest("drawing")[:16],
    "digest": digest("drawing"),
    "name": "0002-sketch",
    "family": "sketch_diffusion",
    "takes": ("sketch",),
    "is_default": False,
}


_REPAINTING = {
    "id": digest("repainting")[:16],
    "digest": digest("repainting"),
    "name": "0003-repainter",
    "family": "stable_diffusion",
    "takes": ("mask", "prompt", "source"),
    "needs": ("source",),
    "is_default": False,
}


_changed: dict[str, dict[str, object]] = {}
_gone: set[str] = set()


class Offers:
    """The catalogue with models that need no weights."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def model(self, model_id: str) -> IGME:
        """The project's own stand in for those without weights."""
        return self._catalogue.model(self._catalogue.models()[0].id)

    def rename_model(self, model_id: str, title: str) -> None:
        _changed.setdefault(model_id, {})["title"] = title

    def set_default_model(self, model_id: str | None) -> None:
        for one in self.models():
            _changed.setdefault(one.id, {})["is_default"] = one.id == (model_id or _MODEL.id)

    def delete_model(self, model_id: str) -> None:
        _gone.add(model_id)

    def restore_model(self, model_id: str) -> None:
        _gone.discard(model_id)

    def models(self) -> list[ModelOffer]:
        return [one for one in self._every() if one.id not in _gone]

    def deleted_models(self) -> list[ModelOffer]:
        return [one for one in self._every() if one.id in _gone]

    def _every(self) -> list[ModelOffer]:
        others = (_MODEL.model_copy(update=update) for update in (_DRAWING, _REPAINTING))
        every = [*others, _MODEL]  # the default stands last, as the project's own does
        return [one.model_copy(update=_changed.get(one.id)) for one in every]

    def __getattr__(self, name: str) -> object:
        return getattr(self._catalogue, name)


class Painter:
    """Carries out every kind of order, as slowly as the file `pace.txt` says."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace

    def __call__(self, job: Job, control: Control) -> None:
        if isinstance(job.order, GenerateOrder):
            choice = job.order.choices.generate
            self._paint(job, control, choice.chosen_seeds)
        elif isinstance(job.order, InterpolateOrder):
            self._paint(job, control, (500 + job.order.frames,))
        elif isinstance(job.order, EnhanceOrder):
            self._paint(job, control, (900,))
        elif isinstance(job.order, InspectOrder):
            control.conclude(
                {"lines": ["embedded: 10 images to learn from", "  put aside  2 files"]}
            )
        elif isinstance(job.order, TrainOrder):
            self._train(job, control)

    def _paint(self, job: Job, control: Control, seeds: tuple[int, ...]) -> None:
        store = AnnouncedStore(create_store(self.workspace), control)
        run = job.run or f"{job.id:04d}-painted"
        control.began(run)
        kept = {
            result.record.origin.seed
            for result in store.find(ResultQuery(run=run, limit=1000))
            if result.record.origin.kind == "generated"
        }
        for done, seed in enumerate(seeds):
            control.report(ProgressEvent(stage="make images", done=done, total=len(seeds)))
            if seed not in kept:
                time.sleep(self._pace())
                store.keep(make_iodt(seed), run)

    def _pace(self) -> float:
        """Seconds for a picture, as the test wishes at this moment."""
        path = self.workspace / "pace.txt"
        return float(path.read_text()) if path.exists() else 0.02

    def _train(self, job: Job, control: Control) -> None:
        run = job.run or f"{job.id:04d}-training"
        control.began(run)
        folder = self.workspace / "runs" / run / "training"
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        rows = ["images_seen,seconds,discriminator_loss,generator_loss,real_score,fake_score"]
        for step in range(1, 2000):
            rows.append(f"{step * 64},{step},{5 / step},{1 + step / 50},{2 - 1 / step},{1 / step}")
            (folder / "curves.csv").write_text("\n".join(rows) + "\n")
            if step % 10 == 1:
                Image.new("RGB", (64, 64), (step % 256, 90, 120)).save(
                    folder / "samples" / f"{step * 64:09d}.png"
                )
                seen = {"images_seen": step * 64, "seconds": step, "saw": "over-fitting"}
                seen["did"] = "back to 0 images"
                (folder / "guardian.jsonl").write_text(json.dumps(seen) + "\n")
            control.report(
                ProgressEvent(stage="train", done=step, total=2000, note=f"loss {5 / step:.3f}")
            )
            time.sleep(0.1)


def main(what: str, place: str, port: str = "0") -> None:
    workspace = Path(place)
    if what == "worker":
        queue, lane = create_queue(workspace, ORDERS), "long" if port == "long" else "quick"
        run_worker(queue, Painter(workspace), sys.stdin.buffer, lane)
        return
    from atelier.server import Safety, create_app, serve
    from components.ui import mount_page

    backend = make_backend(workspace)
    app = create_app(
        replace(backend, catalogue=Offers(backend.catalogue), may_name_paths=True), Safety()
    )
    mount_page(app)
    queue, log = create_queue(workspace, ORDERS), workspace / "worker.log"
    quick, long = (
        WorkerKeeper(queue, [*COMMAND, "worker", place, lane], log, ENVIRONMENT)
        for lane in ("quick", "long")
    )
    with quick, long:
        serve(app, "127.0.0.1", int(port), lambda address: print(address, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
