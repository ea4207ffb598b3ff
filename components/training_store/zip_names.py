"""The names of a zip's members, which many tools store without saying in which encoding."""

import re
import struct
import zipfile
import zlib
from collections.abc import Sequence

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field, APPNOTE.TXT 4.6.9
_WORDS = re.compile(r"[^\W\d_]+")
_CYRILLIC = re.compile(r"[А-Яа-яЁёЄєЇїЎў]{2,}")


def member_names(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The members' names: UTF-8 where flagged or valid, else code page 437 or, for Russian, 866.

    Which of the two is decided by all names together, since a folder's name alone may be too short
    to tell.
    """
    stored = [_stored_name(member) for member in members]
    unclear = [name for name in stored if isinstance(name, bytes)]
    code_page = "cp866" if _looks_russian(unclear) else "cp437"
    return [name.decode(code_page) if isinstance(name, bytes) else name for name in stored]


def _stored_name(member: zipfile.ZipInfo) -> str | bytes:
    """The name, or its bytes where they are neither flagged as UTF-8 nor valid UTF-8."""
    if member.flag_bits & _UTF8_FLAG:
        return member.filename
    if (name := _unicode_path(member)) is not None:
        return name
    raw = member.filename.encode("cp437")  # as which zipfile decoded it
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _unicode_path(member: zipfile.ZipInfo) -> str | None:
    """The name in Info-ZIP's extra field, where it belongs to the name in the header."""
    extra = member.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(body) == length and length > 5 and body[0] == 1:
            is_current = body[1:5] == struct.pack("<I", zlib.crc32(_raw_name(member)))
            return body[5:].decode("utf-8", errors="replace") if is_current else None
    return None


def _raw_name(member: zipfile.ZipInfo) -> bytes:
    return member.orig_filename.encode("cp437")


def _looks_russian(names: Sequence[bytes]) -> bool:
    """Whether more words are Cyrillic in code page 866 than could be Western in 437.

    A Western word has ASCII letters among its accented ones; a Russian one has none.
    """
    russian = western = 0
    for name in names:
        for word in _WORDS.findall(name.decode("cp866")):
            if not word.isascii():
                is_russian = _CYRILLIC.fullmatch(word) is not None
                russian, western = russian + is_russian, western + (not is_russian)
    return russian > western
