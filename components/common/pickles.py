"""Reads pickles of torch modules, running nothing in them.

A pickle is a small program. Here it is never given to `pickle`: a machine of our own walks its
instructions and knows plain values, containers and *names* of functions, of which it admits those
in `_KNOWN` alone and gives each a meaning of its own, as data. Nothing is imported or called that
the file names; module source that such files carry is kept as a string. Another name, another
instruction or a damaged file ends the reading with a `ValueError` of one line. Values may be shared
and nested without end, so none is hashed, compared or printed before its type is known, and none is
copied that could be long.

The layout: modules are objects made by `torch_utils.persistence._reconstruct_persistent_obj` of a
dict (type, version, module_src, class_name, state), the state being that of a torch module; tensors
are `torch._utils._rebuild_tensor_v2` of storages that are, in turn, bytes in torch's legacy format
(`torch.storage._load_from_bytes`).
"""

import io
import math
import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor

from components.common.narrowing import is_row


def read_pickle(data: bytes) -> Any:
    """Read a pickle's value: plain values, containers, `PersistentObject` and `StoredTensor`.

    Raises `ValueError` or one of `DAMAGED` for a file that is malformed or asks for more.
    """
    return _Machine().run(io.BytesIO(data))


# ---------------------------------------------------------------- inert values


class Name(NamedTuple):
    """The name of a function or class in a pickle; nothing is imported for it."""

    module: str
    name: str


@dataclass(frozen=True)
class PersistentObject:
    """A module as it was stored: the name of its class, its attributes, its source as text."""

    class_name: str
    state: Mapping[str, Any]
    source: str


@dataclass(frozen=True)
class _StorageKey:
    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True)
