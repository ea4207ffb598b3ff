"""IES: what may be chosen, and how it travels."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.errors import AtelierError
from interfaces.ies import IES, ROUTES

# Needs no weights, so that it holds on any machine and for any replacement.
PLAIN = IES(enhancer="lanczos", device="cpu")

settings = st.builds(
    IES,
    scale=st.sampled_from([1, 4, 16]),
    enhancer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    weights=st.none() | st.sampled_from([Path("mine.pth"), Path("/папка/x y.safetensors")]),
    strength=st.floats(0, 1),
    denoise=st.floats(0, 1),
    route=st.sampled_from(ROUTES),
    tile_pixels=st.integers(32, 4096),
    device=st.sampled_from(["auto", "cpu", "cuda", "mps"]),
)


@given(settings)
def test_round_trips(chosen: IES) -> None:
    assert IES.from_json(chosen.to_json()) == chosen
    assert IES.from_bytes(chosen.to_bytes()) == chosen


@pytest.mark.parametrize(
    "field,value",
    [
        ("scale", 1000),
        ("scale", 0),
        ("scale", -4),
        ("enhancer", ""),
        ("strength", -0.01),
        ("strength", 1.01),
        ("strength", float("nan")),
        ("denoise", -0.01),
        ("denoise", 1.01),
        ("denoise", float("nan")),
        ("route", ""),
        ("tile_pixels", 31),
        ("tile_pixels", 4097),
        ("tile_pixels", 64.5),
        ("device", ""),
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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scale": 0}', '{"scael": 4}'])
def test_what_is_no_message_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(AtelierError) as refusal:
        IES.from_json(text)
    assert "IES" in str(refusal.value)
