"""Helpers of several tests: small valid messages and the place of the real data."""

import os
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from atelier.contracts.samples import (
    digest,
    make_enhancement,
    make_file_origin,
    make_iedt,
    make_igdt,
    make_images,
    make_iodt,
    make_origin,
    make_record,
    tiny_prepared,
)
from interfaces.record import Record

REPOSITORY = Path(__file__).resolve().parent.parent
HAS_BASICSR = find_spec("basicsr") is not None
"""Whether Real-ESRGAN's networks are basicsr's and realesrgan's here, not spandrel's."""

__all__ = [
    "HAS_BASICSR",
    "REPOSITORY",
    "Clock",
    "as_claimed",
    "digest",
    "make_enhancement",
    "make_file_origin",
    "make_iedt",
    "make_igdt",
    "make_images",
    "make_iodt",
    "make_origin",
    "make_record",
    "shared",
    "tiny_prepared",
]


def shared(name: str) -> Path:
    """A file of the real data beside the project; the test skips where it is not there."""
    root = Path(os.environ.get("SHARED_DATA", REPOSITORY.parent / "shared"))
    path = root / name
    if not path.exists():
        pytest.skip(f"needs the real data {name} (set SHARED_DATA to its folder)")
    return path


def as_claimed(record: Record) -> Record:
    """The record as a file tells it: whoever reads it there cannot know that it is true."""
    return record.model_copy(update={"is_claim": True})


class Clock:
    """The clock of one module, which can be set ahead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        self.ahead = timedelta(0)
        clock = self

        class Changed(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + clock.ahead

        monkeypatch.setattr(f"{module}.datetime", Changed)
