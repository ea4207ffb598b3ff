"""Promises that every user interface must keep: those of `interfaces/ui.py`."""

from interfaces.components import Components
from interfaces.igs import IGS
from interfaces.progress import ProgressEvent
from interfaces.ui import Choices


def test_an_interface_asks_watches_and_tells(parts: Components) -> None:
    ui = parts.ui
    chosen = ui.ask(Choices(generate=IGS(count=3)))
    assert isinstance(chosen.generate, IGS)
    for done in range(3):
        ui.watch(ProgressEvent(stage="train", done=done, total=2, note="[odd] markup"))
    ui.watch(ProgressEvent(stage="unknown length", done=5))
    ui.say("made 3 images [in] a folder")
    ui.warn("a warning [/] with brackets")
    ui.close()
