"""`pipeline.py` without a command: what is here, and what to do next."""

import sys
from pathlib import Path

import pytest

from atelier.handlers import ORDERS, InspectOrder
from atelier.jobs import create as create_queue
from atelier.runs import Run
from atelier.workspace import Workspace
from components.results_store import create as create_store
from pipeline import main
from settings import load_preset, resolve
from tests.atelier.commands.test_models import run as add_run
from tests.helpers import make_iodt


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["somewhere/pipeline.py"])
    return tmp_path / "workspace"


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """Overview of what is there, and the commands that are proposed."""
    assert main([]) == 0
    found, _, steps = capsys.readouterr().out.partition("\nNext:\n")
    lines = [line.split("  ")[1] for line in steps.splitlines()]
    assert all(line.startswith("python pipeline.py ") for line in lines)  # to be copied as they are
    return found, [line.removeprefix("python pipeline.py ") for line in lines]


def test_an_empty_folder_stays_empty(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, steps = said(capsys)
    assert "none of yours yet" in found and "pictures   none yet" in found
    assert steps[0] == "generate" and "run --data FOLDER" in steps
    assert not here.exists()


def test_a_stopped_training_is_gone_on_with_first(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = resolve(load_preset("default"))
    started = Run.begin(Workspace(here), "train", chosen, "r3gan-mine")
    found, steps = said(capsys)
    assert "the training 0001-r3gan-mine" in found
    assert steps[0] == "train --resume"
    started.finish()
    found, steps = said(capsys)
    assert "unfinished" not in found and steps[0] == "generate"


def test_models_and_pictures_are_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(Workspace(here), "0001-r3gan-mine", "mine")
    create_store(here).keep(make_iodt(), "0001-r3gan-mine")
    found, steps = said(capsys)
    assert "models     0001-r3gan-mine" in found and "pictures   1" in found
    assert steps[:3] == ["results list", "generate", "models use 0001-r3gan-mine"]


def test_waiting_jobs_lead_to_the_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = create_queue(here, ORDERS)
    queue.submit(InspectOrder(kind="inspect", collection="embedded"))
    found, steps = said(capsys)
    assert "1 waiting, 0 running" in found and steps[0] == "ui"


def test_another_workspace_is_named_in_what_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--workspace", str(tmp_path)]) == 0
    assert f"generate --workspace {tmp_path}" in capsys.readouterr().out
