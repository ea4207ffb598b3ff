"""Help: short first, whole on demand, and at once."""

import re
import subprocess
import sys

import pytest
from pydantic import BaseModel

from atelier.adoption import Adoption
from atelier.commands import command_line
from atelier.commands.helping import Help, split_help
from interfaces.experiments import SketchStudySettings
from interfaces.iodt import ResultQuery
from pipeline import main
from tests.helpers import REPOSITORY

MAX_LINES = 60
"""Most lines of a command's short help at 100 columns."""


def commands() -> list[list[str]]:
    """Every command as it is typed, those of a family of commands too."""
    app = command_line(Help())
    typed: list[list[str]] = []
    for name in app:
        if name.startswith("-"):
            continue
        inner = [other for other in app[name] if not other.startswith("-")]
        typed += [[name, other] for other in inner] or [[name]]
    return typed


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_help_is_short_names_its_sections_and_explains_every_argument(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= MAX_LINES
    assert main([*command, "--help", "--all"]) == 0
    whole = capsys.readouterr().out
    assert short.count("--") <= whole.count("--") + short.count("--help")
    assert ("--help --all" in short) == (whole.count("╭") > short.count("╭"))
    assert " STR" not in whole
    usage, _, panels = short.partition("╭")
    words = re.findall(r"\b[A-Z][A-Z-]+\b", usage.partition("\n")[0])
    asked = set(words) - {"OPTIONS", "ARGS"}
    assert asked <= set(re.findall(r"[A-Z][A-Z-]+", panels))


@pytest.mark.parametrize(
    "model,name,text,kept",
    [
        (ResultQuery, "numbers", "3, 5", (3, 5)),
        (ResultQuery, "numbers", "3", (3,)),
        (SketchStudySettings, "intensities", "0,15", (0, 15)),
        (SketchStudySettings, "radii", "2,7.5,7", (2.0, 7.5, 7.0)),
        (SketchStudySettings, "sketch_guidances", "1", (1.0,)),
        (Adoption, "styles", "sea, night", ("sea", "night")),
    ],
)
def test_a_list_is_read_from_a_flags_text(
    model: type[BaseModel], name: str, text: str, kept: tuple[object, ...]
) -> None:
    sources = {"sources": ("a.pkl",)} if model is Adoption else {}
    assert getattr(model.model_validate({name: text} | sources), name) == kept


def test_one_section_and_none_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--help", "enhance"]) == 0
    shown = capsys.readouterr().out
    assert "--tile-pixels N" in shown and "--truncation" not in shown
    assert main(["generate", "--help", "train"]) == 1
    assert "no such section; there are generate, enhance" in capsys.readouterr().err


def test_types_choices_and_bounds_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    main(["generate", "--help"])
    shown = capsys.readouterr().out
    for said in ("--scale 1|4|16", "--sketch PATH", "--format png|jpeg|webp", "1 to 1000000"):
        assert said in shown
    assert "9223372036854775807" not in shown


def test_help_is_asked_for_before_a_double_dash_only() -> None:
    assert split_help(["enhance", "a.png", "--help", "--all"]) == (["enhance", "a.png"], ["--all"])
    assert split_help(["enhance", "--", "-h"]) == (["enhance", "--", "-h"], None)


def test_the_first_help_imports_no_model_of_settings() -> None:
    code = (
        "import sys, pipeline\n"
        "assert pipeline.main(['--help']) == 0\n"
        "assert not {'pydantic', 'numpy', 'torch', 'rich.markdown'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
    )
