"""A picture made again from its record: equal, near, different, or why it cannot be."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atelier.assembly import assemble
from atelier.replay import Replay, models_in, replay, tally
from atelier.workspace import Workspace
from components.common.shipped import find_shipped
from interfaces.components import Components
from interfaces.errors import NotFoundError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS


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
        assert "levels of 255" in found.line()


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


def test_the_model_is_found_where_one_says(
    parts: Components, place: Workspace, model: IGME, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep"
    shutil.copytree(model.directory, elsewhere)
    renamed = IGME.open(elsewhere).model_copy(update={"dataset_name": "another"})
    (elsewhere / "model.json").write_text(renamed.manifest())
    path, _ = made(parts, tmp_path, renamed)
    (other,) = models_in(tmp_path / "elsewhere")
    assert replay(parts, place, path, [other]).verdict == "equal"
    with pytest.raises(NotFoundError, match="no model lies there"):
        models_in(tmp_path / "workspace")


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
