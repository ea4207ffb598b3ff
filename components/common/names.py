"""Names from outside, such as those of files and styles: compared and shown alike everywhere."""

import unicodedata
from collections.abc import Sequence

from interfaces.errors import one_line


def canonical(name: str) -> str:
    """A name in Unicode's composed form (NFC, UAX #15).

    'é' may be one character or 'e' with an accent, as macOS stores it; both look the same and are
    meant as the same name.
    """
    return unicodedata.normalize("NFC", name)


def place_among(name: str, known: Sequence[str]) -> int | None:
    """Position of a typed name among known ones; None if it is not among them.

    As it is spelled, or else regardless of case, and of spaces, hyphens and underscores, where one
    name alone is meant by that.
    """
    for key in (canonical, _loose):
        places = [place for place, one in enumerate(known) if key(one) == key(name)]
        if len(places) == 1:
            return places[0]
    return None


def _loose(name: str) -> str:
    return canonical(name).casefold().replace("_", " ").replace("-", " ").strip()


def printable(name: str) -> str:
    """A name in NFC, safe to show: control characters and bytes that are not UTF-8 are escaped."""
    return one_line(canonical(name))


def is_unicode(name: str) -> bool:
    """False where Python stands in for bytes of a name that are not UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
