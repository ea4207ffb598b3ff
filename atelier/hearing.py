"""Messages that components log, shown to the person who watches."""

import logging

from interfaces.errors import one_line
from interfaces.ui import UserInterface


class _Told(logging.Handler):
    """Hands each log line to a user interface, once."""

    def __init__(self, ui: UserInterface) -> None:
        super().__init__()
        self._ui = ui
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = one_line(record.getMessage())
        if message in self._said:
            return
        self._said.add(message)
        show = self._ui.warn if record.levelno >= logging.WARNING else self._ui.say
        show(message)


def hear(ui: UserInterface) -> None:
    """Show the log in `ui` from now on, in place of the listener before it."""
    log = logging.getLogger("atelier")
    log.handlers = [_Told(ui)]
    log.setLevel(logging.INFO)
