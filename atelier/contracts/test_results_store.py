"""Promises that every results store must keep: those of `interfaces/iodt.py`."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.contracts.refusals import refused
from atelier.contracts.samples import digest, make_file_origin, make_iodt, make_origin, make_record
from atelier.contracts.strategies import encoded, examples
from interfaces.components import Components
from interfaces.errors import NotFoundError
from interfaces.iodt import (
    IODT,
    ResultQuery,
    ResultsGallery,
    ResultsStore,
    StoredResult,
    kept_seeds,
)
from interfaces.places import open_place, remove, size_of


@pytest.fixture
def store(parts: Components) -> ResultsStore:
    return parts.results_store


def _bytes_of(result: StoredResult) -> bytes:
    with open_place(result.path) as stream:
        return stream.read()


def test_what_is_kept_is_found_and_got(store: ResultsStore) -> None:
    image = make_iodt(7)
    result = store.keep(image, "run")
    assert _bytes_of(result) == image.data
    assert (result.sha256, result.media_type) == (image.sha256, image.media_type)
    assert (result.width, result.height) == (image.width, image.height)
    assert (result.record, result.run) == (image.record, "run")
    assert result.kept_at.utcoffset() == timedelta(0)
    assert store.find(ResultQuery()) == [result]
    assert store.get(result.id) == result


def test_an_empty_store_finds_nothing(store: ResultsStore) -> None:
    assert store.find(ResultQuery()) == []


@pytest.mark.parametrize("number", [1, 0, -1, 2**63, 10**30])
def test_there_is_no_such_result(store: ResultsStore, number: int) -> None:
    with refused():
        store.get(number)
    kept = store.keep(make_iodt(), "run")
    if number != kept.id:
        with refused():
            store.get(number)


def test_keeping_again_gives_what_is_there(store: ResultsStore) -> None:
    first = store.keep(make_iodt(), "run")
    assert store.keep(make_iodt(), "run") == first
    assert len(store.find(ResultQuery())) == 1


def test_two_runs_may_keep_the_same_image(store: ResultsStore) -> None:
    one, other = store.keep(make_iodt(), "one"), store.keep(make_iodt(), "other")
    assert one.id != other.id
    assert one.path != other.path
    assert store.find(ResultQuery(run="one")) == [one]


def test_the_newest_come_first_and_the_limit_holds(store: ResultsStore) -> None:
    ids = [store.keep(make_iodt(seed), "run").id for seed in range(5)]
    assert ids == sorted(ids)
    assert [result.id for result in store.find(ResultQuery(limit=3))] == ids[:1:-1]


def _image(seed: int, **changed: Any) -> IODT:
    image = make_iodt(seed)
    origin = make_origin(seed).model_copy(update=changed)
    return image.model_copy(update={"record": image.record.model_copy(update={"origin": origin})})


def _six_different(store: ResultsStore) -> list[StoredResult]:
    """Five generated pictures and a person's own; each field of a query tells some apart."""
    other = {"enhancer": "embedded"}
    images = [
        _image(0),
        _image(1, family="wgan_gp", originality=0.2),
        _image(2, style="ukiyo-e", model_digest=digest("other"), originality=0.9),
        _image(3, originality=0.5),
        _image(4),
        make_iodt(5),
    ]
    changes: list[dict[str, Any]] = [
        {"drift": 0.5},
        {"drift": 2.0},
        {},
        {"drift": 1.0, "enhancement": images[3].record.enhancement.model_copy(update=other)},
        {},
        {"origin": make_file_origin("own.png"), "is_ai_generated": False},
    ]
    sizes = [(16, 16), (64, 16), (16, 128), (16, 16), (16, 16), (300, 200)]
    kept: list[StoredResult] = []
    for place, (image, change) in enumerate(zip(images, changes, strict=True)):
        record = image.record.model_copy(update=change)
        width, height = sizes[place]
        fields: dict[str, Any] = {"record": record, "width": width, "height": height}
        if place == 4:
            fields["media_type"] = "image/webp"
        kept.append(store.keep(image.model_copy(update=fields), "b" if place == 3 else "a"))
    return kept


