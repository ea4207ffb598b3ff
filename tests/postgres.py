"""A real PostgreSQL server of the tests' own, and a fresh schema of it for each test."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

_NUMBER = iter(range(1_000_000))


def _binaries() -> Path | None:
    """Folder of initdb and pg_ctl, on the path or where Debian puts them; None without."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


@contextmanager
def postgres_server(fsync: bool = False) -> Iterator[str]:
    """A server on a socket in a folder of its own; yields that folder. Skips where none is there.

    It never runs as root: as root, the user `postgres` of Debian's package starts it.
    """
    pytest.importorskip("psycopg", reason="psycopg is missing: pip install 'atelier[postgres]'")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is missing: apt-get install postgresql")
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    if user is not None:
        shutil.chown(folder, user)

    def call(program: str, *arguments: str) -> None:
        command = [str(binaries / program), "--pgdata", str(folder / "data"), *arguments]
        home = {"HOME": str(folder), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        subprocess.run(
            command, user=user, cwd=folder, env=home, check=True, stdout=subprocess.DEVNULL
        )

    call("initdb", "--auth=trust", "--username=atelier", "--no-sync", "--encoding=UTF8")
    # Without fsync a test takes milliseconds; what a power cut does is not tested here.
    settings = f"-c fsync={'on' if fsync else 'off'} -c max_connections=60"
    options = f"-k {folder} -c listen_addresses='' {settings}"
    call("pg_ctl", "start", "--wait", "--log", str(folder / "log"), "--options", options)
    try:
        yield str(folder)
    finally:
        call("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(folder, ignore_errors=True)


def fresh_schema(folder: str) -> str:
    """A URL that leads to an empty schema of the server."""
    import psycopg

    server = f"postgresql://atelier@/postgres?host={quote(folder, safe='')}"
    name = f"test_{os.getpid()}_{next(_NUMBER)}"
    with psycopg.connect(server, autocommit=True) as database:
        database.execute(f"CREATE SCHEMA {name}".encode())
    return f"{server}&options={quote(f'-csearch_path={name}')}"
