"""`results` on the command line: names that are safe to print, and an index that is lost."""

import json
import re
from pathlib import Path

import pytest

from components.conversion import create as create_converter
from components.results_store import create
from interfaces.ics import ICS
from pipeline import main
from tests.helpers import make_file_origin, make_iedt, make_iodt


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
    assert len(lines) == 1 + 3 and "\x1b" not in listed
    assert r"a\nerror: b.png" in lines[3] and "mon été.png" in lines[1]


def test_what_a_limit_leaves_out_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, "a.png", "b.png", "c.png")
    for limit, told in ((2, "there are more than these 2; --limit lists more"), (3, "")):
        assert main(["results", "list", "--limit", str(limit), "--workspace", str(tmp_path)]) == 0
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == 1 + limit
        assert said.err.strip() == told


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


def made(workspace: Path, **changes: object) -> None:
    """Keep one result that a model made."""
    image = make_iodt()
    origin = image.record.origin.model_copy(update=changes)
    record = image.record.model_copy(update={"origin": origin, "drift": 0.7})
    run = f"0001-dcgan-{origin.seed}"
    create(workspace).keep(image.model_copy(update={"record": record}), run)


def test_the_list_says_style_date_and_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path)
    made(tmp_path, style=None, seed=8)
    _, listed, _ = ask(capsys, tmp_path, "list")
    heading, newest, oldest = listed.splitlines()
    assert heading.split() == ["no.", "made", "on", "style", "size", "made", "by", "file"]
    assert "waves" in oldest and "dcgan, seed 0" in oldest and "—" not in newest
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d", newest)
    assert newest.index("dcgan") == oldest.index("dcgan")


def test_a_result_is_shown_in_words_and_as_json_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, originality=0.3)
    where = ["--workspace", str(tmp_path)]
    assert main(["results", "show", "1", *where]) == 0
    shown = capsys.readouterr().out
    assert "{" not in shown and "None" not in shown and "False" not in shown
    assert "perhaps a copy: compare the two (originality 0.30; 0 is a copy)" in shown
    assert "hardly any by enlarging (0.7 of 255 levels" in shown
    assert main(["results", "show", "1", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["record"]["origin"]["originality"] == 0.3
