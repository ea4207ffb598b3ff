"""Rule that import-linter cannot check: `pipeline.py`, a module, must use doors only."""

import ast
import subprocess
import sys

from tests.helpers import REPOSITORY


def test_the_pipeline_reaches_behind_no_door() -> None:
    tree = ast.parse((REPOSITORY / "pipeline.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name and name.startswith("components.")}
    assert not {name for name in ours if name.count(".") > 1 and ".common." not in name}


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys, pipeline\n"
        "for command in ([], ['run'], ['generate'], ['enhance'], ['results', 'list']):\n"
        "    assert pipeline.main([*command, '--help']) == 0\n"
        "assert not {'torch', 'cv2', 'scipy', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
    )


def test_doors_do_not_wait_for_torch() -> None:
    doors = sorted(p.parent.name for p in (REPOSITORY / "components").glob("*/__init__.py"))
    rooms = [
        *(f"components.{door}" for door in doors),
        "atelier.desk",
        "atelier.server",
        "atelier.jobs",
    ]
    code = "import sys\n" + "".join(f"import {room}\n" for room in rooms)
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
