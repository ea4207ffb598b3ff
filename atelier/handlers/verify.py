"""Verify: what can be said about pictures, and what of it is proved."""

from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import Field, TypeAdapter, model_validator

from atelier.commands.frame import Pictures
from atelier.commands.helping import OPTIONS
from atelier.handlers.handler import Handler, Places, Task, label_of
from atelier.verification import Verification, damaged, verify, verify_all
from interfaces.errors import AtelierError
from interfaces.orders import Order, ResultId, UploadId
from interfaces.places import fetched
from settings import Layer

_MAX_PICTURES = 200
"""Pictures of one order: what is said of each takes some kilobytes of a job's outcome."""


class VerifyOrder(Order):
    """Say whose pictures are, how they were made and whether they were changed since."""

    kind: Literal["verify"]
    uploads: tuple[UploadId, ...] = Field(
        default=(), max_length=_MAX_PICTURES, description="Uploaded pictures, by id."
    )
    results: tuple[ResultId, ...] = Field(
        default=(), max_length=_MAX_PICTURES, description="Results of the store, by number."
    )

    @model_validator(mode="after")
    def _names_pictures(self) -> Self:
        if not self.uploads and not self.results:
            raise ValueError("name the pictures: uploads, results or both")
        if len(self.uploads) + len(self.results) > _MAX_PICTURES:
            raise ValueError(f"at most {_MAX_PICTURES} pictures in one order; send several orders")
        return self


class VerifyHandler(Handler[VerifyOrder]):
    """Carries a `VerifyOrder` out."""

    order = VerifyOrder

    def check(self, order: VerifyOrder, places: Places) -> None:
        """Refuse uploads that are no pictures."""
        places.check_pictures(order.uploads)
        super().check(order, places)

    def layer(self, order: VerifyOrder, places: Places) -> Layer:
        """Nothing is chosen: the files say it all."""
        return {}

    def carry_out(self, task: Task[VerifyOrder]) -> None:
        """Look at each; conclude with the answers, and with lines for a person."""
        found = [_found_of(task, one) for one in (*task.order.uploads, *task.order.results)]
        task.control.conclude(
            {
                "found": [one.model_dump(mode="json") for one in found],
                "lines": [line for one in found for line in one.lines()],
            }
        )


def _found_of(task: Task[VerifyOrder], named: UploadId | ResultId) -> Verification:
    """What can be said of a picture, also where it is not there any more."""
    try:
        picture = task.picture(named)
        found = verify(fetched(picture.place))
    except AtelierError as error:
        return damaged(label_of(named), str(error))
    return found.model_copy(update={"name": picture.name})


NOT_INTACT = 3
"""Exit code where a file is damaged, or was changed after it was signed."""


def verify_files(
    pictures: Pictures,
    *,
    json: Annotated[
        bool, Parameter(group=OPTIONS, negative=(), help="Answer with JSON, one list for all.")
    ] = False,
    trust: Annotated[
        tuple[Path, ...],
        Parameter(
            group=OPTIONS, negative=(), help="Certificates (PEM) of authorities that you trust."
        ),
    ] = (),
) -> int:
    """Check who made a picture, whether it was changed since, and what is proved."""
    found = verify_all(pictures, trust)
    if json:
        print(TypeAdapter(list[Verification]).dump_json(found, indent=2).decode())
    else:
        print("\n".join(line for one in found for line in one.lines()))
    return NOT_INTACT if any(one.state in ("changed", "damaged") for one in found) else 0
