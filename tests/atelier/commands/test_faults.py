"""What was typed wrongly, or cannot be written to, is one line that says what to do."""

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
