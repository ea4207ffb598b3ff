"""Routes of models: a list, their names, the default, export, deletion."""

from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import Field

from atelier.gallery import packed_folder
from atelier.server.answers import Answer, GivenName
from atelier.server.backend import Backend
from interfaces.errors import NotFoundError
from interfaces.offers import ModelOffer


class ModelChange(Answer):
    """Changes to a model; what is left out stays as it is."""

    title: GivenName | None = Field(default=None, description="Its new name.")
    is_default: bool | None = Field(
        default=None, description="True: use it where none is named. False: use the project's own."
    )


def model_routes(backend: Backend) -> APIRouter:
    """Routes of models."""
    router = APIRouter(tags=["models"])
    _add_listing(router, backend)
    _add_changing(router, backend)
    _add_export(router, backend)
    return router


def _add_listing(router: APIRouter, backend: Backend) -> None:
    @router.get("/models")
    def models() -> list[ModelOffer]:
        """Every model at hand."""
        return backend.catalogue.models()

    @router.get("/models/deleted")
    def deleted() -> list[ModelOffer]:
        """The models that were deleted and can still be restored."""
        return backend.catalogue.deleted_models()

    @router.get("/models/{model_id}")
    def get(model_id: str) -> ModelOffer:
        """One model."""
        return _offer(backend, model_id)

    @router.get("/models/{model_id}/styles")
    def styles(model_id: str) -> list[str]:
        """The styles that a model can be asked for."""
        model = _offer(backend, model_id)
        return list(model.styles) if model.is_conditional else []


def _add_changing(router: APIRouter, backend: Backend) -> None:
    catalogue = backend.catalogue

    @router.patch("/models/{model_id}")
    def change(model_id: str, wanted: ModelChange) -> ModelOffer:
        """Rename a model, or make it the default."""
        if wanted.title is not None:
            catalogue.rename_model(model_id, wanted.title)
        if wanted.is_default is not None:
            catalogue.set_default_model(model_id if wanted.is_default else None)
        return _offer(backend, model_id)

    @router.delete("/models/{model_id}", status_code=204)
    def delete(model_id: str) -> None:
        """Hide a model; its files are removed after a week, unless it is restored."""
        catalogue.delete_model(model_id)

    @router.post("/models/{model_id}/restore")
    def restore(model_id: str) -> ModelOffer:
        """Bring a deleted model back."""
        catalogue.restore_model(model_id)
        return _offer(backend, model_id)


def _add_export(router: APIRouter, backend: Backend) -> None:
    @router.get("/models/{model_id}/export", response_class=StreamingResponse)
    def export(model_id: str) -> StreamingResponse:
        """The model's folder as a zip, which `adopt` and `--model` take once it is unpacked."""
        folder: Path = backend.catalogue.model(model_id).directory
        pieces: Iterator[bytes] = packed_folder(folder, f"model-{model_id}")
        headers = {"Content-Disposition": f'attachment; filename="model-{model_id}.zip"'}
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def _offer(backend: Backend, model_id: str) -> ModelOffer:
    for model in backend.catalogue.models():
        if model.id == model_id:
            return model
    raise NotFoundError(f"model {model_id[:40]!r}: there is none")
