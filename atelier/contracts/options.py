"""Options that were given on pytest's command line, typed."""

from typing import TypeVar

import pytest

from atelier.assembly import replacements_of

_Value = TypeVar("_Value")


def option(config: pytest.Config, name: str, kind: type[_Value]) -> _Value:
    """The value of an option of `atelier.contracts.plugin`, which has a default."""
    value = config.getoption(name)
    assert isinstance(value, kind)
    return value


def replacements(config: pytest.Config) -> dict[str, str]:
    """{'enhancement': 'mine:create'} for `--component enhancement=mine:create`."""
    return replacements_of(option(config, "--component", list))  # pyright: ignore[reportUnknownArgumentType]
