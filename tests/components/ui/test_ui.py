"""The terminal: what it says of time, and of names with brackets."""

import io

import pytest
from rich.console import Console

from components.ui import TerminalInterface
from interfaces.progress import ProgressEvent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("components.ui.terminal.time.monotonic", lambda: now[0])
    return now


def lines(ui: TerminalInterface) -> list[str]:
    assert isinstance(ui.console.file, io.StringIO)
    return ui.console.file.getvalue().splitlines()


@pytest.fixture
def ui() -> TerminalInterface:
    return TerminalInterface(Console(file=io.StringIO(), width=200))


def test_time_left_counts_from_where_a_resumed_step_began(
    ui: TerminalInterface, clock: list[float]
) -> None:
    for done in (9000, 9010, 9020):
        ui.watch(ProgressEvent(stage="train", done=done, total=18000))
        clock[0] += 10.0
    assert lines(ui)[-1] == "train: 9020 of 18000 images, about 2 h 29 min left"


def test_steps_of_the_next_picture_begin_a_time_of_their_own(
    ui: TerminalInterface, clock: list[float]
) -> None:
    for done in (1, 2, 3, 1, 2, 3):
        ui.watch(ProgressEvent(stage="one picture", done=done, total=4, unit="steps"))
        clock[0] += 10.0
    assert [line.partition(", ")[2] for line in lines(ui)] == [
        "", "about 20 s left", "about 10 s left",
    ] * 2  # fmt: skip


def test_bars_take_steps_of_many_pictures(clock: list[float]) -> None:
    ui = TerminalInterface(Console(file=io.StringIO(), width=200, force_terminal=True))
    for done in (1, 2, 1):
        ui.watch(ProgressEvent(stage="one picture", done=done, total=2, unit="steps"))
    ui.close()
    shown = "".join(lines(ui))
    assert shown.rindex(" 50%") > shown.rindex("one picture")
    assert "left" in shown


def test_a_step_reports_at_most_every_ten_seconds_and_at_its_end(
    ui: TerminalInterface, clock: list[float]
) -> None:
    for done in range(101):
        ui.watch(ProgressEvent(stage="train", done=done, total=100))
        clock[0] += 0.5
    assert [line.split()[1] for line in lines(ui)] == ["0", "20", "40", "60", "80", "100"]


def test_names_with_brackets_are_shown_as_they_are(ui: TerminalInterface) -> None:
    ui.say("[red]painting[/red].png")
    ui.warn("[/] is no picture")
    ui.watch(ProgressEvent(stage="enhance", done=1, note="[b]x.png"))
    ui.close()
    assert lines(ui) == [
        "[red]painting[/red].png",
        "warning: [/] is no picture",
        "enhance: 1 images ([b]x.png)",
    ]
