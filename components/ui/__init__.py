"""User interface: the terminal, and the page. Flags and forms make IGS, IES and ICS.

from components.ui import create

ui = create(workspace)
ui.watch(ProgressEvent(stage="train", done=10, total=100))

mount_page(app)  # into the application that answers the API
"""

from pathlib import Path

from components.ui.flags import Flag, flags_of, layer_of, with_flags
from components.ui.page import mount_page
from components.ui.terminal import TerminalInterface


def create(workspace: Path) -> TerminalInterface:
    """The component as the pipeline makes it; it keeps no files."""
    return TerminalInterface()


__all__ = [
    "Flag",
    "TerminalInterface",
    "create",
    "flags_of",
    "layer_of",
    "mount_page",
    "with_flags",
]
