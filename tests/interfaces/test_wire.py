"""Messages as bytes: whole, quick, and without harm from what is no message."""

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from atelier.contracts.strategies import batches
from interfaces.arrays import hand_over
from interfaces.batch import Carried
from interfaces.contract import Contract
from interfaces.errors import AtelierError, DamagedError, RefusedError, one_line
from interfaces.iedt import IEDT
from interfaces.igdt import IGDT
from interfaces.igs import IGS
from interfaces.iodt import IODT
from tests.helpers import make_iedt, make_igdt, make_images, make_iodt, make_origin

Header = dict[str, Any]


def carrying() -> IGDT:
    """A batch with arrays, and with byte strings in several places."""
    own = (Carried(), Carried(icc_profile=b"profile", exif=b"", xmp=b"\xff\x00"))
    alpha = np.full((2, 1, 4, 4), 0.5, np.float32)
    return IGDT(**dict(make_igdt(2, 4)) | {"carried": own, "alpha": alpha})


MESSAGES: tuple[Contract, ...] = (carrying(), make_iedt(1, 4), make_iodt(), IGS(seeds=(1, 5)))


def header_of(data: bytes) -> Header:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def payload_of(data: bytes) -> bytes:
    return data[8 + int.from_bytes(data[:8], "little") :]


def joined(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


def without_blobs(value: object) -> object:
    """A message's JSON with every byte string cut out."""
    if isinstance(value, dict):
        blobs = {"icc_profile", "exif", "xmp", "data", "base64"}
        return {k: without_blobs(v) for k, v in value.items() if k not in blobs}
    return [without_blobs(v) for v in value] if isinstance(value, list) else value


# ---------------------------------------------------------------- what is sent


@given(batches())
def test_any_safetensors_reader_opens_it(batch: IGDT) -> None:
    tensors = safetensors.numpy.load(batch.to_bytes())
    np.testing.assert_array_equal(tensors["images"], batch.images)
    if batch.alpha is not None:
        np.testing.assert_array_equal(tensors["alpha"], batch.alpha)
    blobs = [value for own in batch.carried or () for value in (own.icc_profile, own.exif, own.xmp)]
    sent = [tensor.tobytes() for tensor in tensors.values() if tensor.dtype == np.uint8]
    assert sorted(sent) == sorted(blob for blob in blobs if blob is not None)


def test_no_byte_string_is_written_as_text() -> None:
    image = make_iodt()
    data = image.to_bytes()
    assert image.data in data
    assert len(data) < len(image.data) + 2000
    for message in MESSAGES:
        fields = json.loads(header_of(message.to_bytes())["__metadata__"]["fields"])
        assert "base64" not in json.dumps(fields)


def test_every_array_lies_where_its_numbers_may_lie() -> None:
    for message in MESSAGES:
        data = message.to_bytes()
        assert int.from_bytes(data[:8], "little") % 8 == 0
        for name, entry in header_of(data).items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                assert entry["data_offsets"][0] % 4 == 0


def test_over_100_mb_of_byte_strings_travel() -> None:
    profile = bytes(110_000_000)
    batch = IGDT(
        images=make_images(1, 4), origins=(make_origin(),), carried=(Carried(exif=profile),)
    )
    returned = IGDT.from_bytes(batch.to_bytes())
    assert returned.carried is not None
    assert returned.carried[0].exif == profile


def test_more_text_than_the_format_allows_is_refused_in_a_line() -> None:
    with pytest.raises(RefusedError, match="too much to send: 1000"):
        IGS(options={"words": "x" * 100_000_000}).to_bytes()


# ---------------------------------------------------------------- what is received


def test_arrays_are_views_of_what_was_received() -> None:
    data = carrying().to_bytes()
    batch = IGDT.from_bytes(data)
    assert batch.alpha is not None
    for array in (batch.images, batch.alpha):
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        assert not array.flags.writeable


def test_receiving_takes_no_memory_of_the_arrays_size() -> None:
    images = hand_over(make_images(64, 64))
    data = IGDT(images=images, origins=tuple(map(make_origin, range(64)))).to_bytes()
    tracemalloc.start()
    IGDT.from_bytes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 10


def test_a_buffer_that_may_change_is_not_built_upon() -> None:
    batch = carrying()
    buffer = bytearray(batch.to_bytes())
    for received in (buffer, memoryview(buffer)):
        message = IGDT.from_bytes(received)
        assert message == batch
        assert not np.shares_memory(message.images, np.frombuffer(buffer, np.uint8))


def test_a_read_only_buffer_of_odd_place_is_read() -> None:
    batch = carrying()
    odd = memoryview(b"." + batch.to_bytes())[1:]
    message = IGDT.from_bytes(odd)
    assert message == batch
    assert message.images.flags.aligned


# ---------------------------------------------------------------- what is no message


def attempt(kind: type[Contract], data: bytes) -> None:
    """A message or one AtelierError of one line; memory in proportion to what came."""
    tracemalloc.start()
    try:
        message = kind.from_bytes(data)
        assert isinstance(message, kind)
    except AtelierError as error:
        assert one_line(str(error)) == str(error)
        assert len(str(error)) < 4000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50 * len(data) + 1_000_000


messages = st.sampled_from(MESSAGES)


@given(messages, st.data())
def test_cut_bytes_are_refused(message: Contract, data: st.DataObject) -> None:
    whole = message.to_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(DamagedError):
        type(message).from_bytes(cut)
    with pytest.raises(DamagedError):
        type(message).from_bytes(whole + b"\0")


@given(messages, st.data())
def test_flipped_bytes_harm_nobody(message: Contract, data: st.DataObject) -> None:
    damaged = bytearray(message.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    attempt(type(message), bytes(damaged))


numbers = st.one_of(
    st.integers(-2, 200),
    st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 2**200, 0.5, None, "1", True]),
)
json_values = st.recursive(
    numbers | st.text(max_size=9), lambda v: st.lists(v, max_size=4), max_leaves=5
)


