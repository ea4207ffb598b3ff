"""Help in two lengths: the options that people use, and all of them or a section's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import App, Group

from interfaces.errors import RefusedError

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

OPTIONS = Group("Options", sort_key=0)
"""Group of the flags that people use most: all that `--help` alone shows."""

OTHERS = Group("Other options", sort_key=9)
"""Flags of the command itself, which belong to no section of the settings."""

_FLAGS = ("--help", "-h")

_ALL = "all"


def split_help(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """`generate --help --all` => the command, and how much its help shows; None: no help."""
    for place, word in enumerate(words):
        if word == "--":
            break
        if word in _FLAGS:
            return list(words[:place]), list(words[place + 1 :])
    return list(words), None


_METAVARS = {"STR": "TEXT", "INT": "N", "FLOAT": "NUMBER"}


def _in_words(entry: "HelpEntry") -> "HelpEntry":
    """The entry with a word for its value in place of Python's name of a type."""
    return entry.copy(metavar=_METAVARS.get(entry.metavar or "", entry.metavar))


class Help:
    """A formatter that shows the usual options, and the sections that were asked for."""

    def __init__(self, asked: Sequence[str] = ()) -> None:
        self._asked = {word.lstrip("-").lower() for word in asked}
        self._shown: set[str] = set()
        self._left_out: dict[str, None] = {}

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print a panel, or remember that it was left out."""
        from cyclopts.help.formatters import DefaultFormatter

        title = str(panel.title)
        if not panel.entries:
            return
        if panel.format == "parameter" and title != OPTIONS.name:
            section = title.replace(",", " ").split()[0].lower()
            if not self._asked & {section, _ALL}:
                self._left_out[section] = None
                return
            self._shown.add(section)
        entries = [_in_words(entry) for entry in panel.entries]
        DefaultFormatter()(console, options, panel.copy(entries=entries))

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: object) -> None:
        """Print how the command is written."""
        console.print("Usage:", usage)

    def show(self, app: App, command: Sequence[str]) -> None:
        """Print a command's help. Raises `RefusedError` for a section that it lacks."""
        app.help_print(list(command))
        sections = ", ".join(self._left_out)
        if unknown := self._asked - self._shown - {_ALL}:
            raise RefusedError(
                f"--help {min(unknown)}: the command has no such section; there are {sections}"
            )
        if self._left_out:
            typed = " ".join((app.name[0], *command))
            print(f"All options: {typed} --help --all. Of one section: --help {sections}.")
