"""The errors that a person is meant to read, in four kinds that callers tell apart."""

import unicodedata


class AtelierError(Exception):
    """Something that a person can put right.

    The message is one line that says what was wrong, where, and what to do. The command line
    prints it without a traceback; any other exception is a defect of the program and keeps its
    traceback. Line breaks and control characters, which a file's name may hold, are escaped: no
    message can pass for two.

    Raised as this class itself only where none of the four kinds fits: work that was rightly asked
    for, with all that it needs at hand, and came to nothing, as a training that diverged.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class RefusedError(AtelierError):
    """The request cannot be carried out as asked: a wrong value, name, combination or version."""


class JobStateError(RefusedError):
    """The job's state does not permit what was asked of it."""


class NotFoundError(AtelierError):
    """Error for a name of something that does not exist: a file, model, job, result or upload."""


class DamagedError(AtelierError):
    """A file or message is not what it should be: truncated, malformed, or changed since."""


class UnavailableError(AtelierError):
    """A resource is busy, full, out of reach or not installed; the request may succeed later."""


def unreadable(error: Exception) -> type[AtelierError]:
    """The kind for a file that reading failed on: it is not there, it is refused, or damaged."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError
    if isinstance(error, PermissionError | IsADirectoryError):
        return RefusedError
    return DamagedError


# Category Cf holds what hides or reorders text; these two join letters and emoji in honest names.
_JOINERS = "\u200c\u200d"
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def one_line(text: str) -> str:
    """Escape what could command a terminal, fake a line or reorder letters: ESC => '\\x1b'.

    Control and format characters, line separators and lone surrogates (of file names that are not
    UTF-8) become Python's escapes; every other character stays.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
