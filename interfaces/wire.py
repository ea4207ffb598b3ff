"""Transport of a message as bytes: a safetensors file with the message as JSON in its header.

Each array and each byte string of the message is a tensor of the file (float32, or bytes as uint8);
in the JSON, `{"tensor": name}` stands in its place. Nothing is encoded as text. Writing copies each
tensor once, into the result; reading copies no array at all: they are views of what was received.

Every length that a received header states is checked against the bytes that are there before
anything is allocated for it. Whatever is malformed raises `ValueError`.

Format: https://huggingface.co/docs/safetensors/index#format (8 bytes of length, JSON, tensors).
"""

import json
import math
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import from_json

from interfaces.errors import RefusedError

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit on everything that is not a tensor."""

Floats = NDArray[np.float32]
Buffer = bytes | bytearray | memoryview

_LENGTH_BYTES = 8
_ALIGNMENT = 8

_Extent = Annotated[int, Field(ge=0, lt=2**63)]


class _Entry(BaseModel):
    """Entry of the header for one tensor."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: Literal["F32", "U8"]
    shape: Annotated[list[_Extent], Field(max_length=8)]
    data_offsets: Annotated[list[_Extent], Field(min_length=2, max_length=2)]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * (4 if self.dtype == "F32" else 1)


class _Described(BaseModel):
    """The header's free part, texts by name."""

    model_config = ConfigDict(frozen=True, strict=True)

    contract: str
    fields: str
    layout: str = "1"
    """'1' of before there were references: every tensor is a field that `fields` leaves out."""


_TABLE = TypeAdapter(dict[str, object])


@dataclass
class Outgoing:
    """Collects the tensors of a message while its JSON is written."""

    tensors: dict[str, Floats | NDArray[np.uint8]] = field(
        default_factory=dict[str, Floats | NDArray[np.uint8]]
    )

    def put(self, name: str, value: Floats | bytes) -> dict[str, str]:
        """Take an array or byte string under this name, numbered where it is taken already.

        Returns what stands in its place.
        """
        names = (name if number == 1 else f"{name}.{number}" for number in count(1))
        unique = next(name for name in names if name not in self.tensors)
        is_blob = isinstance(value, bytes)
        self.tensors[unique] = (
            np.frombuffer(value, np.uint8) if is_blob else np.ascontiguousarray(value, "<f4")
        )
        return {"tensor": unique}

    def pack(self, contract: str, fields: str) -> bytes:
        """The message as bytes. Raises `ValueError` where its text is over the format's limit."""
        # Arrays first: behind a padded header each of them begins at a multiple of its 4 bytes.
        tensors = dict(sorted(self.tensors.items(), key=lambda item: -item[1].itemsize))
        described = _Described(contract=contract, fields=fields, layout="2")
        header: dict[str, object] = {"__metadata__": described.model_dump()}
        end = 0
        for name, tensor in tensors.items():
            begin, end = end, end + tensor.nbytes
            kind = "F32" if tensor.itemsize == 4 else "U8"
            entry = _Entry(dtype=kind, shape=list(tensor.shape), data_offsets=[begin, end])
            header[name] = entry.model_dump()
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        if len(text) > MAX_HEADER_BYTES:
            raise ValueError(f"{len(text)} bytes of text; at most {MAX_HEADER_BYTES} can travel")
        payload = (tensor.data for tensor in tensors.values())
        return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *payload])


@dataclass
class Incoming:
    """A message that was received, before it is checked: the context of its validation."""

    contract: str
    """Name of the message's type; empty where it came as JSON."""
    fields: dict[str, object]
    tensors: dict[str, tuple[_Entry, memoryview]] = field(
        default_factory=dict[str, tuple[_Entry, memoryview]]
    )
    """Tensors not taken yet; each has one place in the message."""

    @classmethod
    def from_json(cls, text: str | bytes) -> "Incoming":
        """The fields of a message that holds no tensors. Raises `ValueError`."""
        return cls("", _table(text))

    @classmethod
    def unpack(cls, data: Buffer) -> "Incoming":
        """Read the header and find each tensor's place. Raises `ValueError`."""
        view = memoryview(data).cast("B")
        # Nobody is to change a message through the buffer it came in.
        view = view if view.readonly else memoryview(bytes(view))
        length = int.from_bytes(view[:_LENGTH_BYTES], "little")
        if not 2 <= length <= min(len(view) - _LENGTH_BYTES, MAX_HEADER_BYTES):
            raise ValueError("the header is cut off or too long")
        begin = _LENGTH_BYTES + length
        header = _table(bytes(view[_LENGTH_BYTES:begin]))
        described = _Described.model_validate(header.pop("__metadata__", {}))
        entries = {name: _Entry.model_validate(entry) for name, entry in header.items()}
        located = _located(entries, view[begin:])
        return cls(described.contract, _fields(described, entries), located)

    def floats(self, name: str) -> Floats:
        """The array of that name, without a copy."""
        entry, raw = self._take(name, "F32")
        array = np.frombuffer(raw, dtype="<f4").reshape(entry.shape)
        return array if array.flags.aligned else array.copy()

    def blob(self, name: str) -> bytes:
        """The byte string of that name."""
        return bytes(self._take(name, "U8")[1])

    def _take(self, name: str, dtype: str) -> tuple[_Entry, memoryview]:
        entry, raw = self.tensors.pop(name, (None, memoryview(b"")))
        if entry is None or entry.dtype != dtype:
            raise ValueError(f"no {dtype} tensor of that name, or it has another place already")
        return entry, raw


def _table(text: str | bytes) -> dict[str, object]:
    # Into Python's own objects at once: Pydantic's JSON reader takes ten times the memory.
    return _TABLE.validate_python(from_json(text))


def _fields(described: _Described, entries: dict[str, _Entry]) -> dict[str, object]:
    """The message's fields with a reference for every tensor, in whichever layout it came."""
    if described.layout not in ("1", "2"):
        raise RefusedError(
            f"{described.contract:.80}: layout {described.layout:.80} is newer than this Atelier, "
            "which reads 1 and 2; update Atelier"
        )
    fields = _table(described.fields)
    if described.layout == "1":
        fields |= {name: {"tensor": name} for name in entries}
    return fields


def _located(
    entries: dict[str, _Entry], payload: memoryview
) -> dict[str, tuple[_Entry, memoryview]]:
    """The tensors' bytes. Raises `ValueError` where they overlap, leave gaps or do not fit."""
    end = 0
    located: dict[str, tuple[_Entry, memoryview]] = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, after = entry.data_offsets
        if begin != end or after - begin != entry.num_bytes or after > len(payload):
            raise ValueError(f"tensor {name!r:.80} does not lie where the header says")
        located[name], end = (entry, payload[begin:after]), after
    if end != len(payload):
        raise ValueError(f"{len(payload) - end} bytes at the end belong to no tensor")
    return located
