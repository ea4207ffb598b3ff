"""Weights and training states as safetensors: tensors as they lie, the rest as JSON beside them.

Never a pickle: reading such a file cannot run code, and a damaged one is noticed.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from components.common.durable import sha256_of, write_bytes
from components.common.narrowing import is_mapping, is_row
from interfaces.errors import DamagedError, unreadable


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Write a state dict durably; returns the file's SHA-256."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_bytes(path, save(contiguous))
    return sha256_of(path)


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in half precision; whole numbers, such as steps, stay what they are."""
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }


def load_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a state dict whose digest is known, onto the CPU.

    Raises `AtelierError` where the file is missing, damaged or not the one that was vouched for.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise unreadable(error)(f"{path}: cannot read the weights ({error.strerror})") from error
    if found != sha256:
        raise DamagedError(
            f"{path}: the weights are damaged or exchanged (SHA-256 {found[:12]}…, expected "
            f"{sha256[:12]}…); copy the model again or train it again"
        )
    return _read(path)[0]


def save_state(path: Path, state: Mapping[str, object]) -> None:
    """Write a nested state (dicts, lists, numbers, strings, tensors) durably.

    Names of dict entries may be strings or whole numbers, as in an optimiser's state.
    """
    write_bytes(path, pack_state(state))


def pack_state(state: Mapping[str, object]) -> bytes:
    """Write a nested state as the bytes of a state's file."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_take_apart(state, tensors))
    metadata = {"skeleton": skeleton, "sha256": _digest(skeleton, tensors)}
    return save(tensors, metadata=metadata)


def unpack_state(data: bytes) -> dict[str, Any]:
    """Read what `pack_state` wrote, in memory; no file vouches for it."""
    tensors, metadata = load(data), metadata_of(data)
    state: dict[str, Any] = _put_together(json.loads(metadata["skeleton"]), tensors)
    return state


def metadata_of(data: bytes) -> dict[str, str]:
    """The texts in a safetensors file's header: its length in 8 bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__", {})


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU.

    Raises `AtelierError` where it is damaged: a state carries a digest of all that it holds (those
    of version 0.2 do not).
    """
    tensors, metadata = _read(path)
    if metadata.get("sha256") not in (None, _digest(metadata.get("skeleton", ""), tensors)):
        raise DamagedError(f"{path}: damaged, it does not hold what was saved")
    try:
        state: dict[str, Any] = _put_together(json.loads(metadata["skeleton"]), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: not a training state ({error})") from error
    return state


def _digest(skeleton: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the skeleton and each tensor's bytes, in the order of their names."""
    whole = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        whole.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


class _File(Protocol):
    """The part of an open safetensors file, which has no types, that is used here."""

    def keys(self) -> Iterable[str]: ...

    def get_tensor(self, name: str) -> Tensor: ...

    def metadata(self) -> dict[str, str] | None: ...


def _opened(path: Path) -> AbstractContextManager[_File, None]:
    return safe_open(path, framework="pt", device="cpu")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with _opened(path) as file:
            # A clone lies at a multiple of 64 bytes, a tensor of the file wherever its header ends,
            # and the rounding of MKL's products hangs on that.
            names = file.keys()
            return {name: file.get_tensor(name).clone() for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise unreadable(error)(f"{path}: not a readable safetensors file ({error})") from error


# A skeleton is JSON in which {"tensor": name} stands for a tensor, and a dict is a list of pairs,
# since JSON would turn an optimiser's whole-number names into strings.


def _take_apart(value: object, tensors: dict[str, Tensor]) -> object:
    if isinstance(value, Tensor):
        name = f"{len(tensors):06d}"
        # A clone, because safetensors refuses two names for one piece of memory.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if is_mapping(value):
        return {"pairs": [[key, _take_apart(item, tensors)] for key, item in value.items()]}
    if is_row(value):
        return [_take_apart(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a training state cannot hold {type(value).__name__}")


def _put_together(skeleton: JsonValue, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(skeleton, list):
        return [_put_together(item, tensors) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if "tensor" in skeleton:
        return tensors[str(skeleton["tensor"])]
    return {key: _put_together(item, tensors) for key, item in _pairs(skeleton["pairs"])}


def _pairs(listed: JsonValue) -> Iterator[tuple[JsonValue, JsonValue]]:
    if not isinstance(listed, list):
        raise TypeError("its pairs are not a list")
    for pair in listed:
        if not isinstance(pair, list) or len(pair) != 2:
            raise TypeError("one of its pairs has not two parts")
        yield pair[0], pair[1]
