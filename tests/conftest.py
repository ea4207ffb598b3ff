"""Options and settings for every test."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch; see docs/architecture.md

import hypothesis
import pytest

# A busy machine makes any one example slow; how long a test may take is not what it tests.
hypothesis.settings.register_profile("atelier", deadline=None)
hypothesis.settings.load_profile("atelier")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--component",
        action="append",
        default=[],
        metavar="NAME=PACKAGE:FACTORY",
        help="run the contract tests against a replacement of this component",
    )
    parser.addoption(
        "--training",
        default='{"family": "dcgan", "options": {"batch_size": 4, "generator_channels": 8, '
        '"discriminator_channels": 8}}',
        metavar="JSON",
        help="what a replaced trainer is asked to train: its own family, in a size of seconds",
    )


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the person's settings, weights or cache."""
    for name in list(os.environ):
        if name.startswith("ATELIER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
