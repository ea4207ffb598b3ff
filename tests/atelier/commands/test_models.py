"""Choice of a model where none is named, and a person's default."""

import json
import shutil
from pathlib import Path

import pytest

from atelier.models import pick_model
from atelier.workspace import Workspace
from components.common.shipped import SHIPPED_MODELS
from interfaces.errors import NotFoundError, RefusedError
from interfaces.igs import IGS
from pipeline import main

OURS, LARGE = "shipped-sketch", "shipped-sketch-128"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def add(folder: Path, dataset: str, styles: tuple[str, ...]) -> None:
    """A model like the shipped R3GAN that learnt other styles from another collection."""
    folder.mkdir(parents=True)
    source = SHIPPED_MODELS["shipped"]
    described = json.loads((source / "model.json").read_text())
    count = len(described["styles"])
    named = [*styles, *(f"style {n}" for n in range(len(styles), count))]
    described |= {"dataset_name": dataset, "styles": named}
    (folder / "model.json").write_text(json.dumps(described))
    shutil.copy(source / "weights.safetensors", folder)


def run(place: Workspace, name: str, dataset: str, *styles: str) -> None:
    add(place.runs / name / "training" / "model", dataset, styles)


def picked(place: Workspace, **request: object) -> str:
    return pick_model(place, None, IGS.model_validate(request)).name


def test_without_any_of_ones_own_the_projects_best_is_taken(place: Workspace) -> None:
    found = pick_model(place, None, IGS())
    assert found.name == OURS
    assert "comes with the project" in found.line() and "models use" in found.line()
    assert picked(place, options={"towards_seed": 3}) == OURS
    assert picked(place, options={"truncation": 0.7}) == "shipped"
    with pytest.raises(NotFoundError, match="a r3gan model has no option nonsense"):
        picked(place, options={"nonsense": 1})


def test_a_trial_on_the_embedded_collection_takes_no_better_models_place(place: Workspace) -> None:
    run(place, "0001-r3gan-embedded", "embedded", "Waves")
    assert picked(place) == OURS
    assert picked(place, style="Impressionism") == OURS
    assert picked(place, style="Waves") == "0001-r3gan-embedded"


def test_the_newest_of_ones_own_is_taken_where_it_knows_what_is_asked(place: Workspace) -> None:
    run(place, "0001-r3gan-mine", "mine", "Dawn")
    run(place, "0002-r3gan-mine", "mine", "Dusk")
    assert picked(place) == "0002-r3gan-mine"
    assert picked(place, style="Dawn") == "0001-r3gan-mine"
    assert picked(place, style="Impressionism") == OURS
    assert picked(place, sketch="drawing.png") == OURS
    assert picked(place, options={"steps": 4}) == OURS
    with pytest.raises(NotFoundError, match=r"0002-r3gan-mine: knows no style 'Noon', but Dusk"):
        picked(place, style="Noon")


def test_a_picture_is_repainted_by_the_larger_of_the_projects_models(place: Workspace) -> None:
    request = IGS(source=Path("photo.jpg"))
    assert picked(place, source="photo.jpg") == OURS  # whose lines are followed
    assert pick_model(place, None, request, repaints=True).name == LARGE
    assert picked(place, source="photo.jpg", options={"source_strength": 0.3}) == LARGE
    for name in (OURS, LARGE):
        assert main(["models", "use", name, "--workspace", str(place.root)]) == 0
        assert pick_model(place, None, request, repaints=True).name == name


def test_an_old_model_that_is_damaged_stops_nothing_that_a_newer_one_makes(
    place: Workspace,
) -> None:
    run(place, "0001-r3gan-mine", "mine", "Dawn")
    run(place, "0002-r3gan-mine", "mine", "Dusk")
    damaged = place.runs / "0001-r3gan-mine/training/model/model.json"
    damaged.write_text("{")
    assert picked(place) == "0002-r3gan-mine"


def test_a_persons_default_comes_first_and_is_never_passed_over(
    place: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, "0001-r3gan-mine", "mine", "Dawn")
    run(place, "0002-r3gan-mine", "mine", "Dusk")
    where = ["--workspace", str(place.root)]
    assert main(["models", "use", "0001", *where]) == 0
    assert picked(place) == "0001-r3gan-mine"
    with pytest.raises(RefusedError, match=r"your default: .*'Dusk'.*--model 0002-r3gan-mine can"):
        picked(place, style="Dusk")
    assert pick_model(place, "0002", IGS(style="Dusk")).name == "0002"
    capsys.readouterr()
    main(["models", "list", *where])
    first = capsys.readouterr().out.splitlines()[1]
    assert first.startswith("0001-r3gan-mine") and "your default" in first
    assert main(["models", "use", *where]) == 0
    assert picked(place) == "0002-r3gan-mine"


def test_a_default_that_is_not_there_is_refused(
    place: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "use", "nowhere", "--workspace", str(place.root)]) == 1
    assert "model nowhere: there is none here; `models list`" in capsys.readouterr().err
    assert place.chosen_default() is None
