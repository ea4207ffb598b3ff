"""Whole files: names of their own, litter, and locks that say that they wait."""

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.common.durable import (
    MAX_LITTER_SECONDS,
    append,
    arriving,
    assembling,
    exclusive,
    replacing,
    sweep,
    temporary_for,
    write_bytes,
)
from tests.helpers import REPOSITORY

STEM = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def content(number: int) -> bytes:
    """A file that says on every page whose it is."""
    return b"%08d" % number * 20_000


def is_whole(data: bytes) -> bool:
    return len(data) == 160_000 and data == data[:8] * 20_000


def run_python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# ---------------------------------------------------------------- names of one's own


def test_threads_that_write_one_name_never_show_a_torn_file(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}-128.webp"
    write_bytes(path, content(0))
    is_over = threading.Event()
    seen: list[bytes] = []

    def look() -> None:
        while not is_over.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_bytes(path, content(number)), range(120)))
    is_over.set()
    reader.join()
    assert all(map(is_whole, seen))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_names_that_begin_alike_hold_each_its_own(tmp_path: Path) -> None:
    """Two sizes of one thumbnail have a stem in common that is longer than a temporary name."""
    sides = (128, 256, 512)
    with ThreadPoolExecutor(6) as pool:
        for _ in range(40):
            list(
                pool.map(
                    lambda side: write_bytes(tmp_path / f"{STEM}-{side}.webp", content(side)),
                    sides * 2,
                )
            )
            for side in sides:
                assert (tmp_path / f"{STEM}-{side}.webp").read_bytes() == content(side)


WRITER = """
import sys
from pathlib import Path
from components.common.durable import write_bytes
from tests.components.common.test_durable import content
path, number = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for _ in range(int(sys.argv[3])):
    write_bytes(path, content(number))
"""


def test_processes_that_write_one_name_never_show_a_torn_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.bin"
    write_bytes(path, content(9))
    writers = [run_python(WRITER, path, number, 60) for number in range(3)]
    while any(writer.poll() is None for writer in writers):
        assert is_whole(path.read_bytes())
    assert [writer.wait() for writer in writers] == [0] * 3
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@given(
    st.text(st.sampled_from("aЖ🐈.\n\udcff"), min_size=1, max_size=80)
    | st.text(st.sampled_from("a.Ж"), min_size=100, max_size=127),
    st.sampled_from(["", ".png", ".webp", "." + "x" * 120]),
)
def test_a_temporary_name_fits_where_the_name_does(name: str, suffix: str) -> None:
    path = Path("/folder") / ((name.strip(".") or "a") + suffix)
    names = {temporary_for(path).name for _ in range(3)}
    assert len(names) == 3
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    if suffix in (".png", ".webp"):
        assert all(name.endswith(suffix) for name in names)


@pytest.mark.parametrize(
    "name", ["n" * 251 + ".png", "😀" * 62 + ".png", "n" * 255, "a." + "b" * 253]
)
def test_the_longest_names_are_written(name: str, tmp_path: Path) -> None:
    write_bytes(tmp_path / name, b"data")
    assert (tmp_path / name).read_bytes() == b"data"