@given(messages, st.data())
def test_a_header_may_lie_about_any_tensor(message: Contract, data: st.DataObject) -> None:
    whole = message.to_bytes()
    header = header_of(whole)
    names = [name for name in header if name != "__metadata__"] or ["more"]
    entry = header.setdefault(data.draw(st.sampled_from(names)), {"dtype": "U8"})
    lies = {
        "dtype": st.sampled_from(["U8", "F32", "F64", "BOOL", ""]) | json_values,
        "shape": st.lists(numbers, max_size=9) | json_values,
        "data_offsets": st.lists(numbers, max_size=3) | json_values,
        "note": json_values,
    }
    for name in data.draw(st.lists(st.sampled_from(sorted(lies)), min_size=1, max_size=3)):
        entry[name] = data.draw(lies[name])
    attempt(type(message), joined(header, payload_of(whole)))


@given(messages, st.data())
def test_a_message_may_lie_about_any_field(message: Contract, data: st.DataObject) -> None:
    whole = message.to_bytes()
    header = header_of(whole)
    fields = json.loads(header["__metadata__"]["fields"])
    references = st.sampled_from([{"tensor": name} for name in (*header, "none")])
    lie = json_values | references | st.dictionaries(st.text(max_size=3), references, max_size=2)
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3)):
        fields[name] = data.draw(lie)
    header["__metadata__"]["fields"] = json.dumps(fields)
    attempt(type(message), joined(header, payload_of(whole)))


@given(messages, json_values, st.sampled_from(["contract", "fields", "layout"]))
def test_the_description_may_be_anything(message: Contract, lie: object, name: str) -> None:
    whole = message.to_bytes()
    header = header_of(whole)
    header["__metadata__"][name] = lie
    attempt(type(message), joined(header, payload_of(whole)))
    attempt(type(message), joined({**header, "__metadata__": lie}, payload_of(whole)))


