"""Base of all messages, and of the nine contracts, which add a version and a way to travel.

A contract travels as JSON (readable, arrays and byte strings in base64) or as bytes (safetensors,
see `interfaces.wire`). Both ways give back an equal message.

## Versions

Every message is closed: a field that is not known is refused, never ignored. A setting that was
passed over in silence would give another picture than was asked for, and a record that lost a field
would say less than it claims. Three rules keep closed messages readable for years:

- **What may be added under the same `schema_version`**: an optional field whose default means
  what messages without it have always meant. It is left out of what is written wherever it holds
  that default (`exclude_if`), so that an older reader refuses a message only if the message says
  something that this reader would have to pass over. A new value of an existing field counts as a
  new field.
- **What raises `schema_version`**: removing or renaming a field, making one required, and changing
  a meaning, a unit or a range. Whoever raises it brings the function that reads the one before.
- **What a reader does**: an older message is read, with defaults for what it does not say. A newer
  one that says nothing new is read as well; any other is refused, with the advice to update.
"""

import difflib
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, get_args, get_origin

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from interfaces.arrays import Unchanged, is_array
from interfaces.errors import AtelierError, DamagedError, NotFoundError, RefusedError
from interfaces.wire import MAX_HEADER_BYTES, Buffer, Incoming, Outgoing

SCHEMA_VERSION = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", strip_whitespace=False)]
"""A SHA-256 digest: 64 lower-case hexadecimal digits."""

MAX_SEED = 2**63 - 1

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""The number that, with a model, fixes a picture."""

MAX_FAULTS = 8
"""Faults that an error names; a hostile message may have a million."""

_COUNTED_FAULTS = 1000
"""A message with more is not looked through fault by fault: that would take far more memory."""

_NEWER = "newer_version"

_Item = TypeVar("_Item")

Many = Annotated[tuple[_Item, ...], Field(fail_fast=True)]
"""A tuple of any length, whose check ends at the first wrong item."""


def _number_from_text(value: object) -> object:
    """'4' => 4, as flags and the environment give it; Pydantic does so for all but Literal."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


WholeNumber = BeforeValidator(_number_from_text)
"""Goes with a Literal of numbers."""


def _items_from_text(value: object) -> object:
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else value


CommaList = BeforeValidator(_items_from_text)
"""Goes with a tuple: '3, 5' => its items, as flags and the environment give them."""


@dataclass(frozen=True)
class Offers:
    """Marks a field that stays open: what our component takes of it, where another may take more.

    Help, documents and forms list the values; the schema of the message names them as examples.
    Whoever carries the field out refuses what it cannot do, ours with `refuse_unless_offered`.
    """

    values: tuple[str, ...] | tuple[int, ...]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"examples": list(self.values)}


def offered(info: FieldInfo) -> tuple[str, ...] | tuple[int, ...]:
    """Values offered for a field of a model; none where it takes whatever its type allows."""
    nested = (part for part in get_args(info.annotation) if get_origin(part) is Annotated)
    every = [*info.metadata, *(mark for part in nested for mark in part.__metadata__)]
    marks = [mark for mark in every if isinstance(mark, Offers)]
    return marks[0].values if marks else ()


def refuse_unless_offered(settings: BaseModel, what: str) -> None:
    """Raise `RefusedError` for a value of an open field that is not among those offered."""
    for name, info in type(settings).model_fields.items():
        values, value = offered(info), getattr(settings, name)
        if values and value is not None and value not in values:
            listed = ", ".join(map(str, values))
            raise RefusedError(f"{what}.{name}: {value!r} is none of {listed}")


def _known_version(value: object) -> object:
    if isinstance(value, int) and value > SCHEMA_VERSION:
        raise PydanticCustomError(_NEWER, "this Atelier reads version 1 only; update Atelier")
    return value


def is_none(value: object) -> bool:
    """True for None: `exclude_if` of a field that was added later and says nothing then."""
    return value is None


def is_false(value: object) -> bool:
    """True for False: `exclude_if` of a yes or no that was added later and says nothing then."""
    return value is False


SchemaVersion = Annotated[Literal[1], BeforeValidator(_known_version)]
"""Version of a message's shape; see the rules above."""