def test_a_block_that_raises_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- litter


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    script = WRITER.replace("write_bytes(path, content(number))", "hang()").replace(
        "print(",
        "from components.common.durable import replacing\n"
        "def hang():\n    import time\n    with replacing(path) as temporary:\n"
        "        temporary.write_bytes(b'half')\n        print('written', flush=True)\n"
        "        time.sleep(60)\nprint(",
    )
    writers = [run_python(script, tmp_path / "a.png", number, 1) for number in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert [writer.stdout.readline() for _ in range(2)] == ["ready\n", "written\n"]
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    with replacing(tmp_path / "b.png") as own:
        own.write_bytes(b"half")
        assert sweep(tmp_path) == 1
        assert len(list(tmp_path.iterdir())) == 2
    writers[1].send_signal(signal.SIGKILL)
    writers[1].wait()
    assert sweep(tmp_path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.png"]


def test_litter_is_known_by_age_and_owner(tmp_path: Path) -> None:
    dead, alive = a_dead_process(), os.getppid()
    litter = [
        f".000003.{dead}.partial.png",
        f".Моя картина.{dead}.partial.webp",
        f".model.{dead}.partial.safetensors",
        f".state.{os.getpid()}.partial",
        ".old.0a1b2c-1-01234567.partial.png",
    ]
    kept = [
        f".fresh.{alive}.partial.png",
        ".elsewhere.0a1b2c-1-01234567.partial.png",
        ".notes.partial.txt",
        ".x.partial.png",
        f"x.{dead}.partial.png",
        ".hidden.png",
    ]
    for name in litter + kept:
        (tmp_path / name).write_bytes(b"half a pict")
    before = time.time() - MAX_LITTER_SECONDS - 60
    os.utime(tmp_path / ".old.0a1b2c-1-01234567.partial.png", (before, before))
    (tmp_path / f".folder.{dead}.partial").mkdir()
    assert sweep(tmp_path) == len(litter)
    assert {entry.name for entry in tmp_path.iterdir()} == {*kept, f".folder.{dead}.partial"}


ASSEMBLER = """
import sys, time
from pathlib import Path
from components.common.durable import assembling
with assembling(Path(sys.argv[1])) as made:
    (made / "whole").mkdir()
    (made / "whole" / "a.png").write_bytes(b"half")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_folder_that_a_killed_process_built_is_swept_and_a_living_ones_is_not(
    tmp_path: Path,
) -> None:
    builders = [run_python(ASSEMBLER, tmp_path) for _ in range(2)]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "written\n"
    for number, builder in enumerate(builders):
        with assembling(tmp_path) as own:
            assert len(list(tmp_path.iterdir())) == 3 - number
            builder.send_signal(signal.SIGKILL)
            builder.wait()
            assert sweep(tmp_path) == 1
            assert own.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_names_no_writer_is_known_by_the_age_of_all_that_is_in_it(
    tmp_path: Path,
) -> None:
    old, written, another = (
        tmp_path / name for name in (".abcd1234.partial", ".abcd_123.partial", ".mine.partial")
    )
    for folder in (old, written, another):
        (folder / "whole").mkdir(parents=True)
        (folder / "whole" / "a.png").write_bytes(b"half")
    before = time.time() - MAX_LITTER_SECONDS - 60
    for path in tmp_path.rglob("*"):
        os.utime(path, (before, before))
    (written / "whole" / "a.png").write_bytes(b"more")
    assert sweep(tmp_path) == 0  # it may be somebody else's
    assert sweep(tmp_path, is_ours=True) == 1
    assert set(tmp_path.iterdir()) == {written, another}


def test_a_folder_that_is_not_there_has_no_litter(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == 0
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_may_not_be_listed_has_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("components.common.durable.os.scandir", forbidden)
    assert sweep(tmp_path) == 0


# ---------------------------------------------------------------- appending and locks


def test_what_is_appended_follows_what_is_there(tmp_path: Path) -> None:
    assert append(tmp_path / "log", b"one\n") == 4
    assert append(tmp_path / "log", b"two\n") == 8
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


HOLDER = """
import sys
from pathlib import Path
from components.common.durable import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_waiting_for_another_process_is_announced_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    holder: Any = run_python(HOLDER, tmp_path / ".lock")
    assert holder.stdout.readline() == "held\n"
    release = threading.Timer(1.2, lambda: (holder.stdin.write("\n"), holder.stdin.flush()))
    release.start()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "atelier"), exclusive(tmp_path / ".lock"):
        assert time.monotonic() - began > 1
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / '.lock'}: another process is working here")
    assert holder.wait() == 0


def test_a_lock_that_is_free_is_taken_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers: list[int] = []

    def count(_: int) -> None:
        with exclusive(tmp_path / ".lock"):
            number = len(numbers)
            time.sleep(random.random() / 1000)
            numbers.append(number)

    with caplog.at_level(logging.WARNING, "atelier"), ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(40)))
    assert numbers == list(range(40))
    assert caplog.messages == []


def test_a_disk_that_is_full_is_said_with_the_file(tmp_path: Path) -> None:
    named = pytest.raises(OSError, match=r"No space left on device: '.*a\.json'")
    with named, arriving(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_that_name_is_said_and_not_the_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError) as error:
        write_bytes(tmp_path / "a.json", b"{}")
    assert error.value.filename == str(tmp_path / "a.json") and "partial" not in str(error.value)
