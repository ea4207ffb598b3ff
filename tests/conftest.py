"""Settings for every test."""

import os

# Before torch; see docs/architecture.md. Networks of a test are so small that a second thread costs
# twice the processor's time, and as many tests at a time as there are processors fill them anyway.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import hypothesis
import numpy as np
import pytest
from PIL import Image

from atelier.contracts.isolation import own_credentials, own_environment

__all__ = ["own_credentials", "own_environment"]

pytest_plugins = ["atelier.contracts.plugin"]

# A busy machine makes any one example slow; how long a test may take is not what it tests.
# What decides whether a change lands draws the same examples each time; elsewhere they are new.
hypothesis.settings.register_profile("atelier", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("atelier")


class _Blank(MagicMock):
    """A figure of matplotlib on which nothing is drawn."""

    def subplots(self, rows: int = 1, columns: int = 1, *, squeeze: bool = True, **_: Any) -> Any:
        axes = np.empty((rows, columns), dtype=object)
        for place in np.ndindex(axes.shape):
            axes[place] = MagicMock()
        return axes.squeeze()[()] if squeeze else axes

    def savefig(self, path: Path, **_: Any) -> None:
        Image.new("RGB", (1, 1)).save(path, "PNG")


@pytest.fixture(scope="module")
def blank_charts() -> Iterator[type[Any]]:
    """An empty picture in place of each chart: to draw them is half of a tiny training's time.

    Gives matplotlib's own class of figures.
    """
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure", _Blank)
        yield Figure


@pytest.fixture
def drawn_charts(blank_charts: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as they are, for one test among those with blank ones."""
    monkeypatch.setattr("matplotlib.figure.Figure", blank_charts)