def _with_tensors(entries: Header, fields: Header, payload: bytes) -> bytes:
    described = {"contract": "IODT", "fields": json.dumps(fields), "layout": "2"}
    return joined({"__metadata__": described, **entries}, payload)


def _u8(*offsets: int) -> Header:
    return {"dtype": "U8", "shape": [offsets[1] - offsets[0]], "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "entries",
    [
        {"a": _u8(0, 6), "b": _u8(4, 8)},
        {"a": _u8(0, 8), "b": _u8(0, 8)},
        {"a": _u8(0, 3), "b": _u8(4, 8)},
        {"a": _u8(1, 8)},
        {"a": _u8(0, 7)},
        {"a": _u8(0, 9)},
        {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}, "b": _u8(0, 8)},
    ],
    ids=["overlap", "twice", "gap", "late", "rest", "beyond", "vast", "empty and vast"],
)
def test_tensors_lie_one_behind_the_other_to_the_end(entries: Header) -> None:
    fields = {"data": {"tensor": "a"}, "sha256": {"tensor": "b"}}
    with pytest.raises(DamagedError):
        IODT.from_bytes(_with_tensors(entries, fields, b"12345678"))


def test_a_tensor_belongs_to_one_field() -> None:
    header = header_of(carrying().to_bytes())
    payload = payload_of(carrying().to_bytes())
    fields = json.loads(header["__metadata__"]["fields"])
    fields["carried"] = [{"exif": {"tensor": "bytes"}}, {"exif": {"tensor": "bytes"}}]
    header["__metadata__"]["fields"] = json.dumps(fields)
    with pytest.raises(DamagedError, match="another place"):
        IGDT.from_bytes(joined(header, payload))
    fields["carried"] = None
    header["__metadata__"]["fields"] = json.dumps(fields)
    with pytest.raises(DamagedError, match="belong to no field"):
        IGDT.from_bytes(joined(header, payload))


@pytest.mark.parametrize("length", [0, 1, 99_999_999, 100_000_001, 2**63, 2**64 - 1])
def test_a_header_of_any_stated_length_costs_nothing(length: int) -> None:
    attempt(IGS, length.to_bytes(8, "little") + b"{}")


deep = b"[" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        joined(deep),
        joined(b'{"__metadata__":' + deep),
        joined({"__metadata__": {"contract": "IGS", "fields": deep.decode()}}),
        joined({"__metadata__": {"contract": "IGS", "fields": '{"options":{"a":' + deep.decode()}}),
    ],
    ids=["header", "description", "fields", "options"],
)
def test_nesting_of_any_depth_is_refused(data: bytes) -> None:
    attempt(IGS, data)
    with pytest.raises(DamagedError, match="recursion limit"):
        IGS.from_bytes(data)


def test_a_million_faults_are_counted_not_listed() -> None:
    wrong = {str(number): number for number in range(100_000)}
    described = {"contract": "IGDT", "fields": json.dumps({"carried": [{"text": wrong}]})}
    data = joined({"__metadata__": described})
    attempt(IGDT, data)
    with pytest.raises(DamagedError, match="faults"):
        IGDT.from_bytes(data)


def test_another_contract_is_named() -> None:
    with pytest.raises(DamagedError, match="IEDT was expected, this is IGDT"):
        IEDT.from_bytes(carrying().to_bytes())


@hypothesis_settings(max_examples=50)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for message in MESSAGES:
        with pytest.raises(DamagedError):
            type(message).from_bytes(noise)
        with pytest.raises(DamagedError):
            type(message).from_json(noise)


def test_raw_safetensors_are_no_message(tmp_path: Path) -> None:
    stream = io.BytesIO(safetensors.numpy.save({"images": make_images(1, 4)}))
    with pytest.raises(DamagedError, match="contract: Field required"):
        IGDT.from_bytes(stream.getvalue())
