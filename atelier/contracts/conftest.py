"""The components under test, chosen on the command line, and the time that each test has."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atelier.assembly import assemble
from atelier.contracts.isolation import own_credentials, own_environment
from atelier.contracts.limits import OverdueError, limited
from atelier.contracts.options import option, replacements
from atelier.guard import BrokenPromiseError
from interfaces.components import Components
from interfaces.igme import TrainingSettings

__all__ = ["own_credentials", "own_environment"]


@pytest.fixture
def parts(pytestconfig: pytest.Config, tmp_path: Path) -> Components:
    """The eight components, with those named on the command line in place of ours."""
    return assemble(tmp_path / "workspace", replacements(pytestconfig))


@pytest.fixture(scope="session")
def budget(pytestconfig: pytest.Config) -> Callable[..., TrainingSettings]:
    """Settings of a training: `budget(16)` sees sixteen images."""
    chosen = json.loads(option(pytestconfig, "--training", str))

    def settings(images: int, seed: int = 0) -> TrainingSettings:
        return TrainingSettings(**chosen, total_images=images, seed=seed)

    return settings


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of components that are not replaced, where one is."""
    replaced = replacements(config)
    if not replaced:
        return
    here = Path(__file__).parent
    stems = {f"test_{name}" for name in replaced}
    others = [item for item in items if item.path.parent == here and item.path.stem not in stems]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Limit the time in which components are made and a model is trained."""
    with _in_one_line(item), _in_time(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Limit the time of the test itself."""
    with _in_one_line(item), _in_time(item):
        return (yield)


@contextmanager
def _in_one_line(item: pytest.Item) -> Generator[None]:
    """Let a broken promise fail the test with its line alone, unless `--full-trace` was given."""
    try:
        yield
    except BrokenPromiseError as error:
        if item.config.getoption("fulltrace"):
            raise
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@contextmanager
def _in_time(item: pytest.Item) -> Generator[None]:
    seconds = option(item.config, "--component-seconds", float)
    try:
        with limited(seconds):
            yield
    except OverdueError:
        pairs = (f"{name}={place}" for name, place in replacements(item.config).items())
        line = f"component {', '.join(pairs) or 'of ours'}: did not finish within {seconds:g} s"
        raise pytest.fail.Exception(line, pytrace=False) from None
