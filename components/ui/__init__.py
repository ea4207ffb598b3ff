"""User interface: for now the terminal. Flags make IGS, IES and ICS; progress is live.

from components.ui import create

ui = create(workspace)
ui.watch(ProgressEvent(stage="train", done=10, total=100))
"""

from pathlib import Path

from components.ui.flags import Flag, flags_of, layer_of, with_flags
from components.ui.terminal import TerminalInterface


def create(workspace: Path) -> TerminalInterface:
    """The component as the pipeline makes it; it keeps no files."""
    return TerminalInterface()


__all__ = ["Flag", "TerminalInterface", "create", "flags_of", "layer_of", "with_flags"]
