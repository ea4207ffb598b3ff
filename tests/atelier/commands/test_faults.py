"""Messages of commands about wrong flags and unwritable places: one line that says what to do."""

import os
from pathlib import Path

import pytest
from PIL import Image

from atelier.commands.faults import exit_code_of
from interfaces.errors import AtelierError
from pipeline import main


@pytest.mark.parametrize("flag", ["--output", "--workspace"])
def test_an_empty_value_is_no_path(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "pictures", flag, ""]) == 2
    assert capsys.readouterr().err.startswith(f"error: {flag}: an empty value follows")


def test_an_empty_variable_is_no_workspace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATELIER_WORKSPACE", "")
    assert main(["results", "list"]) == 2
    assert "ATELIER_WORKSPACE: is empty" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--output", "--workspace"])
def test_a_file_is_no_folder_to_write_into(
    flag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "taken").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "a.png", flag, "taken"]) == 1
    assert "a file is where a folder is needed" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe\0", b"[" * 100_000, b"{}", b"", b'{"verb": 3}'], ids=range(5)
)
def test_one_damaged_file_of_a_workspace_stops_nothing(
    damage: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("default-model.txt", "models/mine/model.json", "runs/0001-a/run.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(damage)
    for words in (["models", "list"], ["status"], ["results", "list"]):
        assert main([*words, "--workspace", str(tmp_path)]) == 0
    assert main(["run", "--resume", "--workspace", str(tmp_path)]) == 1
    assert "run.json is damaged" in capsys.readouterr().err


def test_a_home_that_nobody_has_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", "~nobody of that name/a.png", "--workspace", str(tmp_path)]
    assert main(words) == 1
    assert "no home folder is known for ~nobody of that name" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the folder that a program is in")
def test_a_folder_that_was_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert exit_code_of(lambda: Path("a").absolute(), []) == 1
    assert "the current folder, which was removed" in capsys.readouterr().err


@pytest.mark.parametrize("error", [AtelierError, OSError])
def test_a_name_commands_no_terminal(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error("\x1b[31m.png\nerror: all is lost")

    assert exit_code_of(work, []) == 1
    said = capsys.readouterr().err
    assert said.endswith("\\x1b[31m.png\\nerror: all is lost\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("verb", ["generate", "run"])
def test_a_drawing_that_is_not_there_is_named_before_anything_is_begun(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--workspace", str(tmp_path))
    assert main([verb, "--sketch", str(tmp_path / "lost.png"), *place]) == 1
    assert "lost.png: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_what_was_made_of_a_folder_is_not_taken_for_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), "red" if name == "a.png" else "blue").save(name)
    for _ in range(2):
        assert main(["convert", ".", "--format", "webp", "--no-sign"]) == 0
        assert sorted(path.stem for path in tmp_path.rglob("*.webp")) == ["a", "b"]
