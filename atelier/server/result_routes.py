"""Routes of single results: found, hidden, fetched as files, verified."""

import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from atelier.server.answers import (
    Answer,
    Hidden,
    ResultAnswer,
    ResultInfo,
    ResultSearch,
    answer_of,
    infos_of,
)
from atelier.server.backend import Backend
from atelier.server.ranges import file_response
from atelier.server.streams import Streams
from atelier.server.thumbnails import Side
from atelier.verification import Verification, verify
from components.conversion import public_copy
from interfaces.contract import WholeNumber
from interfaces.errors import AtelierError, NotFoundError, UnavailableError
from interfaces.ics import ICS, ImageFormat
from interfaces.iodt import ResultQuery
from interfaces.places import fetched

_MAX_AT_ONCE = 4


class Results(Answer):
    """A page of results."""

    results: list[ResultInfo] = Field(description="In the order asked for.")
    next: str | None = Field(description="Cursor of the next page; null: this is the last.")


class FileQuery(Answer):
    """Format in which a result is wanted."""

    format: ImageFormat | None = Field(default=None, description="Left out: as it is kept.")
    quality: int = Field(default=92, ge=1, le=100, description="Of JPEG, WebP and AVIF.")
    lossless: bool = Field(default=False, description="WebP without loss.")
    download: bool = Field(default=False, description="Save the file rather than show it.")
    record: bool = Field(
        default=True, description="False: a copy with nothing in it but the picture."
    )


def result_routes(backend: Backend, streams: Streams) -> APIRouter:
    """Routes of results: searches, one result, its file and thumbnail; deletion."""
    router = APIRouter(tags=["results"])
    _add_searching(router, backend)
    _add_hiding(router, backend, streams)
    _add_files(router, backend)
    _add_thumbnails(router, backend)
    return router


def _add_searching(router: APIRouter, backend: Backend) -> None:
    store = backend.store

    @router.get("/results")
    def find(search: Annotated[ResultSearch, Query()]) -> Results:
        """A page of the results that match."""
        wanted = search.narrowed(backend.shelf)
        if wanted is None:
            return Results(results=[], next=None)
        page = store.page(wanted, search.cursor)
        return Results(results=infos_of(page.results, backend.shelf), next=page.next)

    @router.get("/results/count")
    def count(search: Annotated[ResultSearch, Query()]) -> int:
        """Number of results that match."""
        wanted = search.narrowed(backend.shelf)
        return 0 if wanted is None else store.count(wanted)

    @router.get("/results/deleted")
    def deleted() -> list[int]:
        """Numbers of deleted results that can be restored, newest first."""
        return store.numbers(ResultQuery(deleted="only"))

    @router.get("/results/{result_id}")
    def get(result_id: int) -> ResultAnswer:
        """One result with its whole record, and the choices that make it again."""
        return answer_of(store.get(result_id), backend.shelf)


def _add_hiding(router: APIRouter, backend: Backend, streams: Streams) -> None:
    store = backend.store

    @router.delete("/results/{result_id}")
    def delete(result_id: int) -> Hidden:
        """Delete a result; `restore` undoes it."""
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


def _add_files(router: APIRouter, backend: Backend) -> None:
    store, converting = backend.store, _Turns(2)

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


def _add_thumbnails(router: APIRouter, backend: Backend) -> None:
    store, drawing = backend.store, _Turns(_MAX_AT_ONCE)

    @router.get("/results/{result_id}/thumbnail", response_class=Response)
    def thumbnail(
        request: Request, result_id: int, side: Annotated[Side, WholeNumber] = 256
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
        # In another workspace, another picture has this number at this address.
        return file_response(request.headers, data, "image/webp", f"{result.sha256}-{side}")


def _settings_of(wanted: FileQuery, image_format: ImageFormat) -> ICS:
    return ICS(format=image_format, quality=wanted.quality, lossless=wanted.lossless)


class _Turns:
    """A limit on work done at once; others wait a while and are then refused."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    @contextmanager
    def one(self) -> Generator[None]:
        if not self._free.acquire(timeout=10):
            raise UnavailableError("busy: many pictures are being encoded already; try again later")
        try:
            yield
        finally:
            self._free.release()


def verification_routes(backend: Backend) -> APIRouter:
    """Routes of `verify`: answered at once, since checking takes about as long as decoding."""
    router, turns = APIRouter(tags=["verification"]), _Turns(2)

    @router.get("/uploads/{upload_id}/verification")
    def of_upload(upload_id: str) -> Verification:
        """Say who made an uploaded picture, how, and whether it was changed since."""
        upload, path = backend.uploads.get(upload_id), backend.uploads.path(upload_id)
        with turns.one():
            return verify(path).model_copy(update={"name": upload.name})

    @router.get("/results/{result_id}/verification")
    def of_result(result_id: int) -> Verification:
        """The same for a result, from its file as it is now."""
        with turns.one():
            return verify(fetched(backend.store.get(result_id).path))

    return router
