"""The cache of remote bytes on a disk that takes no more."""

import errno
from pathlib import Path

import pytest

from interfaces.cache import Cache


def test_a_full_disk_is_left_with_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    cache = Cache(tmp_path, max_bytes=1 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        cache.put("key", b"bytes")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    cache.put("key", b"bytes")
    assert cache.get("key") == b"bytes"
