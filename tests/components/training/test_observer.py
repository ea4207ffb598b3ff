"""A training's view of itself: measurements, coverage, the nearest, and no trace of watching."""

import csv
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from components.common.checkpoints import load_weights
from components.common.images import float_to_pixels
from components.families import FAMILIES
from components.families.paper002 import method as paper002
from components.families.port import Request, Shape
from components.metrics import FeatureNetwork, Neighbours, load_features
from components.training import TrainingFolder, create, observer, report
from interfaces.igme import IGME, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.measurement import Features, Measurement
from interfaces.progress import silent
from tests.components.families.test_every_family import TINY
from tests.helpers import digest, tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")

COUNT = 64
"""Pictures of a measurement."""


def settings(**changes: Any) -> TrainingSettings:
    family = changes.get("family", "r3gan")
    chosen = {
        "family": family,
        "options": TINY[family],
        "total_images": 100,
        "measure_images": 0,
        "measure_count": COUNT,
        "guardian": "off",
        # Each test has a cache of its own, and would measure the quicker arithmetic anew.
        "precision": "float32",
    }
    return TrainingSettings.model_validate(chosen | changes)


def learn(tmp_path: Path, prepared: IPDT, name: str = "run", **changes: Any) -> IGME:
    return create(tmp_path).train(prepared, settings(**changes), tmp_path / name, silent)


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(report: str) -> dict[str, list[str]]:
    """The report's table of styles: its cells by style."""
    styles = report.partition("## Originality")[0]
    lines = [line.strip("| ").split(" | ") for line in styles.splitlines() if line[:1] == "|"]
    return {name: cells for name, *cells in lines[2:]}


# ---------------------------------------------------------------- one training, watched


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def prepared(folder: Path) -> IPDT:
    return tiny_prepared(folder / "set", n=60)


@pytest.fixture(scope="module")
def model(folder: Path, prepared: IPDT) -> IGME:
    """Measured after every 40 of 100 images, and at the end."""
    return learn(folder, prepared, measure_images=40)


def test_it_is_measured_as_often_as_was_asked_and_at_the_end(model: IGME, folder: Path) -> None:
    rows = json_rows(folder / "run" / "measurements.jsonl")
    assert [row["images_seen"] for row in rows] == [40, 80, 100]
    assert all(earlier["seconds"] <= later["seconds"] for earlier, later in pairwise(rows))
    assert tuple(map(Measurement.model_validate, rows[-1]["measurements"])) == model.measurements


def test_every_figure_says_what_it_rests_on(model: IGME, folder: Path, prepared: IPDT) -> None:
    training, held_out = prepared.split(settings().held_out_fraction)
    assert 0 < len(held_out) < len(training)
    for row in json_rows(folder / "run" / "measurements.jsonl"):
        found = [Measurement.model_validate(fields) for fields in row["measurements"]]
        assert [m.metric for m in found] == ["frechet", "kid", "precision", "recall"]
        for measurement in found:
            assert measurement.low <= measurement.value <= measurement.high
            assert measurement.num_generated == COUNT
            assert measurement.num_real == len(training)
            assert measurement.against == "training"
            assert measurement.dataset_digest == prepared.digest
            assert measurement.features == "embedded"
        assert all(0 <= m.value <= 1 for m in found if m.metric in ("precision", "recall"))


def test_measurements_and_their_marks_survive_a_stop(
    model: IGME, folder: Path, prepared: IPDT
) -> None:
    learn(folder, prepared, "stopped", measure_images=40, total_images=60)
    learn(folder, prepared, "stopped", measure_images=40)
    straight, stopped = (
        {row["images_seen"]: row["measurements"] for row in json_rows(path)}
        for path in (folder / name / "measurements.jsonl" for name in ("run", "stopped"))
    )
    assert straight.items() <= stopped.items()


def test_the_report_tells_every_style(model: IGME, folder: Path, prepared: IPDT) -> None:
    report = (folder / "run" / "report.md").read_text(encoding="utf-8")
    training, held_out = prepared.split(settings().held_out_fraction)
    assert f"100 images seen, {len(training)} learnt from, {len(held_out)} held out." in report
    for measurement in model.measurements:
        assert measurement.line() in report
    counts = np.bincount(prepared.labels()[training])
    styles = table(report)
    assert list(styles) == list(prepared.styles)
    for (learnt, made, *shares), count in zip(styles.values(), counts, strict=True):
        assert int(learnt) == count
        assert abs(int(made) - COUNT * count / len(training)) <= 1
        for share in shares:
            assert re.fullmatch(r"[01]\.\d\d \([01]\.\d\d\)", share)
        assert len(shares) == 3
    assert sum(int(made) for _, made, *_ in styles.values()) == COUNT
    half = len(training) // 2
    told = f"Real against real ({half} and {len(training) - half} pictures): Fréchet distance "
    assert told in report
    assert "Was off." in report


