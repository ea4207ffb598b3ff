"""The other verbs as functions: what the commands do, and what they refuse."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import atelier
import pipeline
from atelier import (
    convert,
    evaluate,
    generate,
    inspect,
    interpolate,
    replay,
    rework,
    verify,
)
from atelier.replaying import Replay
from interfaces.errors import AtelierError, NotFoundError, RefusedError
from tests.helpers import make_images


def paint(folder: Path, count: int, side: int = 32) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = (make_images(1, side, number)[0].transpose(1, 2, 0) + 1) * 127.5
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that the project's own model made, in a folder of its own."""
    place = tmp_path_factory.mktemp("saved")
    pictures = generate("shipped", [3], style="Baroque", workspace=place / "workspace")
    (path,) = convert(pictures, place / "out", workspace=place / "workspace")
    return path


def test_no_module_hides_a_function() -> None:
    """A module of the package of the same name would take the function's place once imported."""
    for name in atelier.__all__:
        assert not isinstance(getattr(atelier, name), ModuleType), name


def test_a_collection_is_inspected(tmp_path: Path) -> None:
    art = paint(tmp_path / "art", 5)
    (art / "bad.png").write_bytes(b"no picture")
    found = inspect(art, workspace=tmp_path / "workspace")
    assert (found.collection.num_images, found.collection.num_quarantined) == (5, 1)
    assert "5 images to learn from" in repr(found)
    assert [file.name for file in found.collection.quarantined()] == ["bad.png"]
    with pytest.raises(AtelierError, match="nowhere"):
        inspect(tmp_path / "nowhere", workspace=tmp_path / "workspace")
    with pytest.raises(AtelierError, match="no_such"):
        inspect(art, no_such=1, workspace=tmp_path / "workspace")


def test_a_folder_of_pictures_is_evaluated(tmp_path: Path) -> None:
    made, art = paint(tmp_path / "made", 12), paint(tmp_path / "art", 12)
    asked = {"generated": made, "resolution": 16, "workspace": tmp_path / "workspace"}
    found = evaluate(data=art, **asked)
    assert (found.folder / "evaluation.json").is_file()
    assert found.lines() == found.evaluation.lines() != []
    with pytest.raises(RefusedError, match="name two things to measure"):
        evaluate("shipped", art, **asked)
    with pytest.raises(RefusedError, match=r"evaluate\.count: all pictures of --generated"):
        evaluate(data=art, count=8, **asked)
    with pytest.raises(AtelierError, match="evaluate: count: Input should be greater"):
        evaluate("shipped", art, count=3, workspace=tmp_path)


def test_a_way_between_seeds_is_the_commands_to_the_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"frames": 1, "scale": 1, "style": "Baroque", "workspace": tmp_path / "here"}
    made = interpolate([3, 7], "shipped", **asked)
    command = ("interpolate", "--model=shipped", "--between=3,7", "--frames=1", "--scale=1")
    monkeypatch.chdir(tmp_path)
    assert pipeline.main([*command, "--style=Baroque"]) == 0
    theirs = tmp_path / "workspace/interpolations" / made.sheet.name
    with Image.open(made.sheet) as ours, Image.open(theirs) as other:
        assert (np.asarray(ours) == np.asarray(other)).all()
    with Image.open(made.animation) as moving:
        assert getattr(moving, "n_frames", 1) == 2
    assert "data:image/webp;base64," in made._repr_html_()


def test_a_way_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="two seeds or more"):
        interpolate("3", "shipped", workspace=tmp_path)
    with pytest.raises(AtelierError, match="and frames"):
        interpolate("3,7", "shipped", frames=0, workspace=tmp_path)
    with pytest.raises(RefusedError, match="count is said by `between`"):
        interpolate("3,7", "shipped", count=2, workspace=tmp_path)


def test_a_picture_of_ones_own_is_reworked(tmp_path: Path) -> None:
    art = paint(tmp_path / "art", 1)
    (made,) = rework(art, source_strength=0.3, workspace=tmp_path)
    assert made.origin.kind == "generated"
    assert [(one.role, one.name) for one in made.origin.inputs] == [("source", "0.png")]
    assert made.pixels.std() > 0
    with pytest.raises(RefusedError, match="`rework` makes one picture a file"):
        rework(art, count=2, workspace=tmp_path)
    with pytest.raises(RefusedError, match="a r3gan model cannot read pictures"):
        rework(art, "shipped", workspace=tmp_path)
    with pytest.raises(NotFoundError, match="no such file or folder"):
        rework(tmp_path / "nowhere", workspace=tmp_path)


def test_a_picture_is_made_again_and_compared(saved: Path, tmp_path: Path) -> None:
    (found,) = replay(saved, workspace=tmp_path)
    assert isinstance(found, Replay)
    assert found.verdict in ("equal", "equal pixels")
    (stranger,) = replay(paint(tmp_path / "art", 1), workspace=tmp_path)
    assert stranger.verdict == "not possible"
    with pytest.raises(AtelierError, match="name pictures, or a board"):
        replay(workspace=tmp_path)
    with pytest.raises(NotFoundError, match="no result lies on it"):
        replay(board="sea", workspace=tmp_path)


def test_what_can_be_said_of_pictures(saved: Path, tmp_path: Path) -> None:
    art = paint(tmp_path / "art", 1)
    ours, theirs = verify([saved, art])
    assert (ours.made_by, ours.source_type) == ("Atelier", "trainedAlgorithmicMedia")
    assert (theirs.state, theirs.made_by) == ("unsigned", "unknown")
    with pytest.raises(NotFoundError, match="no such file of certificates"):
        verify(saved, trust=tmp_path / "nowhere.pem")
