"""Reads published StyleGAN2 networks (StyleGAN2-ADA PyTorch pickles), running nothing in them.

A pickle is a small program. Here it is never given to `pickle`: a machine of our own walks its
instructions and knows plain values, containers and *names* of functions, of which it admits those
in `_KNOWN` alone and gives each a meaning of its own, as data. Nothing is imported or called that
the file names; the module source that such files carry is kept as a string. Another name, another
instruction or a damaged file ends the reading with a `ValueError` of one line. Values may be shared
and nested without end, so none is hashed, compared or told before its type is known, and none is
copied that could be long.

The layout, as third-party readers describe it: a dict whose 'G_ema' (and 'D') are objects made by
`torch_utils.persistence._reconstruct_persistent_obj` of a dict (type, version, module_src,
class_name, state), the state being that of a torch module; tensors are
`torch._utils._rebuild_tensor_v2` of storages that are, in turn, bytes in torch's legacy format
(`torch.storage._load_from_bytes`). Parameter names are those of `_generator_names`.

Not verified: no published file could be had where this was written. The tests compare with pickles
that they build in this layout themselves, and with a generator written plainly from the papers.
Known of published networks and assumed here: kernels of layers that double the sides are those of
a transposed convolution; features are clamped where the layer says `conv_clamp`; the discriminator,
whose features are not clamped here, is for training on, not for equal scores.
"""

import io
import logging
import math
import pickletools
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from components.families.port import Shape
from components.families.stylegan2.config import LARGEST, SMALLEST, StyleGAN2Config
from components.families.stylegan2.networks import Discriminator, Generator

_log = logging.getLogger("atelier")

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
class _StoredTensor:
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

    def read(self, data: Any) -> np.ndarray:
        if not re.fullmatch(r"[fiu][1248]|b1", self.code):
            raise ValueError(f"numpy values of type {self.code[:20]!r}")
        order = self.order if self.order in ("<", ">") else "<"
        return np.frombuffer(_bytes(data), dtype=order + self.code)


@dataclass
class _NumpyArray:
    """An array: its contents come with the instruction that builds it, and nobody needs them."""

    state: Any = None


# ---------------------------------------------------------------- the names that are known


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text was expected")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("bytes were expected")
    return value


def _few(items: Any = ()) -> list[Any]:
    """The items of a short list: a long one, copied often enough, would fill the memory."""
    if not isinstance(items, list | tuple) or len(items) > MOST_ITEMS:
        raise ValueError("a short list was expected")
    return list(items)


def _persistent(meta: Any) -> PersistentObject:
    state = meta["state"]
    if _text(meta["type"]) != "class" or not isinstance(state, dict):
        raise ValueError("a persistent object without a state")
    return PersistentObject(_text(meta["class_name"]), state, _text(meta["module_src"]))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _StoredTensor:
    """Of what follows (does it need gradients, hooks) nothing is wanted."""
    if not isinstance(storage, _Storage) or len(size) != len(stride) or len(size) > 8:
        raise ValueError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if not all(type(number) is int for number in numbers):
        raise ValueError("a tensor whose shape is no numbers")
    return _StoredTensor(storage, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *_: Any) -> _StoredTensor:
    if not isinstance(data, _StoredTensor):
        raise ValueError("a parameter that is no tensor")
    return data


def _numpy_scalar(kind: Any, data: Any) -> Any:
    if not isinstance(kind, _NumpyType):
        raise ValueError("a number of numpy's without its type")
    return kind.read(data).item()


def _set(items: Any = ()) -> set[Any]:
    return {_key(item) for item in _few(items)}


_KNOWN: dict[Name, Callable[..., Any]] = {
    Name("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch.storage", "_load_from_bytes"): lambda data: _Storage(_bytes(data)),
    Name("dnnlib.util", "EasyDict"): lambda: {},
    Name("collections", "OrderedDict"): lambda: {},
    Name("torch", "Size"): lambda items=(): tuple(_few(items)),
    Name("builtins", "set"): _set,
    Name("__builtin__", "set"): _set,
    Name("numpy", "ndarray"): _NumpyArray,
    Name("numpy", "dtype"): lambda code, *_: _NumpyType(_text(code)),
    **{
        Name(f"{package}.multiarray", "scalar"): _numpy_scalar
        for package in ("numpy.core", "numpy._core")
    },
    **{
        Name(f"{package}.multiarray", "_reconstruct"): lambda *_: _NumpyArray()
        for package in ("numpy.core", "numpy._core")
    },
}
"""What an instruction that calls one of these names becomes: data, made by functions of ours."""

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