QUERIES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [5, 4, 3, 2, 1, 0]),
    ({"run": "b"}, [3]),
    ({"run": "nobody's"}, []),
    ({"family": "wgan_gp"}, [1]),
    ({"style": "ukiyo-e"}, [2]),
    ({"style": "%"}, []),
    ({"model_digest": digest("other")}, [2]),
    ({"model_digest": digest("other")[:8]}, [2]),
    ({"first_seed": 3}, [4, 3]),
    ({"last_seed": 1}, [1, 0]),
    ({"first_seed": 1, "last_seed": 1}, [1]),
    ({"most_drift": 1.0}, [3, 0]),
    ({"least_originality": 0.5}, [3, 2]),
    ({"least_side": 64}, [5, 2, 1]),
    ({"most_side": 64}, [4, 3, 1, 0]),
    ({"least_side": 129, "most_side": 300}, [5]),
    ({"enhancer": "embedded"}, [3]),
    ({"enhancer": "nobody's"}, []),
    ({"media_type": "image/webp"}, [4]),
    ({"media_type": "image/avif"}, []),
    ({"sort_by": "drift"}, [0, 3, 1, 5, 4, 2]),
    ({"sort_by": "originality"}, [1, 3, 2, 5, 4, 0]),
    ({"sort_by": "drift", "limit": 2}, [0, 3]),
    ({"deleted": "only"}, []),
    ({"deleted": "too"}, [5, 4, 3, 2, 1, 0]),
    ({"run": "a", "first_seed": 1, "family": "dcgan"}, [4, 2]),
    ({"run": "a", "most_side": 16, "media_type": "image/png", "enhancer": "lanczos"}, [0]),
]


@pytest.mark.parametrize("query,places", QUERIES)
def test_every_field_of_a_query_must_hold(
    store: ResultsStore, query: dict[str, Any], places: list[int]
) -> None:
    kept = _six_different(store)
    assert store.find(ResultQuery.model_validate(query)) == [kept[place] for place in places]


def test_no_field_of_a_query_is_untested() -> None:
    """A store that ignored a field would pass if no query above gave it."""
    tested = {field for query, _ in QUERIES for field in query}
    assert tested | {"kept_after", "kept_before", "numbers"} == set(ResultQuery.model_fields)


def test_numbers_are_a_field_of_a_query(store: ResultsStore) -> None:
    kept = _six_different(store)
    numbers = [result.id for result in kept]
    for query, places in (
        ({"numbers": (numbers[1], numbers[4], numbers[1])}, [4, 1]),
        ({"numbers": (numbers[3],)}, [3]),
        ({"numbers": numbers, "run": "b"}, [3]),
        ({"numbers": (numbers[0], numbers[3]), "sort_by": "drift"}, [0, 3]),
        ({"numbers": (max(numbers) + 1,)}, []),
        ({"numbers": ()}, []),
    ):
        found = store.find(ResultQuery.model_validate(query))
        assert found == [kept[place] for place in places]


def test_when_it_was_kept_is_a_field_of_a_query(store: ResultsStore) -> None:
    kept = _six_different(store)
    later = [result for result in kept if result.kept_at >= kept[3].kept_at]
    earlier = [result for result in kept if result.kept_at < kept[3].kept_at]
    hour = timedelta(hours=1)
    for query, fitting in (
        ({"kept_after": kept[3].kept_at}, later),
        ({"kept_before": kept[3].kept_at}, earlier),
        ({"kept_after": kept[0].kept_at - hour, "kept_before": kept[5].kept_at + hour}, kept),
        ({"kept_after": kept[5].kept_at + hour}, []),
        ({"kept_before": kept[3].kept_at.replace(tzinfo=None)}, earlier),
    ):
        assert store.find(ResultQuery.model_validate(query)) == fitting[::-1]


