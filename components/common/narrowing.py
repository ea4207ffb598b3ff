"""Values of unknown type => containers whose parts are objects, to be looked at one by one."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard


def is_dict(value: object) -> TypeGuard[Mapping[object, object]]:
    """Whether it is a dict."""
    return isinstance(value, dict)


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Whether it is a mapping of any kind."""
    return isinstance(value, Mapping)


def is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    """Whether it is a tuple."""
    return isinstance(value, tuple)


def is_row(value: object) -> TypeGuard[Sequence[object]]:
    """Whether it is a list or a tuple."""
    return isinstance(value, list | tuple)
