"""A fixture that hides a person's own settings from the tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def own_credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a certificate that signs what these tests make, and nothing else."""
    from components.common.credentials.making import make
    from components.common.credentials.places import Files

    folder = tmp_path_factory.mktemp("credentials")
    make(Files(folder), "Test")
    return folder


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_credentials: Path) -> None:
    """Hide the person's settings, weights, cache and certificate."""
    for name in list(os.environ):
        if name.startswith("ATELIER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ATELIER_CREDENTIALS", str(own_credentials))
