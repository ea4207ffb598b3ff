"""Progress where a notebook shows it: a bar under the cell for each step of the work."""

import html
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Protocol

from components.ui import TerminalInterface
from interfaces.errors import one_line
from interfaces.progress import Pace, ProgressEvent
from interfaces.ui import Choices, UserInterface

SECONDS_BETWEEN = 0.2
"""Between two drawings of one bar: more would only burden the notebook."""


class Handle(Protocol):
    """IPython's handle of something displayed, by which it is updated in place."""

    def update(self, obj: "Shown") -> None:
        """Show another object in the same place."""
        ...


class Shown:
    """A piece of HTML, with plain text for where no HTML is shown."""

    def __init__(self, markup: str, text: str) -> None:
        self._markup, self._text = markup, text

    def _repr_html_(self) -> str:
        return self._markup

    def __repr__(self) -> str:
        return self._text


class NotebookInterface:
    """The port `interfaces.ui.UserInterface` in a notebook; the arguments were the questions."""

    def __init__(self) -> None:
        self._bars: dict[str, Handle] = {}
        self._drawn: dict[str, float] = {}
        self._pace = Pace()

    def ask(self, proposed: Choices) -> Choices:
        """Return what was proposed: the arguments are what the person chose."""
        return proposed

    def watch(self, event: ProgressEvent) -> None:
        """Draw the step's bar, or move it."""
        seconds_left = self._pace.seconds_left(event)
        now = time.monotonic()
        is_over = event.total is not None and event.done >= event.total
        if not is_over and now - self._drawn.get(event.stage, 0.0) < SECONDS_BETWEEN:
            return
        self._drawn[event.stage] = now
        shown = _bar(event, seconds_left)
        if event.stage in self._bars:
            self._bars[event.stage].update(shown)
        else:
            self._bars[event.stage] = _show(shown)

    def say(self, line: str) -> None:
        """Print a line, or several, under the cell."""
        print("\n".join(map(one_line, line.split("\n"))))

    def warn(self, line: str) -> None:
        """Print a warning, marked as one."""
        print(f"warning: {one_line(line)}", file=sys.stderr)

    def close(self) -> None:
        """Leave the bars as they are; the next call draws its own."""
        self._bars.clear()


def create(workspace: Path) -> UserInterface:
    """Make the notebook's interface where there is one, else the terminal's."""
    return NotebookInterface() if is_notebook() else TerminalInterface()


def is_notebook() -> bool:
    """Whether this process is a notebook's kernel, which shows HTML under its cells."""
    if "IPython" not in sys.modules:
        return False
    shell = import_module("IPython").get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _show(shown: Shown) -> Handle:
    handle: Handle = import_module("IPython.display").display(shown, display_id=True)
    return handle


def _bar(event: ProgressEvent, seconds_left: float | None) -> Shown:
    total = event.total or 0.0
    share = min(1.0, event.done / total) if total else 0.0
    left = "" if seconds_left is None or share == 1 else f", about {seconds_left:.0f} s left"
    count = f"{event.done:.0f} of {total:.0f} {event.unit}" if total else f"{event.done:.0f}"
    text = f"{event.stage}: {event.note or count}{left}"
    markup = (
        '<div style="font:13px sans-serif;max-width:40em">'
        f"{html.escape(one_line(text))}"
        '<div style="background:#8884;height:6px;border-radius:3px">'
        f'<div style="background:#37c;height:6px;border-radius:3px;width:{share:.1%}"></div>'
        "</div></div>"
    )
    return Shown(markup, text)
