"""`component("enhancement")`: the component under test, ours or the replacement that was named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.assembly import assemble, replacements_of

Component = Callable[[str], object]


@pytest.fixture
def component(request: pytest.FixtureRequest, tmp_path: Path) -> Component:
    replacements = request.config.getoption("--component")
    components = assemble(tmp_path / "workspace", replacements_of(replacements))
    return lambda name: getattr(components, name)
