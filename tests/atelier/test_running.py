"""A training and a whole run: one composition, whoever asks for it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import atelier
from atelier import stages
from atelier.assembly import assemble
from atelier.choices import choose
from atelier.running import WholeWay, whole_way
from atelier.runs import Run
from atelier.workspace import Workspace
from components.training_store import EMBEDDED_STYLES, paint_picture
from interfaces.components import Components
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import TrainingSettings
from interfaces.igs import IGS
from interfaces.iodt import StoredResult
from interfaces.itdt import ITDT
from interfaces.progress import silent
from pipeline import whole_way as diagram
from tests.components.families.test_every_family import TINY
from tests.helpers import REPOSITORY

pytestmark = pytest.mark.usefixtures("blank_charts")

TRAINING = {
    "family": "vae",
    "total_images": 16,
    "measure_images": 0,
    "guardian": "off",
    "options": TINY["vae"],
}


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paintings")
    style = next(iter(EMBEDDED_STYLES))
    for number in range(24):
        painted = paint_picture(style, number)
        Image.fromarray(painted).resize((32, 32)).save(folder / f"{number}.png")
    return folder


class _Told:
    """A component that writes down what it is asked for."""

    def __init__(self, real: object, name: str, asked: list[str]) -> None:
        self._real, self._name, self._asked = real, name, asked

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._real, method)
        if method == "watch" or not callable(real):
            return real

        def told(*given: object) -> object:
            self._asked.append(f"{self._name}.{method}: {', '.join(map(_in_words, given))}")
            return real(*given)

        return told


def _in_words(given: object) -> str:
    """Settings and words in full; what every run has anew, such as a signed file, by its kind."""
    is_told = isinstance(given, str | int | Path | IGS | IES | ICS | TrainingSettings)
    return repr(given) if is_told else type(given).__name__


def _asked_for(place: Workspace, paintings: Path, way: WholeWay) -> list[str]:
    chosen = choose(
        {
            "collect": {"data": str(paintings)},
            "preprocess": {"resolution": 16},
            "train": TRAINING,
            "generate": {"count": 3},
            "enhance": {"scale": 1},
        }
    )
    asked: list[str] = []
    parts = assemble(place.root)
    told = Components(**{name: _Told(part, name, asked) for name, part in vars(parts).items()})
    run = Run.begin(place, "run", chosen, "same")
    way(told, run, parts.training_store.collect(chosen.collect, silent))
    return [line.replace(str(place.root), "WORKSPACE") for line in asked]


def _in_two_steps(parts: Components, run: Run, collection: ITDT) -> list[StoredResult]:
    return stages.make_images(parts, run, stages.train(parts, run, collection))


def test_the_diagram_and_the_stages_of_other_commands_ask_for_the_same(
    tmp_path: Path, paintings: Path
) -> None:
    asked = _asked_for(Workspace(tmp_path / "diagram"), paintings, diagram)
    named = [line.partition(":")[0] for line in asked]
    assert "ui.say" in named
    wanted = ["preprocessing.preprocess", "training.train", "generation.generate"]
    assert [name for name in named if name in wanted] == wanted
    assert asked == _asked_for(Workspace(tmp_path / "stages"), paintings, _in_two_steps)


def test_the_function_goes_the_way_of_the_diagram(tmp_path: Path, paintings: Path) -> None:
    files = atelier.run(
        paintings,
        workspace=tmp_path,
        resolution=16,
        generate={"count": 2},
        enhance={"scale": 1},
        **TRAINING,
    )
    assert len(files) == 2
    assert all(file.is_file() for file in files)
    run = Run.open(next((tmp_path / "runs").iterdir()))
    assert run.is_finished
    assert (run.folder / "contact-sheet.png").is_file()


def test_the_function_refuses_weights_that_are_missing_before_it_trains(
    tmp_path: Path, paintings: Path
) -> None:
    with pytest.raises(AtelierError, match=r"missing\.pth"):
        atelier.run(
            paintings,
            workspace=tmp_path,
            resolution=16,
            generate={"count": 1},
            enhance={"scale": 4, "weights": tmp_path / "missing.pth"},
            **TRAINING,
        )
    assert not (tmp_path / "runs").exists()


def test_a_pipeline_of_ones_own_is_not_taken_for_the_diagram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline.py").write_text("raise SystemExit('not yours')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pipeline")
    assert Path(whole_way().__code__.co_filename) == REPOSITORY / "pipeline.py"


def test_a_run_that_fails_is_not_finished(tmp_path: Path) -> None:
    run = Run.begin(Workspace(tmp_path), "train", choose({}), "broken")
    with pytest.raises(OSError, match="full"), run.under_way():
        raise OSError("the disk is full")
    assert not Run.open(run.folder).is_finished
    with run.under_way():
        pass
    assert Run.open(run.folder).is_finished


def test_runs_that_begin_at_once_have_numbers_of_their_own(tmp_path: Path) -> None:
    place, chosen = Workspace(tmp_path), choose({})
    names = [f"run-{letter}" for letter in "abcdefgh"]
    with ThreadPoolExecutor(len(names)) as pool:
        runs = list(pool.map(lambda name: Run.begin(place, "train", chosen, name), names))
    assert sorted(run.name[:4] for run in runs) == [f"{n:04d}" for n in range(1, 9)]
