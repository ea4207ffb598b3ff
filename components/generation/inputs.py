"""Inputs that a person gives beside a seed: words, a drawing, a picture and its mask."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from components.common.credentials.ingredients import may_hold_credentials, take_along
from components.common.decoding import media_type_of
from components.common.files import read_regular
from components.common.images import (
    MAX_PIXELS,
    check_header,
    foreign,
    is_transparent,
    open_upright,
    pixels_to_float,
    to_rgb,
)
from components.common.tensors import tensor_of
from components.families.port import Inputs
from interfaces.batch import Ingredient
from interfaces.errors import RefusedError
from interfaces.igs import IGS, InputFile
from interfaces.places import expanded
from interfaces.record import InputRecord


@dataclass(frozen=True)
class InputBytes:
    """A person's file as it was read, and what the record says of it."""

    path: Path
    data: bytes
    record: InputRecord


def open_inputs(settings: IGS) -> tuple[InputBytes, ...]:
    """The files that the settings name. Raises `AtelierError` for one that cannot be read."""
    return tuple(_opened(role, settings) for role in _READERS if role in settings.given)


def _opened(role: InputFile, settings: IGS) -> InputBytes:
    path: Path = getattr(settings, role)
    file = expanded(path)
    with foreign(str(path)):
        check_header(file)  # before it is read whole: it may be of any size
        data = read_regular(file)
    sha256 = hashlib.sha256(data).hexdigest()
    return InputBytes(path, data, InputRecord(role=role, name=path.name, sha256=sha256))


def ingredients_of(files: Iterable[InputBytes]) -> tuple[Ingredient, ...]:
    """The content credentials that the files brought, to be named in those of the pictures."""
    found = (_ingredient(file) for file in files)
    return tuple({one.sha256: one for one in found if one is not None}.values())


def _ingredient(file: InputBytes) -> Ingredient | None:
    if not may_hold_credentials(file.data):
        return None
    with foreign(str(file.path)):
        media_type = media_type_of(check_header(file.data).format)
    return take_along(file.data, media_type, "inputTo", file.record.name)


def read_inputs(files: Iterable[InputBytes], prompt: str | None, side: int) -> Inputs:
    """Inputs for a family, drawings with `side` pixels a side.

    Raises `AtelierError` where a file is not what it should be.
    """
    planes: dict[str, Any] = {
        file.record.role: _checked(file.path, file.data, _READERS[file.record.role], side)
        for file in files
    }
    if "mask" in planes and planes["mask"].shape[1:] != planes["source"].shape[1:]:
        sizes = ("x".join(str(side) for side in planes[role].shape[:0:-1]) for role in _MASKING)
        raise RefusedError(f"mask: is {' pixels, its source '.join(sizes)}; make them one size")
    return Inputs(prompt=prompt, **planes)


_MASKING = ("mask", "source")


def _checked(
    path: Path, data: bytes, read: Callable[[Image.Image, int], Tensor], side: int
) -> Tensor:
    """Decode a file that may be anything; a fault is raised as one line."""
    with foreign(str(path)):
        image = open_upright(data, MAX_PIXELS)
        image.load()
    try:
        return read(image, side)
    except ValueError as error:
        raise RefusedError(f"{path}: {error}") from error


def _sketch(image: Image.Image, side: int) -> Tensor:
    from components.families.drawing import clean_sketch

    layered = (image if is_transparent(image) else to_rgb(image)).convert("RGBA")
    return torch.as_tensor(clean_sketch(np.asarray(layered), side))


def _source(image: Image.Image, side: int) -> Tensor:
    return tensor_of(pixels_to_float(np.asarray(to_rgb(image))[None])[0])


def _mask(image: Image.Image, side: int) -> Tensor:
    levels = np.asarray(to_rgb(image).convert("L"), dtype=np.float32)
    return tensor_of(levels / 255)[None]


_READERS: dict[InputFile, Callable[[Image.Image, int], Tensor]] = {
    "sketch": _sketch,
    "source": _source,
    "towards_source": _source,
    "mask": _mask,
}
