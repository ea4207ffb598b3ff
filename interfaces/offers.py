"""Offers: the models, collections and uploads that orders may name, by id."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from pydantic import Field, JsonValue

from interfaces.contract import Message
from interfaces.igme import IGME
from interfaces.itdt import ITDT, CollectionChoices
from interfaces.orders import CollectionId, ModelId, UploadId


class Upload(Message):
    """A file that a person sent."""

    id: UploadId = Field(description="Its name from now on.")
    kind: Literal["picture", "collection"] = Field(description="What it was found to be.")
    name: str = Field(description="What the person calls it; never a path.")
    media_type: str = Field(description="What its content was found to be.")
    sha256: str = Field(description="Digest of the bytes.")
    num_bytes: int = Field(ge=1, description="Size, bytes.")
    width: int | None = Field(default=None, description="Width of a picture, pixels.")
    height: int | None = Field(default=None, description="Height of a picture, pixels.")


class ModelOffer(Message):
    """A model that pictures can be made with."""

    id: ModelId = Field(description="The first 16 digits of its digest.")
    name: str = Field(description="The run that trained it, or 'shipped'.")
    title: str | None = Field(default=None, description="What the person calls it.")
    origin: Literal["own", "adopted", "trained"] = Field(
        default="trained", description="Came with Atelier, was adopted, or was trained here."
    )
    family: str = Field(description="Published method.")
    description: str = Field(description="The method in a line.")
    resolution: int = Field(description="Side of the images it makes, pixels.")
    styles: tuple[str, ...] = Field(description="Styles it learnt.")
    style_counts: tuple[int, ...] = Field(description="Images it learnt from, of each style.")
    is_conditional: bool = Field(description="True where a style can be asked for.")
    takes: tuple[str, ...] = Field(description="What pictures can be made from besides a seed.")
    needs: tuple[str, ...] = Field(description="What of that it cannot do without.")
    dataset_name: str = Field(description="Name of the collection it learnt from.")
    images_seen: int = Field(description="Training images shown to it, repeats counted.")
    digest: str = Field(description="Its whole digest.")
    is_default: bool = Field(description="True for the one that is proposed.")


class CollectionOffer(Message):
    """A collection that can be inspected and learnt from."""

    id: CollectionId = Field(description="Its id.")
    name: str = Field(description="Its short name.")
    num_images: int | None = Field(description="Good images; None before it was inspected.")
    images_per_style: dict[str, int] = Field(description="Good images of each style, if known.")
    num_excluded: int = Field(default=0, ge=0, description="Good images that a person excluded.")


class TrainingView(Message):
    """View of a training so far: its curves, measurements and sample grids."""

    curves: dict[str, list[float | None]] = Field(
        description=(
            "Columns of equal length: images_seen, seconds, losses, scores; None: not a number."
        )
    )
    measurements: list[dict[str, JsonValue]] = Field(description="One row a measurement.")
    guardian: list[dict[str, JsonValue]] = Field(description="What the guardian saw and did.")
    grids: list[int] = Field(description="Images seen at each sample grid.")
    verdict: dict[str, JsonValue] | None = Field(
        default=None,
        description="How far the training had come when it last ended; None before.",
    )


@runtime_checkable
class Uploads(Protocol):
    """Files that people sent, by random ids."""

    def add(self, chunks: Iterable[bytes], name: str) -> Upload:
        """Receive a file; its content determines its kind.

        Raises `AtelierError` where it is neither a picture nor an archive, or too large.
        """
        ...

    def get(self, upload_id: str) -> Upload:
        """Description of an upload. Raises `NotFoundError` where there is none."""
        ...

    def with_digest(self, sha256: str) -> list[Upload]:
        """The uploads that hold these bytes and are still here."""
        ...

    def path(self, upload_id: str) -> Path:
        """Path of an upload. Raises `NotFoundError` where there is none."""
        ...

    def remove(self, upload_id: str) -> None:
        """Remove it for good. Raises `NotFoundError` where there is none."""
        ...


@runtime_checkable
class Catalogue(Protocol):
    """Models, collections and trainings that orders may name, and views of them."""

    def models(self) -> list[ModelOffer]:
        """Every model at hand, the newest first; the project's own last."""
        ...

    def deleted_models(self) -> list[ModelOffer]:
        """The models that were deleted and can still be restored, the newest first."""
        ...

    def model(self, model_id: str) -> IGME:
        """A model. Raises `NotFoundError` where there is none of that digest."""
        ...

    def rename_model(self, model_id: str, title: str) -> None:
        """Set a model's title. Raises `NotFoundError`."""
        ...

    def set_default_model(self, model_id: str | None) -> None:
        """Propose this model first; None: the project's own. Raises `NotFoundError`."""
        ...

    def delete_model(self, model_id: str) -> None:
        """Hide a model. Raises `RefusedError` for one that comes with the project."""
        ...

    def restore_model(self, model_id: str) -> None:
        """Bring a deleted model back. Raises `NotFoundError`."""
        ...

    def collections(self) -> list[CollectionOffer]:
        """Every collection that was offered, used or uploaded."""
        ...

    def collection_data(self, collection_id: str) -> str:
        """Value for `CollectionSettings.data`. Raises `NotFoundError`."""
        ...

    def gather(self, name: str, pictures: Iterable[tuple[str, str]]) -> CollectionOffer:
        """Make a collection of uploaded pictures, each with its style; "" is none."""
        ...

    def gather_archive(self, upload_id: str, name: str | None) -> CollectionOffer:
        """Make a collection of an uploaded archive, under the name it was sent with."""
        ...

    def name_collection(self, path: str) -> CollectionOffer:
        """Offer a folder or archive of this machine. Raises `NotFoundError`."""
        ...

    def inspected(self, collection_id: str) -> ITDT:
        """Findings of an inspection, before choices. Raises `NotFoundError` where none was made."""
        ...

    def choices(self, collection_id: str) -> CollectionChoices:
        """A person's choices for its pictures."""
        ...

    def change_choices(self, collection_id: str, changes: CollectionChoices) -> CollectionChoices:
        """Replace the choices for the pictures that are named, and return those for all.

        An empty choice is forgotten. Raises as `choose`.
        """
        ...

    def choose(self, collection_id: str, choices: CollectionChoices) -> None:
        """Keep choices beside the collection, in place of those of before."""
        ...

    def training(self, run: str) -> TrainingView:
        """Curves and measurements of a run; empty where there are none yet."""
        ...

    def grid(self, run: str, images_seen: int) -> bytes:
        """A sample grid as PNG. Raises `NotFoundError` where there is none."""
        ...
