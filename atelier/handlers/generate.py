"""Generate: pictures of a model, enlarged, encoded and kept."""

from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from atelier.choices import check_request
from atelier.handlers.handler import Handler, Places, Task
from atelier.stages import make_images
from components.families import FAMILIES
from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.igs import IGS, INPUT_FILES
from interfaces.orders import ModelId, Order, UploadId, refuse_paths
from interfaces.ui import Choices
from settings import Layer


class GenerateOrder(Order):
    """Make pictures with a model, enlarge, encode and keep them."""

    makes_images: ClassVar[bool] = True

    kind: Literal["generate"]
    model: ModelId = Field(description="Which model, by its id in the catalogue.")
    choices: Choices = Field(default_factory=Choices, description="IGS, IES and ICS together.")
    sketch: UploadId | None = Field(
        default=None, description="Upload: a drawing that the pictures keep to."
    )
    source: UploadId | None = Field(default=None, description="Upload: a picture to rework.")
    towards_source: UploadId | None = Field(
        default=None, description="Upload: a second picture, to go towards from `source`."
    )
    mask: UploadId | None = Field(
        default=None, description="Upload: where `source` is repainted; white is new."
    )

    @model_validator(mode="after")
    def _holds_no_path(self) -> Self:
        refuse_paths(self.choices)
        for name in ("mask", "towards_source"):
            if getattr(self, name) is not None and self.source is None:
                raise ValueError(f"{name}: name the picture it goes with as well (source)")
        return self

    @property
    def uploads(self) -> dict[str, str]:
        """The named uploads, by the input that each becomes."""
        named = {role: getattr(self, role) for role in INPUT_FILES}
        return {role: upload_id for role, upload_id in named.items() if upload_id is not None}


class GenerateHandler(Handler[GenerateOrder]):
    """Carries a `GenerateOrder` out."""

    order = GenerateOrder

    def check(self, order: GenerateOrder, places: Places) -> None:
        """Refuse what the model's family cannot do, and uploads that are not pictures."""
        check_choice(places.catalogue.model(order.model), order.choices.generate, order.uploads)
        places.check_pictures(order.uploads.values())
        super().check(order, places)

    def layer(self, order: GenerateOrder, places: Places) -> Layer:
        """The choices, with the uploads where they lie."""
        files = {role: places.uploads.path(name) for role, name in order.uploads.items()}
        return dict(order.choices) | {"generate": order.choices.generate.model_copy(update=files)}

    def carry_out(self, task: Task[GenerateOrder]) -> None:
        """Make the images that are missing."""
        model = task.places.catalogue.model(task.order.model)
        with task.run(f"{model.family}-{model.dataset_name}", model) as run:
            make_images(task.parts, run, model)


def check_choice(model: IGME, choice: IGS, uploaded: Layer | None = None) -> None:
    """Refuse what the model's family could not make, and options that name files."""
    family = FAMILIES.get(model.family)
    if family is None:
        return  # its generator checks what it is asked for
    for name in choice.options:
        field = family.options.model_fields.get(name)
        if field is not None and Path in get_args(field.annotation):
            raise RefusedError(
                f"generate.options.{name}: names a file of this machine, which a request may not; "
                "use the command line"
            )
    check_request(model.family, model.styles, choice, uploaded or {})
