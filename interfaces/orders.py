"""Orders: what a person asks for on the page, over the API or by a command.

Nothing in an order is a path: models, collections and uploads are named by ids that the system gave
out itself, so that nobody who may submit a job can use it to read a file of their choosing.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from interfaces.contract import Message
from interfaces.igs import INPUT_FILES
from interfaces.ui import Choices

MAX_SEEDS = 10_000
"""Seeds that an order may name one by one; `count` reaches further."""

ModelId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 digits of a model's digest: a model that is trained further is another one."""

UploadId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Drawn at random when the file was taken in."""

CollectionId = Annotated[str, StringConstraints(pattern=r"^(embedded|[0-9a-f]{16}|[0-9a-f]{32})$")]
"""'embedded', one of the collections that the catalogue offers, or an uploaded archive."""

ResultId = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""Number of a result in the results store."""


Lane = Literal["quick", "long"]
"""One of two queues: what takes seconds or minutes does not wait behind a training of hours."""


class Order(Message):
    """One request for work. Each kind is a subclass beside its handler, `atelier/handlers/`."""

    makes_images: ClassVar[bool] = False
    """True where the job can stop between two images."""
    lane: ClassVar[Lane] = "quick"
    """The queue that it waits in."""

    @property
    def verb(self) -> str:
        """Kind of work: the value of the subclass's `kind`."""
        return self.model_dump(include={"kind"})["kind"]


def refuse_paths(choices: Choices) -> None:
    """Raise `ValueError` for choices that name a file of the machine."""
    generate = choices.generate
    if any(getattr(generate, name) for name in INPUT_FILES):
        named = ", ".join(INPUT_FILES)
        raise ValueError(f"{named} are uploads: name their ids beside `choices`")
    if choices.enhance.weights is not None:
        raise ValueError("enhance.weights is a path, and orders hold none; leave it out")
    if generate.skip:
        raise ValueError("generate.skip: a job finds out itself what is there already")
    if generate.seeds is not None and len(generate.seeds) > MAX_SEEDS:
        raise ValueError(f"generate.seeds: at most {MAX_SEEDS}; use seed and count for more")
