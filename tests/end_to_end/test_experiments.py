"""Uses of models besides generating: measuring, comparing, searching, going on from one.

Commands run in this process, which waits for torch once; a search in one of its own.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from components.common.durable import sha256_of
from components.conversion import read_record
from interfaces.igme import IGME
from interfaces.measurement import Measurement
from tests.end_to_end.cli import atelier, here, one_line
from tests.helpers import REPOSITORY

Done = subprocess.CompletedProcess[str]

STYLES = ("day", "night")
SIDE, GAP = 16, 4

R3GAN = (
    "--family=r3gan",
    "--train.options.batch-size=8",
    "--channels=16",
    "--max-channels=16",
    "--learning-rate=2e-3",
)
BRIEF = (
    "--measure-images=120",
    "--measure-count=32",
    "--measure-features=embedded",  # the quick ones
    "--guardian-images=120",
)
SMALL = (
    "--train.options.batch-size=8",
    "--generator-channels=4",
    "--discriminator-channels=4",
    "--precision=float32",
)
PLAIN = ("--enhancer=lanczos", "--scale=1")


def succeeds(*arguments: str | Path) -> Done:
    done = here(*arguments, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    return done


def fails(*arguments: str | Path) -> str:
    """The one line that says why."""
    done = here(*arguments, cwd=Path.cwd())
    assert done.returncode == 1, done.stderr
    return one_line(done)


def paint(folder: Path, styles: tuple[str, ...], count: int, seed: int) -> Path:
    """Smooth pictures, each style with colours of its own."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        place = number % len(styles)
        low = 128 * place // len(styles)
        coarse = rng.integers(low, low + 128, (4, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((24, 20), Image.Resampling.BICUBIC)
        path = folder / styles[place] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return folder


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of art, and beside it a workspace with a small R3GAN that learnt from it."""
    folder = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATELIER_CACHE", str(folder / "cache"))
        paint(folder / "art", STYLES, 64, seed=0)
        chosen = (*R3GAN, *BRIEF, "--resolution=16", "--total-images=240")
        succeeds("train", "--data", folder / "art", *chosen, "--workspace", folder / "workspace")
    return folder


@pytest.fixture
def model(studio: Path) -> IGME:
    (folder,) = (studio / "workspace" / "runs").glob("0001-*/training/model")
    return IGME.open(folder)


@pytest.fixture
def ask(studio: Path) -> Callable[..., Done]:
    """A command in the studio's workspace that works."""
    return lambda *arguments: succeeds(*arguments, "--workspace", studio / "workspace")


# ---------------------------------------------------------------- evaluate


def evaluation(studio: Path, against: str) -> Path:
    (folder,) = (studio / "workspace" / "evaluations").glob(f"*-embedded-{against}")
    return folder


@pytest.mark.parametrize("against", ["training", pytest.param("held-out", marks=pytest.mark.slow)])
def test_a_model_is_measured(
    against: str, studio: Path, model: IGME, ask: Callable[..., Done]
) -> None:
    chosen = ("--model", model.directory, "--count=40", f"--against={against}")
    done = ask("evaluate", "--data", studio / "art", *chosen)
    for name in ("Fréchet distance (embedded)", "KID", "precision", "recall"):
        (line,) = (line for line in done.stderr.splitlines() if line.startswith(name))
        assert "40 generated" in line
        assert f"real {against})" in line
    folder = evaluation(studio, against)
    assert str(folder) in done.stderr
    written = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert written["model_digest"] == model.digest
    found = [Measurement.model_validate(fields) for fields in written["measurements"]]
    assert all(measurement.line() in done.stderr for measurement in found)
    in_all = 64 - found[0].num_real
    assert in_all == (
        64 - sum(model.style_counts) if against == "training" else sum(model.style_counts)
    )
    with Image.open(folder / "nearest.png") as sheet:
        assert sheet.size == (4 * (256 + GAP) + GAP, 6 * (128 + GAP) + GAP)


def test_measured_twice_it_says_the_same(
    studio: Path, model: IGME, ask: Callable[..., Done]
) -> None:
    chosen = ("evaluate", "--data", studio / "art", "--model", model.directory, "--count=24")
    lines = [
        [line for line in ask(*chosen, "--against=all").stderr.splitlines() if "generated," in line]
        for _ in range(2)
    ]
    assert lines[0] == lines[1] != []


def test_a_folder_of_pictures_is_measured_without_a_model(studio: Path, tmp_path: Path) -> None:
    made = paint(tmp_path / "made", STYLES, 24, seed=5)
    place = ("--resolution=16", "--workspace", tmp_path / "workspace")
    done = succeeds("evaluate", "--generated", made, "--data", studio / "art", *place)
    (path,) = (tmp_path / "workspace" / "evaluations").glob("*-embedded-all/evaluation.json")
    assert str(path.parent) in done.stderr
    written = json.loads(path.read_text(encoding="utf-8"))
    found = [Measurement.model_validate(fields) for fields in written["measurements"]]
    assert {(one.num_generated, one.num_real) for one in found} == {(24, 64)}
    assert all(one.line() in done.stderr for one in found)
    for message, arguments in {
        "--model and --generated name two things": ("--model=shipped",),
        "evaluate.against: all pictures of --generated are measured": ("--against=held-out",),
        "evaluate.count: all pictures of --generated are measured": ("--count=8",),
    }.items():
        command = ("evaluate", "--generated", made, "--data", studio / "art", *place, *arguments)
        assert message in fails(*command)


def test_what_cannot_be_measured_is_one_clear_line(
    studio: Path, model: IGME, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for proxy in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    place = ("--workspace", studio / "workspace")
    art, known = ("--data", studio / "art"), ("--model", model.directory)
    other = paint(tmp_path / "other", ("dawn", "dusk"), 12, seed=9)
    for message, arguments in {
        "nowhere: no model here": (*art, "--model=nowhere"),
        "count": (*art, *known, "--count=3"),
        "evaluate: against": (*art, *known, "--against=others"),
        "at 32 pixels, the model makes 16": (*art, *known, "--resolution=32"),
        "no style in common": ("--data", other, *known, "--count=8"),
        "cannot download": (*art, *known, "--count=8", "--features=inception"),
        "nowhere.pth: cannot read the inception weights": (
            *(*art, *known, "--count=8", "--features=inception"),
            "--inception-weights=nowhere.pth",
        ),
    }.items():
        assert message in fails("evaluate", *arguments, *place)


# ---------------------------------------------------------------- interpolate and generate


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def generated(ask: Callable[..., Done], model: IGME, *asked: str) -> list[Path]:
    """The files of one request, in order."""
    done = ask("generate", "--model", model.directory, *PLAIN, *asked)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("images:"))
    return sorted(Path(line.partition(" in ")[2]).glob("*.png"))


def between(studio: Path, file_format: str) -> tuple[Path, Path]:
    (moving,) = (studio / "workspace" / "interpolations").glob(f"*-3-7-??????.{file_format}")
    return moving, moving.with_name(f"{moving.stem}-frames.png")


@pytest.mark.parametrize("file_format", ["webp", "gif"])
def test_from_one_seed_to_another(
    file_format: str, studio: Path, model: IGME, ask: Callable[..., Done]
) -> None:
    chosen = ("--between=3,7", "--frames=4", f"--format={file_format}", *PLAIN)
    done = ask("interpolate", "--model", model.directory, *chosen)
    moving, sheet = between(studio, file_format)
    assert str(moving) in done.stderr
    assert str(sheet) in done.stderr

    ends = [picture(path) for path in generated(ask, model, "--seeds=3,7")]
    strip = picture(sheet)
    assert strip.shape == (2 * (SIDE + GAP) + GAP, 4 * (SIDE + GAP) + GAP, 3)
    tiles = [
        strip[top : top + SIDE, left : left + SIDE]
        for top in (GAP, SIDE + 2 * GAP)
        for left in range(GAP, 4 * (SIDE + GAP), SIDE + GAP)
    ][:5]
    np.testing.assert_array_equal(tiles[0], ends[0])
    np.testing.assert_array_equal(tiles[4], ends[1])
    # On the way it leaves the one and comes to the other.
    away, towards = ([np.abs(tile - end).mean() for tile in tiles] for end in ends)
    assert away == sorted(away)
    assert towards == sorted(towards, reverse=True)
    assert away[1] > 0

    with Image.open(moving) as image:
        assert image.n_frames == 5
        shown = [
            np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)
        ]
    assert all(np.abs(one - tile).mean() < 10 for one, tile in zip(shown, tiles, strict=True))
    origin = read_record(sheet).origin
    assert origin.kind == "generated"
    assert origin.seed == 3
    assert origin.options["towards_seed"] == 7


def test_a_way_between_styles_does_not_jump(
    studio: Path, model: IGME, ask: Callable[..., Done]
) -> None:
    """Seeds that nobody asked a style for have their own: it changes on the way, not at its end."""
    ask("interpolate", "--model", model.directory, "--between=4,5", "--frames=8", *PLAIN)
    (sheet,) = (studio / "workspace" / "interpolations").glob("*-4-5-??????-frames.png")
    strip = picture(sheet)
    row = [strip[GAP : GAP + SIDE, left : left + SIDE] for left in range(GAP, 160, SIDE + GAP)][:8]
    row.append(strip[SIDE + 2 * GAP : 2 * (SIDE + GAP), GAP : GAP + SIDE])
    steps = [np.abs(one - other).mean() for one, other in pairwise(row)]
    assert steps[-1] < 3 * max(steps[:-1])


@pytest.mark.parametrize(
    "asked",
    [
        ("--between=3",),
        ("--between=3,3",),
        ("--between=3,7", "--frames=0"),
        ("--between=3,7", "--frames-per-second=0"),
    ],
)
def test_a_way_with_one_end_is_one_clear_line(
    asked: tuple[str, ...], studio: Path, model: IGME
) -> None:
    place = ("--model", model.directory, "--workspace", studio / "workspace")
    assert "two seeds or more" in fails("interpolate", *asked, *place)


def test_two_styles_are_mixed_and_the_record_says_so(
    studio: Path, model: IGME, ask: Callable[..., Done]
) -> None:
    one, other = ("--style=day",), ("--style=night",)
    mixed = ("--style=day", "--towards-style=night", "--style-blend=0.3")
    (path,) = generated(ask, model, "--seeds=5", *mixed)
    origin = read_record(path).origin
    assert origin.kind == "generated"
    assert (origin.style, origin.towards_style, origin.style_blend) == ("day", "night", 0.3)
    at = {
        name: picture(generated(ask, model, "--seeds=5", *asked)[0])
        for name, asked in {
            "day": one,
            "night": other,
            "at 0": (*mixed[:2], "--style-blend=0"),
            "at 1": (*mixed[:2], "--style-blend=1"),
        }.items()
    }
    np.testing.assert_array_equal(at["at 0"], at["day"])
    np.testing.assert_array_equal(at["at 1"], at["night"])
    assert (at["day"] != at["night"]).any()
    blend, here, there = picture(path), at["day"], at["night"]
    assert 0 < np.abs(blend - here).mean() < np.abs(blend - there).mean()
    place = ("--model", model.directory, "--workspace", studio / "workspace")
    assert "towards_style" in fails("generate", "--towards-style=night", *place)
    assert "noon" in fails("generate", *one, "--towards-style=noon", *place)


def test_the_record_tells_how_original_a_picture_is(
    studio: Path, model: IGME, ask: Callable[..., Done]
) -> None:
    (path,) = generated(ask, model, "--seeds=11")
    shown = json.loads(ask("results", "show", "--json", path).stdout)["origin"]
    assert shown["originality"] > 0
    assert shown["dataset_digest"] == model.dataset_digest
    files = {sha256_of(path) for path in (studio / "art").rglob("*.png")}
    assert shown["nearest_sha256"] in files
    (plain,) = generated(ask, model, "--seeds=11", "--no-originality")
    assert (
        json.loads(ask("results", "show", "--json", plain).stdout)["origin"]["originality"] is None
    )
    np.testing.assert_array_equal(picture(plain), picture(path))


# ---------------------------------------------------------------- train --from


def test_a_training_goes_on_from_a_model_with_other_styles(
    studio: Path, model: IGME, tmp_path: Path
) -> None:
    """Family, networks and resolution are the model's; the styles are the new collection's."""
    other = paint(tmp_path / "other", ("dusk", "night"), 24, seed=1)
    place = ("--workspace", tmp_path / "workspace", "--data", other)
    brief = ("--total-images=16", "--measure-images=0", "--measure-count=16")
    succeeds("train", "--from", model.directory, *brief, *place)
    (run,) = (tmp_path / "workspace" / "runs").iterdir()
    followed = IGME.open(run / "training" / "model")
    assert (followed.family, followed.resolution) == ("r3gan", SIDE)
    assert followed.styles == ("dusk", "night")
    networks = ("latent_dim", "channels", "max_channels", "blocks", "batch_size")
    assert [followed.config[n] for n in networks] == [model.config[n] for n in networks]
    saved = json.loads((run / "training" / "settings.json").read_text())
    assert saved["start_from"] == model.digest

    longer = ("--total-images=32", "--workspace", tmp_path / "workspace")
    succeeds("train", "--resume", *longer)
    assert IGME.open(run / "training" / "model").images_seen == 32
    refusal = fails("train", "--resume", "--from=none", *longer)
    assert "start_from" in refusal

    alone = (*R3GAN, *brief, "--resolution=16", "--from=none")
    succeeds("train", *alone, *place)
    (second,) = (tmp_path / "workspace" / "runs").glob("0002-*")
    assert json.loads((second / "training" / "settings.json").read_text())["start_from"] is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--family=dcgan", *SMALL, "--resolution=16"), "is a r3gan model; leave family out"),
        (("--resolution=32",), "makes pictures of 16 pixels"),
        (("--latent-dim=9", "--resolution=16"), "another shape"),
    ],
)
def test_a_model_that_does_not_fit_is_one_clear_line(
    asked: tuple[str, ...], message: str, studio: Path, model: IGME, tmp_path: Path
) -> None:
    chosen = ("--data", studio / "art", "--total-images=16")
    place = ("--workspace", tmp_path / "workspace")
    assert message in fails("train", "--from", model.directory, *chosen, *asked, *place)


