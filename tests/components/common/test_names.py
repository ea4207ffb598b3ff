"""Names that a person types among those that are known."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.common.names import place_among

STYLES = ("Baroque", "Ukiyo_e", "Café Noir", "baroque II")


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("Baroque", 0),
        ("baroque", 0),
        ("ukiyo-e", 1),
        ("UKIYO E", 1),
        (unicodedata.normalize("NFD", "café noir"), 2),
        ("Baroque II", 3),
        ("Rococo", None),
        ("", None),
    ],
)
def test_a_style_is_known_however_it_is_typed(typed: str, place: int | None) -> None:
    assert place_among(typed, STYLES) == place


def test_the_exact_spelling_comes_first_and_two_that_are_alike_are_no_answer() -> None:
    assert place_among("night", ("Night", "night")) == 1
    assert place_among("NIGHT", ("Night", "night")) is None


@given(st.lists(st.text(), unique_by=lambda name: unicodedata.normalize("NFC", name)))
def test_every_name_is_found_at_its_own_place(names: list[str]) -> None:
    assert [place_among(name, names) for name in names] == list(range(len(names)))
