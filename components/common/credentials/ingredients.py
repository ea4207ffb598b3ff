"""A file's own credentials, taken along into those of what is made from it."""

import hashlib
import logging
from typing import Literal

from interfaces.batch import Ingredient

_log = logging.getLogger("atelier")

_STORE = b"jumdc2pa"
"""Begins the description of a manifest store (C2PA 2.x, 11.1.4.2), whatever the file's format."""


def may_hold_credentials(data: bytes) -> bool:
    """Whether a manifest store seems to lie in a file: a quick look that loads no library."""
    return _STORE in data


def label_of(sha256: str) -> str:
    """The name by which a manifest's actions refer to a file that it was made from."""
    return f"file-{sha256[:32]}"


def take_along(
    data: bytes, media_type: str, relationship: Literal["parentOf", "inputTo"], name: str
) -> Ingredient | None:
    """The credentials in a file, checked against its bytes; None where it has none.

    Credentials of a format that cannot be taken along are named in the log with the file's `name`.
    Damaged ones are taken along as they are, with what is wrong with them.
    """
    if not may_hold_credentials(data):
        return None
    import c2pa  # pyright: ignore[reportMissingTypeStubs]

    from components.common.credentials.signing import ingredient_archive

    sha256 = hashlib.sha256(data).hexdigest()
    described = {"relationship": relationship, "label": label_of(sha256)}
    try:
        archive = ingredient_archive(data, media_type, described)
    except c2pa.C2paError as error:
        _log.warning("%s: its content credentials cannot be taken along (%s)", name, error)
        return None
    return Ingredient(relationship=relationship, sha256=sha256, archive=archive)
