"""IODT: what an encoded image may be, how it travels, and how any converter and store behave."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT, Converter, ResultQuery, ResultsStore
from interfaces.record import Record
from tests.contracts.test_iedt import enhancements
from tests.contracts.test_igdt import files, generated, words
from tests.helpers import (
    digest,
    make_file_origin,
    make_iedt,
    make_igdt,
    make_iodt,
    make_origin,
    make_record,
)

values = st.none() | st.booleans() | st.integers(-9, 9) | words
records = st.recursive(
    st.none(),
    lambda source: st.builds(
        Record,
        software=words,
        origin=generated | files,
        enhancement=enhancements,
        conversion=st.dictionaries(words, values, max_size=2),
        is_ai_generated=st.booleans(),
        source=source,
    ),
    max_leaves=2,
).filter(lambda record: record is not None)


def _encoded(data: bytes, record: Record, /, **changed: Any) -> IODT:
    fields: dict[str, Any] = {
        "data": data,
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": "image/png",
        "width": 3,
        "height": 2,
        "record": record,
    }
    return IODT(**(fields | changed))


encoded = st.builds(
    _encoded,
    st.binary(min_size=1, max_size=99),
    records,
    media_type=st.sampled_from(
        [f"image/{name}" for name in ("png", "jpeg", "webp", "avif", "tiff")]
    ),
    width=st.integers(1, 2**31),
)


@given(encoded)
def test_json_round_trip(image: IODT) -> None:
    assert IODT.from_json(image.to_json()) == image


@given(encoded)
def test_bytes_round_trip(image: IODT) -> None:
    assert IODT.from_bytes(image.to_bytes()) == image


@pytest.mark.parametrize(
    "field,value",
    [
        ("data", b""),
        ("data", b"other bytes than the digest's"),
        ("sha256", "0" * 64),
        ("sha256", "abc"),
        ("media_type", "image/gif"),
        ("media_type", "png"),
        ("width", 0),
        ("height", -1),
        ("width", 1.5),
        ("record", None),
        ("schema_version", 2),
        ("path", "/tmp/x.png"),
    ],
)
def test_what_does_not_hold_is_refused(field: str, value: object) -> None:
    _encoded(b"bytes", make_record())
    with pytest.raises(ValidationError):
        _encoded(b"bytes", make_record(), **{field: value})


def test_damaged_bytes_are_not_taken_for_an_image() -> None:
    message = make_iodt().to_bytes()
    for damaged in (b"", message[: len(message) // 2], b"\xff" * 99, make_igdt().to_bytes()):
        with pytest.raises(AtelierError):
            IODT.from_bytes(damaged)


def test_an_image_does_not_change() -> None:
    with pytest.raises(ValidationError):
        make_iodt().data = b"other"


# ---------------------------------------------------------------- any converter


@pytest.fixture
def converter(component: Callable[[str], object]) -> Converter:
    found = component("conversion")
    assert isinstance(found, Converter)
    return found


def test_conversion_is_in_order_and_one_for_one(converter: Converter) -> None:
    batches = [make_iedt(3, seed=0), make_iedt(1, seed=3), make_iedt(2, seed=4)]
    results = list(converter.convert(batches, ICS()))
    assert [result.record.origin.seed for result in results] == [0, 1, 2, 3, 4, 5]  # type: ignore[union-attr]


def test_no_batches_give_no_images(converter: Converter) -> None:
    assert list(converter.convert([], ICS())) == []


def test_conversion_takes_a_batch_only_when_it_is_needed(converter: Converter) -> None:
    taken: list[int] = []

    def batches() -> Iterator[IEDT]:
        for number in range(3):
            taken.append(number)
            yield make_iedt(2, seed=2 * number)

    results = converter.convert(batches(), ICS())
    assert taken == []
    next(results)
    next(results)
    assert taken == [0]
    next(results)
    assert taken == [0, 1]


def test_the_same_request_gives_the_same_bytes(converter: Converter) -> None:
    one, other = (next(converter.convert([make_iedt(1)], ICS())) for _ in range(2))
    assert one == other


def test_the_record_says_where_the_image_came_from(converter: Converter) -> None:
    batch = make_iedt(1)
    record = next(converter.convert([batch], ICS(format="webp", quality=70))).record
    assert record.origin == batch.origins[0]
    assert record.enhancement == batch.enhancement
    assert record.conversion["format"] == "webp"
    assert record.conversion["quality"] == 70
    assert record.is_ai_generated


def test_a_persons_own_file_is_not_called_ai_generated(converter: Converter) -> None:
    batch = make_iedt(1).model_copy(update={"origins": (make_file_origin(),)})
    assert not next(converter.convert([batch], ICS())).record.is_ai_generated


# ---------------------------------------------------------------- any results store


@pytest.fixture
def store(component: Callable[[str], object]) -> ResultsStore:
    found = component("results_store")
    assert isinstance(found, ResultsStore)
    return found


def test_what_is_kept_is_found_and_got(store: ResultsStore) -> None:
    image = make_iodt(7)
    result = store.keep(image, "run")
    assert result.path.read_bytes() == image.data
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
    with pytest.raises(AtelierError):
        store.get(number)
    kept = store.keep(make_iodt(), "run")
    if number != kept.id:
        with pytest.raises(AtelierError):
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


@pytest.mark.parametrize(
    "query,seeds",
    [
        ({}, [3, 2, 1, 0]),
        ({"run": "b"}, [3]),
        ({"run": "nobody's"}, []),
        ({"family": "wgan_gp"}, [1]),
        ({"style": "ukiyo-e"}, [2]),
        ({"style": "%"}, []),
        ({"model_digest": digest("other")}, [2]),
        ({"model_digest": digest("other")[:8]}, [2]),
        ({"first_seed": 2}, [3, 2]),
        ({"last_seed": 1}, [1, 0]),
        ({"first_seed": 1, "last_seed": 1}, [1]),
        ({"run": "a", "first_seed": 1, "family": "dcgan"}, [2]),
    ],
)
def test_every_field_of_a_query_must_hold(
    store: ResultsStore, query: dict[str, Any], seeds: list[int]
) -> None:
    store.keep(_image(0), "a")
    store.keep(_image(1, family="wgan_gp"), "a")
    store.keep(_image(2, style="ukiyo-e", model_digest=digest("other")), "a")
    store.keep(_image(3), "b")
    found = store.find(ResultQuery(**query))
    assert [result.record.origin.seed for result in found] == seeds  # type: ignore[union-attr]


def test_a_deleted_file_breaks_nothing(store: ResultsStore) -> None:
    gone, there = store.keep(make_iodt(0), "run"), store.keep(make_iodt(1), "run")
    gone.path.unlink()
    assert store.find(ResultQuery()) == [there, gone]
    assert store.get(gone.id) == gone
    assert store.keep(make_iodt(0), "run") == gone
    assert gone.path.read_bytes() == make_iodt(0).data


def test_different_images_of_one_seed_are_both_kept(store: ResultsStore) -> None:
    images = [make_iodt(0), make_iodt(1).model_copy(update={"record": make_record(0)})]
    results = [store.keep(image, "run") for image in images]
    for image, result in zip(images, results, strict=True):
        assert result.path.read_bytes() == image.data


def test_any_valid_image_is_kept(component: Callable[[str], object]) -> None:
    store: Any = component("results_store")

    @hypothesis_settings(max_examples=40, deadline=None)
    @given(encoded, st.text(st.characters(exclude_categories=["Cs"]), max_size=99))
    def keeps(image: IODT, run: str) -> None:
        result = store.keep(image, run)
        assert result.path.read_bytes() == image.data
        assert (result.record, result.run) == (store.get(result.id).record, run)

    keeps()


@pytest.mark.parametrize(
    "field,value",
    [
        ("model_digest", "xyz"),
        ("model_digest", ""),
        ("first_seed", -1),
        ("last_seed", 2**63),
        ("limit", 0),
        ("limit", 1_000_001),
        ("prompt", "cat"),
    ],
)
def test_queries_are_closed_and_checked(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        ResultQuery(**{field: value})