_DAMAGED = (
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
"""What a file that is not as it should be can lead to; each becomes a `ValueError`."""

_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_PUSHED = _NUMBERS | _TEXTS | {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()
LARGEST_PLACE = 2**24
MOST_ITEMS = 1000


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """Names and values in turn, as a dict."""
    return {_key(name): value for name, value in zip(items[::2], items[1::2], strict=True)}


def _key(value: Any) -> Any:
    """A value that may be looked up: hashing nested tuples could take forever."""
    if value is not None and not isinstance(value, str | int | float | bytes):
        raise ValueError("a name that is neither text nor a number")
    return value


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
                raise ValueError(f"the instruction {name}, which no such network needs")
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
        if type(self.stack[-1]) is not list:
            raise ValueError("a list was expected")
        self.stack[-1].extend(items)

    def _additems(self) -> None:
        items = self._above_mark()
        if type(self.stack[-1]) is not set:
            raise ValueError("a set was expected")
        self.stack[-1].update(map(_key, items))

    def _setitem(self) -> None:
        self._set_all(self._top(2), 2)

    def _setitems(self) -> None:
        self._set_all(self._above_mark(), 0)

    def _set_all(self, items: list[Any], on_stack: int) -> None:
        if on_stack:
            del self.stack[-on_stack:]
        if type(self.stack[-1]) is not dict:
            raise ValueError("a dict was expected")
        self.stack[-1].update(_pairs(items))

    # The memo is a dict, so that a place costs nothing; a network has some ten thousand.

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, place: int) -> None:
        if place > LARGEST_PLACE:
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
        if type(function) is not Name or type(arguments) is not tuple or self.storages:
            raise ValueError("a call of something that has no name")
        self.stack.append(_KNOWN[function](*_few(arguments)))

    _newobj = _reduce

    def _build(self) -> None:
        """The state of an object. Numpy's are taken; a dict's attributes are nothing to us."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is _NumpyType:
            target.order = _text(state[1])
        elif type(target) is _NumpyArray:
            target.state = state
        elif type(target) is not dict:
            raise ValueError("a state for something that has none")

    def _binpersid(self) -> None:
        if not self.storages:
            raise ValueError("a reference to something outside the file")
        kind, storage_type, key, _, count, view = self.stack.pop()
        is_known = type(storage_type) is Name and type(count) is int and count >= 0
        if _text(kind) != "storage" or view is not None or not is_known:
            raise ValueError("a storage that is part of another")
        self.stack.append(_StorageKey(_STORAGE_TYPES[storage_type], _text(key), count))


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


# ---------------------------------------------------------------- names and shapes

DEEPEST = 8
"""Modules in modules: published networks have four levels."""
MOST_TENSORS = 10_000
"""Of one network, some two hundred being usual: one module may be its own child many times over."""


def _weights_of(module: Any) -> dict[str, _StoredTensor]:
    """A module's tensors by their names in its state dict."""
    found = dict(islice(_walk(module, "", DEEPEST), MOST_TENSORS + 1))
    if len(found) > MOST_TENSORS:
        raise ValueError("more tensors than a network has")
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _walk(module: Any, prefix: str, levels: int) -> Iterator[tuple[str, _StoredTensor | None]]:
    """Its tensors; and each module itself once, with None, so that it counts."""
    if not isinstance(module, PersistentObject) or levels == 0:
        raise ValueError(f"{prefix or 'network'}: not a module")
    yield prefix, None
    for part in ("_parameters", "_buffers"):
        for name, value in module.state[part].items():
            if value is not None:
                if not isinstance(value, _StoredTensor):
                    raise ValueError(f"{prefix}{name}: not a tensor")
                yield f"{prefix}{name}", value
    for name, child in module.state["_modules"].items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.", levels - 1)


def _part(module: PersistentObject, path: str) -> Mapping[str, Any]:
    """The attributes of a module inside another."""
    for name in path.split("."):
        module = module.state["_modules"][name]
    return module.state


def _linear_names(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def _mapping_names(layers: int, is_conditional: bool) -> dict[str, str]:
    names = _linear_names("mapping.embed", "mapping.embed") if is_conditional else {}
    for number in range(layers):
        names |= _linear_names(f"mapping.layers.{number}", f"mapping.fc{number}")
    return names


def _generator_names(resolution: int, layers: int, is_conditional: bool) -> dict[str, str]:
    """Our names of the generator's weights => theirs."""
    names = _mapping_names(layers, is_conditional)
    names |= {"w_avg": "mapping.w_avg", "synthesis.constant": "synthesis.b4.const"}
    for number, theirs in enumerate(_layers(resolution)):
        ours = f"synthesis.layers.{number}"
        names |= _linear_names(ours, theirs) | _linear_names(f"{ours}.affine", f"{theirs}.affine")
        names[f"{ours}.strength"] = f"{theirs}.noise_strength"
        names[f"{ours}.noise"] = f"{theirs}.noise_const"
    for level in range(int(math.log2(resolution)) - 1):
        ours, theirs = f"synthesis.to_rgb.{level}", f"synthesis.b{4 * 2**level}.torgb"
        names |= _linear_names(ours, theirs) | _linear_names(f"{ours}.affine", f"{theirs}.affine")
    return names


def _discriminator_names(resolution: int, layers: int, is_conditional: bool) -> dict[str, str]:
    """Our names of the discriminator's weights => theirs."""
    names = _linear_names("from_rgb", f"b{resolution}.fromrgb")
    for number in range(int(math.log2(resolution)) - 2):
        block = f"b{resolution // 2**number}"
        names |= _linear_names(f"blocks.{number}.first", f"{block}.conv0")
        names |= _linear_names(f"blocks.{number}.second", f"{block}.conv1")
        names[f"blocks.{number}.skip.weight"] = f"{block}.skip.weight"
    for ours, theirs in (("mix", "conv"), ("dense", "fc"), ("end", "out")):
        names |= _linear_names(ours, f"b4.{theirs}")
    if is_conditional:
        names |= _mapping_names(layers, is_conditional)
    return names


def _taken(
    stored: Mapping[str, _StoredTensor], names: Mapping[str, str], network: nn.Module
) -> dict[str, Tensor]:
    """The weights for a network of ours, made on no device: each in the shape that is wanted."""
    taken: dict[str, Tensor] = {}
    for ours, wanted in network.state_dict().items():
        theirs = names[ours]
        if theirs not in stored:
            raise ValueError(f"not a network of StyleGAN2: {theirs} is missing")
        if stored[theirs].size != tuple(wanted.shape):
            raise ValueError(f"{theirs}: {stored[theirs].size}, where {tuple(wanted.shape)} fits")
        taken[ours] = stored[theirs].tensor()
        if not torch.isfinite(taken[ours]).all():
            raise ValueError(f"{theirs}: not all numbers are finite")
    return taken


def _count_layers(stored: Mapping[str, Any]) -> int:
    return sum(1 for name in stored if re.fullmatch(r"mapping\.fc\d+\.weight", name))


def _size(stored: Mapping[str, _StoredTensor], name: str) -> tuple[int, ...]:
    if name not in stored:
        raise ValueError(f"not a generator of StyleGAN2: {name} is missing")
    return stored[name].size


# ---------------------------------------------------------------- what is read of a network


@dataclass(frozen=True)
class PickleFacts:
    """What is told of a published network."""

    resolution: int
    """Side of its images, pixels."""
    num_styles: int
    """How many labels it knows; 0 where it knows none."""
    companions: dict[str, dict[str, Tensor]]
    """The discriminator's weights, under its name, where the file has them in our layout."""


def read_network_pickle(data: bytes) -> tuple[StyleGAN2Config, dict[str, Tensor], PickleFacts]:
    """A published network => our config, our generator's weights, and what is told of it.

    Raises `ValueError`, in one line, for whatever is not a StyleGAN2 network of RGB images with a
    side of 8 to 1024, and for any pickle that asks for more than such a network needs.
    """
    try:
        networks = _Machine().run(io.BytesIO(data))
        if type(networks) is not dict or "G_ema" not in networks:
            raise ValueError("it has no generator (G_ema)")
        return _read(networks["G_ema"], networks.get("D"))
    except _DAMAGED as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0][:200]
        raise ValueError(f"not a StyleGAN2 network pickle, or damaged ({reason})") from error
    except ValueError as error:
        reason = (str(error) or "damaged").splitlines()[0][:300]
        raise ValueError(f"not a StyleGAN2 network pickle: {reason}") from error


def _read(
    generator: Any, discriminator: Any
) -> tuple[StyleGAN2Config, dict[str, Tensor], PickleFacts]:
    stored = _weights_of(generator)
    resolution, widths = _widths(stored)
    num_styles = stored["mapping.embed.weight"].size[1] if "mapping.embed.weight" in stored else 0
    numbers = _numbers(generator, stored, resolution, widths, num_styles > 0)
    known: dict[str, _StoredTensor] = {}
    if isinstance(discriminator, PersistentObject):
        known = _weights_of(discriminator)
        if num_styles:
            numbers["style_layers"] = _count_layers(known)
    try:
        config = StyleGAN2Config.model_validate(numbers)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg']}") from error
    config.check_resolution(resolution)
    if config.widths(resolution) != widths:
        raise ValueError(f"channels {widths}: not those of a StyleGAN2 network")
    with torch.device("meta"):
        shape = Shape(resolution, num_styles)
        ours, opponent = Generator(config, shape), Discriminator(config, shape)
    names = _generator_names(resolution, config.mapping_layers, config.conditional)
    weights = _taken(stored, names, ours)
    companions: dict[str, dict[str, Tensor]] = {}
    if known:
        names = _discriminator_names(resolution, config.style_layers, config.conditional)
        try:
            companions["discriminator"] = _taken(known, names, opponent)
        except ValueError as error:
            _log.warning("left out: its discriminator, which only training needs (%s)", error)
    return config, weights, PickleFacts(resolution, num_styles, companions)


def _numbers(
    generator: PersistentObject,
    stored: Mapping[str, _StoredTensor],
    resolution: int,
    widths: list[int],
    is_conditional: bool,
) -> dict[str, Any]:
    """What of our config the network itself fixes."""
    layers = list(_layers(resolution))
    _check_layers(generator, stored, layers)
    w_dim = _size(stored, "mapping.w_avg")[0]
    limits = {_number(_part(generator, path).get("conv_clamp")) for path in layers}
    if len(limits) > 1:
        raise ValueError("its layers are clamped differently")
    return {
        "latent_dim": _size(stored, "mapping.fc0.weight")[1] - (w_dim if is_conditional else 0),
        "w_dim": w_dim,
        "mapping_layers": _count_layers(stored),
        "mapping_rate": _number(_part(generator, "mapping.fc0").get("bias_gain", 0.01)),
        "conditional": is_conditional,
        "channel_base": max(width * 4 * 2**n for n, width in enumerate(widths)),
        "channel_max": max(widths),
        "activation_limit": limits.pop(),
    }


def _widths(stored: Mapping[str, _StoredTensor]) -> tuple[int, list[int]]:
    """The images' side, and the channels at 4, 8, … of it."""
    _size(stored, "synthesis.b4.const")
    sides = [4]
    while f"synthesis.b{2 * sides[-1]}.conv1.weight" in stored:
        sides.append(2 * sides[-1])
    if not SMALLEST <= sides[-1] <= LARGEST:
        raise ValueError(f"side {sides[-1]}: 8 to 1024 pixels can be read")
    if _size(stored, f"synthesis.b{sides[-1]}.torgb.weight")[0] != 3:
        raise ValueError("its pictures are not RGB")
    return sides[-1], [_size(stored, f"synthesis.b{side}.conv1.weight")[0] for side in sides]


def _number(value: Any) -> float | None:
    if value is not None and not isinstance(value, int | float):
        raise ValueError("a number was expected")
    return value


def _layers(resolution: int) -> Iterator[str]:
    """The paths of the generator's 3×3 layers, from coarse to fine."""
    yield "synthesis.b4.conv1"
    for level in range(1, int(math.log2(resolution)) - 1):
        yield from (f"synthesis.b{4 * 2**level}.{layer}" for layer in ("conv0", "conv1"))


def _check_layers(
    generator: PersistentObject, stored: Mapping[str, _StoredTensor], layers: list[str]
) -> None:
    """Refuse what has the same names but another meaning: activation, filter."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    for path in layers:
        activation = _text(_part(generator, path).get("activation", "lrelu"))
        if activation != "lrelu":
            raise ValueError(f"{path}: the activation {activation[:40]!r}")
        kernel = stored[f"{path}.resample_filter"].tensor()
        wanted = taps if kernel.ndim == 1 else taps[:, None] * taps
        if kernel.shape != wanted.shape or not torch.allclose(kernel, wanted, atol=1e-6):
            raise ValueError(f"{path}: a filter other than [1, 3, 3, 1]")


@dataclass(frozen=True)
class AdoptedModel:
    """A published network as a model of ours: what `pipeline.py adopt` keeps."""

    family: str
    config: dict[str, Any]
    resolution: int
    num_styles: int
    """0 where it knows none; a model needs one name of a style all the same."""
    weights: dict[str, Tensor]
    companions: dict[str, dict[str, Tensor]]


def import_pickle(path: Path) -> AdoptedModel:
    """Read a published network's file. Raises `ValueError` in one line, `OSError` unopened."""
    config, weights, facts = read_network_pickle(path.read_bytes())
    return AdoptedModel(
        family="stylegan2",
        config=config.model_dump(mode="json"),
        resolution=facts.resolution,
        num_styles=facts.num_styles,
        weights=weights,
        companions=facts.companions,
    )
