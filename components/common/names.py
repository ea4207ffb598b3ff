"""Names from outside, such as those of files and styles: compared and shown alike everywhere."""

import unicodedata

from interfaces.errors import one_line


def canonical(name: str) -> str:
    """A name in Unicode's composed form (NFC, UAX #15).

    'é' may be one character or 'e' with an accent, as macOS stores it; both look the same and are
    meant as the same name.
    """
    return unicodedata.normalize("NFC", name)


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