def test_a_start_that_cannot_be_leaves_no_run_behind(
    studio: Path, model: IGME, tmp_path: Path
) -> None:
    """A later --resume would take it up."""
    chosen = ("--data", studio / "art", "--resolution=16", "--total-images=16")
    place = ("--workspace", tmp_path / "workspace")
    assert "no model here" in fails("train", "--from=nowhere", *chosen, *place)
    fails("train", "--from", model.directory, "--family=dcgan", *SMALL, *chosen, *place)
    assert not list(tmp_path.glob("workspace/runs/*"))


# ---------------------------------------------------------------- compare


PRESET = """
[train]
family = "{family}"
total_seconds = 5000

[train.options]
batch_size = 8
generator_channels = 4
discriminator_channels = 4
"""


@pytest.mark.slow
def test_presets_are_compared_under_one_budget_and_never_twice(
    studio: Path, tmp_path: Path
) -> None:
    presets = []
    for name, family in (("plain", "dcgan"), ("critic", "wgan_gp")):
        presets.append(tmp_path / f"{name}.toml")
        presets[-1].write_text(PRESET.format(family=family))
    chosen = ("--data", studio / "art", "--resolution=16", "--total-images=64", *BRIEF)
    command = ("compare", *presets, *chosen, "--workspace", tmp_path / "workspace")
    first = succeeds(*command)
    folder = tmp_path / "workspace" / "comparisons" / "art"
    table = (folder / "table3.md").read_text(encoding="utf-8")
    assert "|  | plain | critic |" in table
    assert "| family | dcgan | wgan_gp |" in table
    assert "| images seen | 64 | 64 |" in table
    assert "| outcome | finished | finished |" in table
    assert "Budget: 64 images for each." in table
    assert "| images seen | 64 | 64 |" in first.stderr  # said too
    for name in ("table3.csv", "table3.json", "fig3.png", "fig4.png", "distance.png"):
        assert (folder / name).stat().st_size > 0

    before = {name: IGME.open(folder / name / "training" / "model") for name in ("plain", "critic")}
    assert "train plain" in first.stderr
    again = succeeds(*command)
    assert "train plain" not in again.stderr
    assert "train critic" not in again.stderr
    for name, model in before.items():
        assert IGME.open(folder / name / "training" / "model").digest == model.digest
    rows = json.loads((folder / "table3.json").read_text(encoding="utf-8"))["rows"]
    assert [row["images_seen"] for row in rows] == [64, 64]


