"""Enlargement as an order: nothing is made twice, and a bad picture does not cost the others."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atelier.desk import Desk
from atelier.handlers import EnhanceOrder, ReplayOrder, VerifyOrder
from atelier.stages import write_contact_sheet
from atelier.workspace import Workspace
from interfaces.errors import AtelierError, RefusedError
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
        self.warned: list[str] = []

    def warn(self, line: str) -> None:
        self.warned.append(line)

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


def noise(file_format: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((24, 16), 60).save(stream, file_format)
    return stream.getvalue()


def sent(desk: Desk, name: str, data: bytes | None = None) -> str:
    return desk.places.uploads.add([noise("PNG") if data is None else data], name).id


def sent_cut(desk: Desk) -> str:
    """A JPEG whose header says nothing of what is missing behind it."""
    whole = noise("JPEG")
    return sent(desk, "cut.jpg", whole[: -len(whole) // 4])


def job_of(desk: Desk, *uploads: str) -> Job:
    order = EnhanceOrder(kind="enhance", uploads=uploads, enhance=IES(enhancer="lanczos", scale=4))
    desk.check(order)
    return Job(id=1, order=order, state="running", created_at=datetime.now(UTC))


def kept(desk: Desk) -> list[str]:
    """What the results were made from, in the order of keeping."""
    results = desk.parts.results_store.find(ResultQuery())
    origins = [one.record.origin for one in sorted(results, key=lambda one: one.id)]
    return [origin.name for origin in origins if origin.kind == "file"]


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


def test_a_bad_picture_is_named_and_the_others_are_made(desk: Desk) -> None:
    gone = sent(desk, "gone.png")
    job = job_of(desk, sent(desk, "one.png"), sent_cut(desk), gone, sent(desk, "two.png"))
    desk.places.uploads.remove(gone)
    control = Fragile(breaks=False)
    desk(job, control)
    assert kept(desk) == ["one.png", "two.png"]
    cut, lost, total = control.warned
    assert cut.startswith("cut.jpg: damaged")
    assert lost == f"upload {gone!r}: there is none"
    assert total == "2 of 4 could not be used; see above"


def test_a_resumed_order_goes_by_the_places_that_are_done(desk: Desk) -> None:
    twice = sent(desk, "twice.png")
    job = job_of(desk, sent_cut(desk), twice, sent(desk, "one.png"), twice)
    first = Fragile(breaks=True)
    with pytest.raises(KilledError):
        desk(job, first)
    assert kept(desk) == ["twice.png"]
    resumed = job.model_copy(update={"run": first.run})
    for _ in range(2):
        desk(resumed, Fragile(breaks=False))
        assert sorted(kept(desk)) == ["one.png", "twice.png", "twice.png"]


def test_a_picture_that_cannot_be_encoded_does_not_cost_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = desk.parts.conversion.convert

    def picky(batches: Any, settings: ICS) -> Any:
        for batch in batches:
            if batch.origins[0].name == "odd.png":
                raise RefusedError("a picture that does not fit into the file")
            yield from convert([batch], settings)

    monkeypatch.setattr(type(desk.parts.conversion), "convert", lambda _, *given: picky(*given))
    control = Fragile(breaks=False)
    desk(job_of(desk, *(sent(desk, name) for name in ("one.png", "odd.png", "two.png"))), control)
    assert kept(desk) == ["one.png", "two.png"]
    assert control.warned[0] == "odd.png: a picture that does not fit into the file"


def test_an_order_of_which_nothing_can_be_made_fails_in_one_line(desk: Desk) -> None:
    with pytest.raises(
        AtelierError, match=r"nothing could be made .* the first: cut\.jpg: damaged"
    ):
        desk(job_of(desk, sent_cut(desk)), Fragile(breaks=False))


def test_a_picture_too_large_for_the_memory_is_refused_by_name_before_it_waits(desk: Desk) -> None:
    scan = io.BytesIO()
    Image.new("1", (6000, 5000)).save(scan, "PNG")
    with pytest.raises(RefusedError, match=r"^scan\.png: is 6000 x 5000 pixels, and 4 times"):
        job_of(desk, sent(desk, "one.png"), sent(desk, "scan.png", scan.getvalue()))


def test_a_picture_too_large_for_its_format_is_refused_by_name(desk: Desk) -> None:
    wide = io.BytesIO()
    Image.new("1", (5000, 8)).save(wide, "PNG")
    upload = sent(desk, "wide.png", wide.getvalue())
    order = EnhanceOrder(kind="enhance", uploads=(upload,), convert=ICS(format="webp"))
    with pytest.raises(RefusedError, match=r"^wide\.png: is too large: .*webp"):
        desk.check(order)


def test_what_is_gone_costs_neither_a_replay_nor_a_verification_its_other_answers(
    desk: Desk,
) -> None:
    sound, gone = sent(desk, "one.png"), sent(desk, "gone.png")
    desk(job_of(desk, sound), Fragile(breaks=False))
    (result,) = desk.parts.results_store.find(ResultQuery())
    desk.places.uploads.remove(gone)
    outcomes: list[dict[str, Any]] = []
    for order in (
        ReplayOrder(kind="replay", results=(999, result.id)),
        VerifyOrder(kind="verify", uploads=(gone, sound), results=(999, result.id)),
    ):
        control = Fragile(breaks=False)
        control.conclude = outcomes.append
        desk(Job(id=2, order=order, state="running", created_at=datetime.now(UTC)), control)
    replayed, verified = outcomes
    assert replayed["verdicts"] == ["not possible", "equal"]
    assert replayed["lines"][0].startswith("result 999: not possible (there is none")
    assert [(one["name"], one["state"]) for one in verified["found"]] == [
        (f"upload {gone}", "damaged"),
        ("one.png", "unsigned"),
        ("result 999", "damaged"),
        (result.path.name, "intact"),
    ]
