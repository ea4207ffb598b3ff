"""The user interface's port: it collects what a person chose, and shows what the system does."""

from typing import Protocol, runtime_checkable

from pydantic import Field

from interfaces.contract import Message
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igs import IGS
from interfaces.progress import ProgressEvent


class Choices(Message):
    """The three settings contracts that the user interface sends, together."""

    generate: IGS = Field(default_factory=IGS, description="Generation: how many, which seeds.")
    enhance: IES = Field(default_factory=IES, description="Enhancement: how much larger.")
    convert: ICS = Field(default_factory=ICS, description="Conversion: which file format.")


@runtime_checkable
class UserInterface(Protocol):
    """The interface in which a person chooses and watches."""

    def ask(self, proposed: Choices) -> Choices:
        """Ask the person, starting from what presets, environment and flags propose."""
        ...

    def watch(self, event: ProgressEvent) -> None:
        """Show how far a long step is; called often, must be quick."""
        ...

    def say(self, line: str) -> None:
        """Tell the person something that went well."""
        ...

    def warn(self, line: str) -> None:
        """Tell the person something they should know before they trust the result."""
        ...

    def close(self) -> None:
        """Stop showing; called once, last."""
        ...
