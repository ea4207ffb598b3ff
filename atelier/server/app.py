"""The API's routes. Every answer is JSON or a file; every error a problem of RFC 9457."""

import asyncio
import errno
import hashlib
import json
import logging
import queue as queues
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Body, FastAPI, Header, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from atelier.handlers import AnyOrder
from atelier.server.answers import PREFIX, Hidden, ResultInfo, ResultSearch, info_of
from atelier.server.backend import Backend
from atelier.server.collection_routes import collection_routes
from atelier.server.examples import EXAMPLES
from atelier.server.gallery_routes import gallery_routes
from atelier.server.model_routes import model_routes
from atelier.server.patience import Patience
from atelier.server.problems import problem
from atelier.server.ranges import file_response
from atelier.server.safety import Guard, Safety
from atelier.server.streams import MOST_LISTENERS, Streams
from atelier.verification import Verification, verify
from components.conversion import public_copy
from interfaces.contract import WholeNumber
from interfaces.errors import AtelierError, NotFoundError, UnavailableError
from interfaces.ics import ICS, ImageFormat
from interfaces.iodt import ResultQuery
from interfaces.jobs import Job, JobQueue, JobState, JobStateError, StopKind
from interfaces.offers import TrainingView, Upload

_log = logging.getLogger("atelier.server")

_STATUS: dict[type[AtelierError], int] = {
    NotFoundError: 404,
    JobStateError: 409,
    UnavailableError: 503,
    AtelierError: 422,
}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_FOREVER = "private, max-age=31536000, immutable"
_MOST_AT_ONCE = 4
_MOST_UPLOADS = 16
_STALLED_SECONDS = 2.0
"""From then on an upload that sends nothing makes room for another."""
_UNENDED: tuple[JobState, ...] = ("waiting", "running", "stopping", "paused")
_MOST_DELETED = 10_000


