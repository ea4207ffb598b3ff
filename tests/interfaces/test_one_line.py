"""Parts of a text from outside that reach a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.errors import one_line


@given(st.text(st.characters()))
def test_no_text_commands_a_terminal(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    categories = {unicodedata.category(letter) for letter in shown if letter not in "\u200c\u200d"}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert one_line(shown) == shown


@pytest.mark.parametrize(
    "text,shown",
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nerror: b", r"a\nerror: b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("caf\udce9.png", r"caf\udce9.png"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_what_is_unsafe_is_escaped(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    "name", ["mon été", "Хвилі №1", "👩‍🎨 画", "cafe\u0301", "10:00\u202fAM", "\\"]
)
def test_an_honest_name_stays(name: str) -> None:
    assert one_line(name) == name
