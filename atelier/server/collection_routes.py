"""Routes of collections: made from uploads or a named folder, examined, chosen from."""

from typing import Annotated, Self

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field, model_validator

from atelier.gallery import CollectionFindings, examine
from atelier.server.answers import Answer, GivenName
from atelier.server.backend import Backend
from atelier.server.ranges import file_response
from interfaces.errors import NotFoundError, RefusedError
from interfaces.itdt import CollectionChoices
from interfaces.offers import CollectionOffer
from interfaces.orders import UploadId

_MAX_GATHERED = 20_000


class GatheredPicture(Answer):
    """One uploaded picture of a new collection."""

    upload: UploadId = Field(description="The upload.")
    style: str = Field(default="", max_length=80, description="Its style; empty: none.")


class NewCollection(Answer):
    """A collection from uploads, or a folder of this machine."""

    name: GivenName | None = Field(default=None, description="Its name.")
    pictures: list[GatheredPicture] = Field(
        default=[], max_length=_MAX_GATHERED, description="Uploaded pictures."
    )
    archive: UploadId | None = Field(default=None, description="One uploaded archive.")
    path: str | None = Field(
        default=None, max_length=4000, description="A folder or archive of this machine."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = [bool(self.pictures), self.archive is not None, self.path is not None]
        if given.count(True) != 1:
            raise ValueError("give pictures, an archive or a path")
        return self


def collection_routes(backend: Backend) -> APIRouter:
    """Routes of collections."""
    router = APIRouter(tags=["collections"])
    _add_gathering(router, backend)
    _add_choosing(router, backend)
    _add_thumbnails(router, backend)
    return router


def _add_gathering(router: APIRouter, backend: Backend) -> None:
    catalogue = backend.catalogue

    @router.get("/collections")
    def collections() -> list[CollectionOffer]:
        """Every collection that a model can be trained on."""
        return catalogue.collections()

    @router.post("/collections", status_code=201)
    def add(wanted: NewCollection) -> CollectionOffer:
        """Make a collection; a path may be named only on the machine that the server runs on."""
        if wanted.path is not None:
            if not backend.may_name_paths:
                raise RefusedError(
                    "path: only where the server is reached from its own machine alone; send the "
                    "pictures, or start it with --data"
                )
            return catalogue.name_collection(wanted.path)
        if wanted.archive is not None:
            return catalogue.gather_archive(wanted.archive, wanted.name)
        pictures = [(one.upload, one.style) for one in wanted.pictures]
        return catalogue.gather(wanted.name or "collection", pictures)


def _add_choosing(router: APIRouter, backend: Backend) -> None:
    catalogue = backend.catalogue

    @router.get("/collections/{collection_id}/pictures")
    def pictures(
        collection_id: str,
        resolution: Annotated[int, Query(ge=1, le=4096)] = 64,
        limit: Annotated[int, Query(ge=1, le=20_000)] = 2000,
    ) -> CollectionFindings:
        """Pictures and findings of an inspected collection, those that need attention first."""
        found = catalogue.inspected(collection_id)
        return examine(found, catalogue.choices(collection_id), resolution, limit)

    @router.put("/collections/{collection_id}/choices")
    def choose(collection_id: str, choices: CollectionChoices) -> CollectionChoices:
        """Keep a person's choices beside the collection; they replace earlier ones."""
        catalogue.choose(collection_id, choices)
        return choices

    @router.patch("/collections/{collection_id}/choices")
    def change(collection_id: str, changes: CollectionChoices) -> CollectionChoices:
        """Replace the choices for the pictures that are named; an empty one is forgotten."""
        return catalogue.change_choices(collection_id, changes)


def _add_thumbnails(router: APIRouter, backend: Backend) -> None:
    @router.get("/collections/{collection_id}/pictures/{number}/thumbnail", response_class=Response)
    def thumbnail(request: Request, collection_id: str, number: int) -> Response:
        """One of its pictures as a small WebP."""
        for place, image in enumerate(backend.catalogue.inspected(collection_id).images()):
            if place == number:
                data = backend.thumbnails.cached(image.sha256, 256)
                if data is None and image.encoding == "image file":
                    data = backend.thumbnails.make(image.read_bytes(), image.sha256, 256)
                if data is not None:
                    return file_response(request.headers, data, "image/webp", f"{image.sha256}-256")
        raise NotFoundError(f"picture {number}: there is none that can be shown")
