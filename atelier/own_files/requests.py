"""Requests behind results whose own records leave them out on purpose (`ICS.publish`)."""

import hashlib
from pathlib import Path

from components.common.durable import write_text
from components.common.files import read_text
from interfaces.errors import AtelierError
from interfaces.record import GeneratedOrigin


class Requests:
    """Notes in a folder of the workspace: a result's digest => the digest of its request.

    They stay on this machine. Where one is lost, its picture is made again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, result_sha256: str, planned: GeneratedOrigin) -> None:
        """Keep that a result was made by this request."""
        write_text(self._folder / result_sha256, _digest(planned) + "\n")

    def made(self, result_sha256: str, planned: GeneratedOrigin) -> bool:
        """Whether a result was made by this very request."""
        try:
            noted = read_text(self._folder / result_sha256)
        except (OSError, AtelierError):
            return False
        return noted.strip() == _digest(planned)


def _digest(planned: GeneratedOrigin) -> str:
    return hashlib.sha256(planned.model_dump_json().encode()).hexdigest()
