"""No flag is taken and then passed over: what would change nothing is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest

from atelier.desk import Desk
from atelier.handlers import ORDERS
from atelier.workspace import Workspace
from interfaces.errors import AtelierError
from pipeline import main


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("interpolate --between 1,2 --count 3", "--count"),
        ("interpolate --between 1,2 --blend 0.3", "--blend"),
        ("search --total-images 64", "--total-images"),
        ("search --guardian off", "--guardian"),
        ("search --latent-dim 100", "train.options.latent_dim"),
        ("study sketch --conditioning none", "--conditioning"),
        ("generate --model shipped --blend 0.3", "generate.options.blend"),
        (
            "generate --model shipped --style-blend 0.3",
            "style_blend: has an effect only with towards_style",
        ),
        ("generate --model shipped --format avif --lossless", "lossless"),
        ("evaluate --inception-weights own.pth", "inception_weights: has an effect only"),
    ],
)
def test_what_would_change_nothing_is_refused(
    line: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line.split(), "--workspace", str(tmp_path)]) not in (0, None)
    said = capsys.readouterr()
    assert named in said.err + said.out
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    "line",
    [
        "inspect --data none",
        "preprocess --data none",
        "train --data none",
        "compare r3gan_64 --data none",
        "search --data none",
        "results list",
        "results show 1",
        "results open 1",
        "results doctor",
        "results move here",
        "models list",
        "evaluate --generated .",
    ],
)
def test_ray_is_refused_where_no_picture_is_made(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line.split(), "--ray", "--workspace", str(tmp_path)]) not in (0, None)
    assert "--ray" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "run",
        "generate --model shipped",
        "interpolate --model shipped --between 1,2",
        "enhance none.png",
        "convert none.png",
        "rework none.png --model shipped-sketch",
        "replay none.png",
        "evaluate --model shipped",
        "benchmark shipped",
        "study sketch",
        "ui --port 0",
        "worker",
    ],
)
def test_ray_is_taken_where_pictures_are_made(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    assert main([*line.split(), "--ray", "--workspace", str(tmp_path)]) == 1
    assert "Ray is not installed" in capsys.readouterr().err.splitlines()[-1]


ONLY_COMPONENTS = [
    "results list",
    "results show 1",
    "results show none.png",
    "results open 1",
    "results doctor",
    "results move here",
    "replay none.png",
    "ui --port 0",
    "worker",
]
"""Commands that take components from a preset, and nothing else."""


@pytest.mark.parametrize("line", ONLY_COMPONENTS)
def test_a_preset_is_refused_where_it_would_change_nothing(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*line.split(), "--preset", "papers/wgan_gp", "--workspace", str(tmp_path)]
    assert main(words) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: --preset papers/wgan_gp: sets [")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ONLY_COMPONENTS)
def test_components_of_a_preset_are_taken_there(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('[components]\nresults_store = "nowhere:make"\n')
    words = [*line.split(), "--preset", str(preset), "--workspace", str(tmp_path / "workspace")]
    assert main(words) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert ("none.png" if line == "results show none.png" else "nowhere") in said


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"convert": {"publish": True}}, "choices.convert"),
        ({"generate": {"count": 3}}, "choices.generate.count"),
        ({"generate": {"options": {"blend": 0.3}}}, "choices.generate.options.blend"),
    ],
)
def test_an_order_says_nothing_of_what_an_interpolation_decides(
    choices: dict[str, Any], named: str, tmp_path: Path
) -> None:
    order = {"kind": "interpolate", "model": "0" * 16, "between": "1,2", "choices": choices}
    with pytest.raises(AtelierError, match=f"^{named}: .*leave it out"):
        Desk(Workspace(tmp_path), {}).check(ORDERS.validate_python(order))
