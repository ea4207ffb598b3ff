"""User interface: the terminal, and the page. Flags and forms make IGS, IES and ICS.

from components.ui import create

ui = create(workspace)
ui.watch(ProgressEvent(stage="train", done=10, total=100))

mount_page(app)  # into the application that answers the API
"""

from pathlib import Path

from components.ui.page import mount_page
from components.ui.terminal import TerminalInterface


def create(workspace: Path) -> TerminalInterface:
    """The component as the pipeline makes it; it keeps no files."""
    return TerminalInterface()


__all__ = [
    "TerminalInterface",
    "create",
    "mount_page",
]
