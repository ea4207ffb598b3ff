"""IES: what may be chosen, how it travels, and how any enhancer must behave."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.errors import AtelierError
from interfaces.iedt import IEDT, Enhancer
from interfaces.ies import IES, Route
from interfaces.igdt import IGDT
from tests.helpers import make_igdt

# Needs no weights, so that it holds on any machine and for any replacement.
PLAIN = IES(enhancer="lanczos", device="cpu")

settings = st.builds(
    IES,
    scale=st.sampled_from([1, 4, 16]),
    enhancer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    weights=st.none() | st.sampled_from([Path("mine.pth"), Path("/папка/x y.safetensors")]),
    strength=st.floats(0, 1),
    denoise=st.floats(0, 1),
    route=st.sampled_from(get_args(Route)),
    tile_pixels=st.integers(32, 4096),
    device=st.sampled_from(["auto", "cpu", "cuda", "mps"]),
)


@pytest.fixture
def enhancer(component: Callable[[str], object]) -> Enhancer:
    found = component("enhancement")
    assert isinstance(found, Enhancer)
    return found


@given(settings)
def test_round_trips(chosen: IES) -> None:
    assert IES.from_json(chosen.to_json()) == chosen
    assert IES.from_bytes(chosen.to_bytes()) == chosen


@pytest.mark.parametrize(
    "field,value",
    [
        ("scale", 2),
        ("scale", 0),
        ("scale", -4),
        ("enhancer", ""),
        ("strength", -0.01),
        ("strength", 1.01),
        ("strength", float("nan")),
        ("denoise", -0.01),
        ("denoise", 1.01),
        ("denoise", float("nan")),
        ("route", "float64"),
        ("tile_pixels", 31),
        ("tile_pixels", 4097),
        ("tile_pixels", 64.5),
        ("device", "gpu"),
        ("schema_version", 2),
        ("upscale", 4),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        IES(**{field: value})
    assert [fault["loc"][0] for fault in refusal.value.errors()] == [field]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        PLAIN.scale = 16


def test_every_field_says_what_it_means() -> None:
    assert all(field.description for field in IES.model_fields.values())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scale": 3}', '{"scael": 4}'])
def test_what_is_no_message_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(AtelierError) as refusal:
        IES.from_json(text)
    assert "IES" in str(refusal.value)


# --- the port ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 4, 16])
def test_sides_grow_by_the_scale(enhancer: Enhancer, scale: int) -> None:
    batches = [make_igdt(2, 8, seed=0), make_igdt(1, 12, seed=5)]
    results = list(enhancer.enhance(batches, PLAIN.model_copy(update={"scale": scale})))
    assert [type(result) for result in results] == [IEDT, IEDT]
    for batch, result in zip(batches, results, strict=True):
        count, channels, height, width = batch.images.shape
        assert result.images.shape == (count, channels, height * scale, width * scale)
        assert result.origins == batch.origins
        assert result.carried == batch.carried
        assert result.enhancement.scale == scale


def test_the_record_is_true_of_the_settings(enhancer: Enhancer) -> None:
    (result,) = enhancer.enhance([make_igdt(1, 8)], PLAIN)
    assert result.enhancement.scale == PLAIN.scale
    assert not result.enhancement.is_fallback


def test_scale_one_leaves_the_picture_as_it_is(enhancer: Enhancer) -> None:
    batch = make_igdt(2, 8)
    (result,) = enhancer.enhance([batch], IES(scale=1))
    assert np.array_equal(result.images, batch.images)


def test_pictures_stay_themselves(enhancer: Enhancer) -> None:
    """Reduced again, each result is its own picture, in its own place."""
    batch = make_igdt(3, 16)
    (result,) = enhancer.enhance([batch], PLAIN)
    reduced = result.images.reshape(3, 3, 16, 4, 16, 4).mean(axis=(3, 5))
    own = np.abs(reduced - batch.images).mean(axis=(1, 2, 3))
    other = np.abs(reduced - np.roll(batch.images, 1, axis=0)).mean(axis=(1, 2, 3))
    assert (own < other / 3).all()


def test_a_picture_does_not_depend_on_its_batch(enhancer: Enhancer) -> None:
    whole = make_igdt(5, 8)
    (together,) = enhancer.enhance([whole], PLAIN)
    apart = [
        IGDT(images=whole.images[place : place + 1].copy(), origins=(whole.origins[place],))
        for place in range(5)
    ]
    for place, result in enumerate(enhancer.enhance(apart, PLAIN)):
        assert np.array_equal(result.images[0], together.images[place])


def test_alpha_grows_with_the_picture(enhancer: Enhancer) -> None:
    plain = make_igdt(1, 8)
    alpha = np.zeros((1, 1, 8, 8), np.float32)
    alpha[..., 4:] = 1
    batch = IGDT(images=plain.images, origins=plain.origins, alpha=alpha)
    (result,) = enhancer.enhance([batch], PLAIN)
    assert result.alpha is not None
    assert result.alpha.shape == (1, 1, 32, 32)
    assert (result.alpha[..., :8] < 0.1).all() and (result.alpha[..., -8:] > 0.9).all()


def test_no_batch_is_taken_before_its_turn(enhancer: Enhancer) -> None:
    taken: list[int] = []

    def batches() -> Iterator[IGDT]:
        for place in range(3):
            taken.append(place)
            yield make_igdt(1, 8, seed=place)

    stream = enhancer.enhance(batches(), PLAIN)
    for place in range(3):
        next(stream)
        assert taken == list(range(place + 1))


def test_no_batches_give_none(enhancer: Enhancer) -> None:
    assert list(enhancer.enhance([], PLAIN)) == []


def test_missing_weights_are_said_before_a_batch_is_taken(
    enhancer: Enhancer, tmp_path: Path
) -> None:
    def batches() -> Iterator[IGDT]:
        pytest.fail("a batch was taken")
        yield

    missing = tmp_path / "missing.pth"
    with pytest.raises(AtelierError, match=r"missing\.pth"):
        next(iter(enhancer.enhance(batches(), IES(weights=missing, device="cpu"))))
