"""Settings chosen to no effect: they are refused or reported, never passed over in silence."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel


class Need(NamedTuple):
    """Condition without which a field has no effect."""

    words: str
    """The condition in words, to follow "only with"."""
    is_met: bool


def idle(settings: BaseModel, needs: Mapping[str, Need]) -> list[str]:
    """The fields whose value was changed from its default and has no effect, each in a sentence.

    `needs` names, by field, what each that has no effect by itself needs beside it.
    """
    fields = type(settings).model_fields
    return [
        f"{name}: has an effect only with {need.words}"
        for name, need in needs.items()
        if not need.is_met and getattr(settings, name) != fields[name].default
    ]
