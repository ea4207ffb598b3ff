"""Two stages at once: the same results in the same order, bounded, and ended at once."""

import threading
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.common.pipelining import overlapped


def doubled(batches: Iterable[list[int]]) -> Iterator[int]:
    for batch in batches:
        yield from (2 * number for number in batch)


@given(st.lists(st.lists(st.integers())))
def test_what_comes_is_what_the_stage_alone_gives(batches: list[list[int]]) -> None:
    assert list(overlapped(batches, doubled)) == list(doubled(batches))


def test_a_batch_is_made_while_the_last_one_is_worked_on() -> None:
    second_is_made = threading.Event()

    def batches() -> Iterator[list[int]]:
        yield [1]
        second_is_made.set()
        yield [2]

    def stage(given: Iterable[list[int]]) -> Iterator[int]:
        for batch in given:
            assert second_is_made.wait(10)  # never, if one waited for the other
            yield from batch

    assert list(overlapped(batches(), stage)) == [1, 2]


def test_no_more_than_two_batches_are_held() -> None:
    made: list[int] = []

    def batches() -> Iterator[list[int]]:
        for number in range(9):
            made.append(number)
            yield [number]

    for number in overlapped(batches(), doubled):
        assert len(made) <= number // 2 + 2


def test_the_stage_has_a_thread_of_its_own_and_the_maker_has_not() -> None:
    threads: dict[str, set[int]] = {"maker": set(), "stage": set()}

    def batches() -> Iterator[list[int]]:
        for number in range(4):
            threads["maker"].add(threading.get_ident())
            yield [number]

    def stage(given: Iterable[list[int]]) -> Iterator[int]:
        for batch in given:
            threads["stage"].add(threading.get_ident())
            yield from batch

    assert list(overlapped(batches(), stage)) == [0, 1, 2, 3]
    assert threads["maker"] == {threading.get_ident()}
    assert len(threads["stage"]) == 1 and threads["stage"] != threads["maker"]


@pytest.mark.parametrize("side", ["maker", "stage"])
def test_an_error_of_either_side_is_raised_after_what_was_whole(side: str) -> None:
    def batches() -> Iterator[list[int]]:
        yield [1]
        yield [2]
        if side == "maker":
            raise OSError("no more")
        yield [3]

    def stage(given: Iterable[list[int]]) -> Iterator[int]:
        for batch in given:
            if side == "stage" and batch == [2]:
                raise OSError("no more")
            yield from batch

    results = overlapped(batches(), stage)
    assert next(results) == 1
    with pytest.raises(OSError, match="no more"):
        list(results)


def test_closing_ends_the_thread_and_the_maker() -> None:
    ended: list[str] = []

    def batches() -> Iterator[list[int]]:
        try:
            while True:
                yield [1]
        finally:
            ended.append("maker")

    before = threading.active_count()
    source = batches()
    results = overlapped(source, doubled)
    next(results)
    begun = time.monotonic()
    results.close()
    del source
    assert time.monotonic() - begun < 1
    assert threading.active_count() == before


def test_ctrl_c_while_a_batch_is_made_comes_through() -> None:
    def batches() -> Iterator[list[int]]:
        yield [1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(overlapped(batches(), doubled))


def test_what_was_made_before_a_fault_is_given_out_first() -> None:
    def batches() -> Iterator[int]:
        yield from (1, 2, 3)
        raise OSError("the fourth")

    taken: list[int] = []
    with pytest.raises(OSError, match="the fourth"):
        taken.extend(overlapped(batches(), lambda some: iter([10 * n for n in some])))
    assert taken == [10, 20, 30]
