"""A person's notes on a workspace's models: other names, and which are deleted."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from components.common.durable import write_text
from interfaces.errors import DamagedError


class _Notes(BaseModel):
    titles: dict[str, str] = Field(default_factory=dict[str, str])
    deleted: dict[str, datetime] = Field(default_factory=dict[str, datetime])


class ModelNotes:
    """Names and deletions by a model's digest, in one file that is read each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def titles(self) -> dict[str, str]:
        """Name that the person gave to each renamed model."""
        return self._read().titles

    def deleted(self) -> set[str]:
        """Digests of the deleted models."""
        return set(self._read().deleted)

    def rename(self, digest: str, title: str | None) -> None:
        """Call a model so; None: by the name of its folder again."""
        notes = self._read()
        notes.titles.pop(digest, None)
        if title is not None:
            notes.titles[digest] = title
        self._write(notes)

    def mark(self, digest: str, *, is_deleted: bool) -> None:
        """Delete a model, or bring it back."""
        notes = self._read()
        notes.deleted.pop(digest, None)
        if is_deleted:
            notes.deleted[digest] = datetime.now(UTC)
        self._write(notes)

    def purge(self, folders: dict[str, Path], older_than: timedelta) -> int:
        """Purge the folders of models deleted that long ago; returns their number."""
        notes = self._read()
        before = datetime.now(UTC) - older_than
        old = [digest for digest, at in notes.deleted.items() if at < before]
        for digest in old:
            if digest in folders:
                shutil.rmtree(folders[digest], ignore_errors=True)
            del notes.deleted[digest]
        if old:
            self._write(notes)
        return len(old)

    def _read(self) -> _Notes:
        if not self._path.is_file():
            return _Notes()
        try:
            return _Notes.model_validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise DamagedError(
                f"{self._path}: names of models cannot be read; mend the file or move it away"
            ) from error

    def _write(self, notes: _Notes) -> None:
        write_text(self._path, notes.model_dump_json(indent=1) + "\n")