class _Storage:
    """Bytes in torch's legacy format, read when they are asked for."""

    data: bytes

    def tensor(self) -> Tensor:
        return _read_storage(self.data)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as it was stored: part of a storage, read when it is asked for."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        """A copy in float32; never larger than its storage."""
        values = self.storage.tensor()
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        # A stride of 0 makes a huge tensor of one number; published weights have none.
        is_within = math.prod(self.size) <= len(values) and last < len(values)
        if min((self.offset, *self.size, *self.stride)) < 0 or not is_within:
            raise ValueError("a tensor that reaches beyond its storage")
        return values.as_strided(self.size, self.stride, self.offset).float().clone()


@dataclass
class _NumpyType:
    code: str
    order: str = "<"

    def read(self, data: object) -> np.ndarray:
        if not re.fullmatch(r"[fiu][1248]|b1", self.code):
            raise ValueError(f"numpy values of type {self.code[:20]!r}")
        order = self.order if self.order in ("<", ">") else "<"
        return np.frombuffer(_bytes(data), dtype=order + self.code)


@dataclass
class _NumpyArray:
    """An array, kept as a placeholder: no reader needs its contents."""

    state: object = None


# ---------------------------------------------------------------- the names that are known


def text_of(value: object) -> str:
    """Return a value that must be text; `ValueError` for another."""
    if not isinstance(value, str):
        raise ValueError("text was expected")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("bytes were expected")
    return value


def _few(items: object = ()) -> list[object]:
    """The items of a list, refused where it is long: copied repeatedly it would fill the memory."""
    if not is_row(items) or len(items) > MAX_ITEMS:
        raise ValueError("a short list was expected")
    return list(items)


def _persistent(meta: Any) -> PersistentObject:
    state: Mapping[str, Any] = meta["state"]
    if text_of(meta["type"]) != "class" or not isinstance(state, dict):
        raise ValueError("a persistent object without a state")
    return PersistentObject(text_of(meta["class_name"]), state, text_of(meta["module_src"]))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> StoredTensor:
    """A tensor; the arguments that follow (gradients, hooks) are not needed."""
    if not isinstance(storage, _Storage) or len(size) != len(stride) or len(size) > 8:
        raise ValueError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if not all(type(number) is int for number in numbers):
        raise ValueError("a tensor whose shape is not whole numbers")
    return StoredTensor(storage, offset, tuple(size), tuple(stride))


def _parameter(data: object, *_: object) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise ValueError("a parameter that is not a tensor")
    return data


def _numpy_scalar(kind: object, data: object) -> object:
    if not isinstance(kind, _NumpyType):
        raise ValueError("a NumPy number without its type")
    return kind.read(data).item()


def _numpy_type(code: object, *_: object) -> _NumpyType:
    return _NumpyType(text_of(code))


def _storage(data: object) -> _Storage:
    return _Storage(_bytes(data))


def _size(items: object = ()) -> tuple[object, ...]:
    return tuple(_few(items))


def _set(items: object = ()) -> set[object]:
    return {_key(item) for item in _few(items)}


_KNOWN: dict[Name, Callable[..., object]] = {
    Name("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch.storage", "_load_from_bytes"): _storage,
    Name("dnnlib.util", "EasyDict"): lambda: {},
    Name("collections", "OrderedDict"): lambda: {},
    Name("torch", "Size"): _size,
    Name("builtins", "set"): _set,
    Name("__builtin__", "set"): _set,
    Name("numpy", "ndarray"): _NumpyArray,
    Name("numpy", "dtype"): _numpy_type,
    **{
        Name(f"{package}.multiarray", "scalar"): _numpy_scalar
        for package in ("numpy.core", "numpy._core")
    },
    **{
        Name(f"{package}.multiarray", "_reconstruct"): lambda *_: _NumpyArray()
        for package in ("numpy.core", "numpy._core")
    },
}
"""Stand-ins for calls of these names: functions of this module, which make data."""

_STORAGE_TYPES: dict[Name, torch.dtype] = {
    Name("torch", "DoubleStorage"): torch.float64,
    Name("torch", "FloatStorage"): torch.float32,
    Name("torch", "HalfStorage"): torch.float16,
    Name("torch", "BFloat16Storage"): torch.bfloat16,
    Name("torch", "LongStorage"): torch.int64,
    Name("torch", "IntStorage"): torch.int32,
    Name("torch", "ShortStorage"): torch.int16,
    Name("torch", "CharStorage"): torch.int8,
    Name("torch", "ByteStorage"): torch.uint8,
    Name("torch", "BoolStorage"): torch.bool,
}

# ---------------------------------------------------------------- the machine

DAMAGED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    UnicodeError,
    struct.error,
)
"""Exceptions that a malformed file can raise; a caller turns each into a `ValueError`."""

_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_PUSHED = _NUMBERS | _TEXTS | {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], object]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()
MAX_PLACE = 2**24
MAX_ITEMS = 1000


def _pairs(items: list[object]) -> dict[object, object]:
    """Names and values in turn, as a dict."""
    return {_key(name): value for name, value in zip(items[::2], items[1::2], strict=True)}


def _key(value: object) -> str | float | bytes | None:
    """A value that may be looked up: hashing nested tuples could take forever."""
    if value is not None and not isinstance(value, str | int | float | bytes):
        raise ValueError("a name that is neither text nor a number")
    return value


# Of these kinds themselves: a `Name` is a tuple too, and none that a pickle may call with.


def _is_list(value: object) -> TypeGuard[list[object]]:
    return type(value) is list


def _is_set(value: object) -> TypeGuard[set[object]]:
    return type(value) is set


def _is_dict(value: object) -> TypeGuard[dict[object, object]]:
    return type(value) is dict


def _is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    return type(value) is tuple


@dataclass
class _Machine:
    """Runs one pickle's instructions over inert values."""

    storages: bool = False
    """Whether this is the inside of a storage: then it may name types of storages, and no more."""
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, file: io.BytesIO) -> Any:
        """The value that the pickle at the file's position makes; the file is left behind it."""
        for instruction, argument, _ in pickletools.genops(file):
            name = instruction.name
            if name == "STOP":
                return self.stack.pop()
            self._do(name, argument)
        raise ValueError("it does not end")

    def _do(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _SHORT_TUPLES:
            count = _SHORT_TUPLES[name]
            stack[-count:] = [tuple(self._top(count))]
        elif name not in ("PROTO", "FRAME"):
            work = getattr(self, f"_{name.lower()}", None)
            if work is None:
                raise ValueError(f"the instruction {name}, which no network needs")
            work(*([] if argument is None else [argument]))

    def _top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("an instruction without its values")
        return self.stack[-count:]

    def _above_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise ValueError("an instruction without its mark")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _mark(self) -> None:
        self.stack.append(_MARK)

    def _pop(self) -> None:
        self.stack.pop()

    def _tuple(self) -> None:
        self.stack.append(tuple(self._above_mark()))

    def _list(self) -> None:
        self.stack.append(self._above_mark())

    def _dict(self) -> None:
        self.stack.append(_pairs(self._above_mark()))

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self._above_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not _is_list(target):
            raise ValueError("a list was expected")
        target.extend(items)

    def _additems(self) -> None:
        items = self._above_mark()
        target = self.stack[-1]
        if not _is_set(target):
            raise ValueError("a set was expected")
        target.update(map(_key, items))

    def _setitem(self) -> None:
        self._set_all(self._top(2), 2)

    def _setitems(self) -> None:
        self._set_all(self._above_mark(), 0)

    def _set_all(self, items: list[Any], on_stack: int) -> None:
        if on_stack:
            del self.stack[-on_stack:]
        target = self.stack[-1]
        if not _is_dict(target):
            raise ValueError("a dict was expected")
        target.update(_pairs(items))

    # The memo is a dict, so that a place costs nothing; a network has some ten thousand.

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, place: int) -> None:
        if place > MAX_PLACE:
            raise ValueError(f"a memo place of {place}")
        self.memo[place] = self.stack[-1]

    def _get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    _binput = _long_binput = _put
    _binget = _long_binget = _get

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(module, name)

    def _stack_global(self) -> None:
        module, name = self._top(2)
        del self.stack[-2:]
        self._push_name(module, name)

    def _push_name(self, module: Any, name: Any) -> None:
        known: Mapping[Name, Any] = _STORAGE_TYPES if self.storages else _KNOWN
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        if Name(module, name) not in known:
            hint = ", a network of TensorFlow," if module.startswith("dnnlib.tflib") else ""
            raise ValueError(
                f"it asks for {f'{module}.{name}'[:200]!r}{hint} which is not admitted here"
            )
        self.stack.append(Name(module, name))

    def _reduce(self) -> None:
        function, arguments = self._top(2)
        del self.stack[-2:]
        if type(function) is not Name or not _is_tuple(arguments) or self.storages:
            raise ValueError("a call of something that has no name")
        self.stack.append(_KNOWN[function](*_few(arguments)))

    _newobj = _reduce

    def _build(self) -> None:
        """The state of an object. Numpy's are taken; a dict's attributes are nothing to us."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is _NumpyType:
            target.order = text_of(state[1])
        elif type(target) is _NumpyArray:
            target.state = state
        elif type(target) is not dict:
            raise ValueError("a state for something that has none")

    def _binpersid(self) -> None:
        if not self.storages:
            raise ValueError("a reference to something outside the file")
        kind, storage_type, key, _, count, view = self.stack.pop()
        is_known = type(storage_type) is Name and type(count) is int and count >= 0
        if text_of(kind) != "storage" or view is not None or not is_known:
            raise ValueError("a storage that is part of another")
        self.stack.append(_StorageKey(_STORAGE_TYPES[storage_type], text_of(key), count))


# ---------------------------------------------------------------- torch's legacy format

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def _read_storage(data: bytes) -> Tensor:
    """One storage in torch's legacy format: magic, version, machine, storage, its key, numbers."""
    file = io.BytesIO(data)
    magic, version, machine, storage, keys = (_Machine(storages=True).run(file) for _ in range(5))
    if (magic, version) != (_MAGIC, _VERSION) or machine.get("little_endian") is not True:
        raise ValueError("a storage that is not in torch's legacy format")
    if type(storage) is not _StorageKey or keys != [storage.key]:
        raise ValueError("a storage other than it says")
    (count,) = struct.unpack("<q", file.read(8))
    numbers = bytearray(file.read())
    if count != storage.count or len(numbers) != count * storage.dtype.itemsize:
        raise ValueError("a storage that is cut off")
    return torch.frombuffer(numbers, dtype=storage.dtype) if count else torch.empty(0)
