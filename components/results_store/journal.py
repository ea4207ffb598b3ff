"""The journal beside the files: what they cannot tell, such as numbers, deletions, days of use.

A text file of one JSON object a line, which is only ever added to, or replaced as a whole by a
shorter one of the same meaning. Files and journal are the truth; the index is made from them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from components.common.days import Days
from components.common.durable import append, replacing
from components.results_store.names import is_place
from interfaces.contract import Message, Sha256
from interfaces.errors import RefusedError
from interfaces.iodt import MediaType

VERSION = 1
_MAX_HEAD_BYTES = 16 * 2**20


def _inside(text: str) -> str:
    if not is_place(text):
        raise ValueError("not a place inside the store")
    return text


class Begun(Message):
    """First line of a journal."""

    event: Literal["begun"] = "begun"
    version: int = Field(description="Version of the journal's lines.")
    store: str = Field(description="Random digits by which index and journal know each other.")
    generation: int = Field(ge=0, description="How often the journal has been rewritten.")
    last: int = Field(default=0, ge=0, description="Highest number given out so far.")
    days: Days = Field(default=Days(), description="Days of use so far.")
    left: tuple[str, ...] = Field(
        default=(), description="Places of purged results whose file was edited, so it stayed."
    )


class _Head(BaseModel):
    """First line of a journal, as every version writes it."""

    event: Literal["begun"]
    version: int


class Kept(Message):
    """A result has been kept, or has moved to another place."""

    event: Literal["kept"] = "kept"
    number: int = Field(ge=1, lt=2**63, description="Number of the result.")
    place: Annotated[str, AfterValidator(_inside)] = Field(
        description="The file, from the store's folder, with a forward slash."
    )
    sha256: Sha256 = Field(description="Digest of the file.")
    size: int | None = Field(ge=1, description="Size of the file, bytes; None: not known.")
    media_type: MediaType = Field(description="What the file is.")
    width: int = Field(ge=1, description="Width, pixels.")
    height: int = Field(ge=1, description="Height, pixels.")
    run: str = Field(description="The run that made it; empty where none did.")
    kept_at: datetime = Field(description="When it was kept, UTC.")


class Deleted(Message):
    """Results have been hidden."""

    event: Literal["deleted"] = "deleted"
    numbers: tuple[int, ...] = Field(description="Numbers of the results.")
    at: datetime = Field(description="When, UTC.")
    day: int = Field(ge=0, description="The day of use (`Days.number`).")


class Restored(Message):
    """Hidden results have been brought back."""

    event: Literal["restored"] = "restored"
    numbers: tuple[int, ...] = Field(description="Numbers of the results.")


class Purged(Message):
    """Results have been removed for good."""

    event: Literal["purged"] = "purged"
    numbers: tuple[int, ...] = Field(description="Numbers of the results.")
    left: tuple[str, ...] = Field(default=(), description="Places whose edited file stayed.")


class NewDay(Message):
    """The store is in use on a day that it has not counted yet."""

    event: Literal["day"] = "day"
    days: Days = Field(description="Days of use, this one included.")


Event = Annotated[Begun | Kept | Deleted | Restored | Purged | NewDay, Field(discriminator="event")]

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass
class History:
    """Meaning of a journal: what its lines amount to."""

    store: str
    generation: int = 0
    last: int = 0
    days: Days = field(default_factory=Days)
    kept: dict[int, Kept] = field(default_factory=dict[int, Kept])
    deleted: dict[int, Deleted] = field(default_factory=dict[int, Deleted])
    left: set[str] = field(default_factory=set[str])
    num_unreadable: int = 0
    """Damaged lines, which mean nothing."""

    def add(self, event: Event) -> None:
        """Take one line into account."""
        match event:
            case Begun():
                self.store, self.generation = event.store, event.generation
                self.last, self.days = max(self.last, event.last), event.days
                self.left.update(event.left)
            case Kept():
                self.last = max(self.last, event.number)
                self.kept[event.number] = event
                self.deleted.pop(event.number, None)
            case Deleted():
                self.deleted |= dict.fromkeys(event.numbers, event)
            case Restored():
                for number in event.numbers:
                    self.deleted.pop(number, None)
            case Purged():
                self.left.update(event.left)
                for number in event.numbers:
                    self.kept.pop(number, None)
                    self.deleted.pop(number, None)
            case NewDay():
                self.days = event.days

    def events(self) -> Iterator[Event]:
        """The shortest journal of the same meaning."""
        yield Begun(
            version=VERSION,
            store=self.store,
            generation=self.generation,
            last=self.last,
            days=self.days,
            left=tuple(sorted(self.left)),
        )
        yield from self.kept.values()
        for number, deletion in self.deleted.items():
            if number in self.kept:
                yield deletion.model_copy(update={"numbers": (number,)})


class Journal:
    """The file. Whoever writes holds the store's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begun(self) -> Begun | None:
        """First line; None where there is no journal, or none that can be read.

        Raises `RefusedError` where a newer version of Atelier wrote it.
        """
        try:
            with self.path.open("rb") as stream:
                line = stream.readline(_MAX_HEAD_BYTES)
            head = _Head.model_validate_json(line)
        except (OSError, ValidationError):
            return None
        if head.version > VERSION:
            raise RefusedError(
                f"{self.path}: written by a newer version of Atelier (journal {head.version}, "
                f"this one knows {VERSION}); update Atelier"
            )
        event = _parsed(line)
        return event if isinstance(event, Begun) else None

    def size(self) -> int:
        """Length in bytes; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def after(self, offset: int) -> tuple[list[Event], int]:
        """Read the lines from an offset on, and how many of them are damaged.

        A torn last line does not count: its writer was killed before anybody relied on it.
        """
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                *lines, end = stream.read().split(b"\n")
        except (FileNotFoundError, IsADirectoryError):
            return [], 0
        whole = [line for line in lines if line]
        events = [event for line in whole if (event := _parsed(line)) is not None]
        num_damaged = len(whole) - len(events)
        last = _parsed(end) if end else None
        return [*events, last] if last else events, num_damaged

    def history(self) -> History | None:
        """Meaning of the whole journal; None where not one line can be read.

        Raises `RefusedError` where a newer version of Atelier wrote it.
        """
        self.begun()
        events, num_unreadable = self.after(0)
        if not events:
            return None
        history = History(store="", num_unreadable=num_unreadable)
        for event in events:
            history.add(event)
        return history

    def append(self, events: Sequence[Event]) -> int:
        """Add lines, durably, behind a torn one too; returns the journal's length after them."""
        lines = b"".join(_line(event) for event in events)
        return append(self.path, lines if self._ends_whole() else b"\n" + lines)

    def write(self, events: Iterable[Event]) -> int:
        """Replace the journal, durably; returns its length."""
        with replacing(self.path) as temporary, temporary.open("wb") as stream:
            stream.writelines(_line(event) for event in events)
            return stream.tell()

    def _ends_whole(self) -> bool:
        if self.size() == 0:
            return True
        with self.path.open("rb") as stream:
            stream.seek(-1, 2)
            return stream.read(1) == b"\n"


def _line(event: Event) -> bytes:
    return event.model_dump_json().encode() + b"\n"


def _parsed(line: bytes) -> Event | None:
    try:
        return _EVENT.validate_json(line)
    except ValidationError:
        return None
