"""The order `evaluate`: figures of a model's pictures, or of those of a collection."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import atelier
from atelier.desk import Desk
from atelier.experiments.evaluation import Evaluation
from atelier.handlers import EvaluateOrder, TrainOrder
from atelier.workspace import Workspace
from interfaces.errors import NotFoundError, RefusedError
from interfaces.jobs import Job
from interfaces.measurement import EvaluationSettings
from interfaces.orders import Order
from tests.end_to_end.test_experiments import paint

TRAINING: Any = {
    "preprocess": {"resolution": 16},
    "train": {
        "family": "dcgan",
        "total_images": 16,
        "measure_images": 0,
        "options": {"batch_size": 8, "generator_channels": 8, "discriminator_channels": 8},
    },
}


class Told:
    """A job's control that only remembers what was said, and how the job ended."""

    def __init__(self) -> None:
        self.outcome: dict[str, Any] = {}

    def conclude(self, outcome: dict[str, Any]) -> None:
        self.outcome = outcome

    def is_to_conclude(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def done(desk: Desk, order: Order) -> dict[str, Any]:
    desk.check(order)
    control = Told()
    desk(Job(id=1, order=order, state="running", created_at=datetime.now(UTC)), control)
    return control.outcome


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    art = paint(tmp_path / "art", ("day", "night"), count=32, seed=0)
    return Desk(Workspace(tmp_path / "workspace"), {}, [art])


@pytest.mark.slow
def test_the_order_measures_a_model_as_the_function_of_python_does(desk: Desk) -> None:
    training = TrainOrder(kind="train", collection="embedded", start_from="none", settings=TRAINING)
    trained = done(desk, training)
    order = EvaluateOrder(
        kind="evaluate",
        collection="embedded",
        model=trained["model"],
        evaluate=EvaluationSettings(count=64, against="all"),
    )
    outcome = done(desk, order)
    model = desk.places.catalogue.model(trained["model"])
    root = desk.places.workspace.root
    found = atelier.evaluate(str(model.directory), workspace=root, count=64, against="all")
    assert Evaluation.model_validate(outcome["evaluation"]) == found.evaluation
    assert outcome["lines"] == found.lines()


def test_pictures_that_are_there_are_measured_without_a_model(desk: Desk) -> None:
    _, art = desk.places.catalogue.collections()
    order = EvaluateOrder(kind="evaluate", collection=art.id, generated=art.id, resolution=16)
    found = Evaluation.model_validate(done(desk, order)["evaluation"])
    distance = found.figures.find("frechet")
    assert distance is not None and distance.value == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "either model or generated"),
        ({"model": "0" * 16, "generated": "embedded"}, "either model or generated"),
        ({"model": "0" * 16, "resolution": 64}, "a model's pictures have its own"),
        (
            {
                "generated": "embedded",
                "evaluate": {"features": "inception", "inception_weights": "/etc/passwd"},
            },
            "orders hold none",
        ),
    ],
)
def test_an_order_names_one_thing_and_no_path(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        EvaluateOrder(kind="evaluate", collection="embedded", **fields)


def test_what_cannot_be_measured_is_refused_before_it_waits(desk: Desk) -> None:
    with pytest.raises(NotFoundError):
        desk.check(EvaluateOrder(kind="evaluate", collection="embedded", model="0" * 16))
    with pytest.raises(NotFoundError):
        desk.check(EvaluateOrder(kind="evaluate", collection="embedded", generated="0" * 16))
    needless = EvaluationSettings(count=64)
    order = EvaluateOrder(
        kind="evaluate", collection="embedded", generated="embedded", evaluate=needless
    )
    with pytest.raises(RefusedError, match=r"evaluate\.count: all pictures of --generated"):
        desk.check(order)
