"""A person's notes on a workspace's models: other names, and which are deleted."""

import logging
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from components.common.days import Days
from components.common.durable import exclusive, write_text
from interfaces.errors import DamagedError

_log = logging.getLogger("atelier")


class _Notes(BaseModel):
    titles: dict[str, str] = Field(default_factory=dict[str, str])
    deleted: dict[str, datetime] = Field(default_factory=dict[str, datetime])
    days: Days = Days()
    deleted_days: dict[str, int] = Field(default_factory=dict[str, int])
    """Day of use (`Days.number`) of each deletion; those of before days were counted have none."""

    def day_of(self, digest: str) -> int:
        return self.deleted_days.get(digest, 0)

    def mark(self, digest: str, at: datetime) -> None:
        self.deleted[digest], self.deleted_days[digest] = at, self.days.number

    def unmark(self, digest: str) -> None:
        self.deleted.pop(digest, None)
        self.deleted_days.pop(digest, None)


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
        """Set a model's title; None removes it."""
        with self._changed() as notes:
            notes.titles.pop(digest, None)
            if title is not None:
                notes.titles[digest] = title

    def mark(self, digest: str, *, is_deleted: bool) -> None:
        """Delete a model, or bring it back."""
        with self._changed() as notes:
            notes.unmark(digest)
            if is_deleted:
                notes.mark(digest, datetime.now(UTC))

    def purge(self, folders: Mapping[str, Sequence[Path]], older_than: timedelta) -> int:
        """Remove the folders of models deleted longer ago than this; returns their number.

        A clock that jumps ahead removes nothing: the notes must also have been in use on as many
        days since as `older_than` has.

        A model of which something could not be removed, or of which no folder can be read now,
        stays deleted and is tried again: its disk may only be away.
        """
        before = datetime.now(UTC) - older_than
        purged = 0
        with self._changed() as notes:
            day = notes.days.number - older_than.days
            expired = [
                digest
                for digest, at in notes.deleted.items()
                if at < before and notes.day_of(digest) <= day
            ]
            for digest in expired:
                removed = [_is_removed(folder) for folder in folders.get(digest, ())]
                if removed and all(removed):
                    notes.unmark(digest)
                    purged += 1
        return purged

    @contextmanager
    def _changed(self) -> Generator[_Notes]:
        """The notes of a day of use, to be changed; no other process changes them meanwhile."""
        with exclusive(self._path.with_name(f".{self._path.stem}.lock")):
            notes = self._read()
            before = notes.model_copy(deep=True)
            notes.days = notes.days.seen(datetime.now(UTC))
            yield notes
            if notes != before:
                self._write(notes)

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


def _is_removed(folder: Path) -> bool:
    """Remove a folder; whether it is gone."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        _log.warning("%s: cannot be removed (%s); it is tried again later", folder, error)
    return not folder.exists()
