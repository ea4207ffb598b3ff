"""`results` on the command line: names that are safe to print, and an index that is lost."""

from pathlib import Path

import pytest

from components.conversion import create as create_converter
from components.results_store import create
from interfaces.ics import ICS
from pipeline import main
from tests.helpers import make_file_origin, make_iedt


def keep(workspace: Path, *names: str) -> None:
    store = create(workspace)
    for seed, name in enumerate(names):
        batch = make_iedt(1, 8, seed).model_copy(update={"origins": (make_file_origin(name),)})
        for image in create_converter(workspace).convert([batch], ICS()):
            store.keep(image, "")


def ask(capsys: pytest.CaptureFixture[str], workspace: Path, verb: str) -> tuple[int, str, str]:
    code = main(["results", verb, "--workspace", str(workspace)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_names_are_listed_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(tmp_path, "a\nerror: b.png", "\x1b[31mred.png", "mon été.png")
    code, listed, _ = ask(capsys, tmp_path, "list")
    assert code == 0
    lines = listed.splitlines()
    assert len(lines) == 3 and "\x1b" not in listed
    assert r"a\nerror: b.png" in lines[2] and "mon été.png" in lines[0]


def test_the_doctor_mends_an_emptied_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, "a.png", "b.png")
    _, before, _ = ask(capsys, tmp_path, "list")
    (tmp_path / "results" / "results.sqlite").write_bytes(b"")
    (tmp_path / "results" / "loose" / "notes.txt").write_text("mine")
    code, listed, refusal = ask(capsys, tmp_path, "list")
    assert (code, listed) == (1, "")
    assert "results.sqlite: is empty; `results doctor`" in refusal
    code, report, _ = ask(capsys, tmp_path, "doctor")
    assert code == 0
    assert "listed: 2 results" in report and "loose/notes.txt" in report
    assert ask(capsys, tmp_path, "list")[:2] == (0, before)
