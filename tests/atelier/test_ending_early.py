"""A training that a person ends early, and what becomes of its model."""

import signal
from pathlib import Path

import pytest
from pydantic import JsonValue

from atelier.desk import Desk
from atelier.handlers import ORDERS
from atelier.jobs import create as create_queue
from atelier.workspace import Workspace
from interfaces.jobs import Job
from interfaces.progress import ProgressEvent
from tests.components.families.test_every_family import TINY
from tests.end_to_end.test_experiments import paint

pytestmark = pytest.mark.usefixtures("blank_charts")


class _Ended:
    """The port `interfaces.jobs.Control` of a person who ends the training at its first step."""

    def __init__(self, *, is_kept: bool) -> None:
        self.outcome: dict[str, JsonValue] = {}
        self._is_kept = is_kept
        self._num_interrupts = 0

    def report(self, event: ProgressEvent) -> None:
        if event.stage == "train" and event.done and not self._num_interrupts:
            self._num_interrupts += 1
            signal.raise_signal(signal.SIGINT)  # as the worker does

    def is_to_conclude(self) -> bool:
        return self._is_kept

    def began(self, run: str) -> None: ...
    def kept(self, result_id: int) -> None: ...
    def recall(self, result_ids: object) -> None: ...
    def say(self, line: str) -> None: ...
    def warn(self, line: str) -> None: ...

    def conclude(self, outcome: dict[str, JsonValue]) -> None:
        self.outcome = outcome


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    art = paint(tmp_path / "art", ("day", "night"), count=24, seed=0)
    return Desk(Workspace(tmp_path / "workspace"), {}, [art])


@pytest.fixture
def job(desk: Desk) -> Job:
    _, art = desk.places.catalogue.collections()
    training = {
        "family": "vae",
        "total_images": 10_000_000,
        "measure_images": 0,
        "guardian": "off",
        "options": TINY["vae"],
    }
    settings = {"preprocess": {"resolution": 16}, "train": training}
    order = {"kind": "train", "collection": art.id, "settings": settings}
    return create_queue(desk.places.workspace.root, ORDERS).submit(ORDERS.validate_python(order))


def test_its_model_is_kept_where_the_person_wished_so(desk: Desk, job: Job) -> None:
    ended = _Ended(is_kept=True)
    desk(job, ended)
    (offer,) = (one for one in desk.places.catalogue.models() if one.id == ended.outcome["model"])
    assert 0 < offer.images_seen < 10_000


def test_without_that_wish_it_is_broken_off(desk: Desk, job: Job) -> None:
    ended = _Ended(is_kept=False)
    before = desk.places.catalogue.models()
    with pytest.raises(KeyboardInterrupt):
        desk(job, ended)
    assert desk.places.catalogue.models() == before
