"""Leftovers of killed processes, which the next start removes, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from atelier.adoption import Adoption, adopt
from atelier.adoption.reading import _state_dict
from atelier.desk import Desk
from atelier.discretion import without_places
from atelier.handlers import ORDERS, InspectOrder
from atelier.jobs import create as create_queue
from atelier.workspace import Workspace
from components.common.durable import MAX_LITTER_SECONDS, arriving, temporary_for
from components.enhancement.weights import load_network
from components.families.stylegan2.published import import_pickle
from components.training_store import choices_place, write_choices
from interfaces.errors import AtelierError
from interfaces.iodt import ResultQuery, every_result
from interfaces.itdt import CollectionChoices, PictureChoice, TrainingImage
from interfaces.jobs import Job
from pipeline import main
from tests.helpers import REPOSITORY, digest, make_iodt

FOLDERS = (
    ".", "models/mine", "runs/0001-a", "runs/0001-a/training", "runs/0001-a/training/model",
    "runs/0001-a/training/samples", "features", "evaluations/one", "comparisons/one",
    "searches/one", "studies/one", "benchmarks/one", "uploads", "gathered",
)  # fmt: skip


def _left_by_another(path: Path) -> Path:
    """A temporary file of a process that has ended."""
    code = f"from pathlib import Path\nfrom components.common.durable import temporary_for\n" \
           f"print(temporary_for(Path({str(path)!r})))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left = Path(done.stdout.strip())
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    return left


def test_a_start_sweeps_the_workspace(tmp_path: Path) -> None:
    left = _left_by_another(tmp_path / "a.json")
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / left.name).write_bytes(b"half")
        (tmp_path / folder / "whole.json").write_text("{}")
    with arriving(tmp_path / "models" / "mine" / "b.json") as mine:
        mine.write_bytes(b"still being written")
        desk = Desk(Workspace(tmp_path), {})
        desk.places.uploads.add([make_iodt(0).data], "a.png")
        assert mine.exists()
    assert [path for path in tmp_path.rglob(".*") if "partial" in path.name] == []
    assert all((tmp_path / folder / "whole.json").exists() for folder in FOLDERS)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_collection_that_a_killed_server_gathered_keeps_no_disk(tmp_path: Path) -> None:
    """Its pictures are hard links, so they would outlive the uploads that they came from."""
    code = """
import os, signal, sys
from pathlib import Path
from atelier.jobs import LocalUploads, WorkspaceCatalogue, catalogue
from atelier.workspace import Workspace
from tests.helpers import make_iodt
place = Workspace(Path(sys.argv[1]))
uploads = LocalUploads(place.uploads)
sent = [uploads.add([make_iodt(seed).data], f"{seed}.png").id for seed in range(2)]
link = catalogue._link
def once(source, target):
    link(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
catalogue._link = once
WorkspaceCatalogue(place, uploads).gather("mine", [(one, "day") for one in sent])
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("gathered/.*/whole/day/*.png"))) == 1
    (tmp_path / "gathered" / "other").mkdir()
    Workspace(tmp_path).sweep()
    assert [path.name for path in (tmp_path / "gathered").iterdir()] == ["other"]


def test_what_version_0_2_left_half_gathered_is_swept_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "gathered" / ".abcd1234.partial"
    (folder / "whole").mkdir(parents=True)
    (folder / "whole" / "a.png").write_bytes(b"half")
    Workspace(tmp_path).sweep()
    assert folder.exists()
    before = time.time() - MAX_LITTER_SECONDS - 60
    for path in (folder / "whole" / "a.png", folder / "whole", folder):
        os.utime(path, (before, before))
    Workspace(tmp_path).sweep()
    assert not folder.exists()


def test_what_is_no_network_is_told_in_a_line(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "drawing.png")
    (tmp_path / "notes.txt").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    for name, what in (
        ("drawing.png", r"a picture \(PNG\)"),
        ("notes.txt", "a file"),
        ("pipe", ""),
    ):
        with pytest.raises(AtelierError, match=f"{name}: is {what}") as caught:
            adopt(Adoption(sources=(str(tmp_path / name),)), tmp_path / "m")
        assert "\n" not in str(caught.value)


def test_a_training_image_that_became_a_pipe_is_damaged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    image = TrainingImage(
        name="a.png", file=tmp_path / "a.png", offset=0, length=9, style="x", width=1, height=1,
        mode="RGB", sha256=digest("a"),
    )  # fmt: skip
    with pytest.raises(AtelierError, match="a pipe"):
        image.read_bytes()


