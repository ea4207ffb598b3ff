"""A picture made again from its record: equal, near, different, or why it cannot be."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atelier.assembly import assemble
from atelier.choices import check_request
from atelier.commands.frame import Making
from atelier.gallery import Shelf
from atelier.handlers.replay import replay_files
from atelier.jobs import LocalUploads
from atelier.originals import Originals
from atelier.own_files import Requests, Rework
from atelier.replaying import Replay, choices_of, models_in, replay, tally
from atelier.workspace import Workspace
from components.common.shipped import find_shipped
from components.conversion import read_picture
from interfaces.components import Components
from interfaces.errors import NotFoundError, RefusedError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import ResultsGallery
from tests.helpers import make_record


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def parts(place: Workspace) -> Components:
    return assemble(place.root)


def made(parts: Components, folder: Path, model: IGME, **chosen: object) -> list[Path]:
    """Two pictures of a model, kept in a folder."""
    generated = parts.generation.generate(model, IGS(seeds=(3, 4)))
    enlarged = parts.enhancement.enhance(generated, IES(scale=1))
    paths: list[Path] = []
    for image in parts.conversion.convert(enlarged, ICS.model_validate(chosen)):
        paths.append(folder / f"{len(paths)}{image.suffix}")
        paths[-1].write_bytes(image.data)
    return paths


@pytest.fixture
def model() -> IGME:
    return IGME.open(find_shipped(Path("shipped")))


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff"])
def test_pictures_come_out_equal_under_another_signature(
    name: str, parts: Components, place: Workspace, model: IGME, tmp_path: Path
) -> None:
    found = [replay(parts, place, path) for path in made(parts, tmp_path, model, format=name)]
    assert [one.verdict for one in found] == ["equal", "equal"]
    assert tally(found) == "2 pictures: 2 equal"


def test_a_changed_picture_is_told_by_how_much(
    parts: Components, place: Workspace, model: IGME, tmp_path: Path
) -> None:
    path, _ = made(parts, tmp_path, model)
    with Image.open(path) as image:
        xmp, pixels = image.info["XML:com.adobe.xmp"], np.array(image)
    for change, verdict in ((3, "close"), (40, "different")):
        pixels[5, 5, 0] = pixels[5, 5, 0] + change if pixels[5, 5, 0] < 200 else 0
        with_record = io.BytesIO()
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        Image.fromarray(pixels).save(with_record, "PNG", pnginfo=info)
        path.write_bytes(with_record.getvalue())
        found = replay(parts, place, path)
        assert found.verdict == verdict
        assert found.levels == pytest.approx(change if change == 3 else 43, abs=0.01)
        assert "of 255 levels" in found.line()


def test_why_a_picture_cannot_be_made_again(
    parts: Components, place: Workspace, model: IGME, tmp_path: Path
) -> None:
    for number, (data, why) in enumerate(
        {
            made(parts, tmp_path, model, publish=True)[0].read_bytes(): "for publishing",
            b"no picture": "picture",
        }.items()
    ):
        path = tmp_path / f"odd{number}.png"
        path.write_bytes(data)
        found = replay(parts, place, path)
        assert found.verdict == "not possible"
        assert why in found.note


@pytest.mark.parametrize(
    ("change", "why"),
    [((b'"quality":', b'"quality":9'), "quality"), ((b'"lossless"', b'"loss"'), "loss")],
)
def test_a_record_of_settings_that_do_not_exist_ends_nothing(
    parts: Components,
    place: Workspace,
    model: IGME,
    tmp_path: Path,
    change: tuple[bytes, bytes],
    why: str,
) -> None:
    path, other = made(parts, tmp_path, model, format="webp")
    with Image.open(path) as image:
        xmp = image.info["xmp"]
        assert change[0] in xmp
        image.save(path, "WEBP", lossless=True, xmp=xmp.replace(*change))
    odd, sound = (replay(parts, place, one) for one in (path, other))
    assert odd.verdict == "not possible" and why in odd.note
    assert sound.verdict == "equal"


def test_the_model_is_found_where_one_says(
    parts: Components, place: Workspace, model: IGME, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep"
    shutil.copytree(model.directory, elsewhere)
    renamed = IGME.open(elsewhere).model_copy(update={"dataset_name": "another"})
    (elsewhere / "model.json").write_text(renamed.manifest())
    path, _ = made(parts, tmp_path, renamed)
    (tmp_path / "elsewhere" / "broken").mkdir()
    (tmp_path / "elsewhere" / "broken" / "model.json").write_text("{")
    (other,) = models_in(tmp_path / "elsewhere")
    assert replay(parts, place, path, [other]).verdict == "equal"
    with pytest.raises(NotFoundError, match="no model that can be read lies there"):
        models_in(tmp_path / "workspace")


def test_a_record_of_words_gives_choices_that_an_order_takes(parts: Components) -> None:
    model = IGME.open(find_shipped(Path("shipped-sketch")))
    asked = IGS(seeds=(5,), prompt="a baroque ship", style=None)
    planned = parts.generation.planned(model, asked)
    assert (planned.style, planned.prompt) == ("Baroque", "a baroque ship")
    record = make_record().model_copy(update={"origin": planned})
    again = choices_of(record).generate
    check_request(model.family, model.styles, again)
    assert parts.generation.planned(model, again) == planned.model_copy(update={"prompt": None})
    both = again.model_copy(update={"prompt": planned.prompt})
    with pytest.raises(RefusedError, match=r"generate\.style names one; leave one out"):
        check_request(model.family, model.styles, both)
    with pytest.raises(RefusedError, match="names none of the styles"):
        check_request(model.family, model.styles, IGS(prompt="a ship"))


def test_a_model_that_is_gone_is_named(
    parts: Components, place: Workspace, model: IGME, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(model.directory, elsewhere)
    config = IGME.open(elsewhere)
    renamed = config.model_copy(update={"dataset_name": "another", "neighbours_sha256": None})
    (elsewhere / "model.json").write_text(renamed.manifest())
    path, _ = made(parts, tmp_path, IGME.open(elsewhere))
    found = replay(parts, place, path)
    assert found.verdict == "not possible"
    assert "--models" in found.note


def test_the_summary_counts_every_verdict() -> None:
    found = [Replay("a", "equal"), Replay("b", "equal"), Replay("c", "not possible")]
    assert tally(found) == "3 pictures: 2 equal, 1 not possible"
    assert tally(found[:1]) == "1 picture: 1 equal"


# ---------------------------------------------------------------- from a person's own files


@pytest.fixture
def painter() -> IGME:
    """The shipped model that takes pictures in."""
    return IGME.open(find_shipped(Path("shipped-sketch")))


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "drawing.png"
    path.parent.mkdir()
    Image.fromarray(make_pixels(48, 48)).save(path)
    return path


def make_pixels(height: int, width: int) -> np.ndarray:
    across = np.linspace(0, 255, width)[None, :, None]
    down = np.linspace(0, 255, height)[:, None, None]
    return np.broadcast_to(
        (across + down * np.array([0, 0.5, 1])) % 256, (height, width, 3)
    ).astype(np.uint8)


def kept(parts: Components, batch: IGDT, folder: Path, **chosen: object) -> Path:
    """A batch's first picture, encoded into a folder."""
    enlarged = parts.enhancement.enhance([batch], IES(scale=1))
    image = next(iter(parts.conversion.convert(enlarged, ICS.model_validate(chosen))))
    folder.mkdir(exist_ok=True)
    path = folder / f"made{image.suffix}"
    path.write_bytes(image.data)
    return path