class Message(BaseModel):
    """Base of all that components, settings and the API exchange: frozen, closed, described."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """A copy, with other values for some fields; the whole is checked, as on making a message.

        Arrays that stay are not looked through again. Raises Pydantic's `ValidationError`.
        """
        if not update:
            return super().model_copy(deep=deep)
        kept = {name: value for name, value in self if name in self.model_fields_set - set(update)}
        arrays = tuple(value for value in kept.values() if is_array(value))
        return self.model_validate({**kept, **update}, context=Unchanged(arrays))


class Contract(Message):
    """A message between two components: has a version, and travels."""

    schema_version: SchemaVersion = Field(
        default=SCHEMA_VERSION, description="Version of this message's shape; 1 today."
    )

    def to_json(self) -> str:
        """The message as readable JSON; arrays and byte strings in base64."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The message back from `to_json`.

        Raises `DamagedError` where it is not one, `RefusedError` where it is of a newer version.
        """
        return cls._read(lambda: Incoming.from_json(text), cls.__name__)

    @classmethod
    def load(cls, path: Path, **moved: Path) -> Self:
        """The message in a JSON file, with fields that say where its files lie now.

        Raises `NotFoundError` where there is no such file, `DamagedError` where it holds no such
        message, `RefusedError` where it is of a newer version.
        """
        what = f"{path}: {cls.__name__}"
        try:
            if not path.exists():
                raise NotFoundError(f"{path}: there is no such file")
            if not path.is_file() or path.stat().st_size > MAX_HEADER_BYTES:
                raise DamagedError(f"{path}: not a file, or too large for a message")
            text = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{what} cannot be read ({error})") from error
        return cls._read(lambda: Incoming.from_json(text), what, **moved)

    def to_bytes(self) -> bytes:
        """The message as safetensors: arrays and byte strings as tensors, the rest in the header.

        Raises `RefusedError` where the rest is over 100 MB of text.
        """
        outgoing = Outgoing()
        fields = self.model_dump_json(context=outgoing)
        try:
            return outgoing.pack(type(self).__name__, fields)
        except ValueError as error:
            raise RefusedError(f"{type(self).__name__}: too much to send: {error}") from error

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """The message back from `to_bytes`; its arrays are views of `data`, which it keeps alive.

        A buffer that can be written to is copied first. Raises `DamagedError` where the bytes are
        no such message, `RefusedError` where it is of a newer version.
        """
        return cls._read(lambda: Incoming.unpack(data), cls.__name__)

    @classmethod
    def _read(cls, receive: Callable[[], Incoming], what: str, **moved: Path) -> Self:
        """The message that was received, checked. `what` it should be begins every error."""
        try:
            incoming = receive()
            if incoming.contract not in ("", cls.__name__):
                raise DamagedError(f"{what} was expected, this is {incoming.contract:.80}")
            message = cls.model_validate(incoming.fields | moved, context=incoming)
        except ValidationError as error:
            raise unreadable(error, what) from error
        except ValueError as error:
            raise DamagedError(f"{what} is damaged: {error}") from error
        if incoming.tensors:
            raise DamagedError(f"{what} is damaged: tensors that belong to no field")
        return message


def unreadable(error: ValidationError, what: str) -> AtelierError:
    """The error to raise where what was read is no such message, or one of a newer version."""
    newer = [fault for fault in _faults(error) if fault["type"] in (_NEWER, "extra_forbidden")]
    if newer:
        fields = ", ".join(_field(fault) for fault in newer[:MAX_FAULTS])
        return RefusedError(
            f"{what} says more than this Atelier understands ({fields}); a newer version "
            "wrote it, or another program: update Atelier"
        )
    return DamagedError(explain(error, f"{what} is damaged"))


def explain(error: ValidationError, what: str, model: type[BaseModel] | None = None) -> str:
    """One line for a person: each field at fault, what was given, what is allowed.

    With the `model` that was asked for, an unknown field is answered with those there are.
    """
    parts = [_fault_line(fault, model) for fault in _faults(error)[:MAX_FAULTS]]
    if more := error.error_count() - len(parts):
        parts.append(f"{more} more faults" if parts else f"{more} faults")
    return f"{what}: " + "; ".join(parts)


def _faults(error: ValidationError) -> list[ErrorDetails]:
    if error.error_count() > _COUNTED_FAULTS:
        return []
    return error.errors(include_url=False, include_context=False)


def _field(fault: ErrorDetails) -> str:
    return ".".join(str(part)[:80] for part in fault["loc"]) or "the whole"


def _fault_line(fault: ErrorDetails, model: type[BaseModel] | None) -> str:
    """'count: Input should be greater than or equal to 1 (given: 0)'."""
    if fault["type"] == "extra_forbidden" and model is not None:
        return f"{_field(fault)}: {_unknown(fault['loc'], model)}"
    given: object = fault["input"]
    shown = "" if isinstance(given, np.ndarray | dict) else f" (given: {_shorten(given)})"
    return f"{_field(fault)}: {fault['msg'].removeprefix('Value error, ')}{shown}"


def _unknown(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """'no such setting', with the likeliest one or all there are."""
    for part in loc[:-1]:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return "no such setting"
        model = inner
    known = [name for name in model.model_fields if name != "schema_version"]
    close = difflib.get_close_matches(str(loc[-1])[:80], known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"no such setting; {hint}"


def _shorten(value: object, limit: int = 80) -> str:
    """A value as Python writes it, cut at `limit` characters; a huge one is never written whole."""
    if isinstance(value, str | bytes):
        value = value[: limit + 1]
    text = repr(value) if isinstance(value, str | bytes) else _BRIEF.repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3