# ---------------------------------------------------------------- what a store may offer besides


def test_pages_counts_and_deletions_agree_with_find(store: ResultsStore) -> None:
    if not isinstance(store, ResultsGallery):
        pytest.skip("this store has no pages")
    kept = _six_different(store)
    assert store.delete([kept[1].id, kept[4].id, 10**30]) == 2
    for query, places in QUERIES:
        asked = ResultQuery.model_validate(query | {"limit": 2})
        walked: list[StoredResult] = []
        cursor: str | None = None
        for _ in range(4):
            page = store.page(asked, cursor)
            walked += page.results
            cursor = page.next
            if cursor is None:
                break
        everything = asked.model_copy(update={"limit": 100})
        if query.get("deleted") is None and "limit" not in query:
            assert walked == [kept[place] for place in places if place not in (1, 4)]
        assert walked == store.find(everything)
        assert store.count(asked) == len(walked)
    assert store.find(ResultQuery(deleted="only")) == [kept[4], kept[1]]
    assert store.get(kept[1].id) == kept[1] and store.read(kept[1].id) == make_iodt(1).data
    assert store.restore([kept[1].id, kept[0].id]) == 1
    assert store.find(ResultQuery(deleted="only")) == [kept[4]]
    assert store.purge(timedelta(days=7)) == 0
    assert store.purge(timedelta(0)) == 1
    assert size_of(kept[4].path) is None and size_of(kept[1].path)
    with pytest.raises(NotFoundError):
        store.get(kept[4].id)
    assert store.keep(make_iodt(9), "a").id > kept[-1].id


class _PlainStore:
    """A store with its port and nothing more."""

    def __init__(self, store: ResultsStore) -> None:
        self.keep, self.find, self.get = store.keep, store.find, store.get


@pytest.mark.parametrize("is_plain", [False, True])
def test_seeds_that_a_run_has_kept_are_told(store: ResultsStore, is_plain: bool) -> None:
    kept = _six_different(store)
    again = make_iodt(77).model_copy(update={"record": _image(0).record})
    newer = store.keep(again, "a")
    if isinstance(store, ResultsGallery):
        store.delete([kept[4].id])
    asked: ResultsStore = _PlainStore(store) if is_plain else store
    model = digest("model")
    assert kept_seeds(asked, "a", model, [4, 0, 1, 2, 3, 5, 99]) == {
        0: newer.id,
        1: kept[1].id,
        4: kept[4].id,
    }
    assert kept_seeds(asked, "b", model, range(4)) == {3: kept[3].id}
    assert kept_seeds(asked, "a", model, []) == kept_seeds(asked, "c", model, [0]) == {}
    remove(newer.path)
    remove(kept[1].path)
    assert kept_seeds(asked, "a", model, [0, 1]) == {0: kept[0].id}


def test_a_deleted_file_breaks_nothing(store: ResultsStore) -> None:
    gone, there = store.keep(make_iodt(0), "run"), store.keep(make_iodt(1), "run")
    remove(gone.path)
    assert store.find(ResultQuery()) == [there, gone]
    assert store.get(gone.id) == gone
    assert store.keep(make_iodt(0), "run") == gone
    assert _bytes_of(gone) == make_iodt(0).data


def test_different_images_of_one_seed_are_both_kept(store: ResultsStore) -> None:
    images = [make_iodt(0), make_iodt(1).model_copy(update={"record": make_record(0)})]
    results = [store.keep(image, "run") for image in images]
    for image, result in zip(images, results, strict=True):
        assert _bytes_of(result) == image.data


def test_any_valid_image_is_kept(store: ResultsStore) -> None:
    @examples(40)
    @given(encoded, st.text(st.characters(exclude_categories=["Cs"]), max_size=99))
    def keeps(image: IODT, run: str) -> None:
        result = store.keep(image, run)
        assert _bytes_of(result) == image.data
        assert (result.record, result.run) == (store.get(result.id).record, run)

    keeps()
