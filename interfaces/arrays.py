"""The arrays and byte strings that messages carry: what is checked, and who owns their memory.

A message never changes. It therefore takes an array as it is only where nobody can write to that
memory any more, and copies it otherwise. Whoever made an array and needs it no longer hands it over
with `hand_over`, and no copy is made.
"""

import base64
import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeGuard

import numpy as np
from annotated_types import Len
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from interfaces.wire import Floats, Incoming, Outgoing

_CACHED = 2**17
"""Numbers that are looked through at once: half a mebibyte."""


@dataclass(frozen=True)
class Unchanged:
    """Validation context: arrays of a message that was checked before, not to be checked again."""

    arrays: tuple[Floats, ...]

    def holds(self, array: Floats) -> bool:
        """True for one of these very arrays."""
        return any(array is known for known in self.arrays)


def hand_over(array: Floats) -> Floats:
    """Make an array read-only, so that a message takes it without a copy.

    Its maker promises to keep no other way to write to that memory, such as an earlier view or the
    torch tensor that it shares memory with.
    """
    array.flags.writeable = False
    return array


def is_array(value: object) -> TypeGuard[Floats]:
    """True for a numpy array, whatever its type."""
    return isinstance(value, np.ndarray)


def _owned(array: Floats) -> Floats:
    """A read-only view of memory that no array writes to: the array's own, or a copy."""
    if _is_writeable(array):
        array = hand_over(array.copy())
    return array.view()


def _is_writeable(array: Floats) -> bool:
    owner: object = array
    while is_array(owner):
        if owner.flags.writeable:
            return True
        owner = owner.base
    return False


class EncodedArray(BaseModel):
    """An array in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Array")

    dtype: Literal["<f4"] = Field(description="32-bit floats, the lowest byte first.")
    shape: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Len(4, 4)] = Field(
        description="Length of each axis: N, C, H, W."
    )
    base64: str = Field(description="The numbers in C order, in base64.")

    def decoded(self) -> Floats:
        """The array. Raises `ValueError` where the bytes are not of that shape."""
        raw = base64.b64decode(self.base64, validate=True)
        if len(raw) != 4 * math.prod(self.shape):
            raise ValueError(f"{len(raw)} bytes are not of shape {self.shape}")
        return np.frombuffer(raw, dtype=self.dtype).reshape(self.shape)

    @classmethod
    def of(cls, array: Floats) -> "EncodedArray":
        """An array as JSON holds it."""
        data = base64.b64encode(np.ascontiguousarray(array, "<f4").data).decode("ascii")
        batch, channels, height, width = array.shape
        return cls(dtype="<f4", shape=(batch, channels, height, width), base64=data)


@dataclass(frozen=True)
class Planes:
    """Annotates an array field: float32 (N, `channels`, H, W), finite, in [`low`, 1]."""

    name: str
    """The tensor's, in a message's bytes."""
    channels: int
    low: float

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self._write, info_arg=True, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return EncodedArray.model_json_schema()

    def _read(self, value: object, info: ValidationInfo) -> Floats:
        if is_array(value) and isinstance(info.context, Unchanged) and info.context.holds(value):
            return value
        array = value if is_array(value) else _array_from_wire(value, info)
        if array.dtype != np.float32:
            raise ValueError(f"must be a float32 numpy.ndarray, not {array.dtype}")
        if array.ndim != 4 or array.shape[1] != self.channels or 0 in array.shape:
            raise ValueError(f"must have shape (N, {self.channels}, H, W), not {array.shape}")
        array = _owned(array)
        # In parts that stay in the processor's cache between the two passes. min and max are NaN if
        # any element is, and then both comparisons fail.
        step = max(1, _CACHED // array[0].size)
        parts = (array[begin : begin + step] for begin in range(0, len(array), step))
        if not all(part.min() >= self.low and part.max() <= 1.0 for part in parts):
            raise ValueError(f"must be finite and lie in [{self.low:g}, 1]")
        return array

    def _write(self, array: Floats, info: SerializationInfo) -> object:
        if isinstance(info.context, Outgoing):
            return info.context.put(self.name, array)
        return EncodedArray.of(array).model_dump()


def _array_from_wire(value: object, info: ValidationInfo) -> Floats:
    """Decode what stands for an array in a message's JSON: floats in base64, or a tensor's name.

    Raises `ValueError` for anything else.
    """
    match value:
        case {"tensor": str(name)} if isinstance(info.context, Incoming):
            return info.context.floats(name)
        case {"base64": str()}:
            try:
                return EncodedArray.model_validate(value).decoded()
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                place = ".".join(map(str, fault["loc"]))
                raise ValueError(f"not an encoded array: {place}: {fault['msg']}") from error
        case _:
            raise ValueError(f"must be a float32 numpy.ndarray, not {type(value).__name__}")


def _blob_from_wire(value: object, info: ValidationInfo) -> object:
    """Decode what stands for a byte string in JSON: base64, or a tensor's name."""
    if info.mode == "python" and not isinstance(info.context, Incoming):
        return value
    match value:
        case {"tensor": str(name)} if isinstance(info.context, Incoming):
            return info.context.blob(name)
        case str():
            return base64.b64decode(value, altchars=b"-_", validate=True)
        case _:
            return value


def _blob_to_wire(blob: bytes, info: SerializationInfo) -> str | dict[str, str]:
    if isinstance(info.context, Outgoing):
        return info.context.put("bytes", blob)
    return base64.urlsafe_b64encode(blob).decode("ascii")


Images = Annotated[Floats, Planes("images", channels=3, low=-1.0)]
"""Pictures in flight: float32 (N, 3, H, W), finite, in [-1, 1]."""

AlphaPlanes = Annotated[Floats, Planes("alpha", channels=1, low=0.0)]
"""Opacity: float32 (N, 1, H, W), finite, in [0, 1]; 1 is opaque."""

Blob = Annotated[
    bytes,
    BeforeValidator(_blob_from_wire),
    PlainSerializer(_blob_to_wire, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""A byte string: base64 in JSON, a tensor of its own in a message's bytes."""
