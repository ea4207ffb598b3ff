"""Each kind of error is what callers tell it by, wherever it comes from."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.assembly import assemble
from atelier.outcomes import outcome_of
from atelier.runs import Run
from atelier.workspace import Workspace
from components.common.checkpoints import load_state
from components.training_store import create
from interfaces.errors import (
    AtelierError,
    DamagedError,
    JobStateError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    unreadable,
)
from interfaces.itdt import CollectionSettings
from interfaces.progress import silent
from settings import from_environment, load_preset


def _collect(folder: Path, name: str) -> object:
    settings = CollectionSettings(data=str(folder / name))
    return create(folder / "workspace").collect(settings, silent)


@pytest.mark.parametrize(
    ("kind", "work"),
    [
        (NotFoundError, lambda folder: load_preset("none-such")),
        (NotFoundError, lambda folder: _collect(folder, "none")),
        (NotFoundError, lambda folder: load_state(folder / "none.safetensors")),
        (NotFoundError, lambda folder: Run.find(Workspace(folder), "run", "none")),
        (NotFoundError, lambda folder: Run.open(folder)),
        (DamagedError, lambda folder: load_preset(str(folder / "bad.toml"))),
        (DamagedError, lambda folder: _collect(folder, "cut.zip")),
        (DamagedError, lambda folder: load_state(folder / "bad.toml")),
        (RefusedError, lambda folder: from_environment({"ATELIER_NOTHING": "1"})),
        (RefusedError, lambda folder: _collect(folder, "one.png")),
        (RefusedError, lambda folder: assemble(folder, {"nobody": "a:b"})),
        (RefusedError, lambda folder: assemble(folder, {"enhancement": "none_such:make"})),
    ],
)
def test_what_went_wrong_is_told_by_its_class(
    kind: type[AtelierError], work: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("[[[")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "one.png").write_bytes(b"\x89PNG")
    with pytest.raises(AtelierError) as raised:
        work(tmp_path)
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOENT, "gone"), NotFoundError),
        (OSError(errno.ENOTDIR, "a file"), NotFoundError),
        (OSError(errno.EACCES, "closed"), RefusedError),
        (OSError(errno.EISDIR, "a folder"), RefusedError),
        (OSError(errno.EIO, "broken"), DamagedError),
        (ValueError("no number"), DamagedError),
    ],
)
def test_a_file_that_reading_failed_on_is_one_of_three_kinds(
    error: Exception, kind: type[AtelierError]
) -> None:
    assert unreadable(error) is kind


class _OwnError(NotFoundError):
    """An error such as a component may derive."""


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (RefusedError, 422),
        (NotFoundError, 404),
        (_OwnError, 404),
        (DamagedError, 422),
        (UnavailableError, 503),
        (JobStateError, 409),
        (AtelierError, 422),
    ],
)
def test_one_table_has_what_each_comes_to(kind: type[AtelierError], status: int) -> None:
    assert outcome_of(kind("a line")) == (status, 1)
