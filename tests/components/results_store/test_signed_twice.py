"""A picture that is made again has another signature, and is the same result all the same."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from atelier.contracts.samples import make_iedt, make_iodt
from components.common.sameness import hold_the_same
from components.conversion import ImageConverter, read_facts
from components.results_store import create
from components.results_store.journal import Event, Journal
from interfaces.errors import UnavailableError
from interfaces.ics import ICS
from interfaces.iodt import IODT, ResultQuery


def signed(seed: int = 0, name: str = "png") -> IODT:
    (image,) = ImageConverter().convert([make_iedt(1, 16, seed=seed)], ICS(format=name))
    return image


def test_a_file_that_no_row_knows_gives_way_to_the_same_picture(tmp_path: Path) -> None:
    store = create(tmp_path)
    first, again = signed(), signed()
    assert first.sha256 != again.sha256
    # As a process leaves it that is killed between the file and its row.
    place = store.keep(signed(), "elsewhere").path.parent.parent / "run" / "000000.png"
    place.parent.mkdir()
    place.write_bytes(first.data)
    kept = store.keep(again, "run")
    assert kept.path == place
    assert kept.path.read_bytes() == again.data
    assert list(place.parent.glob("*.png")) == [place]


def test_such_a_file_is_found_under_a_name_with_its_own_digest(tmp_path: Path) -> None:
    store = create(tmp_path)
    first, again = signed(), signed()
    other = signed(5).model_copy(update={"record": first.record})
    taken = store.keep(other, "run").path
    # As above, but the plain name was in use already.
    place = taken.with_name(f"000000-{first.sha256[:8]}.png")
    place.write_bytes(first.data)
    kept = store.keep(again, "run")
    assert kept.path == place
    assert kept.path.read_bytes() == again.data
    assert set(taken.parent.glob("*.png")) == {taken, place}


def test_a_number_without_a_row_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process leaves one where it is killed, or the disk is full, before it writes the row."""
    store = create(tmp_path)
    store.keep(signed(1), "run")
    whole = Journal.append

    def full(journal: Journal, events: Sequence[Event]) -> int:
        whole(journal, events)
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(UnavailableError):
        patched.setattr(Journal, "append", full)
        store.keep(signed(), "run")
    history = Journal(tmp_path / "results" / "results.journal").history()
    assert history is not None
    before = history.kept[2]
    again = signed()
    kept = create(tmp_path).keep(again, "run")
    assert (kept.id, kept.kept_at) == (2, before.kept_at)
    assert kept.path == tmp_path / "results" / before.place
    assert kept.path.read_bytes() == again.data
    assert create(tmp_path).find(ResultQuery(run="run"))[0] == kept
    assert len(list(kept.path.parent.glob("*.png"))) == 2
    report = create(tmp_path).rebuild(read_facts)
    assert report.num_listed == 2
    assert not (report.lost or report.edited or report.strangers or report.taken_in)
    assert not report.restored


def test_a_file_that_was_removed_is_put_back_under_its_number(tmp_path: Path) -> None:
    store = create(tmp_path)
    gone = store.keep(signed(), "run")
    gone.path.unlink()
    again = signed()
    kept = store.keep(again, "run")
    assert (kept.id, kept.path, kept.sha256) == (gone.id, gone.path, again.sha256)
    assert store.find(ResultQuery()) == [kept]
    assert store.read(kept.id) == again.data


def test_an_unsigned_picture_is_put_back_by_its_bytes_alone(tmp_path: Path) -> None:
    store = create(tmp_path)
    unsigned = ImageConverter().convert([make_iedt(1, 16)], ICS(sign=False))
    gone = store.keep(image := next(unsigned), "run")
    gone.path.unlink()
    other = make_iodt(3).model_copy(update={"record": image.record})
    assert store.keep(other, "run").id != gone.id
    assert store.keep(image, "run") == gone


def test_a_whole_result_keeps_its_signature(tmp_path: Path) -> None:
    store = create(tmp_path)
    first, again = signed(), signed()
    one, other = store.keep(first, "run"), store.keep(again, "run")
    assert one.id != other.id
    assert (store.read(one.id), store.read(other.id)) == (first.data, again.data)


def test_another_picture_in_its_place_is_left_alone(tmp_path: Path) -> None:
    store = create(tmp_path)
    place = store.keep(signed(), "elsewhere").path.parent.parent / "run" / "000000.png"
    place.parent.mkdir()
    place.write_bytes(signed(5).data)
    before = place.read_bytes()
    kept = store.keep(signed(), "run")
    assert kept.path != place
    assert place.read_bytes() == before
    assert len(store.find(ResultQuery(run="run"))) == 1


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
def test_files_hold_the_same_only_with_the_same_pixels_and_metadata(name: str) -> None:
    first = signed(name=name)
    assert hold_the_same(first.data, signed(name=name).data)
    assert not hold_the_same(first.data, signed(1, name).data)
    stream = io.BytesIO()
    with Image.open(io.BytesIO(first.data)) as image:
        image.copy().save(stream, name.upper(), xmp=b"")  # without its record
    assert not hold_the_same(first.data, stream.getvalue())
    assert not hold_the_same(first.data, b"no picture")