def test_weights_that_are_a_pipe_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(AtelierError, match=r"pipe\.pth.*a pipe"):
        load_network(tmp_path / "pipe.pth")
    for read in (import_pickle, _state_dict):
        with pytest.raises(OSError, match="a pipe"):
            read(tmp_path / "pipe.pth")


def test_every_result_is_met_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.results_store import create

    store = create(tmp_path)
    kept = {store.keep(make_iodt(seed), "run").id for seed in range(7)}
    sizes: list[int] = []
    page = store.page

    def small(query: ResultQuery, cursor: str | None = None) -> object:
        found = page(query.model_copy(update={"limit": 3}), cursor)
        sizes.append(len(found.results))
        return found

    monkeypatch.setattr(store, "page", small)
    assert {result.id for result in every_result(store, ResultQuery(run="run"))} == kept
    assert sizes == [3, 3, 1]
    assert list(every_result(store, ResultQuery(run="other"))) == []


def test_what_an_inspection_tells_does_not_say_where_things_lie(tmp_path: Path) -> None:
    paintings = tmp_path / "private" / "paintings"
    (paintings / "style").mkdir(parents=True)
    Image.effect_noise((40, 40), 90).save(paintings / "style" / "a.png")
    (paintings / "style" / "bad.png").write_bytes(b"no picture")
    for name in ("b", "c"):
        (paintings / "style" / f"{name}.png").write_bytes(
            (paintings / "style" / "a.png").read_bytes()
        )
    workspace = Workspace(tmp_path / "workspace")
    desk = Desk(workspace, {}, [paintings])
    offer = desk.places.catalogue.collections()[-1]
    queue = create_queue(workspace.root, ORDERS)
    job = queue.submit(InspectOrder(kind="inspect", collection=offer.id))
    told = _Told()
    desk(job, told)
    assert told.outcome["num_images"] == 3 and "bad.png" in str(told.outcome["lines"])
    assert str(tmp_path) not in str(told.outcome) + "".join(told.lines)
    for path in (paintings / "style").iterdir():
        path.unlink()
    with pytest.raises(AtelierError, match="paintings") as caught:
        desk(job, told)
    assert str(tmp_path) not in str(caught.value)


def test_a_report_holds_no_choices_of_which_there_may_be_thousands(tmp_path: Path) -> None:
    paintings = tmp_path / "paintings"
    paintings.mkdir()
    Image.effect_noise((40, 40), 90).save(paintings / "a.png")
    Image.effect_noise((40, 40), 60).save(paintings / "b.png")
    desk = Desk(Workspace(tmp_path / "workspace"), {}, [paintings])
    out = PictureChoice(is_excluded=True)
    chosen = {"a.png": out} | {f"gone-{number:05d}.png": out for number in range(20_000)}
    write_choices(choices_place(paintings), CollectionChoices(pictures=chosen))
    offer = desk.places.catalogue.collections()[-1]
    order = InspectOrder(kind="inspect", collection=offer.id)
    told = _Told()
    desk(Job(id=1, order=order, state="running", created_at=datetime.now(UTC)), told)
    assert told.outcome["num_images"] == 1
    assert len(str(told.outcome)) < 10_000


class _Told:
    """The port `interfaces.jobs.Control`, for one job that is carried out here."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.outcome: dict[str, object] = {}

    def report(self, event: object) -> None: ...
    def began(self, run: str) -> None: ...
    def kept(self, result_id: int) -> None: ...
    def recall(self, result_ids: object) -> None: ...

    def is_to_conclude(self) -> bool:
        return False

    def say(self, line: str) -> None:
        self.lines.append(line)

    warn = say

    def conclude(self, outcome: dict[str, object]) -> None:
        self.outcome = outcome


def test_places_are_cut_from_texts_and_nothing_else_is() -> None:
    places = [Path("/srv/w"), Path("/srv/w/deep"), Path("/")]
    assert without_places("/srv/w/deep/a.png: bad", places) == "a.png: bad"
    assert without_places("3/4 of /srv/w2/x", places) == "3/4 of /srv/w2/x"


def test_temporary_names_of_one_file_differ(tmp_path: Path) -> None:
    assert len({temporary_for(tmp_path / "a.png") for _ in range(50)}) == 50


def test_links_that_lead_nowhere_or_to_folders_are_named_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "round").symlink_to(folder)
    line = ["convert", str(folder), "--output", str(tmp_path / "out"), "--workspace", str(tmp_path)]
    assert main(line) == 3
    said = capsys.readouterr().err
    assert all(f"{name}: " in said for name in ("itself.png", "broken.png", "round"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
