"""Figures against closed forms, other programs and brute force; their caches and labels."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from components.common.checkpoints import load_weights, save_weights
from components.common.download import DownloadError
from components.common.encoder import SHA256 as ENCODER_SHA256
from components.common.encoder import Encoder
from components.common.images import float_to_pixels, pixels_to_float
from components.common.vision import import_torchvision
from components.metrics import (
    Neighbours,
    distances,
    load_features,
    measure,
    measuring,
    reference,
    reference_features,
    rows,
)
from components.metrics import features as features_module
from components.metrics.distances import Gaussian, frechet_distance
from components.metrics.features import FeatureNetwork, embedded_features
from interfaces.errors import AtelierError
from interfaces.measurement import FID_WEIGHTS_SHA256, Measurement
from interfaces.progress import ProgressEvent, silent
from tests.helpers import REPOSITORY, digest, make_images, tiny_prepared

import_torchvision()  # the programs compared with import it too, and cannot where it needs help


def random_features(count: int, width: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    """Correlated and skewed, as features are: float64 (count, width)."""
    generator = torch.Generator().manual_seed(seed)
    plain = torch.randn(count, width, generator=generator, dtype=torch.float64)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(99)).double()
    return (plain @ mixing / width**0.5 + shift).relu()


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A seeded encoder's weights and their digest: nothing here needs a taught one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder()
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    return path, save_weights(path, encoder.state_dict())


@pytest.fixture(scope="module")
def network(encoder_file: tuple[Path, str]) -> FeatureNetwork:
    return embedded_features(*encoder_file, device="cpu")


# The Fréchet distance


@given(st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_with_equal_covariances_it_is_the_squared_distance_of_the_means(
    seed: int, width: int
) -> None:
    covariance = Gaussian.of(random_features(40, width, seed)).covariance
    means = torch.randn(2, width, generator=torch.Generator().manual_seed(seed)).double()
    found = frechet_distance(Gaussian(means[0], covariance), Gaussian(means[1], covariance))
    assert found == pytest.approx(float((means[0] - means[1]).square().sum()), abs=1e-9)


@given(st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_with_diagonal_covariances_it_is_the_distance_of_their_roots(seed: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    roots = torch.rand(2, width, generator=generator, dtype=torch.float64) * 3
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator).double()).Q
    zero = torch.zeros(width).double()
    first, second = (Gaussian(zero, turn * root.square() @ turn.T) for root in roots)
    expected = float((roots[0] - roots[1]).square().sum())
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-7)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
@pytest.mark.parametrize("count", [30, 400], ids=["fewer images than features", "more"])
def test_it_is_that_of_pytorch_fid(count: int) -> None:
    from pytorch_fid.fid_score import calculate_frechet_distance

    first, second = random_features(count, 64, 1), random_features(count, 64, 2, shift=0.1)
    statistics = [
        part for x in (first, second) for part in (x.mean(dim=0).numpy(), np.cov(x.numpy().T))
    ]
    expected = calculate_frechet_distance(*statistics)
    found = frechet_distance(Gaussian.of(first), Gaussian.of(second))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_covariance_without_rank_gives_a_real_number() -> None:
    first, second = torch.ones(5, 8), torch.zeros(5, 8)
    assert frechet_distance(Gaussian.of(first), Gaussian.of(second)) == 8.0
    features = random_features(3, 32)
    assert frechet_distance(Gaussian.of(features), Gaussian.of(features)) == pytest.approx(
        0.0, abs=1e-6
    )


# KID


def brute_force_kid(generated: Tensor, real: Tensor) -> float:
    """Equation 4 of Bińkowski et al., pair by pair."""

    def kernel(x: Tensor, y: Tensor) -> float:
        return float(torch.dot(x, y) / len(x) + 1) ** 3

    def within(features: Tensor) -> float:
        pairs = [
            kernel(x, y) for i, x in enumerate(features) for j, y in enumerate(features) if i != j
        ]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in generated for y in real]
    return within(generated) + within(real) - 2 * sum(across) / len(across)


def test_kid_is_its_definition_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = random_features(23, 7, 1), random_features(31, 7, 2, shift=0.2)
    expected = brute_force_kid(generated, real)
    assert distances.kid(generated, real).value == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(distances, "_BLOCK", 40)  # blocks of one image, and of a few
    assert distances.kid(generated, real).value == pytest.approx(expected, rel=1e-10)


def test_kid_is_that_of_torch_fidelity() -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    generated, real = random_features(500, 48, 1), random_features(500, 48, 2, shift=0.02)
    ours = distances.kid(generated, real)
    options = {"kid_subsets": 1, "kid_subset_size": 500, "verbose": False}
    theirs = kid_features_to_metric(generated, real, **options)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    options = {"kid_subsets": 100, "kid_subset_size": 100, "verbose": False}
    theirs = kid_features_to_metric(generated, real, **options)
    assert ours.low < theirs["kernel_inception_distance_mean"] < ours.high


def test_kid_of_one_distribution_is_about_zero_and_may_be_negative() -> None:
    figures = [
        distances.kid(random_features(60, 16, seed), random_features(80, 16, seed + 1000))
        for seed in range(40)
    ]
    values = torch.tensor([figure.value for figure in figures])
    assert values.min() < 0 < values.max()
    assert values.mean().abs() < 3 * values.std() / 40**0.5


# Precision and recall


def test_precision_and_recall_of_a_set_made_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [100.0], [101.0], [102.0], [103.0]])
    # Two among the first four, one just outside every ball, one far away.
    generated = torch.tensor([[0.5], [2.5], [-3.1], [50.0]])
    assert distances.precision(generated, real).value == 0.5
    # The generated balls reach 49.5, 47.5 and 53.1 around the first three, and 53.1 around 50: from
    # there to 103.1, so that nothing real is outside. The last one nearer by 0.2: 103 is.
    assert distances.recall(generated, real).value == 1.0
    nearer = torch.tensor([[0.5], [2.5], [-2.9], [50.0]])
    assert distances.recall(nearer, real).value == 7 / 8


def brute_force_share(points: Tensor, manifold: Tensor) -> float:
    inside = 0
    for point in points:
        balls = [
            (point - centre).norm() <= sorted(float((centre - x).norm()) for x in manifold)[3]
            for centre in manifold
        ]
        inside += any(balls)
    return inside / len(points)


@given(st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_precision_and_recall_are_their_definition_point_by_point(seed: int) -> None:
    generated, real = random_features(14, 3, seed), random_features(17, 3, seed + 1, shift=0.5)
    assert distances.precision(generated, real).value == brute_force_share(generated, real)
    assert distances.recall(generated, real).value == brute_force_share(real, generated)


def test_a_set_lies_within_itself_and_outside_one_far_away() -> None:
    features = random_features(200, 8)
    assert distances.precision(features, features).value == 1.0
    assert distances.recall(features + 100, features).value == 0.0


# Intervals


def test_the_frechet_jackknife_leaves_each_group_out() -> None:
    generated, real = random_features(57, 20, 1), random_features(90, 20, 2, shift=0.1)
    reference = Gaussian.of(real)
    check_against_leaving_out(
        distances.frechet(generated, real),
        generated,
        lambda some: frechet_distance(reference, Gaussian.of(some)),
    )


def test_the_kid_jackknife_leaves_each_group_out() -> None:
    generated, real = random_features(27, 5, 1), random_features(20, 5, 2, shift=0.5)
    check_against_leaving_out(
        distances.kid(generated, real), generated, lambda some: brute_force_kid(some, real)
    )


def check_against_leaving_out(
    found: distances.Estimate, generated: Tensor, figure: Callable[[Tensor], float]
) -> None:
    figures = []
    for group in distances.groups(len(generated)):
        kept = np.setdiff1d(np.arange(len(generated)), group.numpy())
        figures.append(figure(generated[kept]))
    error = (9 / 10 * sum((x - np.mean(figures)) ** 2 for x in figures)) ** 0.5
    value = figure(generated)
    reach = 2.262157 * error  # Student's quantile of a table, 9 degrees of freedom
    assert found.value == pytest.approx(value, rel=1e-9)
    assert found.low == pytest.approx(value - reach, rel=1e-6)
    assert found.high == pytest.approx(value + reach, rel=1e-6)


@pytest.mark.parametrize("count", [4, 9, 10, 57])
def test_groups_part_the_images_evenly(count: int) -> None:
    groups = distances.groups(count)
    assert sorted(int(place) for group in groups for place in group) == list(range(count))
    sizes = [len(group) for group in groups]
    assert len(groups) == min(10, count)
    assert max(sizes) - min(sizes) <= 1


def test_the_interval_covers_what_another_sample_gives() -> None:
    """Of 60 samples, about 95 % have the true figure in their interval."""
    real = random_features(400, 6, 5000)
    truth = distances.kid(random_features(6000, 6, 6000, shift=0.3), real).value
    figures = [distances.kid(random_features(200, 6, n, shift=0.3), real) for n in range(60)]
    covered = sum(figure.low <= truth <= figure.high for figure in figures)
    assert covered >= 52  # fewer: once in a thousand times at 95 %


def test_wilsons_interval_is_that_of_its_table() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    estimate = distances.wilson(81, 263)
    assert (estimate.low, estimate.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    estimate = distances.wilson(0, 20)
    assert (estimate.low, estimate.high) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_images_changes_no_figure(seed: int) -> None:
    generated, real = random_features(40, 6, seed), random_features(50, 6, seed + 1, shift=0.3)
    generator = torch.Generator().manual_seed(seed)
    mixed = generated[torch.randperm(40, generator=generator)]
    also_mixed = real[torch.randperm(50, generator=generator)]
    for figure in (distances.frechet, distances.kid, distances.precision, distances.recall):
        expected = figure(generated, real).value
        assert figure(mixed, also_mixed).value == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_spread_is_the_mean_squared_distance_of_two_pictures() -> None:
    features = random_features(20, 4)
    squares = torch.cdist(features, features).square().sum() / (20 * 19)
    assert distances.spread(features) == pytest.approx(float(squares))


# Features


def pictures(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    return float_to_pixels(make_images(count, side, seed))


def test_a_pictures_features_depend_on_it_alone(network: FeatureNetwork) -> None:
    pixels = pictures(40)
    together = network.extract(pixels)
    assert together.shape == (40, network.num_features)
    assert together.dtype == torch.float32
    one_by_one = torch.cat([network.extract(pixels[n : n + 1]) for n in range(40)])
    assert torch.equal(together, one_by_one)
    order = np.random.default_rng(0).permutation(40)
    assert torch.equal(network.extract(pixels[order]), together[order])


def test_different_pictures_have_different_features(network: FeatureNetwork) -> None:
    assert distances.spread(network.extract(pictures(8))) > 1e-6


def test_pictures_of_the_encoders_size_are_not_resized(
    network: FeatureNetwork, encoder_file: tuple[Path, str]
) -> None:
    pixels = pictures(3)
    encoder = Encoder().eval()
    encoder.load_state_dict(load_weights(*encoder_file))
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(pixels_to_float(pixels)))
    torch.testing.assert_close(network.extract(pixels), expected, rtol=1e-4, atol=1e-6)


def test_other_pictures_are_resized_as_pillow_does_it(network: FeatureNetwork) -> None:
    pixels = pictures(2, side=150)
    # Plane by plane in floating point: of 8 bits Pillow rounds and cuts off between its two passes.
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((64, 64), Image.Resampling.BICUBIC)
        for plane in pixels.transpose(0, 3, 1, 2).reshape(6, 150, 150)
    ]
    expected = np.clip(np.stack(planes).reshape(2, 3, 64, 64) / 127.5 - 1, -1, 1)
    np.testing.assert_allclose(network.prepare(pixels).numpy(), expected, atol=1e-4)


def test_progress_is_told(network: FeatureNetwork) -> None:
    events = []
    network.extract(pictures(40), events.append)
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("measure", 32, 40),
        ("measure", 40, 40),
    ]


def test_weights_of_another_digest_are_refused(encoder_file: tuple[Path, str]) -> None:
    with pytest.raises(AtelierError, match="damaged or exchanged"):
        embedded_features(encoder_file[0], digest("other"))


def test_absent_inception_weights_are_a_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def offline(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(DownloadError, match=r"inception FID weights.*give a file of your own"):
        load_features("inception")


def test_unknown_features_are_refused() -> None:
    with pytest.raises(AtelierError, match="there are embedded, imagenet, inception"):
        load_features("vgg")  # type: ignore[arg-type]


def test_the_shipped_encoder_is_there() -> None:
    network = load_features("embedded", device="cpu")
    assert (network.name, network.sha256) == ("embedded", ENCODER_SHA256)
    assert network.extract(pictures(2)).shape == (2, 384)


def test_the_door_does_not_wait_for_torch() -> None:
    code = "import sys, components.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


# The reference's cache


class Counted:
    """A network's module that says how often it was asked."""

    def __init__(self, network: FeatureNetwork) -> None:
        self.calls = 0
        self.module = network.module

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.module(images)


