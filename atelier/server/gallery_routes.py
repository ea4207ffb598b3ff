"""Routes of the gallery: many results at once, stars, boards, archives."""

import secrets
from collections import OrderedDict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from atelier.gallery import Board, archive
from atelier.server.answers import PREFIX, Answer, GivenName, ResultSearch
from atelier.server.backend import Backend
from atelier.server.streams import Streams
from components.conversion import public_copy
from interfaces.errors import NotFoundError
from interfaces.iodt import ResultQuery, StoredResult
from interfaces.orders import ResultId

MAX_AT_ONCE = 100_000
"""Results that one request may name."""

_ARCHIVES_KEPT = 32


class Found(Answer):
    """Numbers of all matching results."""

    numbers: list[int] = Field(description="In the order asked for.")
    starred: list[int] = Field(description="The starred ones among them.")


class Chosen(Answer):
    """Results that a request concerns."""

    results: list[ResultId] = Field(
        min_length=1, max_length=MAX_AT_ONCE, description="Results, by number."
    )


class Starring(Chosen):
    """Results to star or unstar."""

    is_starred: bool = Field(description="False takes the stars away.")


class Placing(Chosen):
    """Results to move to a board."""

    board: GivenName | None = Field(description="Its name; null: off every board.")


class Changed(Answer):
    """Results that a request changed, so that it can be undone."""

    changed: list[int] = Field(description="Those whose state was another before.")


class Placed(Answer):
    """Boards of the results before they were moved, so that it can be undone."""

    before: dict[str, list[int]] = Field(
        description="Those that moved, by the board they were on; under '' those on none."
    )


class ArchiveOrder(Chosen):
    """Results to download together."""

    with_record: bool = Field(
        default=True, description="False: copies with nothing in them but the picture."
    )


class Archive(Answer):
    """An archive that can be downloaded while the server runs."""

    file: str = Field(description="Where to get it.")


def gallery_routes(backend: Backend, streams: Streams) -> APIRouter:
    """Routes for many results at once."""
    router = APIRouter(tags=["gallery"])
    _add_searching(router, backend)
    _add_marking(router, backend, streams)
    _add_deleting(router, backend, streams)
    _add_archives(router, backend)
    return router


def _add_searching(router: APIRouter, backend: Backend) -> None:
    store, shelf = backend.store, backend.shelf

    @router.get("/results/numbers")
    def numbers(search: Annotated[ResultSearch, Query()]) -> Found:
        """Numbers of every result that matches; `limit` is ignored here."""
        wanted = search.narrowed(shelf)
        found = [] if wanted is None else store.numbers(wanted)
        return Found(numbers=found, starred=sorted(shelf.starred(found)))

    @router.get("/boards")
    def boards() -> list[Board]:
        """Every board that holds a result."""
        return shelf.boards()


def _add_marking(router: APIRouter, backend: Backend, streams: Streams) -> None:
    def check(wanted: Chosen) -> None:
        """Nothing is noted of a number that a later result will have."""
        query = ResultQuery(numbers=tuple(wanted.results), deleted="too")
        if unknown := set(wanted.results).difference(backend.store.numbers(query)):
            raise NotFoundError(f"result {min(unknown)}: there is none")

    @router.post("/results/star")
    def star(wanted: Starring) -> Changed:
        """Star results, or take their stars away."""
        check(wanted)
        changed = backend.shelf.star(wanted.results, is_starred=wanted.is_starred)
        streams.note_change()
        return Changed(changed=changed)

    @router.post("/results/board")
    def place(wanted: Placing) -> Placed:
        """Move results to a board, which is made where there is none of that name."""
        check(wanted)
        moved = backend.shelf.place(wanted.results, wanted.board)
        streams.note_change()
        before: dict[str, list[int]] = {}
        for number, board in moved.items():
            before.setdefault(board or "", []).append(number)
        return Placed(before=before)


def _add_deleting(router: APIRouter, backend: Backend, streams: Streams) -> None:
    store = backend.store

    def those(wanted: Chosen, *, are_deleted: bool) -> list[int]:
        only = "only" if are_deleted else None
        return store.numbers(ResultSearch(numbers=tuple(wanted.results), deleted=only))

    @router.post("/results/delete")
    def delete(wanted: Chosen) -> Changed:
        """Hide results; `restore` brings them back, for a week."""
        changed = those(wanted, are_deleted=False)
        store.delete(changed)
        streams.note_change()
        return Changed(changed=changed)

    @router.post("/results/restore")
    def restore(wanted: Chosen) -> Changed:
        """Bring hidden results back."""
        changed = those(wanted, are_deleted=True)
        store.restore(changed)
        streams.note_change()
        return Changed(changed=changed)


def _add_archives(router: APIRouter, backend: Backend) -> None:
    orders: OrderedDict[str, ArchiveOrder] = OrderedDict()

    def read(result: StoredResult) -> bytes:
        return backend.store.read(result.id)

    def public(result: StoredResult) -> bytes:
        file_format = str(result.media_type).removeprefix("image/")
        return public_copy(read(result), result.record, file_format)

    @router.post("/archives", status_code=201)
    def pack(wanted: ArchiveOrder) -> Archive:
        """Name results to download together; the archive is made as it is fetched."""
        for number in wanted.results:
            backend.store.get(number)
        name = secrets.token_hex(8)
        orders[name] = wanted
        while len(orders) > _ARCHIVES_KEPT:
            orders.popitem(last=False)
        return Archive(file=f"{PREFIX}/archives/{name}")

    @router.get("/archives/{name}", response_class=StreamingResponse)
    def fetch(name: str) -> StreamingResponse:
        """The archive, as a zip; `left out.txt` in it names pictures that cannot be read."""
        if name not in orders:
            raise NotFoundError(f"archive {name[:40]}: there is none; ask for it again")
        wanted = orders[name]
        results = [backend.store.get(number) for number in wanted.results]
        pieces = archive(results, read if wanted.with_record else public)
        headers = {"Content-Disposition": 'attachment; filename="atelier.zip"'}
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)
