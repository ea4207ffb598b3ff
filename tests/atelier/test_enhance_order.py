"""Enlargement as an order: a worker that was killed in between keeps nothing twice."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atelier.desk import Desk
from atelier.handlers import EnhanceOrder
from atelier.stages import write_contact_sheet
from atelier.workspace import Workspace
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.iodt import ResultQuery
from interfaces.jobs import Job


class KilledError(Exception):
    """Stands for a kill between keeping a picture and telling the job."""


class Fragile:
    """A job's control that breaks as the first picture is kept."""

    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks
        self.run: str | None = None
        self.noted: list[int] = []

    def began(self, run: str) -> None:
        self.run = run

    def kept(self, result_id: int) -> None:
        if self.breaks:
            raise KilledError
        self.noted.append(result_id)

    def recall(self, result_ids: Any) -> None:
        self.noted += result_ids

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Workspace(tmp_path / "workspace"), {})


def sent(desk: Desk, name: str) -> str:
    stream = io.BytesIO()
    Image.effect_noise((24, 16), 60).save(stream, "PNG")
    return desk.places.uploads.add([stream.getvalue()], name).id


def test_what_was_kept_before_a_kill_is_not_made_again(desk: Desk) -> None:
    uploads = tuple(sent(desk, name) for name in ("one.png", "two.png"))
    order = EnhanceOrder(kind="enhance", uploads=uploads, enhance=IES(enhancer="lanczos", scale=4))
    job = Job(id=1, order=order, state="running", created_at=datetime.now(UTC))
    first = Fragile(breaks=True)
    with pytest.raises(KilledError):
        desk(job, first)
    second = Fragile(breaks=False)
    desk(job.model_copy(update={"run": first.run}), second)
    results = desk.parts.results_store.find(ResultQuery())
    assert sorted(result.path.stem for result in results) == ["one", "two"]
    assert sorted(second.noted) == sorted(result.id for result in results)


def test_a_contact_sheet_takes_pictures_as_large_as_are_made(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = EnhanceOrder(
        kind="enhance",
        uploads=(sent(desk, "one.png"),),
        enhance=IES(enhancer="lanczos", scale=4),
    )
    desk(
        Job(id=1, order=order, state="running", created_at=datetime.now(UTC)),
        Fragile(breaks=False),
    )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own bound; twice as many end it
    write_contact_sheet(desk.parts.results_store.find(ResultQuery()), ICS(), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0
