"""What the nine contracts have in common: closed, frozen, versioned, and able to travel.

A contract travels as JSON (readable, arrays in base64) or as bytes (safetensors: a JSON header,
then the arrays as they lie in memory). Both ways give back an equal message.
"""

import base64
import difflib
import json
from typing import Annotated, Any, Literal, Self, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from interfaces.errors import AtelierError

SCHEMA_VERSION = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", strip_whitespace=False)]
"""A SHA-256 digest: 64 lower-case hexadecimal digits."""

MAX_SEED = 2**63 - 1

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""The number that, with a model, fixes a picture."""


def _number_from_text(value: Any) -> Any:
    """'4' => 4, as flags and the environment give it; Pydantic does so for all but Literal."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


WholeNumber = BeforeValidator(_number_from_text)
"""Goes with a Literal of numbers."""


def _array_from_wire(value: Any) -> Any:
    """{"dtype", "shape", "base64"} => np.ndarray; anything else passes through to the checks."""
    if not isinstance(value, dict):
        return value
    wire = cast(dict[str, Any], value)
    try:
        raw = base64.b64decode(wire["base64"], validate=True)
        return np.frombuffer(raw, dtype=np.dtype(wire["dtype"])).reshape(wire["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an encoded array: {error}") from error


def _array_to_wire(array: NDArray[Any]) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": data}


def _read_only(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """A view that nobody can write through, so that a frozen message stays what it was."""
    view = array.view()
    view.flags.writeable = False
    return view


def _is_array(value: object) -> TypeGuard[NDArray[Any]]:
    return isinstance(value, np.ndarray)


def _float_planes(channels: int, low: float) -> Any:
    def check(value: Any) -> NDArray[np.float32]:
        if not _is_array(value) or value.dtype != np.float32:
            given = getattr(value, "dtype", type(value).__name__)
            raise ValueError(f"must be a float32 numpy array, not {given}")
        array = cast(NDArray[np.float32], value)
        if array.ndim != 4 or array.shape[1] != channels or 0 in array.shape:
            raise ValueError(f"must have shape (N, {channels}, H, W), not {array.shape}")
        # min and max are NaN if any element is, and then both comparisons fail.
        if not (array.min() >= low and array.max() <= 1.0):
            raise ValueError(f"must be finite and lie in [{low:g}, 1]")
        return _read_only(array)

    return check


_TRAVELS = (BeforeValidator(_array_from_wire), PlainSerializer(_array_to_wire, when_used="json"))

Images = Annotated[np.ndarray, AfterValidator(_float_planes(3, -1.0)), *_TRAVELS]
"""Pictures in flight: float32 (N, 3, H, W), finite, in [-1, 1]."""

AlphaPlanes = Annotated[np.ndarray, AfterValidator(_float_planes(1, 0.0)), *_TRAVELS]
"""Opacity: float32 (N, 1, H, W), finite, in [0, 1]; 1 is opaque."""


class Contract(BaseModel):
    """A message between two components: frozen, closed, every field described."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    schema_version: Literal[1] = Field(
        default=SCHEMA_VERSION, description="Version of this message's shape; 1 today."
    )

    def to_json(self) -> str:
        """The message as readable JSON; arrays and byte strings in base64."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The message back from `to_json`. Raises `AtelierError` where it is not one."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise AtelierError(explain(error, f"not a valid {cls.__name__}")) from error

    def to_bytes(self) -> bytes:
        """The message as safetensors: arrays as tensors, every other field in the header."""
        arrays = {name: value for name, value in self if _is_array(value)}
        header = self.model_dump_json(exclude=set(arrays))
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return save_safetensors(
            contiguous, metadata={"contract": type(self).__name__, "fields": header}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The message back from `to_bytes`. Raises `AtelierError` where it is not one."""
        try:
            header = _safetensors_metadata(data)
            fields = json.loads(header["fields"])
            if header["contract"] != cls.__name__:
                raise AtelierError(f"expected {cls.__name__}, these bytes are {header['contract']}")
            arrays = load_safetensors(data)
            # Through JSON, so that paths, tuples and byte strings are read as they were written.
            wired = {name: _array_to_wire(array) for name, array in arrays.items()}
            return cls.model_validate_json(json.dumps(fields | wired))
        except ValidationError as error:
            raise AtelierError(explain(error, f"not a valid {cls.__name__}")) from error
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise AtelierError(f"not the bytes of a {cls.__name__}: {error}") from error

    def __eq__(self, other: object) -> bool:
        # Pydantic's own comparison asks arrays for a truth value, which they do not have.
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((value, getattr(other, name)) for name, value in self)
        return all(np.array_equal(a, b) if _is_array(a) else a == b for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays do not hash, and nothing keys on messages


def _safetensors_metadata(data: bytes) -> dict[str, str]:
    """The header's free-form part, which safetensors' in-memory reader does not hand out."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= len(data) - 8:
        raise ValueError("the header is cut off")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header["__metadata__"]


def explain(error: ValidationError, what: str, model: type[BaseModel] | None = None) -> str:
    """One line for a person: each field at fault, what was given, what is allowed.

    With the `model` that was asked for, an unknown field is answered with those there are.
    """
    parts: list[str] = []
    for fault in error.errors(include_url=False):
        field = ".".join(str(part) for part in fault["loc"]) or "the whole"
        given = fault["input"]
        shown = (
            "" if _is_array(given) or isinstance(given, dict) else f" (given: {_shorten(given)})"
        )
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden" and model is not None:
            message, shown = _unknown(fault["loc"], model), ""
        parts.append(f"{field}: {message}{shown}")
    return f"{what}: " + "; ".join(parts)


def _unknown(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """'no such setting', with the likeliest one or all there are."""
    for part in loc[:-1]:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return "no such setting"
        model = inner
    known = [name for name in model.model_fields if name != "schema_version"]
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"no such setting; {hint}"


def _shorten(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
