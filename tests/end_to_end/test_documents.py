"""Truth of the documents: their snippets run, their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.cli import environment
from tests.end_to_end.test_rework import CYCLEGAN, model_in
from tests.helpers import REPOSITORY

SNIPPET = re.compile(r"<!-- test: (\S+) -->\s*```python\n(.*?)```", re.DOTALL)


def snippet(document: str, name: str) -> str:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    found = dict(SNIPPET.findall(text))
    lines = found[name].splitlines(keepends=True)
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "".join(line[indent:] if line.strip() else line for line in lines)


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code as in a project of one's own: another folder, the code in a file of its own."""
    (cwd / "script.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=cwd,
        env=environment() | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def painting(path: Path, side: int = 40) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(path)


@pytest.mark.slow
def test_the_readme_enlarges_a_picture(tmp_path: Path) -> None:
    painting(tmp_path / "painting.png")
    # No network here: without weights the enlarger takes its named resampler, and says so.
    done = run_python(snippet("README.md", "enlarge"), tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "painting-x4.webp") as image:
        assert image.size == (160, 160)


@pytest.mark.slow
def test_the_readme_trains_and_generates(tmp_path: Path) -> None:
    for number in range(20):
        style = tmp_path / "paintings" / str(number % 2)
        style.mkdir(parents=True, exist_ok=True)
        painting(style / f"{number}.png")
    done = run_python(snippet("README.md", "train"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(4, 3, 32, 32)"


def test_a_picture_is_turned_as_the_docs_say(tmp_path: Path) -> None:
    model_in(tmp_path / "turner", "cyclegan", **CYCLEGAN)
    painting(tmp_path / "photo.png", side=24)
    done = run_python(snippet("docs/families.md", "rework"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 3, 24, 24)\n"


@pytest.mark.slow
def test_the_replacement_in_the_docs_passes_the_contract_tests(tmp_path: Path) -> None:
    code = snippet("docs/adding-a-component.md", "replacement")
    (tmp_path / "your_module.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "atelier.contracts.plugin",  # as the wheel registers it; see test_wheel.py
            "--pyargs",
            "atelier.contracts",
            "--component=enhancement=your_module:create",
        ],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "document",
    ["README.md", *(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("docs/**/*.md"))],
)
def test_links_lead_somewhere(document: str) -> None:
    path = REPOSITORY / document
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        aim = path.parent / file if file else path
        assert aim.exists(), target
        if anchor:
            assert anchor in anchors(aim.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """Anchors of a document's headings, as GitHub names them."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.strip().replace(" ", "-") for each in words}


def test_the_ledger_names_each_familys_controls() -> None:
    from atelier.experiments.ledger.advice import controls
    from components.families import FAMILIES

    text = (REPOSITORY / "docs/ledger.md").read_text(encoding="utf-8")
    for name, family in FAMILIES.items():
        assert f"| {name} | {', '.join(controls(family))} |" in text


def test_commands_in_the_readme_exist() -> None:
    from atelier.commands import command_line
    from atelier.commands.helping import Help

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"pipeline\.py ([a-z]+)", text))
    assert {"run", "inspect", "generate", "enhance", "convert", "results"} <= verbs
    assert verbs <= set(command_line(Help()))
