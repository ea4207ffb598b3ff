"""Every test of the store runs with its index in SQLite and in PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.postgres import fresh_schema, postgres_server


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres_server() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def index(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, own_environment: None
) -> str:
    """Kind of the index, 'sqlite' or 'postgres'; `only_sqlite` marks tests of the file itself."""
    if request.param == "postgres":
        folder = request.getfixturevalue("server")
        monkeypatch.setenv("ATELIER_RESULTS_INDEX", fresh_schema(folder))
    return request.param


only_sqlite = pytest.mark.parametrize("index", ["sqlite"], indirect=True)
