"""Small pictures for the gallery, made when they are first asked for and kept, within bounds."""

import io
import os
import threading
from pathlib import Path
from typing import Literal

from components.common.durable import sweep, write_bytes

Side = Literal[128, 256, 512]
"""Longer side of a thumbnail, pixels."""

MAX_BYTES = 512 * 2**20
_QUALITY = 80


class Thumbnails:
    """WebP files by the digest of the picture and the longer side.

    When they take more than `most_bytes`, those that were not looked at for longest go.
    """

    def __init__(self, folder: Path, most_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: int | None = None

    def cached(self, sha256: str, side: int) -> bytes | None:
        """The thumbnail, where it is at hand."""
        path = self._place(sha256, side)
        try:
            data = path.read_bytes()
            os.utime(path)  # it was looked at
        except OSError:
            return None
        return data

    def make(self, picture: bytes, sha256: str, side: int) -> bytes:
        """A picture file => its thumbnail, at most `side` pixels wide and high, kept.

        Raises `AtelierError` where it cannot be decoded.
        """
        data = _reduced(picture, side)
        try:
            write_bytes(self._place(sha256, side), data)
        except OSError:
            return data  # a full disk does not hide the gallery
        with self._lock:
            held = self._measure() if self._held is None else self._held + len(data)
            self._held = held if held <= self._most_bytes else self._shrink()
        return data

    def _place(self, sha256: str, side: int) -> Path:
        return self._folder / sha256[:2] / f"{sha256}-{side}.webp"

    def _files(self) -> list[tuple[float, int, Path]]:
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/[!.]*.webp"):
            try:
                known = path.stat()
            except OSError:
                continue
            found.append((known.st_mtime, known.st_size, path))
        return sorted(found)

    def _measure(self) -> int:
        for folder in self._folder.iterdir():
            sweep(folder)
        return sum(size for _, size, _ in self._files())

    def _shrink(self) -> int:
        """Remove the oldest until a tenth is free."""
        files = self._files()
        held = sum(size for _, size, _ in files)
        for _, size, path in files:
            if held <= self._most_bytes * 0.9:
                break
            path.unlink(missing_ok=True)
            held -= size
        return held


def _reduced(picture: bytes, side: int) -> bytes:
    from PIL import Image

    from components.common.images import MAX_ENLARGED_PIXELS, foreign, open_upright, to_rgb

    with foreign("the picture"):
        image = open_upright(picture, MAX_ENLARGED_PIXELS)
        has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        image = image.convert("RGBA") if has_alpha else to_rgb(image)
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=_QUALITY, method=2)
    return stream.getvalue()
