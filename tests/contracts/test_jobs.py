"""Orders hold no path, and a job says what it is."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import atelier.jobs as jobs
import components.results_store as results_store
from atelier.handlers import ORDERS, TrainOrder
from atelier.workspace import Workspace
from interfaces.igs import INPUT_FILES
from interfaces.iodt import ResultsGallery, ResultsStore
from interfaces.jobs import Control, Job, JobQueue
from interfaces.offers import Catalogue, Uploads

ORDER = ORDERS
MODEL, UPLOAD = "0123456789abcdef", "0123456789abcdef" * 2

TRAIN = {"kind": "train", "collection": "embedded"}

GOOD: list[dict[str, Any]] = [
    {"kind": "generate", "model": MODEL},
    {"kind": "generate", "model": MODEL, "sketch": UPLOAD, "choices": {"generate": {"count": 3}}},
    {"kind": "generate", "model": MODEL, "source": UPLOAD, "mask": UPLOAD},
    {"kind": "generate", "model": MODEL, "choices": {"generate": {"seeds": "0-9,40"}}},
    {"kind": "interpolate", "model": MODEL, "between": "3,7"},
    {"kind": "enhance", "uploads": [UPLOAD], "enhance": {"scale": 16}},
    {"kind": "enhance", "results": [1, 2]},
    {"kind": "inspect", "collection": "embedded", "collect": {"min_side_pixels": 20}},
    {"kind": "train", "collection": UPLOAD, "start_from": "none"},
    {"kind": "train", "collection": MODEL, "settings": {"train": {"total_images": 5}}},
]


@pytest.mark.parametrize("name", INPUT_FILES)
def test_no_file_of_igs_is_named_by_its_path(name: str) -> None:
    named = [{name: "/etc/passwd"}, {"source": "/etc/passwd", name: "/etc/passwd"}]
    for order in (GOOD[0], GOOD[4]):
        for table in named:
            with pytest.raises(ValidationError):
                ORDER.validate_python(order | {"choices": {"generate": table}})


@pytest.mark.parametrize("order", GOOD)
def test_an_order_travels_as_json(order: dict[str, Any]) -> None:
    read = ORDER.validate_python(order)
    assert ORDER.validate_json(ORDER.dump_json(read)) == read
    assert read.kind == order["kind"]


@pytest.mark.parametrize(
    "order,what",
    [
        ({"kind": "generate", "model": "/etc"}, "model"),
        ({"kind": "generate", "model": "../../../../etc/"}, "model"),
        ({"kind": "generate", "model": MODEL + "\n"}, "model"),
        ({"kind": "generate", "model": MODEL, "sketch": "a.png"}, "sketch"),
        (GOOD[0] | {"choices": {"generate": {"sketch": "/etc/passwd"}}}, "uploads"),
        (GOOD[0] | {"choices": {"generate": {"source": "/etc/passwd"}}}, "uploads"),
        (GOOD[0] | {"choices": {"enhance": {"weights": "/etc/passwd"}}}, "path"),
        (GOOD[0] | {"choices": {"generate": {"skip": 1}}}, "skip"),
        (GOOD[0] | {"choices": {"generate": {"seeds": "0-10000"}}}, "at most 10000"),
        (GOOD[0] | {"mask": UPLOAD}, "source"),
        ({"kind": "interpolate", "model": MODEL, "between": "3"}, "2 to 32 seeds"),
        ({"kind": "enhance"}, "name the pictures"),
        ({"kind": "enhance", "uploads": [UPLOAD], "enhance": {"weights": "a"}}, "path"),
        ({"kind": "enhance", "uploads": ["../a"]}, "uploads"),
        ({"kind": "inspect", "collection": "/etc"}, "collection"),
        ({"kind": "inspect", "collection": "embedded", "collect": {"data": "/etc"}}, "paths"),
        (
            {"kind": "train", "collection": "embedded", "settings": {"collect": {"data": "/"}}},
            "is a path",
        ),
        (
            {"kind": "train", "collection": "embedded", "settings": {"train": {"start_from": "/"}}},
            "is a path",
        ),
        (TRAIN | {"start_from": "/models"}, "start_from"),
        (TRAIN | {"settings": {"enhance": {}}}, "settings"),
        ({"kind": "format the disk"}, "kind"),
        ({}, "kind"),
    ],
)
def test_an_order_that_names_a_path_or_nonsense_is_refused(
    order: dict[str, Any], what: str
) -> None:
    with pytest.raises(ValidationError, match=what):
        ORDER.validate_python(order)


@given(st.text(st.sampled_from("./\\~:0af\n "), min_size=1, max_size=40))
def test_no_text_that_could_be_a_path_is_an_id(text: str) -> None:
    hexadecimal = set(text) <= set("0123456789abcdef")
    for order in (
        {"kind": "generate", "model": text},
        {"kind": "enhance", "uploads": [text]},
        {"kind": "inspect", "collection": text},
    ):
        if not (hexadecimal and len(text) in (16, 32)):
            with pytest.raises(ValidationError):
                ORDER.validate_python(order)


def test_the_json_of_a_job_says_its_kind() -> None:
    order = TrainOrder(kind="train", collection="embedded")
    job = Job(id=1, order=order, state="waiting", created_at=datetime.now(UTC))
    assert job.model_dump(mode="json")["kind"] == "train"


def test_ours_have_every_method_of_their_ports(tmp_path: Path) -> None:
    queue = jobs.create(tmp_path, ORDERS)
    uploads = jobs.LocalUploads(tmp_path / "uploads")
    assert isinstance(queue, JobQueue)
    assert isinstance(uploads, Uploads)
    assert isinstance(jobs.WorkspaceCatalogue(Workspace(tmp_path), uploads), Catalogue)
    store = results_store.create(tmp_path)
    assert isinstance(store, ResultsGallery) and isinstance(store, ResultsStore)
    assert not isinstance(queue, Control)
