"""Evaluation: what is asked of the generator, what it is compared with, and what is written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import components.metrics
from atelier.experiments import evaluate, evaluate_pictures
from atelier.experiments.evaluation import Evaluation
from components.common.images import float_to_pixels
from components.metrics import FeatureNetwork, distances
from components.metrics.judging import evenly
from interfaces.errors import AtelierError, RefusedError
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.ipdt import IPDT
from interfaces.measurement import EvaluationSettings, Figures, Measurement
from interfaces.progress import Progress, ProgressEvent, silent
from tests.helpers import digest, make_images, make_origin, tiny_prepared

SIDE = 16


class FakeGenerator:
    """Random pictures, each from its seed; it writes down what it was asked for.

    `nearest` says, by seed, how original a picture is and which file lies nearest to it.
    """

    def __init__(self, nearest: dict[int, tuple[float, str]] | None = None) -> None:
        self.nearest = nearest or {}
        self.requests: list[IGS] = []

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        self.requests.append(settings)
        seeds = settings.chosen_seeds
        for start in range(0, len(seeds), 7):
            part = seeds[start : start + 7]
            origins = []
            for place, seed in enumerate(part, start):
                found = self.nearest.get(seed, (None, None))
                changes = {"originality": found[0], "nearest_sha256": found[1]}
                origins.append(make_origin(seed, place).model_copy(update=changes))
            images = np.concatenate([picture(seed) for seed in part])
            yield IGDT(images=images, origins=tuple(origins))


def picture(seed: int) -> np.ndarray:
    return make_images(1, SIDE, seed)


def mean_colours(sha256: str = digest("colours")) -> FeatureNetwork:
    """Features that anybody can compute: the mean of each colour in each quarter."""
    return FeatureNetwork(
        name="embedded",
        sha256=sha256,
        resizer="none",
        num_features=12,
        module=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        prepare=lambda pixels: torch.from_numpy(pixels / 127.5 - 1).float().permute(0, 3, 1, 2),
        device=torch.device("cpu"),
    )


@pytest.fixture(autouse=True)
def _quick_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.metrics, "load_features", lambda *given: mean_colours())


def make_model(directory: Path, **changes: Any) -> IGME:
    fields = {
        "directory": directory,
        "family": "r3gan",
        "config": {},
        "weights_sha256": digest("weights"),
        "resolution": SIDE,
        "styles": ("style0", "style1"),
        "dataset_name": "tiny",
        "dataset_digest": digest("prepared"),
        "images_seen": 1,
        "held_out_fraction": 0.25,
    }
    return IGME.model_validate(fields | changes)


def measured(
    tmp_path: Path,
    prepared: IPDT,
    generator: FakeGenerator,
    model: dict[str, Any] | None = None,
    progress: Any = silent,
    **changes: Any,
) -> tuple[Measurement, ...]:
    return evaluated(tmp_path, prepared, generator, model, progress, **changes).figures.overall


def evaluated(
    tmp_path: Path,
    prepared: IPDT,
    generator: FakeGenerator,
    model: dict[str, Any] | None = None,
    progress: Any = silent,
    **changes: Any,
) -> Evaluation:
    settings = EvaluationSettings.model_validate({"count": 40} | changes)
    opened = make_model(tmp_path, **(model or {}))
    return evaluate(
        generator, opened, prepared, settings, tmp_path / "out", tmp_path / "cache", progress
    )


def relabelled(prepared: IPDT, labels: np.ndarray, styles: tuple[str, ...]) -> IPDT:
    np.save(prepared.directory / "labels.npy", labels.astype(np.int64))
    changes = {"styles": styles, "digest": digest(f"{labels.tolist()}")}
    return prepared.model_copy(update=changes)


def asked(generator: FakeGenerator) -> dict[str | None, int]:
    return {request.style: request.count for request in generator.requests}


# ---------------------------------------------------------------- what is asked for


@hypothesis_settings(max_examples=25)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda n: sum(n) >= 4),
    count=st.integers(4, 60),
    seed=st.integers(0, 10**6),
)
def test_styles_are_asked_for_in_their_proportions_and_none_too_many(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], count: int, seed: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("proportions")
    styles = tuple(f"style{place}" for place in range(len(counts)))
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=sum(counts))
    prepared = relabelled(prepared, np.repeat(np.arange(len(counts)), counts), styles)
    generator = FakeGenerator()
    found = measured(
        tmp_path, prepared, generator, {"styles": styles}, count=count, seed=seed, against="all"
    )
    assert {measurement.num_generated for measurement in found} == {count}
    assert sum(asked(generator).values()) == count
    for style, real in zip(styles, counts, strict=True):
        assert abs(asked(generator).get(style, 0) - count * real / sum(counts)) <= 1
    seeds = [seed for request in generator.requests for seed in request.chosen_seeds]
    assert seeds == list(range(seed, seed + count))  # each once: no picture counts twice


def test_the_proportions_are_those_of_what_is_compared_with(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=60)
    training, held_out = prepared.split(0.25)
    labels = np.zeros(60)
    labels[held_out[: len(held_out) // 2]] = 1
    prepared = relabelled(prepared, labels, prepared.styles)
    half = len(held_out) // 2
    for against, ones, whole in (
        ("training", 0, len(training)),
        ("held-out", half, len(held_out)),
        ("all", half, 60),
    ):
        generator = FakeGenerator()
        found = measured(tmp_path, prepared, generator, against=against, count=100)
        assert {m.num_real for m in found} == {whole}
        assert {m.against for m in found} == {against}
        assert asked(generator).get("style1", 0) == pytest.approx(100 * ones / whole, abs=1)


def test_a_family_without_styles_is_asked_once(tmp_path: Path) -> None:
    generator = FakeGenerator()
    measured(
        tmp_path,
        tiny_prepared(tmp_path / "set", SIDE),
        generator,
        {"family": "dcgan", "styles": ("of another collection",)},
        count=50,
        seed=9,
        options={"truncation": 0.5},
    )
    assert generator.requests == [IGS(count=50, seed=9, options={"truncation": 0.5})]


def test_options_and_device_go_to_every_request(tmp_path: Path) -> None:
    generator = FakeGenerator()
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    measured(tmp_path, prepared, generator, device="cpu", options={"truncation": 0.7})
    assert len(generator.requests) == 2
    for request in generator.requests:
        assert request.device == "cpu"
        assert request.options == {"truncation": 0.7}
        assert request.originality


def test_a_style_that_the_model_does_not_know_is_not_asked_for(tmp_path: Path) -> None:
    generator = FakeGenerator()
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    measured(tmp_path, prepared, generator, {"styles": ("other", "style1")})
    assert asked(generator) == {"style1": 40}


def test_progress_is_told_of_all_styles_together(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    measured(tmp_path, prepared, FakeGenerator(), progress=events.append)
    generated = [event for event in events if event.stage == "generate"]
    assert {event.note for event in generated} == {"style0", "style1"}
    assert {event.total for event in generated} == {40}
    done = [event.done for event in generated]
    assert done == sorted(done)
    assert done[-1] == 40


# ---------------------------------------------------------------- what is found and written


def test_pictures_like_the_real_ones_are_found_nearer_than_others(tmp_path: Path) -> None:
    """The distance is 0 where the generator shows the collection itself."""
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=40, styles=1)

    class Copyist(FakeGenerator):
        def generate(
            self, model: IGME, settings: IGS, progress: Progress = silent
        ) -> Iterator[IGDT]:
            seeds = settings.chosen_seeds
            real = prepared.images()[list(seeds)].astype(np.float32) / 127.5 - 1
            origins = tuple(make_origin(seed, place) for place, seed in enumerate(seeds))
            yield IGDT(images=np.ascontiguousarray(real.transpose(0, 3, 1, 2)), origins=origins)

    known = {"styles": prepared.styles}
    copied = measured(tmp_path, prepared, Copyist(), known, against="all")
    other = measured(tmp_path, prepared, FakeGenerator(), known, against="all")
    figures = [{m.metric: m.value for m in found} for found in (copied, other)]
    assert figures[0]["frechet"] == pytest.approx(0, abs=1e-6)
    assert figures[0]["precision"] == figures[0]["recall"] == 1
    assert figures[1]["frechet"] > 0.01
    assert figures[1]["kid"] > figures[0]["kid"]


def test_the_figures_are_written_with_what_they_rest_on(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    found = measured(tmp_path, prepared, FakeGenerator(), count=24)
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert tuple(map(Measurement.model_validate, written["measurements"])) == found
    assert [m.metric for m in found] == ["frechet", "kid", "precision", "recall"]
    assert written["settings"]["count"] == 24
    assert written["model_digest"] == make_model(tmp_path).digest
    for measurement in found:
        assert measurement.dataset_digest == prepared.digest
        assert measurement.features_sha256 == digest("colours")
        assert measurement.low <= measurement.value <= measurement.high


def test_each_style_and_the_floor_stand_beside_the_whole(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=80)
    found = evaluated(tmp_path, prepared, FakeGenerator(), against="all")
    told = [(one.style, one.metric) for one in found.figures.by_style]
    assert told == [(s, m) for s in prepared.styles for m in ("precision", "recall", "coverage")]
    assert found.floor is not None
    assert {one.num_generated for one in found.floor.overall} == {40}
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert Figures.model_validate(written["floor"]) == found.floor
    assert tuple(map(Measurement.model_validate, written["by_style"])) == found.figures.by_style
    *overall, floor, first, second = found.lines()
    assert overall == [one.line() for one in found.figures.overall]
    assert floor.startswith("Real against real (40 and 40 pictures): Fréchet distance ")
    for line, style in zip((first, second), prepared.styles, strict=True):
        real = found.floor.find("coverage", style)
        assert line.startswith(f"{style}, 20 pictures of either: precision ")
        assert real is not None and line.endswith(f"(real: {real.value:.4f})")


def test_a_family_without_styles_has_no_precision_by_style(tmp_path: Path) -> None:
    """A picture of another style is no fault of a model that was asked for none."""
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=80)
    found = evaluated(tmp_path, prepared, FakeGenerator(), {"family": "dcgan"}, against="all")
    assert {one.metric for one in found.figures.by_style} == {"recall", "coverage"}


def test_the_least_original_stand_beside_their_nearest(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE, styles=1)
    sources = prepared.sources()
    nearest = {seed: (2.0 - seed / 40, sources[seed % 32]) for seed in range(40)}
    nearest[7] = (0.1, sources[3])
    measured(tmp_path, prepared, FakeGenerator(nearest), {"styles": prepared.styles})
    tiles = tiles_of(tmp_path / "out" / "nearest.png")
    assert len(tiles) == 24
    for (made, real), seed in zip(tiles, [7, *range(39, 16, -1)], strict=True):
        np.testing.assert_array_equal(made, float_to_pixels(picture(seed))[0])
        place = 3 if seed == 7 else seed % 32
        np.testing.assert_array_equal(real, prepared.images()[place])


def tiles_of(path: Path, side: int = SIDE, enlarged: int = 8, gap: int = 4) -> list[Any]:
    """The pairs on a sheet of 4 columns, each picture at its own size again."""
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB"))
    width, height = 2 * side * enlarged, side * enlarged
    rows = (sheet.shape[0] - gap) // (height + gap)
    found = []
    for row in range(rows):
        for column in range(4):
            top, left = gap + row * (height + gap), gap + column * (width + gap)
            pair = sheet[top : top + height : enlarged, left : left + width : enlarged]
            found.append((pair[:, :side], pair[:, side:]))
    return found


def test_of_another_collection_nothing_is_shown_as_nearest(tmp_path: Path) -> None:
    """Nor does a sheet of an earlier evaluation stay beside the new figures."""
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    known = {seed: (0.5, prepared.sources()[0]) for seed in range(40)}
    measured(tmp_path, prepared, FakeGenerator(known))
    assert (tmp_path / "out" / "nearest.png").exists()
    strange = {seed: (0.5, digest("a file elsewhere")) for seed in range(40)}
    measured(tmp_path, prepared, FakeGenerator(strange))
    assert not (tmp_path / "out" / "nearest.png").exists()


# ---------------------------------------------------------------- pictures without a model


def pictures_evaluated(tmp_path: Path, made: IPDT, prepared: IPDT) -> Evaluation:
    places = tmp_path / "out", tmp_path / "cache"
    return evaluate_pictures(made, prepared, EvaluationSettings(), *places, silent)


def test_a_set_against_itself_is_without_fault(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=40)
    found = pictures_evaluated(tmp_path, prepared, prepared)
    figures = {one.metric: one for one in found.figures.overall}
    assert figures["frechet"].value == pytest.approx(0, abs=1e-6)
    assert figures["precision"].value == figures["recall"].value == 1
    assert all(one.value == 1 for one in found.figures.by_style)
    for one in figures.values():
        assert (one.num_generated, one.num_real, one.against) == (40, 40, "all")
        assert one.dataset_digest == prepared.digest
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["generated_digest"] == prepared.digest
    assert tuple(map(Measurement.model_validate, written["measurements"])) == found.figures.overall


def test_styles_are_matched_by_name_whatever_their_order(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=60)
    made = tiny_prepared(tmp_path / "made", SIDE, n=60, styles=3)
    made = made.model_copy(update={"styles": ("style1", "foreign", "style0")})
    found = pictures_evaluated(tmp_path, made, prepared)
    own = {"style1": 0, "style0": 2}
    network = mean_colours()
    for one in found.figures.by_style:
        assert one.style is not None
        assert one.num_generated == 20  # of the 60: those of this name alone
        pixels = made.images()[made.labels() == own[one.style]]
        real = prepared.images()[prepared.labels() == prepared.styles.index(one.style)]
        features = network.extract(pixels), network.extract(real[evenly(np.arange(30), 20)])
        assert one.value == getattr(distances, one.metric)(*features).value
    assert len(found.figures.by_style) == 6


def test_without_a_style_in_common_all_pictures_are_looked_through(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE, n=40)
    made = tiny_prepared(tmp_path / "made", SIDE, n=20, styles=1)
    made = made.model_copy(update={"styles": ("a folder",)})
    found = pictures_evaluated(tmp_path, made, prepared)
    assert {(one.metric, one.num_generated) for one in found.figures.by_style} == {
        ("recall", 20),
        ("coverage", 20),
    }


def test_sets_of_two_sizes_are_one_clear_line(tmp_path: Path) -> None:
    prepared, made = (tiny_prepared(tmp_path / f"{side}", side) for side in (16, 32))
    with pytest.raises(RefusedError, match="at 32 pixels, tiny at 16; prepare both at one size"):
        pictures_evaluated(tmp_path, made, prepared)


# ---------------------------------------------------------------- what cannot be compared


def refused(tmp_path: Path, prepared: IPDT, message: str, **given: Any) -> None:
    generator = FakeGenerator()
    with pytest.raises(AtelierError, match=message) as caught:
        measured(tmp_path, prepared, generator, **given)
    assert "\n" not in str(caught.value)
    assert not generator.requests  # it is seen before any picture is made
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_another_resolution_is_one_clear_line(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", 32)
    refused(tmp_path, prepared, "prepared at 32 pixels, the model makes 16")


def test_no_style_in_common_is_one_clear_line(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    message = (
        "knows waves, cliffs and the pictures compared with have style0, style1: no style in common"
    )
    refused(tmp_path, prepared, message, model={"styles": ("waves", "cliffs")})


def test_no_style_in_common_with_the_pictures_held_out_is_one_clear_line(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    labels = np.zeros(32)
    labels[prepared.split(0.25)[1]] = 1
    prepared = relabelled(prepared, labels, prepared.styles)
    known = {"styles": ("style0",)}
    refused(tmp_path, prepared, "no style in common", model=known, against="held-out")


def test_nothing_held_out_is_one_clear_line(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    message = "no held-out images to compare with"
    refused(tmp_path, prepared, message, model={"held_out_fraction": 0.0}, against="held-out")


def test_seeds_beyond_the_last_one_are_one_clear_line(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    refused(tmp_path, prepared, "seed", seed=2**63 - 10)


def test_a_family_of_another_version_is_left_to_the_generator_to_name(tmp_path: Path) -> None:
    """The generator may be a replaced one that knows more families."""
    generator = FakeGenerator()
    prepared = tiny_prepared(tmp_path / "set", SIDE)
    measured(tmp_path, prepared, generator, {"family": "diffusion_of_tomorrow"})
    assert generator.requests == [IGS(count=40)]
