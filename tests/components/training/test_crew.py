"""The processes of `torchrun`: what one of them leaves behind when its work has ended."""

import socket

import pytest
from torch import distributed

from components.training import with_ranks


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which `torchrun` starts the first of one process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}
    for name, value in (variables | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}).items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.usefixtures("torchrun")
def test_no_process_group_outlives_the_work() -> None:
    """Threads of one that still run while Python ends now and then abort the process."""
    assert with_ranks(distributed.is_initialized)
    assert not distributed.is_initialized()


@pytest.mark.usefixtures("torchrun")
def test_no_process_group_outlives_work_that_fails() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        with_ranks(fail)
    assert not distributed.is_initialized()
