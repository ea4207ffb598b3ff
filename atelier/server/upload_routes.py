"""Routes of uploads: files that arrive piece by piece, and what orders may name."""

import asyncio
import queue as queues
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from atelier.server.backend import Backend
from atelier.server.ranges import file_response
from interfaces.errors import DamagedError, JobStateError, NotFoundError, UnavailableError
from interfaces.jobs import JobQueue, JobState
from interfaces.offers import Upload

_MAX_UPLOADS = 16
_STALLED_SECONDS = 2.0
"""Seconds without data after which an upload may be dropped for another."""
_UNENDED: tuple[JobState, ...] = ("waiting", "running", "stopping", "paused")

_BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def upload_routes(backend: Backend) -> APIRouter:
    """Routes of uploads: take in, find, fetch, remove."""
    router = APIRouter(tags=["uploads"])
    arriving = _Arrivals(backend)

    @router.post("/uploads", status_code=201, openapi_extra=_BINARY)
    async def upload(
        request: Request, name: Annotated[str, Query(max_length=1000)] = "picture"
    ) -> Upload:
        """Receive a picture or an archive: the body is the file, and its content tells which."""
        return await arriving.take_in(request, name)

    @router.get("/uploads")
    def find(sha256: Annotated[str, Query(pattern="^[0-9a-f]{64}$")]) -> list[Upload]:
        """Uploads with this digest, so that an input named in a record can be used again."""
        return backend.uploads.with_digest(sha256)

    @router.get("/uploads/{upload_id}/file", response_class=Response)
    def file(request: Request, upload_id: str) -> Response:
        """An uploaded picture, unchanged."""
        upload = backend.uploads.get(upload_id)
        if upload.kind != "picture":
            raise NotFoundError(f"upload {upload_id}: not a picture")
        data = backend.uploads.path(upload_id).read_bytes()
        return file_response(request.headers, data, upload.media_type, upload.sha256)

    @router.get("/uploads/{upload_id}")
    def get(upload_id: str) -> Upload:
        """Description of an upload."""
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


class _Arrival:
    """An upload in progress: a few of its pieces in memory, and when the last one came."""

    def __init__(self) -> None:
        self.pieces: queues.Queue[bytes | None] = queues.Queue(maxsize=8)
        self.last_piece = time.monotonic()
        self.is_whole = False
        self.given_up = asyncio.Event()

    def chunks(self) -> Iterator[bytes]:
        while (piece := self.pieces.get()) is not None:
            yield piece
        if not self.is_whole:
            raise DamagedError("upload: interrupted before its end; send it again")


class _Arrivals:
    """Uploads in progress, each written by a thread.

    At the limit, an upload that has stalled is dropped for the next.
    """

    def __init__(self, backend: Backend) -> None:
        self._uploads = backend.uploads
        self._there: set[_Arrival] = set()
        self._threads = ThreadPoolExecutor(_MAX_UPLOADS, "upload")

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
        if len(going_on) < _MAX_UPLOADS:
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
    """Hand the body's pieces to the thread, until it ends or is refused."""
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
