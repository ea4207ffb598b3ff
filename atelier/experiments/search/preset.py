"""A preset as TOML text: tables of plain values, as `settings.load_preset` reads them."""

import json
import re
from collections.abc import Mapping

Value = str | bool | int | float


def to_toml(tables: Mapping[str, Mapping[str, Value]], comment: str) -> str:
    """TOML 1.0 of tables by dotted name, in order; the comment goes first, line by line."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Value) -> str:
    if isinstance(value, bool):  # before int, which it is too
        return "true" if value else "false"
    # Python's shortest text of a number, inf and nan too, is TOML's.
    return _string(value) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    # JSON's escapes are TOML's; but JSON leaves DEL as it is, and TOML does not take it.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
