"""Thumbnails made by several threads at once, as the server's pool makes them."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

from PIL import Image

from atelier.server.thumbnails import Side, Thumbnails

SHA256 = "ab" * 32
SIDES = get_args(Side)


def picture() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((600, 600), 80).save(stream, "PNG")
    return stream.getvalue()


def test_sizes_made_at_once_do_not_change_places(tmp_path: Path) -> None:
    data = picture()
    for round_number in range(6):
        thumbnails = Thumbnails(tmp_path / str(round_number))
        with ThreadPoolExecutor(len(SIDES)) as pool:
            made = list(pool.map(thumbnails.make, [data] * 3, [SHA256] * 3, SIDES))
        for side, thumbnail in zip(SIDES, made, strict=True):
            assert thumbnails.cached(SHA256, side) == thumbnail
            assert max(Image.open(io.BytesIO(thumbnail)).size) == side


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    litter = tmp_path / "ab" / f".{SHA256[:24]}.{ended.pid}.partial.webp"
    being_written = tmp_path / "ab" / f".{SHA256[:24]}.{os.getppid()}.partial.webp"
    litter.parent.mkdir()
    for path in (litter, being_written):
        path.write_bytes(bytes(10_000))
    Thumbnails(tmp_path, most_bytes=20_000).make(picture(), SHA256, 128)
    assert not litter.exists()
    assert being_written.exists()
