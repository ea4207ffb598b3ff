"""Requests and answers that routes of several files share."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from atelier.gallery import Shelf
from atelier.replaying import choices_of
from components.common.names import canonical
from interfaces.contract import Sha256
from interfaces.errors import RefusedError, one_line
from interfaces.iodt import MediaType, ResultQuery, StoredResult
from interfaces.record import Record
from interfaces.ui import Choices

PREFIX = "/api/v1"
"""Path that every route lies under; another version's would lie beside it."""


def _visible(name: str) -> str:
    if one_line(name) != name:
        raise ValueError("holds control or format characters; leave them out")
    return canonical(name)


GivenName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_visible),
]
"""Name that a person gives to a model, a board or a collection, in NFC."""


class Answer(BaseModel):
    """An answer: closed, so that the schema says all of it."""

    model_config = ConfigDict(extra="forbid")


class KeptResult(Answer):
    """One result as the store knows it, without its place on the disk."""

    id: int = Field(description="Number of the result, in the order of keeping.")
    sha256: Sha256 = Field(description="Digest of the file.")
    media_type: MediaType = Field(description="What the file is.")
    width: int = Field(description="Width, pixels.")
    height: int = Field(description="Height, pixels.")
    run: str = Field(description="The run that made it; empty where none did.")
    kept_at: datetime = Field(description="When it was kept, UTC.")
    record: Record = Field(description="Provenance.")


class ResultInfo(Answer):
    """One result, and what a person noted of it."""

    result: KeptResult = Field(description="Number, digest, type, size, run, date, record.")
    name: str = Field(description="Name of the file.")
    is_missing: bool = Field(description="True where the file was removed from the disk.")
    is_starred: bool = Field(description="True where a person starred it.")
    board: str | None = Field(description="The board it lies on; null: on none.")
    file: str = Field(description="Where to get it.")
    thumbnail: str = Field(description="Where to get a small one.")


class ResultAnswer(ResultInfo):
    """One result, with what it takes to make it again."""

    choices: Choices | None = Field(
        description=(
            "The choices it was made with, as an order takes them; null: no model made it, or its "
            "record does not say enough."
        )
    )


class Hidden(Answer):
    """Number of results that were hidden or came back."""

    changed: int = Field(description="0 where it was so already.")


class ResultSearch(ResultQuery):
    """Search for results, answered in pages."""

    text: str = Field(
        default="",
        max_length=500,
        description="Words that must all occur in what is known of it, regardless of case.",
    )
    starred: bool | None = Field(default=None, description="Starred, or not starred.")
    board: str | None = Field(
        default=None, max_length=100, description="On this board; empty: on none."
    )
    limit: int = Field(default=50, ge=1, le=500, description="At most this many.")
    cursor: str | None = Field(
        default=None, max_length=100, description="`next` of the page before."
    )

    def narrowed(self, shelf: Shelf) -> ResultQuery | None:
        """Query for the store; None where stars, boards and texts leave nothing."""
        own = {"cursor", "text", "starred", "board"}
        query = ResultQuery(**self.model_dump(exclude=own))
        return shelf.narrowed(query, text=self.text, starred=self.starred, board=self.board)


def infos_of(results: Sequence[StoredResult], shelf: Shelf) -> list[ResultInfo]:
    """Everything that the API says about these results, in their order."""
    numbers = [result.id for result in results]
    starred, boards = shelf.starred(numbers), shelf.boards_of(numbers)
    return [
        _info_of(result, is_starred=result.id in starred, board=boards.get(result.id))
        for result in results
    ]


def answer_of(result: StoredResult, shelf: Shelf) -> ResultAnswer:
    """Everything that the API says about one result, and the choices that made it."""
    (info,) = infos_of([result], shelf)
    try:
        choices = choices_of(result.record)
    except RefusedError:
        choices = None
    return ResultAnswer(**dict(info), choices=choices)


def _info_of(result: StoredResult, *, is_starred: bool, board: str | None) -> ResultInfo:
    place = f"{PREFIX}/results/{result.id}"
    return ResultInfo(
        result=KeptResult(**{name: value for name, value in result if name != "path"}),
        name=result.path.name,
        # A place elsewhere is not asked for each of a page of results.
        is_missing=isinstance(result.path, Path) and not result.path.is_file(),
        is_starred=is_starred,
        board=board,
        file=f"{place}/file",
        thumbnail=f"{place}/thumbnail",
    )
