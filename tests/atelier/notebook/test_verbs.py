"""The verbs as functions: the same results as the command line's, shown as pictures."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atelier
from atelier import Pictures, enhance, export, generate, train
from atelier.contracts.samples import make_igdt
from atelier.notebook.pictures import MAX_SHOWN
from atelier.notebook.watching import NotebookInterface, Shown
from components.conversion import read_record
from interfaces.errors import AtelierError, RefusedError
from interfaces.progress import ProgressEvent
from tests.end_to_end.cli import atelier as command_line
from tests.helpers import REPOSITORY
from tests.s3 import s3_bucket


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    place = tmp_path_factory.mktemp("workspace")
    return generate("shipped", [3, 7], style="Baroque", workspace=place)


def test_importing_costs_nothing_but_the_names() -> None:
    code = (
        "import sys, atelier\n"
        "assert not {'torch', 'numpy', 'PIL', 'pydantic', 'cyclopts'} & set(sys.modules)\n"
        "assert set(atelier.__all__) <= set(dir(atelier))\n"
        "from atelier import generate, train, enhance\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    assert all(callable(getattr(atelier, name)) for name in atelier.__all__)
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        _ = atelier.paint


@pytest.mark.slow
def test_pictures_are_the_command_lines_to_the_pixel(pictures: Pictures, tmp_path: Path) -> None:
    done = command_line(
        "generate", "--model=shipped", "--seeds=3,7", "--style=Baroque", "--scale=1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "workspace/results").rglob("*.png"))
    assert len(files) == 2
    for picture, file in zip(pictures, files, strict=True):
        assert (picture.pixels == np.asarray(Image.open(file))).all()


def test_a_notebook_shows_them_as_pictures(pictures: Pictures) -> None:
    shown = Image.open(io.BytesIO(pictures[1]._repr_png_()))
    assert (np.asarray(shown) == pictures[1].pixels).all()
    markup = pictures._repr_html_()
    assert markup.count("<img ") == 2
    assert "seed 7, Baroque" in markup
    sheet = pictures._repr_png_()
    assert sheet is not None
    assert Image.open(io.BytesIO(sheet)).width > 2 * pictures[0].pixels.shape[1]
    assert [picture.name for picture in pictures[1:]] == ["seed 7, Baroque"]


def test_a_large_result_shows_some_and_counts_the_rest() -> None:
    many = Pictures([make_igdt(40), make_igdt(40)])
    assert many._repr_html_().count("<img ") == MAX_SHOWN
    assert f"and {80 - MAX_SHOWN} more" in many._repr_html_()
    assert len(Pictures([])) == 0
    assert Pictures([])._repr_png_() is None


def test_enhanced_and_saved_they_carry_their_record(pictures: Pictures, tmp_path: Path) -> None:
    larger = pictures.enhance(4, enhancer="lanczos", workspace=tmp_path)
    assert [picture.pixels.shape for picture in larger] == [
        (4 * side, 4 * side, 3) for side in (pictures[0].pixels.shape[0],) * 2
    ]
    files = larger.save(tmp_path / "out", "webp", lossless=True, workspace=tmp_path)
    assert [file.name for file in files] == ["0000.webp", "0001.webp"]
    record = read_record(files[1])
    assert record is not None
    assert (record.origin.kind, record.origin.seed) == ("generated", 7)
    assert record.enhancement.scale == 4
    with pytest.raises(RefusedError, match="is there already"):
        pictures.save(tmp_path / "out", "webp", workspace=tmp_path)
    again = enhance(files, 1, workspace=tmp_path)
    assert (again[0].pixels == larger[0].pixels).all()


def test_wrong_settings_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="no_such_option"):
        generate("shipped", "0", no_such_option=1, workspace=tmp_path)
    with pytest.raises(AtelierError, match="total_images"):
        train(total_images=0, workspace=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_an_export_by_name(tmp_path: Path) -> None:
    assert [file.name for file in export("embedded", "safetensors", tmp_path)] == [
        "embedded.safetensors"
    ]


def test_an_export_into_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(AtelierError, match="is there already; name another folder"):
        export("embedded", "safetensors", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_enlarger_is_exported_by_its_weights_file(tmp_path: Path) -> None:
    (weights,) = export("embedded", "safetensors", tmp_path / "by name")
    assert isinstance(weights, Path)
    again = export(weights, "safetensors", tmp_path / "by file", workspace=tmp_path)
    assert again == [tmp_path / "by file" / "embedded.safetensors"]


def test_an_export_below_a_url(tmp_path: Path) -> None:
    with s3_bucket("models"):
        made = export("shipped", "atelier", "s3://models/shipped", workspace=tmp_path)
    assert "s3://models/shipped/model.json" in made


def test_progress_is_one_bar_a_step_moved_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Shown] = []
    moved: list[Shown] = []

    class Handle:
        def update(self, obj: Shown) -> None:
            moved.append(obj)

    def show(shown: Shown) -> Handle:
        drawn.append(shown)
        return Handle()

    monkeypatch.setattr("atelier.notebook.watching._show", show)
    interface = NotebookInterface()
    for done in range(101):
        interface.watch(ProgressEvent(stage="train <fast>", done=done, total=100))
    interface.watch(ProgressEvent(stage="measure", done=1, total=None, unit="pictures"))
    assert [repr(shown) for shown in drawn][1] == "measure: 1"
    assert len(drawn) == 2
    assert 1 <= len(moved) < 100
    assert "width:100.0%" in moved[-1]._repr_html_()
    assert "train &lt;fast&gt;: 100 of 100 images" in moved[-1]._repr_html_()


@pytest.mark.slow
def test_the_notebook_of_the_documents_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(REPOSITORY / "docs/notebook.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    data = [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert sum("image/png" in each for each in data) >= 3
    assert sum("<img " in each.get("text/html", "") for each in data) >= 3
    assert any("width:100.0%" in each.get("text/html", "") for each in data)  # a finished bar
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4