def test_a_preset_that_is_not_there_is_one_clear_line(studio: Path, tmp_path: Path) -> None:
    place = ("--data", studio / "art", "--workspace", tmp_path / "workspace")
    assert "nowhere.toml" in fails("compare", tmp_path / "nowhere.toml", *place)


# ---------------------------------------------------------------- search


@pytest.mark.slow
def test_a_search_ends_with_a_preset_that_trains(studio: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    chosen = (
        *("--data", studio / "art", "--resolution=16", "--measure-count=16"),
        *("--measure-features=embedded", *SMALL[1:]),
        *("--search.total-seconds=60", "--search.trial-images=256"),
    )
    done = atelier("search", *chosen, cwd=tmp_path, timeout=180)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "workspace" / "searches" / "art"
    assert str(folder) in done.stderr
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert report.splitlines()[0] in done.stderr
    for name in ("study.db", "best.toml"):
        assert (folder / name).stat().st_size > 0
    brief = ("--data", studio / "art", "--total-images=64", "--measure-images=0")
    place = ("--workspace", tmp_path / "second")
    succeeds("train", "--preset", folder / "best.toml", *brief, *place)
    (found,) = (tmp_path / "second" / "runs").glob("*/training/model")
    opened = IGME.open(found)
    assert opened.images_seen >= 64
    assert opened.config["generator_channels"] == 4
    assert opened.resolution == SIDE


@pytest.mark.slow
def test_a_search_without_time_ends_at_once_and_says_so(studio: Path, tmp_path: Path) -> None:
    """The search takes the lock of its folder once: it does not wait for itself."""
    pytest.importorskip("optuna")
    chosen = ("--data", studio / "art", "--resolution=16", *SMALL[1:])
    brief = ("--search.total-seconds=0.001", "--measure-count=16", "--measure-features=embedded")
    done = atelier("search", *chosen, *brief, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "workspace" / "searches" / "art"
    assert (folder / "report.md").read_text(encoding="utf-8").splitlines()[0] in done.stderr
    assert not (folder / "best.toml").exists()


def test_a_search_of_what_is_no_part_of_table_2_is_one_clear_line(
    studio: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    place = ("--data", studio / "art", "--workspace", tmp_path / "workspace")
    assert "explores Table 2" in fails("search", "--resolution=16", "--family=r3gan", *place)


# ---------------------------------------------------------------- the ledger


@pytest.mark.slow
def test_the_ledger_of_a_model_and_an_enlarger(tmp_path: Path) -> None:
    """Two models of one folder's name are told apart by where they are."""
    shipped = REPOSITORY / "components" / "common" / "shipped" / "paintings"
    for place in ("one", "other"):
        shutil.copytree(shipped, tmp_path / place / "mine")
    models = (shipped, tmp_path / "one" / "mine", tmp_path / "other" / "mine")
    asked = ("--enlarger=embedded", "--images=2", "--max-batch=1")
    done = atelier("benchmark", *models, *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "workspace" / "benchmarks" / "ledger"
    rows = json.loads((folder / "ledger.json").read_text())["rows"]
    names = [row["name"] for row in rows]
    assert names == ["paintings", *map(str, models[1:]), "embedded"]
    assert all(len(row["seconds"]) == 2 for row in rows)
    assert "For speed: " in (folder / "ledger.md").read_text()
