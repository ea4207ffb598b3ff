"""Files that pictures were made from, found again by the digests that records name."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from atelier.jobs import LocalUploads
from components.common.durable import sha256_of
from components.conversion import find_pictures
from interfaces.errors import NotFoundError
from interfaces.iodt import ResultQuery, ResultsStore, every_result
from interfaces.places import Place, fetched, size_of


class Originals:
    """Finder of files: looks among those given, beside a picture, then in the workspace.

    A file is the one that was used if its bytes have the digest, whatever its name.
    """

    def __init__(
        self, store: ResultsStore, uploads: LocalUploads, given: Iterable[Path] = ()
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._paths = tuple(given)

    def find(self, name: str, sha256: str, picture: Path) -> Path:
        """The file with this digest, which a record calls `name`, for the picture made from it.

        Raises `NotFoundError` where none is there.
        """
        beside = [folder / name for folder in list(picture.absolute().parents)[:2]]
        for path in (self._given.get(sha256), *beside):
            if path is not None and _holds(path, sha256):
                return path
        for upload in self._uploads.with_digest(sha256):
            return self._uploads.path(upload.id)
        kept = self._kept.get(sha256)
        if kept is not None and size_of(kept) is not None and _holds(copy := fetched(kept), sha256):
            return copy
        raise NotFoundError(
            f"it was made from {name} ({sha256[:16]}), which is neither beside it nor among the "
            "uploads and results; name the file or its folder with --inputs"
        )

    @cached_property
    def _given(self) -> dict[str, Path]:
        if not self._paths:
            return {}
        return {sha256_of(path): path for path in find_pictures(self._paths) if path.is_file()}

    @cached_property
    def _kept(self) -> dict[str, Place]:
        everything = every_result(self._store, ResultQuery(deleted="too"))
        return {result.sha256: result.path for result in everything}


def _holds(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_of(path) == sha256
    except OSError:
        return False