_SECURITY = [
    Security(
        HTTPBearer(
            auto_error=False,
            description="The token that the server was started with; needed beyond this machine.",
        )
    )
]
"""Said in the schema; `Guard` is what holds it, before any route."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(_Answer):
    """What every error answers, as `application/problem+json` (RFC 9457)."""

    type: str = Field(description="What kind of error: 'about:blank', told by the status.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The status.")
    detail: str = Field(description="One line: what was wrong, what to do.")
    error: str = Field(description="`detail` again, as programs of before there was /v1 read it.")


_FAILURES: dict[int | str, dict[str, Any]] = {
    kind: {
        "description": "What was wrong, in one line.",
        "content": {"application/problem+json": {"schema": Failure.model_json_schema()}},
    }
    for kind in ("4XX", "5XX")
}


class JobInfo(Job):
    """One order, of any kind, and what became of it so far."""

    # The model is frozen, which the type checker cannot see.
    order: AnyOrder = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        description="What was asked for."
    )


class Place(_Answer):
    """Where a waiting job is to stand."""

    position: int = Field(ge=1, le=1_000_000, description="1 is next.")


class Results(_Answer):
    """A page of results."""

    results: list[ResultInfo] = Field(description="In the order asked for.")
    next: str | None = Field(description="Cursor of the next page; null: this is the last.")


class FileQuery(_Answer):
    """In which format a result is wanted."""

    format: ImageFormat | None = Field(default=None, description="As it is kept, if left out.")
    quality: int = Field(default=92, ge=1, le=100, description="Of JPEG, WebP and AVIF.")
    lossless: bool = Field(default=False, description="WebP without loss.")
    download: bool = Field(default=False, description="To be saved, not shown.")
    record: bool = Field(
        default=True, description="False: a copy with nothing in it but the picture."
    )


class Status(_Answer):
    """How the server is."""

    waiting: int = Field(description="Jobs that wait.")
    worker: Literal["running", "restarting"] = Field(description="The process that does them.")
    trouble: str | None = Field(description="Why there is no worker at this moment.")
    last_event: int = Field(description="Number of the newest event: where to follow from.")


def make_app(backend: Backend, safety: Safety) -> FastAPI:
    """The application; see `atelier.server.create_app`."""
    app = FastAPI(
        title="Atelier",
        description="Jobs, models and results of one workspace.",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from other machines
        redoc_url=None,
    )
    app.state.is_closing = lambda: False
    streams = Streams(backend.queue, backend.store)
    for router in (
        gallery_routes(backend, streams),
        model_routes(backend),
        collection_routes(backend),
        _jobs(backend),
        _moves(backend),
        _trainings(backend),
        _events(backend, streams, app),
        _results(backend, streams),
        _files(backend),
        _verifications(backend),
        _offers(backend),
        _uploads(backend),
    ):
        app.include_router(router, prefix=PREFIX, responses=_FAILURES, dependencies=_SECURITY)
        # As programs of before there were versions address it.
        app.include_router(router, prefix="/api", include_in_schema=False)
    _handle_errors(app, backend.workspace)
    app.add_middleware(Guard, safety=safety)  # type: ignore[arg-type]
    app.add_middleware(Patience)  # type: ignore[arg-type]
    return app


# ---------------------------------------------------------------- jobs


def _jobs(backend: Backend) -> APIRouter:
    router, queue = APIRouter(tags=["jobs"]), backend.queue

    @router.post("/jobs", status_code=201, response_model=JobInfo)
    def submit(
        order: Annotated[AnyOrder, Body(openapi_examples=EXAMPLES)],
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Job:
        """Put an order into the queue. With the same Idempotency-Key again: the job it gave."""
        backend.check(order)
        return queue.submit(order, idempotency_key)

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
        """Numbers of what it has kept, in growing order, those above `after`."""
        return queue.results(job_id, after, limit)

    @router.get("/status")
    def status() -> Status:
        """How the server is."""
        trouble = backend.worker_trouble()
        return Status(
            waiting=queue.num_waiting(),
            worker="running" if trouble is None else "restarting",
            trouble=trouble,
            last_event=queue.last_event(),
        )

    return router


_After = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
_LastSeen = Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)]


def _moves(backend: Backend) -> APIRouter:
    router, queue = APIRouter(tags=["jobs"]), backend.queue

    def stopping(how: StopKind, path: str, text: str) -> None:
        def stop(job_id: int) -> Job:
            return queue.stop(job_id, how)

        at = f"/jobs/{{job_id}}/{path}"
        router.post(at, description=text, operation_id=path, response_model=JobInfo)(stop)

    stopping("now", "cancel", "Stop at once. What is kept stays; it can be resumed.")
    stopping("after-image", "finish-image", "Stop after the image that is being made.")
    stopping("pause", "pause", "Stop after the image that is being made, to be resumed.")

    @router.post("/jobs/{job_id}/resume", response_model=JobInfo)
    def resume(job_id: int) -> Job:
        """Let a paused, cancelled or failed job go on at its first missing image."""
        return queue.resume(job_id)

    @router.post("/jobs/{job_id}/move", response_model=JobInfo)
    def move(job_id: int, place: Place) -> Job:
        """Give a waiting job another place in the queue."""
        return queue.move(job_id, place.position)

    return router


def _trainings(backend: Backend) -> APIRouter:
    router, queue = APIRouter(tags=["jobs"]), backend.queue

    @router.get("/jobs/{job_id}/training")
    def training(job_id: int) -> TrainingView:
        """Curves, measurements and the guardian's messages of a training."""
        run = queue.get(job_id).run
        empty = TrainingView(curves={}, measurements=[], guardian=[], grids=[])
        return empty if run is None else backend.catalogue.training(run)

    @router.get("/jobs/{job_id}/grids/{images_seen}")
    def grid(job_id: int, images_seen: int) -> Response:
        """A sample grid of a training, as PNG."""
        run = queue.get(job_id).run
        if run is None or not 0 <= images_seen < 10**18:
            raise NotFoundError(f"job {job_id}: no such sample grid")
        png = backend.catalogue.grid(run, images_seen)
        return Response(png, media_type="image/png", headers={"Cache-Control": _FOREVER})

    return router


