"""The terminal: live bars where a person looks, plain lines where a file or a log does."""

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from interfaces.errors import one_line
from interfaces.progress import Pace, ProgressEvent
from interfaces.ui import Choices

SECONDS_BETWEEN_LINES = 10.0
"""Seconds between two reports of a step where there is no live display."""


class TerminalInterface:
    """The port `interfaces.ui.UserInterface` on a terminal; the flags were the questions."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, soft_wrap=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._pace = Pace()
        self._last_line: dict[str, float] = {}

    def ask(self, proposed: Choices) -> Choices:
        """The proposal itself: flags, environment and presets already hold the person's choices."""
        return proposed

    def watch(self, event: ProgressEvent) -> None:
        """Show what is done, how far it is, and how long it still takes."""
        if self.console.is_terminal:
            self._move_bar(event)
        else:
            self._print_line(event)

    def say(self, line: str) -> None:
        """Print a line above whatever moves, or several; control characters are escaped."""
        safe = "\n".join(map(one_line, line.split("\n")))
        self.console.print(safe, highlight=False, markup=False)

    def warn(self, line: str) -> None:
        """Print a warning, marked as one."""
        self.console.print(f"[yellow]warning:[/] {escape(one_line(line))}", highlight=False)

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def _move_bar(self, event: ProgressEvent) -> None:
        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=28),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=self.console,
            )
            self._bars.start()
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._bars.add_task(
                event.stage, total=event.total, note="", completed=int(event.done)
            )
        task = self._tasks[event.stage]
        if event.done < self._bars.tasks[self._bars.task_ids.index(task)].completed:
            self._bars.reset(task)  # the same for the next picture: its own time
        self._bars.update(
            task,
            completed=event.done,
            total=event.total,
            note=one_line(event.note) or _count(event),
        )

    def _print_line(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        seconds = self._pace.seconds_left(event)
        is_over = event.total is not None and event.done >= event.total
        if now - self._last_line.get(event.stage, 0.0) < SECONDS_BETWEEN_LINES and not is_over:
            return
        self._last_line[event.stage] = now
        left = "" if is_over or seconds is None else f", about {_duration(seconds)} left"
        note = f" ({one_line(event.note)})" if event.note else ""
        self.say(f"{event.stage}: {_count(event)}{left}{note}")


def _count(event: ProgressEvent) -> str:
    total = "" if event.total is None else f" of {event.total:.0f}"
    return f"{event.done:.0f}{total} {event.unit}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
