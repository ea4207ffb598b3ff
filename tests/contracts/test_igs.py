"""IGS: what may be chosen, and how it travels."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.igs import IGS, format_seeds, parse_seeds

seed_tuples = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20, unique=True).map(tuple)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": 1.5},
        {"count": 2_000_000},
        {"seed": -1},
        {"seed": 2**63 - 1, "count": 2},
        {"seeds": ""},
        {"seeds": "5-3"},
        {"seeds": "1,,2"},
        {"seeds": "-4"},
        {"seeds": "a"},
        {"seeds": "0-99999999999"},
        {"seeds": ()},
        {"batch_size": 0},
        {"skip": -1},
        {"device": ""},
        {"prompt": ""},
        {"mask": "mask.png"},
        {"schema_version": 2},
        {"unknown": 1},
    ],
)
def test_nonsense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IGS.model_validate(changes)


@given(seeds=seed_tuples)
def test_seed_lists_are_read_back_as_written(seeds: tuple[int, ...]) -> None:
    assert parse_seeds(format_seeds(seeds)) == seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("9,0-2, 5", (9, 0, 1, 2, 5)), ("1,1-2", (1, 2))],
)
def test_lists_and_ranges_of_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert IGS(seeds=text).chosen_seeds == seeds  # type: ignore[arg-type]


def test_seeds_follow_the_first_where_no_list_is_given() -> None:
    assert IGS(count=3, seed=10).chosen_seeds == (10, 11, 12)


@given(
    message=st.builds(
        IGS,
        count=st.integers(1, 1000),
        seed=st.integers(0, 2**60),
        seeds=st.none() | seed_tuples,
        style=st.none() | st.text(min_size=1),
        batch_size=st.none() | st.integers(1, 4096),
        options=st.dictionaries(st.text(min_size=1), st.floats(0, 1) | st.text() | st.booleans()),
    )
)
def test_json_and_bytes_bring_it_back(message: IGS) -> None:
    assert IGS.from_json(message.to_json()) == message
    assert IGS.from_bytes(message.to_bytes()) == message


def test_ranges_together_are_bounded_before_they_are_listed() -> None:
    tracemalloc.start()
    with pytest.raises(ValidationError, match="seeds: over 1000000 are named"):
        IGS.model_validate({"seeds": ",".join(f"{n}-{n + 399_999}" for n in (0, 10**6, 10**7))})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000_000
