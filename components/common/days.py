"""Days of use, by which what was deleted ages: a clock that is set ahead must purge nothing."""

from datetime import UTC, date, datetime

from pydantic import Field

from interfaces.contract import Message

NUM_RECENT_DATES = 14
"""Dates that are remembered, so that a clock that goes to and fro counts none of them twice."""


class Days(Message):
    """Days on which something was in use: a clock that jumps adds one, however far it jumps."""

    number: int = Field(default=0, ge=0, description="Number of days so far.")
    recent: tuple[date, ...] = Field(default=(), description="The latest of them, by date.")

    def seen(self, now: datetime) -> "Days":
        """Count the date of a time, unless it is among the recent ones."""
        today = now.astimezone(UTC).date()
        if today in self.recent:
            return self
        recent = (*self.recent, today)[-NUM_RECENT_DATES:]
        return Days(number=self.number + 1, recent=recent)