def from_source(parts: Components, painter: IGME, source: Path, folder: Path) -> Path:
    """A variation, in few steps."""
    options = {"steps": 2, "source_strength": 0.4}
    settings = IGS.model_validate({"seeds": (5,), "source": source, "options": options})
    return kept(parts, next(iter(parts.generation.generate(painter, settings))), folder)


def test_a_picture_made_from_a_source_needs_that_file(
    parts: Components, place: Workspace, painter: IGME, drawing: Path, tmp_path: Path
) -> None:
    path = from_source(parts, painter, drawing, tmp_path / "apart")
    lost = replay(parts, place, path)
    assert lost.verdict == "not possible"
    assert "drawing.png" in lost.note and "--inputs" in lost.note
    renamed = drawing.rename(drawing.with_name("other.png"))
    store, uploads = parts.results_store, LocalUploads(place.uploads)
    given = Originals(store, uploads, [renamed.parent])
    assert replay(parts, place, path, originals=given).verdict == "equal"
    uploads.add([renamed.read_bytes()], "drawing.png")
    assert replay(parts, place, path).verdict == "equal"


def test_another_file_of_the_same_name_is_not_taken(
    parts: Components, place: Workspace, painter: IGME, drawing: Path, tmp_path: Path
) -> None:
    path = from_source(parts, painter, drawing, drawing.parent)
    assert replay(parts, place, path).verdict == "equal"  # it lies beside the picture
    Image.fromarray(make_pixels(48, 40)).save(drawing)
    assert replay(parts, place, path).verdict == "not possible"


@pytest.mark.parametrize("publish", [False, True])
def test_own_files_are_enlarged_and_encoded_again(
    publish: bool, parts: Components, place: Workspace, drawing: Path
) -> None:
    path = kept(parts, read_picture(drawing), drawing.parent, format="webp", publish=publish)
    given = Originals(parts.results_store, LocalUploads(place.uploads), [drawing])
    assert replay(parts, place, path, originals=given).verdict == "equal"


def test_a_reworked_picture_comes_out_with_all_that_the_file_held(
    parts: Components, place: Workspace, painter: IGME, drawing: Path
) -> None:
    opaque = make_pixels(64, 64)
    layered = np.dstack([opaque, np.full((64, 64), 200, np.uint8)])
    Image.fromarray(layered).save(drawing, dpi=(300, 300))
    settings = IGS.model_validate(
        {"seeds": (5,), "source": drawing, "options": {"steps": 2, "source_strength": 0.4}}
    )
    requests = Requests(place.requests)
    work = Rework(parts.generation, painter, settings, read_picture, parts.ui.watch, requests)
    path = kept(parts, work.read(drawing), drawing.parent)
    with Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert replay(parts, place, path).verdict == "equal"


def test_a_whole_board_is_made_again(
    parts: Components,
    place: Workspace,
    model: IGME,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    generated = parts.generation.generate(model, IGS(seeds=(3, 4, 5)))
    images = parts.conversion.convert(parts.enhancement.enhance(generated, IES(scale=1)), ICS())
    numbers = [parts.results_store.keep(image, "").id for image in images]
    assert isinstance(parts.results_store, ResultsGallery)
    Shelf(place.root / "shelf.sqlite", parts.results_store).place(numbers[:2], "sea")
    common = Making(workspace=place.root)
    replay_files(board="sea", common=common)
    assert "2 pictures: 2 equal" in capsys.readouterr().out
    with pytest.raises(NotFoundError, match="board 'hills'"):
        replay_files(board="hills", common=common)
