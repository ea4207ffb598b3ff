"""Choices for single pictures: applied to what is handed on, never to the files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.preprocessing.transform import prepare
from components.training_store import choices_place, create, read_choices, write_choices
from interfaces.errors import AtelierError, RefusedError
from interfaces.itdt import ITDT, CollectionChoices, CollectionSettings, PictureChoice


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    for number in range(4):
        Image.effect_noise((60, 40), 30 + number).save(place / f"{number}.png")
    (place / "again.png").write_bytes((place / "0.png").read_bytes())
    return place


def _collected(folder: Path) -> ITDT:
    store = create(folder.parent / "workspace")
    return store.collect(CollectionSettings(data=str(folder)), lambda event: None)


def test_choices_change_what_is_handed_on_and_no_file(folder: Path) -> None:
    plain = _collected(folder)
    assert plain.choices is None and plain.num_exact_duplicates == 1
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    chosen = {
        "again.png": PictureChoice(is_excluded=True),
        "1.png": PictureChoice(style="night", crop=(20, 0, 40)),
    }
    write_choices(choices_place(folder), CollectionChoices(pictures=chosen))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    wanted = _collected(folder)
    assert wanted.choices == CollectionChoices(pictures=chosen)
    assert wanted.digest != plain.digest and wanted.manifest != plain.manifest
    assert (wanted.num_images, wanted.num_exact_duplicates) == (4, 0)
    assert [file.reason for file in wanted.quarantined()] == ["excluded"]
    images = {image.name: image for image in wanted.images()}
    assert images["1.png"].style == "night" and images["1.png"].crop == (20, 0, 40)
    assert _collected(folder) == wanted  # found again, not made again
    choices_place(folder).unlink()
    assert _collected(folder) == plain


def test_a_crop_is_the_square_that_is_learnt_from() -> None:
    picture = Image.effect_noise((60, 40), 60).convert("RGB")
    whole = np.asarray(picture)
    assert np.array_equal(prepare(picture, 40, (20, 0, 40)), whole[:, 20:60])
    assert np.array_equal(prepare(picture, 40), whole[:, 10:50])


@pytest.mark.parametrize(
    "choices,why",
    [
        ({f"{n}.png": PictureChoice(is_excluded=True) for n in (0, 1, 2, 3, "again")}, "excluded"),
        ({"2.png": PictureChoice(crop=(30, 0, 40))}, "reaches beyond"),
    ],
)
def test_what_cannot_be_is_refused(
    folder: Path, choices: dict[str, PictureChoice], why: str
) -> None:
    write_choices(choices_place(folder), CollectionChoices(pictures=choices))
    with pytest.raises(RefusedError, match=why):
        _collected(folder)


def test_damaged_choices_are_named(folder: Path) -> None:
    choices_place(folder).write_text("{")
    with pytest.raises(AtelierError, match=r"atelier\.json"):
        read_choices(choices_place(folder))


def test_choices_without_effect_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = CollectionChoices(pictures={"was\n0.png": PictureChoice(is_excluded=True)})
    write_choices(choices_place(folder), chosen)
    for _ in range(2):
        assert _collected(folder).num_images == 5
    assert caplog.text.count("have no effect (1; the first: was\\n0.png)") == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither without rights")
@pytest.mark.parametrize("make", [lambda place: place.symlink_to(place.name), os.mkfifo])
def test_choices_that_cannot_be_read_are_named(folder: Path, make: Callable[[Path], None]) -> None:
    make(choices_place(folder))
    with pytest.raises(AtelierError, match=r"pictures\.atelier\.json: not readable as choices"):
        _collected(folder)


def test_choices_lie_beside_a_folder_however_it_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    beside = folder.parent / "pictures.atelier.json"
    for named in (folder, Path(), Path(f"../{folder.name}"), folder / "within" / ".."):
        assert choices_place(named) == beside
    assert choices_place(Path("/")) == Path("/.atelier.json")  # no name, and still no traceback
