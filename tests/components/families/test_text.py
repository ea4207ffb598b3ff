"""Style nearest to a text: each rule, their order, and nothing where nothing is near."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.families.text import GOES_WITH, nearest_style
from tests.helpers import REPOSITORY

PAINTINGS = ("Baroque", "Impressionism", "Pointillism", "Rococo", "Ukiyo_e")
MORE = (*PAINTINGS, "Post_Impressionism", "Expressionism", "Realism", "Northern_Renaissance")


@pytest.mark.parametrize(
    ("prompt", "style", "reason"),
    [
        ("a baroque portrait", "Baroque", "the text says 'baroque'"),
        ("ROCOCO!", "Rococo", "the text says 'rococo'"),
        ("waves, ukiyo-e", "Ukiyo_e", "the text says 'ukiyo e'"),
        ("an impressionist garden", "Impressionism", "'impressionist' in the text"),
        ("a pointillistic harbour", "Pointillism", "of the same words"),
        ("a post-impressionist field", "Post_Impressionism", "'post impressionist'"),
        ("water lilies like Monet's", "Impressionism", "'monet' goes with impressionism"),
        ("after Van Gogh", "Post_Impressionism", "'van gogh' goes with"),
        ("a lady by Dürer", "Northern_Renaissance", "'durer' goes with renaissance"),
        ("a Japanese bridge", "Ukiyo_e", "'japanese' goes with ukiyo e"),
        ("an impresionism of spring", "Impressionism", "nearly its name"),
        ("a realistic street", "Realism", "'realistic'"),
    ],
)
def test_a_text_finds_its_style_and_says_why(prompt: str, style: str, reason: str) -> None:
    found = nearest_style(prompt, MORE)
    assert found is not None
    assert found[0] == style
    assert reason in found[1]
    assert "\n" not in found[1]


@pytest.mark.parametrize("prompt", ["", "...", "a cat on a mat", "the", "картина"])
def test_where_nothing_is_near_there_is_none(prompt: str) -> None:
    assert nearest_style(prompt, MORE) is None
    assert nearest_style("a baroque portrait", ()) is None


def test_one_style_is_not_taken_for_another_of_nearly_its_name() -> None:
    found = nearest_style("an expressionist street", MORE)
    assert found is not None
    assert found[0] == "Expressionism"
    for other in ("an expressionist street", "expressionism", "surrealism"):
        assert nearest_style(other, [*PAINTINGS, "Realism"]) is None


def test_a_name_goes_before_a_painter_and_more_words_before_fewer() -> None:
    found = nearest_style("Monet, but rococo", PAINTINGS)
    assert found is not None
    assert found[0] == "Rococo"
    found = nearest_style("impressionism, or rather post impressionism", MORE)
    assert found is not None
    assert found[0] == "Post_Impressionism"
    found = nearest_style("rococo and baroque", PAINTINGS)
    assert found is not None
    assert found[0] == "Rococo"


def test_every_style_that_is_shipped_or_painted_here_can_be_asked_for() -> None:
    shipped = REPOSITORY / "components/common/shipped/paintings/model.json"
    styles = [*json.loads(shipped.read_text())["styles"], *EMBEDDED]
    for style in styles:
        found = nearest_style(f"a picture in {style.lower()} manner", styles)
        assert found is not None
        assert found[0] == style


EMBEDDED = ("blossoms", "compositions", "glass", "julia", "landscapes", "nocturnes")


@pytest.mark.parametrize("name", GOES_WITH)
def test_what_goes_with_a_style_finds_it(name: str) -> None:
    for phrase in GOES_WITH[name].split(", "):
        found = nearest_style(f"something of {phrase}, please", [name.replace(" ", "_")])
        assert found is not None, phrase
        assert found[0] == name.replace(" ", "_")


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=5))
def test_any_text_and_any_names_will_do(prompt: str, styles: list[str]) -> None:
    found = nearest_style(prompt, styles)
    assert found is None or found[0] in styles


@given(st.sampled_from(MORE), st.sampled_from(["a {} cat", "{}", "ships ({}), evening"]))
def test_a_name_is_always_found(style: str, text: str) -> None:
    found = nearest_style(text.format(style.replace("_", "-").upper()), MORE)
    assert found is not None
    assert found[0] == style
