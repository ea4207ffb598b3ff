"""Messages about certificates that cannot sign, a line each: `python -m benchmarks.keys`."""

import os
import stat
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.common.credentials.identity import open_identity
from components.common.credentials.making import make
from components.common.credentials.places import PASSPHRASE, Files
from interfaces.errors import AtelierError


def main() -> None:
    """Print the mode of the keys, then what is said in each case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _fresh(folder / "modes")
        for path in (files.folder, files.key, files.authority_key):
            print(f"{path.name}: mode {stat.S_IMODE(path.stat().st_mode):o}")
        now = datetime.now(UTC)
        _tell("others can read the key", lambda: _readable(folder / "read"))
        _tell("no passphrase", lambda: _locked(folder / "locked", None))
        _tell("another passphrase", lambda: _locked(folder / "wrong", "open"))
        _tell("ten years on", lambda: _at(folder / "late", now + timedelta(days=3651)))
        _tell(
            "a clock that is a day behind", lambda: _at(folder / "early", now - timedelta(days=1))
        )
        _tell("the key is lost", lambda: _lost(folder / "lost"))


def _tell(case: str, action: Callable[[], None]) -> None:
    try:
        action()
        print(f"{case}: SAID NOTHING")
    except AtelierError as error:
        print(f"{case}: {error}")


def _fresh(folder: Path, passphrase: str | None = None) -> Files:
    files = Files(folder)
    make(files, "Ada", passphrase)
    return files


def _readable(folder: Path) -> None:
    files = _fresh(folder)
    files.key.chmod(0o644)
    open_identity(files)


def _locked(folder: Path, given: str | None) -> None:
    files = _fresh(folder, "open sesame")
    os.environ.pop(PASSPHRASE, None)
    if given is not None:
        os.environ[PASSPHRASE] = given
    open_identity(files)


def _at(folder: Path, moment: datetime) -> None:
    os.environ.pop(PASSPHRASE, None)
    open_identity(_fresh(folder), moment)


def _lost(folder: Path) -> None:
    files = _fresh(folder)
    files.key.unlink()
    open_identity(files)


if __name__ == "__main__":
    main()
