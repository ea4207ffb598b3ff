"""Refusals that a port promises, told from promises that were broken."""

import re
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from atelier.guard import BrokenPromiseError
from interfaces.errors import AtelierError


@contextmanager
def refused(pattern: str = "") -> Generator[None]:
    """Expect the component's own `AtelierError`, in one line that `pattern` is found in.

    A promise that was broken meanwhile is raised on: its line says more than a failed comparison.
    """
    with pytest.raises(AtelierError) as refusal:
        yield
    if isinstance(refusal.value, BrokenPromiseError):
        raise refusal.value
    line = str(refusal.value)
    assert re.search(pattern, line), line
    assert "\n" not in line