@pytest.fixture
def counted(network: FeatureNetwork) -> FeatureNetwork:
    return replace(network, module=Counted(network))


def test_reference_features_are_computed_once(counted: FeatureNetwork, tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    first = reference_features(prepared, counted, tmp_path / "cache")
    assert torch.equal(first, counted.extract(prepared.images()))
    calls = counted.module.calls
    again = reference_features(prepared, counted, tmp_path / "cache")
    assert counted.module.calls == calls
    assert torch.equal(first, again)


@given(st.lists(st.sets(st.integers(0, 31)), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_no_image_is_computed_twice_and_none_that_was_not_asked_for(asked: list[set[int]]) -> None:
    computed: list[int] = []

    def colours(pixels: np.ndarray) -> Tensor:
        computed.extend(int(picture.sum()) for picture in pixels if picture.any())
        return torch.from_numpy(pixels).float()

    network = FeatureNetwork(
        name="embedded",
        sha256=digest("weights"),
        resizer="none",
        num_features=3,
        module=MeanColours(),
        prepare=colours,
        device=torch.device("cpu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        prepared = tiny_prepared(Path(folder) / "set")
        whole = torch.from_numpy(np.array(prepared.images())).float().mean(dim=(1, 2))
        seen: set[int] = set()
        for places in asked:
            seen |= places
            chosen = np.array(sorted(places), dtype=np.int64)
            found = reference_features(prepared, network, Path(folder), silent, chosen)
            torch.testing.assert_close(found[chosen], whole[chosen])
            assert set(found[:, 0].isnan().logical_not().nonzero()[:, 0].tolist()) == seen
        assert len(computed) == len(seen)
        torch.testing.assert_close(reference_features(prepared, network, Path(folder)), whole)


class MeanColours(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(1, 2))


def test_progress_counts_the_missing_ones_across_pieces(
    network: FeatureNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "PIECE", 33)
    prepared, events = tiny_prepared(tmp_path / "set", n=80), list[ProgressEvent]()
    found = reference_features(
        prepared, network, tmp_path / "cache", events.append, np.arange(0, 80, 2)
    )
    assert [(event.done, event.total) for event in events] == [(32, 40), (33, 40), (40, 40)]
    assert torch.equal(found[::2], network.extract(prepared.images()[::2]))


@pytest.mark.parametrize("what", ["set", "weights", "resizer"])
def test_anything_else_is_computed_anew(counted: FeatureNetwork, tmp_path: Path, what: str) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    reference_features(prepared, counted, tmp_path / "cache")
    other = {
        "set": (tiny_prepared(tmp_path / "other", seed=1), counted),
        "weights": (prepared, replace(counted, sha256=digest("other"))),
        "resizer": (prepared, replace(counted, resizer="nearest to 64")),
    }[what]
    calls = counted.module.calls
    reference_features(*other, tmp_path / "cache")
    assert counted.module.calls > calls
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut off", "a flipped bit", "of another set", "no safetensors"])
def test_a_damaged_cache_is_computed_anew_with_a_warning(
    network: FeatureNetwork, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = tiny_prepared(tmp_path / "set")
    expected = reference_features(prepared, network, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    data = bytearray(path.read_bytes())
    if damage == "cut off":
        del data[-100:]
    elif damage == "a flipped bit":
        data[-100] ^= 1
    elif damage == "of another set":
        reference_features(tiny_prepared(tmp_path / "other", seed=1), network, tmp_path / "two")
        data = bytearray(next((tmp_path / "two").iterdir()).read_bytes())
    else:
        data = bytearray(b"nonsense")
    path.write_bytes(data)
    assert torch.equal(reference_features(prepared, network, tmp_path / "cache"), expected)
    assert "computing the features again" in caplog.text
    caplog.clear()
    assert torch.equal(reference_features(prepared, network, tmp_path / "cache"), expected)
    assert not caplog.text


def test_rows_are_what_was_learnt_from_or_held_out_or_one_style(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path, n=200)
    training, held_out = rows(prepared, "training", 0.3), rows(prepared, "held-out", 0.3)
    assert sorted([*training, *held_out]) == list(range(200)) == list(rows(prepared, "all", 0.3))
    assert 30 < len(held_out) < 90
    waves = rows(prepared, "training", 0.3, "style1")
    assert set(waves) == {place for place in training if place % 2 == 1}
    with pytest.raises(AtelierError, match="no held-out images"):
        rows(prepared, "held-out", 0.0)
    with pytest.raises(AtelierError, match="there are style0, style1"):
        rows(prepared, "all", 0.0, "cubism")


# Measurements


def measured(network: FeatureNetwork, **changes: object) -> tuple[Measurement, ...]:
    arguments: dict = {
        "generated": random_features(40, 8, 1).float(),
        "real": random_features(50, 8, 2).float(),
        "network": network,
        "against": "held-out",
        "dataset_digest": digest("prepared"),
    }
    return measure(**(arguments | changes))


def test_every_figure_carries_what_it_depends_on(network: FeatureNetwork) -> None:
    figures = measured(network, style="waves")
    assert [figure.metric for figure in figures] == ["frechet", "kid", "precision", "recall"]
    for figure in figures:
        assert figure.low <= figure.value <= figure.high
        assert (figure.num_generated, figure.num_real) == (40, 50)
        assert (figure.against, figure.style) == ("held-out", "waves")
        assert (figure.features, figure.features_sha256) == ("embedded", network.sha256)
        assert figure.resizer == "bicubic to 64, antialiased"
        assert figure.dataset_digest == digest("prepared")


def test_only_the_figures_asked_for_are_measured(network: FeatureNetwork) -> None:
    (figure,) = measured(network, metrics=("kid",))
    features = random_features(40, 8, 1).float(), random_features(50, 8, 2).float()
    assert figure.value == distances.kid(*features).value


def test_precision_and_recall_say_how_many_they_judged(
    network: FeatureNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "MAX_JUDGED", 45)
    frechet, _, precision, recall = measured(network)
    assert (frechet.num_generated, frechet.num_real) == (40, 50)
    for figure in (precision, recall):
        assert (figure.num_generated, figure.num_real) == (40, 45)


def test_a_frechet_distance_of_few_images_says_so(network: FeatureNetwork) -> None:
    few, kid, *_ = measured(network)
    assert few.line().endswith("; biased: under 2048 images")
    assert "40 generated, 50 real held-out" in few.line()
    assert "biased" not in kid.line()
    assert "biased" not in few.model_copy(update={"num_generated": 2048, "num_real": 2048}).line()


def test_kid_is_told_in_thousandths_and_says_so(network: FeatureNetwork) -> None:
    (kid,) = measured(network, metrics=("kid",))
    kid = kid.model_copy(update={"value": 0.0818, "low": 0.08, "high": 0.0836})
    assert kid.line().startswith("KID (embedded) in 10⁻³: 81.80 [80.00, 83.60] (40 generated, ")
    assert kid.short() == "KID in 10⁻³ 81.80"


def test_only_figures_of_the_published_weights_are_called_fid(network: FeatureNetwork) -> None:
    (ours,) = measured(network, metrics=("frechet",))
    assert ours.name == "Fréchet distance (embedded)"
    other = ours.model_copy(update={"features": "inception"})
    assert other.name == "Fréchet distance (inception, other weights)"
    published = other.model_copy(update={"features_sha256": FID_WEIGHTS_SHA256})
    assert published.name == "FID"
    assert published.model_copy(update={"metric": "kid"}).name == "KID"
    imagenet = ours.model_copy(update={"features": "imagenet"})
    assert imagenet.name == "Fréchet distance (imagenet)"
    for figure in (ours, imagenet, other):
        assert figure.caution.endswith("no FID of the literature.")
    assert published.caution == ""


@pytest.mark.parametrize(
    "unlike",
    [
        {"num_generated": 41},
        {"num_real": 51},
        {"against": "training"},
        {"dataset_digest": digest("other")},
        {"features": "inception"},
        {"features_sha256": digest("other")},
        {"resizer": "nearest to 64"},
        {"precision": "bfloat16, float64"},
        {"style": "waves"},
        {"metric": "kid"},
    ],
    ids=lambda unlike: next(iter(unlike)),
)
def test_unlike_figures_are_not_compared(network: FeatureNetwork, unlike: dict) -> None:
    (figure,) = measured(network, metrics=("frechet",))
    figure.check_comparable(figure.model_copy(update={"value": 1.0, "low": 0.0, "high": 2.0}))
    with pytest.raises(AtelierError, match=next(iter(unlike))):
        figure.check_comparable(figure.model_copy(update=unlike))


def test_too_few_images_and_broken_features_are_refused(network: FeatureNetwork) -> None:
    with pytest.raises(AtelierError, match="3 generated images are too few"):
        measured(network, generated=torch.zeros(3, 8))
    with pytest.raises(AtelierError, match="real images have features that are not finite"):
        measured(network, real=torch.full((20, 8), torch.nan))
    assert len(measured(network, generated=torch.rand(4, 8), real=torch.rand(4, 8))) == 4


# Nearest training pictures


@pytest.fixture(scope="module")
def learnt() -> tuple[Neighbours, Tensor, list[str]]:
    features = random_features(300, 100).float()
    sources = [digest(f"file {n}") for n in range(300)]
    return Neighbours.fit(features, sources), features, sources


def test_a_copy_is_found_and_has_no_originality(
    learnt: tuple[Neighbours, Tensor, list[str]],
) -> None:
    neighbours, features, sources = learnt
    distance, place = neighbours.nearest(features)
    assert torch.equal(place, torch.arange(300))
    assert neighbours.originality(distance).max() < 0.01
    assert [neighbours.source(int(n)) for n in place] == sources


def test_a_new_picture_of_the_same_kind_is_as_original_as_they_are(
    learnt: tuple[Neighbours, Tensor, list[str]],
) -> None:
    neighbours, features, _ = learnt
    distance, _ = neighbours.nearest(random_features(300, 100, seed=7).float())
    assert float(neighbours.originality(distance).median()) == pytest.approx(1.0, abs=0.1)
    far, _ = neighbours.nearest(features.mean(dim=0) + 10 * (features - features.mean(dim=0)))
    assert neighbours.originality(far).min() > 1.5


def test_the_nearest_picture_is_the_nearest_of_all_features() -> None:
    """Where all directions are kept, distances are those of the features themselves."""
    features = random_features(50, 10).float()
    neighbours = Neighbours.fit(features, [digest(f"{n}") for n in range(50)])
    query = random_features(20, 10, seed=3)
    distance, place = neighbours.nearest(query.float())
    expected = torch.cdist(query, features.double()).min(dim=1)
    torch.testing.assert_close(distance, expected.values, rtol=0.01, atol=0.01)
    assert (place == expected.indices).double().mean() > 0.9
    between = torch.cdist(features, features).fill_diagonal_(torch.inf).min(dim=1).values
    assert neighbours.typical == pytest.approx(float(between.median()), rel=0.01)


def test_neighbours_come_back_from_their_file(
    learnt: tuple[Neighbours, Tensor, list[str]], tmp_path: Path
) -> None:
    neighbours, features, _ = learnt
    path = tmp_path / "neighbours.safetensors"
    neighbours.save(path)
    loaded = Neighbours.load(path)
    for one, two in zip(loaded.nearest(features), neighbours.nearest(features), strict=True):
        assert torch.equal(one, two)
    assert (loaded.typical, loaded.source(7)) == (neighbours.typical, neighbours.source(7))
    # 64 halves and a digest each; what all share is the basis and the mean.
    assert path.stat().st_size < 300 * (128 + 32) + 4 * 100 * 65 + 1000


def test_broken_or_foreign_neighbours_are_refused(
    learnt: tuple[Neighbours, Tensor, list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "neighbours.safetensors"
    with pytest.raises(AtelierError, match="cannot read"):
        Neighbours.load(path)
    learnt[0].save(path)
    with pytest.raises(AtelierError, match="another encoder"):
        Neighbours.load(path, digest("another encoder"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AtelierError, match="copy the model again"):
        Neighbours.load(path)
    save_weights(path, {"mean": torch.zeros(3)})
    with pytest.raises(AtelierError, match="copy the model again"):
        Neighbours.load(path)


def test_pictures_that_are_all_doubles_have_no_typical_distance() -> None:
    features = random_features(3, 10).float().repeat(4, 1)
    with pytest.raises(AtelierError, match="exact double"):
        Neighbours.fit(features, [digest(f"{n}") for n in range(12)])
    with pytest.raises(AtelierError, match="at least two"):
        Neighbours.fit(features[:1], [digest("one")])


def test_features_are_computed_so_many_at_a_time(
    counted: FeatureNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "BATCH_SIZE", 8)
    counted.extract(pictures(17))
    assert counted.module.calls == 3
