"""Coverage against its closed form; figures by style; real pictures in the place of generated."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from components.metrics import (
    FeatureNetwork,
    Reference,
    distances,
    judging,
    load_features,
    reference_features,
)
from components.metrics.judging import evenly, stand_ins
from components.training_store.embedded import paint_picture
from interfaces.ipdt import IPDT
from interfaces.measurement import Figures
from tests.helpers import digest, tiny_prepared


def normal(count: int, seed: int, width: int = 4) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- coverage


@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(6, 30))
@settings(max_examples=25, deadline=None)
def test_coverage_is_what_its_definition_says(seed: int, made: int, real: int) -> None:
    first, second = normal(made, seed).double(), normal(real, seed + 1).double()
    covered = 0
    for point in second:
        radius = sorted(float((point - other).norm()) for other in second)[5]
        covered += any(float((point - one).norm()) <= radius + 1e-9 for one in first)
    found = distances.coverage(first, second)
    assert found.value == covered / real
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("made", "real"), [(40, 60), (60, 40), (50, 50)])
def test_coverage_of_equal_distributions_is_the_closed_form(made: int, real: int) -> None:
    """Naeem et al. 2020: 1 - (N-1)…(N-k) / ((M+N-1)…(M+N-k)), whatever the distribution."""
    missed = math.prod((real - k) / (made + real - k) for k in range(1, 6))
    found = [
        distances.coverage(normal(made, seed), normal(real, 1000 + seed)).value
        for seed in range(60)
    ]
    error = float(np.std(found)) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(1 - missed, abs=4 * error)
    assert error < 0.01


def test_coverage_sees_a_mode_that_was_dropped_and_is_not_bought_by_outliers() -> None:
    """Far outliers widen the balls that recall looks in; a real picture's stay as they are."""
    far = torch.tensor([100.0, 0, 0, 0])
    real = torch.cat([normal(50, 1), normal(50, 2) + far])
    half = normal(100, 3)
    assert distances.coverage(half, real).value <= 0.5
    outliers = torch.cat([half[:96], 1e3 * normal(4, 4)])
    assert distances.recall(outliers, real).value > 0.8
    assert distances.coverage(outliers, real).value <= 0.5


# ---------------------------------------------------------------- by style


STYLES = 2


@pytest.fixture
def prepared(tmp_path: Path) -> IPDT:
    return tiny_prepared(tmp_path / "set", n=60, styles=STYLES)


def reference_of(prepared: IPDT, places: np.ndarray | None = None) -> Reference:
    network = FeatureNetwork(
        name="imagenet",
        sha256=digest("weights"),
        resizer="none",
        num_features=4,
        module=nn.Identity(),
        prepare=torch.from_numpy,
        device=torch.device("cpu"),
    )
    chosen = np.arange(prepared.num_images) if places is None else places
    return Reference(prepared, network, normal(prepared.num_images, 7), chosen, "all")


def test_a_style_is_measured_against_its_own_pictures_as_many_of_either(prepared: IPDT) -> None:
    reference = reference_of(prepared)
    made, labels = normal(40, 8), np.repeat([0, 1], [10, 30])
    found = Figures(overall=(), by_style=reference.by_style(made, labels))
    assert len(found.by_style) == 3 * STYLES
    for label, style in enumerate(prepared.styles):
        own = np.flatnonzero(prepared.labels() == label)
        generated = made[torch.from_numpy(labels == label)]
        count = min(len(own), len(generated))
        pair = (
            generated[evenly(np.arange(len(generated)), count)],
            reference.features[evenly(own, count)],
        )
        for metric in ("precision", "recall", "coverage"):
            one = found.find(metric, style)
            assert one is not None
            assert one.value == getattr(distances, metric)(*pair).value
            assert (one.num_generated, one.num_real) == (count, count)


def test_a_style_of_few_pictures_has_no_figures(prepared: IPDT) -> None:
    found = reference_of(prepared).by_style(normal(27, 8), np.repeat([0, 1], [7, 20]))
    assert {one.style for one in found} == {prepared.styles[1]}