def _events(backend: Backend, streams: Streams, app: FastAPI) -> APIRouter:
    router, queue = APIRouter(tags=["events"]), backend.queue

    def stream(after: int, job_id: int | None) -> StreamingResponse:
        if streams.num_listeners >= MOST_LISTENERS:
            raise UnavailableError(f"busy: {MOST_LISTENERS} listen already; ask again later")
        text: AsyncGenerator[str] = streams.follow(after, job_id, lambda: app.state.is_closing())
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(text, media_type="text/event-stream", headers=headers)

    def start(after: int | None, last_event_id: str | None) -> int | None:
        """A browser that comes back says what it saw last; that is newer than the address."""
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


# ---------------------------------------------------------------- results


def _results(backend: Backend, streams: Streams) -> APIRouter:
    router, store = APIRouter(tags=["results"]), backend.store

    @router.get("/results")
    def find(search: Annotated[ResultSearch, Query()]) -> Results:
        """Results that fit, a page of them."""
        wanted = search.narrowed(backend.shelf)
        if wanted is None:
            return Results(results=[], next=None)
        page = store.page(wanted, search.cursor)
        results = [info_of(result, backend.shelf) for result in page.results]
        return Results(results=results, next=page.next)

    @router.get("/results/count")
    def count(search: Annotated[ResultSearch, Query()]) -> int:
        """How many results fit."""
        wanted = search.narrowed(backend.shelf)
        return 0 if wanted is None else store.count(wanted)

    @router.get("/results/deleted")
    def deleted() -> list[int]:
        """Numbers of what is hidden and can be restored, the newest first."""
        found: list[int] = []
        cursor = None
        while len(found) < _MOST_DELETED:
            page = store.page(ResultQuery(deleted="only", limit=1000), cursor)
            found += [result.id for result in page.results]
            cursor = page.next
            if cursor is None:
                break
        return found

    @router.get("/results/{result_id}")
    def get(result_id: int) -> ResultInfo:
        """One result with its whole record."""
        return info_of(store.get(result_id), backend.shelf)

    @router.delete("/results/{result_id}")
    def delete(result_id: int) -> Hidden:
        """Hide a result; `restore` undoes it."""
        store.get(result_id)
        return changed(store.delete([result_id]))

    @router.post("/results/{result_id}/restore")
    def restore(result_id: int) -> Hidden:
        """Undo `delete`."""
        store.get(result_id)
        return changed(store.restore([result_id]))

    def changed(number: int) -> Hidden:
        if number:
            streams.note_change()
        return Hidden(changed=number)

    return router


def _files(backend: Backend) -> APIRouter:
    router, store = APIRouter(tags=["results"]), backend.store
    converting, drawing = _Turns(2), _Turns(_MOST_AT_ONCE)

    @router.get("/results/{result_id}/file", response_class=Response)
    def file(request: Request, result_id: int, wanted: Annotated[FileQuery, Query()]) -> Response:
        """The picture, as it is kept or in another format; whole or a range of its bytes."""
        result, data = store.get(result_id), store.read(result_id)
        media_type, suffix = str(result.media_type), result.path.suffix
        if wanted.format is not None and f"image/{wanted.format}" != result.media_type:
            with converting.one():
                image = backend.convert(result, _settings_of(wanted, wanted.format))
            data, media_type, suffix = image.data, image.media_type, image.suffix
        if not wanted.record:
            with converting.one():
                data = public_copy(data, result.record, media_type.removeprefix("image/"))
        kind = "attachment" if wanted.download else "inline"
        name = quote(f"{result.path.stem}{suffix}", safe="", errors="replace")
        headers = {"Content-Disposition": f"{kind}; filename*=UTF-8''{name}"}
        tag = hashlib.sha256(data).hexdigest()
        return file_response(request.headers, data, media_type, tag, headers)

    @router.get("/results/{result_id}/thumbnail", response_class=Response)
    def thumbnail(
        result_id: int, side: Annotated[Literal[128, 256, 512], WholeNumber] = 256
    ) -> Response:
        """A small WebP, at most `side` pixels wide and high."""
        result = store.get(result_id)
        data = backend.thumbnails.cached(result.sha256, side)
        if data is None:
            picture = store.read(result_id)
            with drawing.one():
                try:
                    data = backend.thumbnails.make(picture, result.sha256, side)
                except AtelierError as error:
                    raise NotFoundError(f"result {result_id}: {error}") from error
        return Response(data, media_type="image/webp", headers={"Cache-Control": _FOREVER})

    return router


