"""The errors that a person is meant to read, in four kinds that callers tell apart."""

import unicodedata


class AtelierError(Exception):
    """Something that a person can put right.

    The message is one line that says what was wrong, where, and what to do. The command line
    prints it without a traceback; any other exception is a defect of the program and keeps its
    traceback. Line breaks and control characters, which a file's name may hold, are escaped: no
    message can pass for two.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class RefusedError(AtelierError):
    """The request cannot be carried out as asked: a wrong value, name, combination or version."""


class NotFoundError(AtelierError):
    """What was named does not exist: a file, a model, a job, a result, an upload."""


class DamagedError(AtelierError):
    """A file or message is not what it should be: truncated, malformed, or changed since."""


class UnavailableError(AtelierError):
    """A resource is busy, full or out of reach; the same request may succeed later."""


def one_line(text: str) -> str:
    """The text with every character escaped that is neither printable nor a space."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