def test_pictures_of_no_style_are_all_compared_but_not_for_precision(prepared: IPDT) -> None:
    found = reference_of(prepared).by_style(normal(20, 8), None)
    assert [one.metric for one in found] == ["recall", "coverage"] * STYLES
    assert {one.num_generated for one in found} == {20}


# ---------------------------------------------------------------- the floor


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_stand_ins_are_other_pictures_than_those_compared_with(data: st.DataObject) -> None:
    num_images = data.draw(st.integers(1, 60))
    size = data.draw(st.integers(1, num_images))
    places = np.sort(np.random.default_rng(size).permutation(num_images)[:size])
    count = data.draw(st.integers(4, 80))
    chosen, compared = stand_ins(places, np.zeros(num_images, np.int64), count)
    assert set(compared) <= set(places)
    assert not set(chosen) & set(compared)
    assert len(set(chosen)) == len(chosen) <= count
    others = num_images - size
    assert len(chosen) == min(count, max(others, size // 2))
    if others >= min(count, size // 2):
        assert set(compared) == set(places)  # the model's figure and this one: the same pictures
    again = stand_ins(places, np.zeros(num_images, np.int64), count)
    assert all(np.array_equal(one, two) for one, two in zip((chosen, compared), again, strict=True))


def test_stand_ins_are_of_the_styles_compared_with() -> None:
    labels = np.repeat([0, 1, 2], [30, 30, 140])
    chosen, compared = stand_ins(np.arange(20), labels, 8)
    assert set(labels[chosen]) == {0}
    assert compared.tolist() == list(range(20))


def test_the_floor_is_that_of_real_pictures_and_is_kept(
    prepared: IPDT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, cache = reference_of(prepared), tmp_path / "cache"
    found = reference.floor(1000, cache)
    assert found is not None
    chosen, compared = stand_ins(reference.places, prepared.labels(), 1000)
    expected = distances.kid(reference.features[chosen], reference.features[compared]).value
    kid, recall = found.find("kid"), found.find("recall", prepared.styles[0])
    assert kid is not None and kid.value == expected
    assert (kid.num_generated, kid.num_real) == (30, 30)
    assert recall is not None
    other = reference.floor(20, cache)
    assert other is not None and {one.num_generated for one in other.overall} == {20}

    monkeypatch.setattr(judging, "measure", lambda *_, **__: pytest.fail("measured again"))
    assert reference.floor(1000, cache) == found
    assert reference.floor(20, cache) == other


def test_a_damaged_floor_is_measured_anew_with_a_warning(
    prepared: IPDT, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = reference_of(prepared)
    found = reference.floor(1000, tmp_path)
    (path,) = tmp_path.glob("floor-imagenet-*.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert reference.floor(1000, tmp_path) == found
    assert str(path) in caplog.text
    assert path.read_bytes() == whole


def test_too_few_real_pictures_have_no_floor(prepared: IPDT, tmp_path: Path) -> None:
    for size in (1, 3):
        assert reference_of(prepared, np.arange(size)).floor(20, tmp_path) is None


# ---------------------------------------------------------------- what nobody sees


def painted(folder: Path, count: int) -> IPDT:
    """Blossoms of the embedded collection: flat colours, as no classifier was trained on."""
    prepared = tiny_prepared(folder, n=count, resolution=64, styles=1)
    pictures = (Image.fromarray(paint_picture("blossoms", place)) for place in range(count))
    small = [np.asarray(picture.resize((64, 64))) for picture in pictures]
    np.save(folder / "images.npy", np.stack(small))
    return prepared


def test_features_are_told_that_see_more_than_a_person_does(tmp_path: Path) -> None:
    prepared = painted(tmp_path / "set", 48)
    network, places = load_features("imagenet", device="cpu"), np.arange(48)
    features = reference_features(prepared, network, tmp_path / "cache")
    assert Reference(prepared, network, features, places, "all").is_oversensitive()
    assert not Reference(prepared, network, features, places[:7], "all").is_oversensitive()

    mean_colours = dataclasses.replace(  # which no such noise moves
        network,
        num_features=3,
        module=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        prepare=lambda pixels: torch.from_numpy(pixels).movedim(-1, 1).float(),
    )
    features = mean_colours.extract(prepared.images())
    assert not Reference(prepared, mean_colours, features, places, "all").is_oversensitive()
