"""Routes of jobs: the queue, its moves, trainings, events."""

import hashlib
from collections.abc import AsyncGenerator
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Body, FastAPI, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field, model_validator

from atelier.handlers import AnyOrder
from atelier.server.answers import Answer
from atelier.server.backend import Backend
from atelier.server.examples import EXAMPLES
from atelier.server.ranges import file_response
from atelier.server.streams import MAX_LISTENERS, Streams
from interfaces.errors import NotFoundError, UnavailableError
from interfaces.jobs import Job, JobState, StopKind
from interfaces.offers import TrainingView

_After = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
_LastSeen = Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)]


class JobInfo(Job):
    """One order of any kind, and its state so far."""

    # The model is frozen, which the type checker cannot see.
    order: AnyOrder = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        description="What was asked for."
    )


class Place(Answer):
    """New place of a waiting job: one of the two."""

    position: int | None = Field(default=None, ge=1, le=1_000_000, description="1 is next.")
    by: int | None = Field(
        default=None,
        ge=-1_000_000,
        le=1_000_000,
        description="Counted from its place at this moment; -1 is one forward.",
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.position is None) == (self.by is None):
            raise ValueError("give either position or by")
        return self


class Status(Answer):
    """State of the server."""

    waiting: int = Field(description="Number of waiting jobs.")
    worker: Literal["running", "restarting"] = Field(description="The worker process.")
    trouble: str | None = Field(description="Why no worker is running; null while one is.")
    last_event: int = Field(description="Number of the newest event: follow from here.")


def job_routes(backend: Backend) -> APIRouter:
    """Routes of jobs: submit, look, stop, resume, move; the state of the server."""
    router = APIRouter(tags=["jobs"])
    _add_submitting(router, backend)
    _add_listing(router, backend)
    _add_stopping(router, backend)
    _add_trainings(router, backend)
    return router


def _add_submitting(router: APIRouter, backend: Backend) -> None:
    @router.post("/jobs", status_code=201, response_model=JobInfo)
    def submit(
        order: Annotated[AnyOrder, Body(openapi_examples=EXAMPLES)],
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Job:
        """Put an order into the queue. The same Idempotency-Key again answers with the same job."""
        backend.check(order)
        return backend.queue.submit(order, idempotency_key)


def _add_listing(router: APIRouter, backend: Backend) -> None:
    queue = backend.queue

    @router.get("/jobs", response_model=list[JobInfo])
    def find(
        state: Annotated[list[JobState], Query()] = [],  # noqa: B006  # FastAPI copies it
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[Job]:
        """Jobs, newest first; those older than the job `before`."""
        return queue.find(state, before, limit)

    @router.get("/jobs/{job_id}", response_model=JobInfo)
    def get(job_id: int) -> Job:
        """One job."""
        return queue.get(job_id)

    @router.get("/jobs/{job_id}/results")
    def results(
        job_id: int,
        after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> list[int]:
        """Numbers of the results it has kept, ascending, above `after`."""
        return queue.results(job_id, after, limit)

    @router.get("/status")
    def status() -> Status:
        """State of the server."""
        trouble = backend.worker_trouble()
        return Status(
            waiting=queue.num_waiting(),
            worker="running" if trouble is None else "restarting",
            trouble=trouble,
            last_event=queue.last_event(),
        )


def _add_stopping(router: APIRouter, backend: Backend) -> None:
    queue = backend.queue

    def stopping(how: StopKind, path: str, text: str) -> None:
        def stop(job_id: int) -> Job:
            return queue.stop(job_id, how)

        at = f"/jobs/{{job_id}}/{path}"
        router.post(at, description=text, operation_id=path, response_model=JobInfo)(stop)

    stopping("now", "cancel", "Stop at once. What is kept stays; it can be resumed.")
    stopping(
        "after-image",
        "finish-image",
        "Stop after the image that is being made; a training ends with the model that it has.",
    )
    stopping("pause", "pause", "Stop after the image that is being made, to be resumed.")

    @router.post("/jobs/{job_id}/resume", response_model=JobInfo)
    def resume(job_id: int) -> Job:
        """Resume a paused, cancelled or failed job at its first missing image."""
        return queue.resume(job_id)

    @router.post("/jobs/{job_id}/move", response_model=JobInfo)
    def move(job_id: int, place: Place) -> Job:
        """Give a waiting job another place in the queue."""
        if place.position is not None:
            return queue.move(job_id, place.position)
        return queue.move_by(job_id, place.by or 0)


def _add_trainings(router: APIRouter, backend: Backend) -> None:
    queue = backend.queue

    @router.get("/jobs/{job_id}/training")
    def training(job_id: int) -> TrainingView:
        """Curves, measurements and the guardian's messages of a training."""
        run = queue.get(job_id).run
        empty = TrainingView(curves={}, measurements=[], guardian=[], grids=[])
        return empty if run is None else backend.catalogue.training(run)

    @router.get("/jobs/{job_id}/grids/{images_seen}")
    def grid(request: Request, job_id: int, images_seen: int) -> Response:
        """A sample grid of a training, as PNG."""
        run = queue.get(job_id).run
        if run is None or not 0 <= images_seen < 10**18:
            raise NotFoundError(f"job {job_id}: no such sample grid")
        png = backend.catalogue.grid(run, images_seen)
        tag = hashlib.sha256(png).hexdigest()
        return file_response(request.headers, png, "image/png", tag)


def event_routes(backend: Backend, streams: Streams, app: FastAPI) -> APIRouter:
    """Routes of server-sent events."""
    router, queue = APIRouter(tags=["events"]), backend.queue

    def stream(after: int, job_id: int | None) -> StreamingResponse:
        if streams.num_listeners >= MAX_LISTENERS:
            raise UnavailableError(f"busy: {MAX_LISTENERS} listen already; try again later")
        text: AsyncGenerator[str] = streams.follow(after, job_id, lambda: app.state.is_closing())
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(text, media_type="text/event-stream", headers=headers)

    def start(after: int | None, last_event_id: str | None) -> int | None:
        """A browser that reconnects names its last event, which is newer than the address."""
        if last_event_id and last_event_id.isascii() and last_event_id.isdecimal():
            return min(int(last_event_id), 2**63 - 1)
        return after

    @router.get("/events", response_class=StreamingResponse)
    def all_events(after: _After = None, last_event_id: _LastSeen = None) -> StreamingResponse:
        """Server-sent events of all jobs and the store: those after `after`, else from now on."""
        place = start(after, last_event_id)
        return stream(queue.last_event() if place is None else place, None)

    @router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
    def events_of_a_job(
        job_id: int, after: _After = None, last_event_id: _LastSeen = None
    ) -> StreamingResponse:
        """Server-sent events of one job, from its beginning; they end with the job."""
        queue.get(job_id)
        return stream(start(after, last_event_id) or 0, job_id)

    return router
