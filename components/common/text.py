"""Text from outside, made fit for a terminal or a log."""

import unicodedata

# Category Cf holds what hides or reorders text; these two join letters and emoji in honest names.
_JOINERS = "\u200c\u200d"
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    """Escape what could command a terminal, fake a line or reorder letters: ESC => '\\\\x1b'.

    Control and format characters, line separators and lone surrogates (of file names that are not
    UTF-8) become Python's escapes; every other character stays.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(letter) if _is_unsafe(letter) else letter for letter in text)


def _is_unsafe(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSAFE and letter not in _JOINERS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
