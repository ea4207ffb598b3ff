"""Promises of every message: closed, described, unchanging, and whole after a copy."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import interfaces
from interfaces.arrays import hand_over
from interfaces.contract import Message
from interfaces.errors import AtelierError, DamagedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igs import IGS
from interfaces.progress import ProgressEvent
from tests.helpers import (
    digest,
    make_file_origin,
    make_iedt,
    make_igdt,
    make_images,
    make_iodt,
    make_origin,
    make_record,
)


def every_message() -> Iterator[type[Message]]:
    for module in pkgutil.iter_modules(interfaces.__path__, "interfaces."):
        for _, found in inspect.getmembers(import_module(module.name), inspect.isclass):
            if issubclass(found, Message) and found.__module__ == module.name:
                yield found


@pytest.mark.parametrize("kind", list(every_message()))
def test_every_message_is_closed_frozen_and_described(kind: type[Message]) -> None:
    assert kind.model_config.get("frozen") is True
    assert kind.model_config.get("extra") == "forbid"
    assert kind.__doc__
    assert [name for name, info in kind.model_fields.items() if not info.description] == []


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize(
    "message,update",
    [
        (IGS(), {"batch_size": 0}),
        (IGS(), {"seed": 2**63 - 1}),
        (IGS(), {"towards_style": "waves"}),
        (IGS(), {"colour": "red"}),
        (IES(), {"strength": float("nan")}),
        (ICS(), {"quality": 101}),
        (make_igdt(2, 4), {"images": make_images(2, 4) * np.nan}),
        (make_igdt(2, 4), {"images": make_images(1, 4)}),
        (make_igdt(2, 4), {"origins": (make_origin(),)}),
        (make_igdt(2, 4), {"alpha": np.zeros((2, 1, 4, 5), np.float32)}),
        (make_iedt(2, 4), {"drift": (1.0,)}),
        (make_iodt(), {"data": b"other"}),
        (make_iodt(), {"sha256": digest("other")}),
        (make_record(), {"drift": -1.0}),
        (make_origin(), {"model_digest": "abc"}),
        (ProgressEvent(stage="train", done=1), {"done": -1}),
    ],
)
def test_no_copy_is_less_than_a_message(message: Message, update: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        message.model_copy(update=update)


def test_a_copy_is_what_was_asked_for() -> None:
    settings = IGS(count=3, style="waves")
    copied = settings.model_copy(update={"seed": 9})
    assert copied == IGS(count=3, style="waves", seed=9)
    assert copied.model_fields_set == {"count", "style", "seed"}
    assert settings.model_copy() == settings
    batch = make_iedt(2, 4).model_copy(update={"origins": (make_file_origin(), make_origin())})
    assert isinstance(batch, IEDT)
    assert batch.origins[0] == make_file_origin()


def test_arrays_that_stay_are_shared() -> None:
    batch = make_igdt(2, 4)
    copied = batch.model_copy(update={"origins": batch.origins[::-1]})
    assert copied.images is batch.images


@given(st.dictionaries(st.sampled_from(sorted(IGS.model_fields)), st.none() | st.integers(-1, 9)))
def test_a_copy_is_checked_as_the_whole_is(update: dict[str, object]) -> None:
    settings = IGS(count=3, style="waves")

    def made(make: Callable[[], IGS]) -> IGS | None:
        try:
            return make()
        except ValidationError:
            return None

    whole = made(lambda: IGS.model_validate(settings.model_dump() | update))
    assert made(lambda: settings.model_copy(update=update)) == whole


# ---------------------------------------------------------------- who owns an array


def batch_of(images: np.ndarray) -> IGDT:
    return IGDT(images=images, origins=tuple(map(make_origin, range(len(images)))))


@pytest.mark.parametrize(
    "part",
    [
        lambda whole: whole,
        lambda whole: whole[1:],
        lambda whole: np.broadcast_to(whole[:1], whole.shape),
        lambda whole: hand_over(whole[:]),
    ],
    ids=["array", "view", "broadcast", "read-only view"],
)
def test_a_message_does_not_change_with_the_senders_array(
    part: Callable[[np.ndarray], np.ndarray],
) -> None:
    whole = make_images(2, 8)
    batch = batch_of(part(whole))
    before = batch.images.copy()
    whole[:] = 0.5
    np.testing.assert_array_equal(batch.images, before)


def test_an_array_that_is_handed_over_is_not_copied() -> None:
    images = hand_over(make_images(2, 8))
    batch = batch_of(images)
    assert np.shares_memory(batch.images, images)
    with pytest.raises(ValueError, match="read-only"):
        images[:] = 0
    assert np.shares_memory(make_copy_of(batch).images, images)


def make_copy_of(batch: IGDT) -> IGDT:
    """The next stage's message over the same arrays."""
    return IGDT(images=batch.images, origins=batch.origins)


def test_nobody_writes_to_a_message() -> None:
    for batch in (batch_of(make_images(1, 4)), IGDT.from_bytes(make_igdt(1, 4).to_bytes())):
        with pytest.raises(ValueError, match="read-only"):
            batch.images[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            batch.images.flags.writeable = True


@given(st.integers(0, 2**17 + 1000), st.sampled_from([np.nan, np.inf, -np.inf, 1.001, -1.001]))
def test_a_wrong_number_is_found_wherever_it_is(place: int, wrong: float) -> None:
    """Arrays are looked through in parts; none is passed over."""
    images = np.zeros((5, 3, 128, 96), np.float32)
    images.flat[place] = wrong
    with pytest.raises(ValidationError, match="finite"):
        batch_of(images)
    images.flat[place] = 0
    images.flat[-1 - place] = wrong
    with pytest.raises(ValidationError, match="finite"):
        batch_of(images)


# ---------------------------------------------------------------- errors


@given(st.text())
def test_an_error_is_one_line_that_can_be_printed(text: str) -> None:
    shown = str(AtelierError(f"{text}: no such file"))
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert str(DamagedError(shown)) == shown


def test_a_name_cannot_fake_another_line_or_colour_the_terminal() -> None:
    faked = AtelierError("a\nerror: b\x1b[31m\u202e\udcff\u2028.png")
    assert str(faked) == r"a\nerror: b\x1b[31m\u202e\udcff\u2028.png"
    assert str(AtelierError("Кіт\u00a0із\u202fПарижа 🐈")) == "Кіт\u00a0із\u202fПарижа 🐈"
