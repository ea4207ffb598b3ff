"""The application: every route in its order, and what answers where one fails.

Every answer is JSON or a file; every error a problem of RFC 9457.
"""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.security import HTTPBearer

from atelier.handlers.train import TrainOrder
from atelier.server.answers import PREFIX
from atelier.server.asking import Heads, check_query
from atelier.server.backend import Backend
from atelier.server.collection_routes import collection_routes
from atelier.server.failures import FAILURES, handle_errors
from atelier.server.gallery_routes import gallery_routes
from atelier.server.job_routes import event_routes, job_routes
from atelier.server.model_routes import model_routes
from atelier.server.patience import Patience
from atelier.server.result_routes import result_routes, verification_routes
from atelier.server.safety import Guard, Safety
from atelier.server.streams import Streams
from atelier.server.upload_routes import upload_routes

_SECURITY = [
    Security(
        HTTPBearer(
            auto_error=False,
            description="The token that the server was started with; needed beyond this machine.",
        )
    )
]
"""Security as the schema states it; `Guard` enforces it before any route."""


def make_app(backend: Backend, safety: Safety) -> FastAPI:
    """The application; see `atelier.server.create_app`."""
    app = FastAPI(
        title="Atelier",
        description="Jobs, models and results of one workspace.",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from other machines
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the sender's host and query
    )
    app.state.is_closing = lambda: False
    streams = Streams(backend.queue, backend.store)
    for router in (
        gallery_routes(backend, streams),
        model_routes(backend),
        collection_routes(backend),
        job_routes(backend),
        event_routes(backend, streams, app),
        result_routes(backend, streams),
        verification_routes(backend),
        _schema_routes(backend),
        upload_routes(backend),
    ):
        checks = [Depends(check_query), *_SECURITY]
        app.include_router(router, prefix=PREFIX, responses=FAILURES, dependencies=checks)
        # The address used by programs written before the API had versions.
        app.include_router(router, prefix="/api", include_in_schema=False, dependencies=checks[:1])
    handle_errors(app, backend.workspace)
    app.add_middleware(Heads)
    app.add_middleware(Guard, safety=safety)
    app.add_middleware(Patience)
    return app


def _schema_routes(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["offers"])

    @router.get("/settings/schema")
    def schema() -> dict[str, Any]:
        """JSON schemas of everything a person may choose, with the names that may be given."""
        return backend.schema()

    @router.post("/settings/training")
    def settings_of_training(order: TrainOrder) -> dict[str, dict[str, Any]]:
        """Settings that a training would have: tables collect, preprocess and train, less paths.

        An order over its preset, over the model that it starts from, over the defaults; null stands
        for options that the training chooses by its pictures. Nothing is submitted.
        """
        return backend.settings_of_training(order)

    return router