def mean_colours() -> FeatureNetwork:
    """A judge that is quick: the mean of each colour in each quarter."""
    return FeatureNetwork(
        name="imagenet",
        sha256=digest("colours"),
        resizer="none",
        num_features=12,
        module=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        prepare=lambda pixels: torch.from_numpy(pixels / 127.5 - 1).float().permute(0, 3, 1, 2),
        device=torch.device("cpu"),
    )


@pytest.mark.slow
def test_another_judge_changes_the_figures_and_nothing_else(
    model: IGME, folder: Path, prepared: IPDT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights, and what originality rests on, stay the same whatever measures."""

    def loaded(name: Features, **given: Any) -> FeatureNetwork:
        return mean_colours() if name == "imagenet" else load_features(name, **given)

    monkeypatch.setattr(observer, "load_features", loaded)
    judged = learn(folder, prepared, "judged", measure_images=100, measure_features="imagenet")
    assert {measured.features for measured in judged.measurements} == {"imagenet"}
    assert {measured.resizer for measured in judged.measurements} == {"none"}
    assert judged.weights_sha256 == model.weights_sha256
    assert judged.neighbours_path.read_bytes() == model.neighbours_path.read_bytes()
    nearest = [(folder / run / "nearest.png").read_bytes() for run in ("judged", "run")]
    assert nearest[0] == nearest[1]
    report = (folder / "judged" / "report.md").read_text(encoding="utf-8")
    assert judged.measurements[0].line() in report
    assert "EfficientNet-Lite1's features" in report
    assert "project's own features" in (folder / "run" / "report.md").read_text(encoding="utf-8")


def pictures(model: IGME, styles: torch.Tensor) -> np.ndarray:
    """Pictures that the trained network makes of the seeds from 0 on: uint8 (n, S, S, 3)."""
    family = FAMILIES[model.family]
    config = family.config.model_validate(model.config)
    network = family.method().build_network(config, Shape(model.resolution, len(model.styles)))
    network.load_state_dict(load_weights(model.weights_path, model.weights_sha256))
    sampler = family.method().build_sampler(network, config)
    return float_to_pixels(
        sampler.sample(Request(range(len(styles)), styles, family.options())).numpy()
    )


def tiles(path: Path, side: int = 16, enlarged: int = 8, gap: int = 4) -> list[Any]:
    """The pairs on a sheet of 4 columns, each picture at its own size again."""
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB")).astype(int)
    width, height = 2 * side * enlarged, side * enlarged
    found = []
    for place in range((sheet.shape[0] - gap) // (height + gap) * 4):
        row, column = divmod(place, 4)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        pair = sheet[top : top + height : enlarged, left : left + width : enlarged]
        found.append((pair[:, :side], pair[:, side:]))
    return found


def place_of(picture: np.ndarray, among: np.ndarray) -> int:
    """Place where a picture is found again, up to one level of difference."""
    far = np.abs(among.astype(int) - picture).max(axis=(1, 2, 3))
    assert far.min() <= 1
    return int(far.argmin())


def test_the_pairs_are_the_least_original_and_their_nearest(
    model: IGME, folder: Path, prepared: IPDT
) -> None:
    training, _ = prepared.split(model.held_out_fraction)
    labels = np.sort(prepared.labels()[training])
    asked = labels[np.linspace(0, len(labels) - 1, COUNT).round().astype(int)]
    made = pictures(model, torch.eye(2)[torch.from_numpy(asked)])
    real = prepared.images()[training]
    network = load_features("embedded", device="cpu")
    features = [network.extract(np.array(images)).double().numpy() for images in (made, real)]
    far = np.linalg.norm(features[0][:, None] - features[1][None], axis=2)

    neighbours = Neighbours.load(model.neighbours_path)
    distances, _ = neighbours.nearest(torch.from_numpy(features[0]))
    order = np.argsort(distances.numpy())
    pairs = tiles(folder / "run" / "nearest.png")
    assert len(pairs) == report.NUM_PAIRS
    for pair, expected in zip(pairs, order, strict=False):
        one, other = place_of(pair[0], made), place_of(pair[1], real)
        # Two pictures may be as original as each other to the last bit.
        assert distances[one] == pytest.approx(float(distances[expected]), rel=1e-3)
        # With so few, the reduced features see every difference there is between real pictures.
        assert far[one, other] <= far[one].min() * 1.001
    assert neighbours.source(0) == prepared.sources()[training[0]]


def test_how_original_the_pictures_are_is_said_in_figures(model: IGME, folder: Path) -> None:
    report = (folder / "run" / "report.md").read_text(encoding="utf-8")
    found = re.search(rf"Of {COUNT} pictures: median ([\d.]+), least ([\d.]+)\.", report)
    assert found
    assert 0 <= float(found[2]) <= float(found[1])


# ---------------------------------------------------------------- nothing is changed by it


@pytest.mark.parametrize("family", ["dcgan", pytest.param("r3gan", marks=pytest.mark.slow)])
def test_watching_changes_nothing_of_what_is_learnt(
    family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(observer, "NUM_LOOKED_AT", 32)
    set_aside = {"family": family, "held_out_fraction": 0.4, "total_images": 80}
    prepared = tiny_prepared(tmp_path / "set", n=60)
    blind = learn(tmp_path, prepared, "blind", **set_aside)
    scores: list[bool] = []
    trainer = FAMILIES[family].method().build_trainer
    score = trainer.scores
    monkeypatch.setattr(trainer, "scores", lambda *given: scores.append(True) or score(*given))
    watched = learn(
        tmp_path,
        prepared,
        "watched",
        **set_aside,
        measure_images=8,
        guardian="act",
        guardian_images=12,
        sample_seconds=1e-9,  # a grid after every step
    )
    assert scores  # over-fitting was looked for too
    assert len(json_rows(tmp_path / "watched" / "measurements.jsonl")) == 10
    assert not json_rows(tmp_path / "watched" / "guardian.jsonl")
    assert watched.weights_sha256 == blind.weights_sha256
    assert watched.companions == blind.companions
    curves = [
        [row | {"seconds": ""} for row in csv.DictReader(path.open(encoding="utf-8"))]
        for path in (tmp_path / name / "curves.csv" for name in ("blind", "watched"))
    ]
    assert curves[0] == curves[1] != []


# ---------------------------------------------------------------- few pictures, or odd ones


def test_three_pictures_are_learnt_from_without_a_measurement(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", n=3)
    few = {"measure_images": 20, "guardian": "act", "guardian_images": 20}
    model = learn(tmp_path, prepared, **few, held_out_fraction=0.0)
    assert model.measurements == ()
    assert json_rows(tmp_path / "run" / "measurements.jsonl") == []
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "3 learnt from, 0 held out" in report
    styles = table(report)
    assert [cells[0] for cells in styles.values()] == ["2", "1"]
    assert {share for cells in styles.values() for share in cells[2:]} == {"too few"}
    assert model.neighbours_path.exists()  # two pictures have a distance already


def equal_pictures(directory: Path, n: int) -> IPDT:
    prepared = tiny_prepared(directory, n=n)
    same = np.repeat(prepared.images()[:1], n, axis=0)
    np.save(directory / "images.npy", same)
    return prepared.model_copy(update={"digest": digest(f"the same {n} times")})


@pytest.mark.parametrize("n", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_one_picture_or_doubles_of_it_are_learnt_from_without_originality(
    n: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = equal_pictures(tmp_path / "set", n)
    few = {"guardian": "act", "guardian_images": 20, "measure_images": 20}
    model = learn(tmp_path, prepared, **few, held_out_fraction=0.0)
    assert model.images_seen == 100
    assert not model.neighbours_path.exists()
    assert "originality will not be reported" in caplog.text
    assert not (tmp_path / "run" / "nearest.png").exists()
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "Too few different pictures were learnt from to say." in report
    assert not json_rows(tmp_path / "run" / "guardian.jsonl")


def test_a_style_that_nobody_learnt_is_told_apart(tmp_path: Path) -> None:
    """One style's pictures are all held out; the report has its row all the same."""
    prepared = tiny_prepared(tmp_path / "set", n=40)
    labels = np.zeros(40, dtype=np.int64)
    labels[prepared.split(0.1)[1]] = 1
    np.save(prepared.directory / "labels.npy", labels)
    model = learn(tmp_path, prepared, measure_images=1000)
    assert model.style_counts[1] == 0
    styles = table((tmp_path / "run" / "report.md").read_text(encoding="utf-8"))
    assert styles["style1"] == ["0", "0", *3 * ["too few"]]
    assert int(styles["style0"][1]) == COUNT


def test_a_family_without_styles_covers_a_style_with_any_of_its_pictures(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", n=40)
    learn(tmp_path, prepared, family="dcgan")
    styles = table((tmp_path / "run" / "report.md").read_text(encoding="utf-8"))
    assert {cells[1] for cells in styles.values()} == {str(COUNT)}


def test_what_the_guardian_did_stands_in_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step, done = paper002.Trainer.step, []

    def spoilt(self: paper002.Trainer, *given: Any) -> dict[str, torch.Tensor]:
        if self.num_steps == 18 and not done:
            done.append(True)
            with torch.no_grad():
                next(self.discriminator.parameters()).fill_(torch.nan)
        return step(self, *given)

    monkeypatch.setattr(paper002.Trainer, "step", spoilt)
    prepared = tiny_prepared(tmp_path / "set")
    learn(tmp_path, prepared, family="dcgan", guardian="act", guardian_images=40)
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    (line,) = (line for line in report.splitlines() if line.startswith("- after"))
    assert line.startswith("- after 80 images: not a number")
    assert "back to 40 images" in line
    assert "learning rate" in line
    assert "Saw no trouble" not in report


# ---------------------------------------------------------------- the middle of a budget


@pytest.mark.parametrize(
    ("changes", "measured_at", "seconds", "expected"),
    [
        ({}, None, 149.0, False),
        ({}, None, 150.0, True),
        ({}, 60.0, 150.0, True),  # of an earlier, smaller budget
        ({}, 150.0, 299.0, False),
        ({"total_seconds": 100.0}, None, 60.0, False),  # two measurements would take too much of it
        ({"measure_images": 0}, None, 200.0, False),
    ],
)
def test_a_longer_budget_of_time_is_measured_in_its_middle(
    tmp_path: Path,
    prepared: IPDT,
    changes: dict[str, Any],
    measured_at: float | None,
    seconds: float,
    expected: bool,
) -> None:
    chosen = settings(
        **({"total_images": None, "total_seconds": 300.0, "measure_images": 50_000} | changes)
    )
    family = FAMILIES["r3gan"]
    config = family.config.model_validate(TINY["r3gan"])
    one = observer.Observer(prepared, chosen, family, config, tmp_path, silent)
    if measured_at is not None:
        one.measurements = [{"images_seen": 1, "seconds": measured_at, "measurements": []}]
    assert one.is_halfway(seconds) is expected


def test_pictures_of_a_network_that_collapsed_are_not_judged_after_going_back(
    tmp_path: Path, prepared: IPDT
) -> None:
    family = FAMILIES["r3gan"]
    config = family.config.model_validate(TINY["r3gan"])
    one = observer.Observer(prepared, settings(), family, config, tmp_path, silent)
    shape = Shape(prepared.resolution, len(prepared.styles))
    collapsed, good = (family.method().build_network(config, shape) for _ in range(2))
    before = one.made(collapsed, 1000)
    assert one.made(collapsed, 1000) is before
    one.resume([])
    one.judged(after := one.made(good, 1000))
    assert (after.pixels != before.pixels).any()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of pictures, each time some were made to be judged."""
    made: list[int] = []
    pictures = observer.Observer.pictures

    def counted(self: observer.Observer, network: nn.Module, styles: torch.Tensor) -> torch.Tensor:
        made.append(len(styles))
        return pictures(self, network, styles)

    monkeypatch.setattr(observer.Observer, "pictures", counted)
    return made


def test_a_report_without_measurements_makes_few_pictures(
    tmp_path: Path, prepared: IPDT, made: list[int]
) -> None:
    learn(tmp_path, prepared, total_images=16, measure_count=1000)
    assert made == [observer.UNMEASURED]


def test_the_report_says_the_verdict_and_makes_no_picture_twice(
    tmp_path: Path, prepared: IPDT, made: list[int]
) -> None:
    learn(tmp_path, prepared, total_images=16, measure_images=1000)
    assert made == [COUNT]
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    verdict = TrainingFolder(tmp_path / "run").verdict()
    assert verdict is not None
    assert " ".join(verdict.sentences()) in report