def _settings_of(wanted: FileQuery, image_format: ImageFormat) -> ICS:
    return ICS(format=image_format, quality=wanted.quality, lossless=wanted.lossless)


class _Turns:
    """So many at once; others wait a while, and are then told that the server is busy."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    @contextmanager
    def one(self) -> Iterator[None]:
        if not self._free.acquire(timeout=10):
            raise UnavailableError("busy: many pictures are being made already; ask again later")
        try:
            yield
        finally:
            self._free.release()


# ---------------------------------------------------------------- whose a picture is


def _verifications(backend: Backend) -> APIRouter:
    """What `verify` says, at once: a picture is looked at in the time of decoding it."""
    router, turns = APIRouter(tags=["verification"]), _Turns(2)

    @router.get("/uploads/{upload_id}/verification")
    def of_upload(upload_id: str) -> Verification:
        """Whose an uploaded picture is, how it was made, whether it was changed since."""
        upload, path = backend.uploads.get(upload_id), backend.uploads.path(upload_id)
        with turns.one():
            return verify(path).model_copy(update={"name": upload.name})

    @router.get("/results/{result_id}/verification")
    def of_result(result_id: int) -> Verification:
        """The same of a result, as its file lies there now."""
        with turns.one():
            return verify(backend.store.get(result_id).path)

    return router


# ---------------------------------------------------------------- what orders may name


def _offers(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["offers"])

    @router.get("/settings/schema")
    def schema() -> dict[str, Any]:
        """JSON schemas of all that a person may choose, and what names it may take."""
        return backend.schema()

    return router


# ---------------------------------------------------------------- uploads


def _uploads(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["uploads"])
    arriving = _Arrivals(backend)

    @router.post("/uploads", status_code=201, openapi_extra=_BINARY)
    async def upload(
        request: Request, name: Annotated[str, Query(max_length=1000)] = "picture"
    ) -> Upload:
        """Take in a picture or an archive: the body is the file, its content decides."""
        return await arriving.take_in(request, name)

    @router.get("/uploads")
    def find(sha256: Annotated[str, Query(pattern="^[0-9a-f]{64}$")]) -> list[Upload]:
        """The uploads with this digest: what a picture's record names, to be used again."""
        return backend.uploads.with_digest(sha256)

    @router.get("/uploads/{upload_id}/file", response_class=Response)
    def file(request: Request, upload_id: str) -> Response:
        """An uploaded picture, byte for byte."""
        upload = backend.uploads.get(upload_id)
        if upload.kind != "picture":
            raise NotFoundError(f"upload {upload_id}: is no picture")
        data = backend.uploads.path(upload_id).read_bytes()
        return file_response(request.headers, data, upload.media_type, upload.sha256)

    @router.get("/uploads/{upload_id}")
    def get(upload_id: str) -> Upload:
        """What is known of an upload."""
        return backend.uploads.get(upload_id)

    @router.delete("/uploads/{upload_id}", status_code=204)
    def remove(upload_id: str) -> None:
        """Remove an upload for good; not while a job that has not ended names it."""
        if (job_id := _first_naming(upload_id, backend.queue)) is not None:
            raise JobStateError(f"upload {upload_id}: job {job_id} needs it; cancel that first")
        backend.uploads.remove(upload_id)

    return router


def _first_naming(upload_id: str, queue: JobQueue) -> int | None:
    """The number of a job that has not ended and whose order names an upload."""
    before = None
    while jobs := queue.find(_UNENDED, before, limit=500):
        for job in jobs:
            if upload_id in job.order.model_dump_json():
                return job.id
        before = jobs[-1].id
    return None


_BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Arrival:
    """One upload on its way: a few pieces of it in memory, and when the last one came."""

    def __init__(self) -> None:
        self.pieces: queues.Queue[bytes | None] = queues.Queue(maxsize=8)
        self.last_piece = time.monotonic()
        self.is_whole = False
        self.given_up = asyncio.Event()

    def chunks(self) -> Iterator[bytes]:
        while (piece := self.pieces.get()) is not None:
            yield piece
        if not self.is_whole:
            raise AtelierError("upload: broken off before its end; send it again")


class _Arrivals:
    """The uploads that arrive, each written by a thread.

    Where there are as many as there may be, one that has stalled makes room for the next.
    """

    def __init__(self, backend: Backend) -> None:
        self._uploads = backend.uploads
        self._there: set[_Arrival] = set()
        self._threads = ThreadPoolExecutor(_MOST_UPLOADS, "upload")

    async def take_in(self, request: Request, name: str) -> Upload:
        """Receive a body, and hand it on piece by piece."""
        self._make_room()
        arrival = _Arrival()
        self._there.add(arrival)
        try:
            return await self._receive(request, arrival, name)
        finally:
            self._there.discard(arrival)

    def _make_room(self) -> None:
        going_on = [one for one in self._there if not one.given_up.is_set()]
        if len(going_on) < _MOST_UPLOADS:
            return
        slowest = min(going_on, key=lambda one: one.last_piece)
        if time.monotonic() - slowest.last_piece < _STALLED_SECONDS:
            raise UnavailableError("busy: other files are arriving; send it again later")
        slowest.given_up.set()

    async def _receive(self, request: Request, arrival: _Arrival, name: str) -> Upload:
        loop = asyncio.get_running_loop()
        adding = loop.run_in_executor(self._threads, self._uploads.add, arrival.chunks(), name)
        giving_up = asyncio.create_task(arrival.given_up.wait())
        feeding = asyncio.create_task(_feed(request, arrival, adding))
        try:
            await asyncio.wait({feeding, giving_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving_up.cancel()
            feeding.cancel()
            await _put(None, arrival, adding)
        if feeding.done() and not feeding.cancelled() and (fault := feeding.exception()):
            adding.add_done_callback(lambda done: done.exception())
            raise fault
        if arrival.given_up.is_set():
            adding.add_done_callback(lambda done: done.exception())
            raise HTTPException(408, "the upload came too slowly, and others wait; send it again")
        return await adding


async def _feed(request: Request, arrival: _Arrival, adding: asyncio.Future[Upload]) -> None:
    """Put the body's pieces in the thread's reach, until it ends or is refused."""
    with suppress(ClientDisconnect):
        async for piece in request.stream():
            arrival.last_piece = time.monotonic()
            if adding.done():
                return  # refused already
            if piece:
                await _put(piece, arrival, adding)
        arrival.is_whole = True


async def _put(piece: bytes | None, arrival: _Arrival, adding: asyncio.Future[Upload]) -> None:
    while not adding.done():
        try:
            arrival.pieces.put_nowait(piece)
            return
        except queues.Full:
            await asyncio.sleep(0.005)


# ---------------------------------------------------------------- errors


def _handle_errors(app: FastAPI, workspace: Path) -> None:
    inside = f"{workspace}/"

    @app.exception_handler(AtelierError)
    async def _known(request: Request, error: AtelierError) -> Response:
        status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
        return _failure(status, str(error).replace(inside, ""))

    @app.exception_handler(OSError)
    async def _disk(request: Request, error: OSError) -> Response:
        if error.errno in _NO_ROOM:
            return _failure(503, f"the disk of the workspace: {error.strerror}; make room there")
        return await _unknown(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return _failure(422, "; ".join(map(_fault, error.errors()[:5])))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _failure(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> Response:
        _log.error("%s %s", request.method, request.url.path, exc_info=error)
        return _failure(500, "a fault of ours; the server's own output tells more")


def _fault(fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"][1:]) or "the request"
    return f"{where[:200]}: {str(fault['msg']).removeprefix('Value error, ')[:300]}"


def _failure(status: int, line: str, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(problem(status, " ".join(line.split())))
    more = {"Retry-After": "5"} if status == 503 else {}
    return Response(
        body, status, {**more, **(headers or {})}, media_type="application/problem+json"
    )
