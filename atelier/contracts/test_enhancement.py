"""Promises that every enhancer must keep: those of `interfaces/iedt.py`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from atelier.contracts.options import replacements
from atelier.contracts.refusals import refused
from atelier.contracts.samples import make_igdt
from atelier.contracts.strategies import batches, examples
from interfaces.capabilities import capabilities_of
from interfaces.components import Components
from interfaces.contract import offered
from interfaces.iedt import IEDT, LOOK_AHEAD, Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT


@pytest.fixture
def enhancer(parts: Components) -> Enhancer:
    return parts.enhancement


@pytest.fixture
def plain(pytestconfig: pytest.Config, enhancer: Enhancer) -> IES:
    """An enlargement that the enhancer declares: ours by its resampler, which needs no weights."""
    is_ours = "enhancement" not in replacements(pytestconfig)
    scales = capabilities_of(enhancer, "enhancement").scales or (4,)
    name = "lanczos" if is_ours else "auto"
    chosen = {"enhancer": name, "device": "cpu", "scale": 4 if 4 in scales else max(scales)}
    return IES.model_validate(chosen)


def test_sides_grow_by_every_scale_that_is_declared(enhancer: Enhancer, plain: IES) -> None:
    batches = [make_igdt(2, 8, seed=0), make_igdt(1, 12, seed=5)]
    usual = offered(IES.model_fields["scale"])
    for scale in capabilities_of(enhancer, "enhancement").scales or map(int, usual):
        results = list(enhancer.enhance(batches, plain.model_copy(update={"scale": scale})))
        assert [type(result) for result in results] == [IEDT, IEDT]
        for batch, result in zip(batches, results, strict=True):
            count, channels, height, width = batch.images.shape
            assert result.images.shape == (count, channels, height * scale, width * scale)
            assert result.origins == batch.origins
            assert result.carried == batch.carried
            assert result.enhancement.scale == scale


def test_the_record_is_true_of_the_settings(enhancer: Enhancer, plain: IES) -> None:
    (result,) = enhancer.enhance([make_igdt(1, 8)], plain)
    assert result.enhancement.scale == plain.scale
    assert not result.enhancement.is_fallback


def test_what_is_planned_is_what_is_done(enhancer: Enhancer, plain: IES) -> None:
    (result,) = enhancer.enhance([make_igdt(1, 8)], plain)
    without_route = {"route": None}
    planned = enhancer.planned(plain).model_copy(update=without_route)
    assert planned == result.enhancement.model_copy(update=without_route)


def test_scale_one_leaves_the_picture_as_it_is(enhancer: Enhancer) -> None:
    _skip_undeclared(enhancer, 1)
    batch = make_igdt(2, 8)
    (result,) = enhancer.enhance([batch], IES(scale=1))
    assert np.array_equal(result.images, batch.images)


def test_pictures_stay_themselves(enhancer: Enhancer, plain: IES) -> None:
    """Reduced again, each result is its own picture, in its own place."""
    batch, scale = make_igdt(3, 16), plain.scale
    (result,) = enhancer.enhance([batch], plain)
    reduced = result.images.reshape(3, 3, 16, scale, 16, scale).mean(axis=(3, 5))
    own = np.abs(reduced - batch.images).mean(axis=(1, 2, 3))
    for shift in (1, 2):
        other = np.abs(reduced - np.roll(batch.images, shift, axis=0)).mean(axis=(1, 2, 3))
        assert (own < other / 3).all()


def test_a_picture_does_not_depend_on_its_batch(enhancer: Enhancer, plain: IES) -> None:
    whole = make_igdt(5, 8)
    (together,) = enhancer.enhance([whole], plain)
    apart = [
        IGDT(images=whole.images[place : place + 1].copy(), origins=(whole.origins[place],))
        for place in range(5)
    ]
    for place, result in enumerate(enhancer.enhance(apart, plain)):
        assert np.array_equal(result.images[0], together.images[place])


def test_alpha_grows_with_the_picture(enhancer: Enhancer, plain: IES) -> None:
    without, side = make_igdt(1, 8), 8 * plain.scale
    alpha = np.zeros((1, 1, 8, 8), np.float32)
    alpha[..., 4:] = 1
    batch = IGDT(images=without.images, origins=without.origins, alpha=alpha)
    (result,) = enhancer.enhance([batch], plain)
    assert result.alpha is not None
    assert result.alpha.shape == (1, 1, side, side)
    quarter = side // 4
    assert (result.alpha[..., :quarter] < 0.1).all()
    assert (result.alpha[..., -quarter:] > 0.9).all()


def test_few_batches_are_taken_ahead(enhancer: Enhancer, plain: IES) -> None:
    """A run of a million pictures must fit into memory."""
    count, taken = 3 * LOOK_AHEAD, 0

    def batches() -> Iterator[IGDT]:
        nonlocal taken
        for taken in range(1, count + 1):
            yield make_igdt(1, 8, seed=taken)

    given_back = 0
    for _ in enhancer.enhance(batches(), plain):
        assert taken - given_back <= LOOK_AHEAD
        given_back += 1
    assert given_back == taken == count


def test_no_batches_give_none(enhancer: Enhancer, plain: IES) -> None:
    assert list(enhancer.enhance([], plain)) == []


def test_missing_weights_are_said_before_a_batch_is_taken(
    enhancer: Enhancer, plain: IES, tmp_path: Path
) -> None:
    def batches() -> Iterator[IGDT]:
        pytest.fail("a batch was taken")
        yield

    lost = IES(weights=tmp_path / "missing.pth", device="cpu", scale=plain.scale)
    with refused(r"missing\.pth"):
        next(iter(enhancer.enhance(batches(), lost)))


def test_any_valid_batch_is_taken(enhancer: Enhancer, plain: IES) -> None:
    @examples(40)
    @given(batches())
    def takes(batch: IGDT) -> None:
        (result,) = enhancer.enhance([batch], plain)
        assert len(result) == len(batch)
        assert result.origins == batch.origins
        assert result.carried == batch.carried
        assert (result.alpha is None) == (batch.alpha is None)

    takes()


def _skip_undeclared(enhancer: Enhancer, scale: int) -> None:
    scales = capabilities_of(enhancer, "enhancement").scales
    if scales is not None and scale not in scales:
        pytest.skip(f"declares no enlargement by {scale}")
