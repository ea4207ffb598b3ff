"""The console that a command finds itself in: what it can print, and what ends it politely."""

import os
import sys
from io import TextIOWrapper

from atelier.signals import interrupted, on_polite_end

_MIN_COLUMNS = 20
"""Narrower ones are taken for a mistake: nothing can be laid out in them."""


def settle() -> None:
    """Make output safe on any console, and let every polite end save what was done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A code page without a letter of a file's name is no reason to end.
            stream.reconfigure(errors="backslashreplace")
    if not _is_wide_enough(os.environ.get("COLUMNS", "80")):
        del os.environ["COLUMNS"]
    # Asked to end, or left alone by a closed terminal, it ends as at Ctrl-C: with its state saved.
    on_polite_end(interrupted)


def _is_wide_enough(columns: str) -> bool:
    return columns.isdecimal() and int(columns) >= _MIN_COLUMNS
