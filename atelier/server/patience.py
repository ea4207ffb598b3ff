"""Limits on how long the server waits for a client: a slow or vanished one holds up no other."""

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from atelier.server.safety import App, Message, Receive, Scope, Send, refuse

HEAD_SECONDS = 20.0
"""Longest time from a request's first byte, or from the connection, to the end of its head."""

BODY_SECONDS = 30.0
"""Longest time for a body, besides what its bytes take at `BODY_BYTES_A_SECOND`."""

BODY_BYTES_A_SECOND = 10_000

UNREAD_SECONDS = 60.0
"""Longest time that a client may leave an answer unread."""


class PatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, with time limits that uvicorn lacks."""

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take in what came; the head of a request is waited for from its first byte."""
        super().data_received(data)
        if self._is_between_requests():
            self._await_head()
        else:
            self._head = _cancelled(self._head)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._unread = _cancelled(self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._head, self._unread = _cancelled(self._head), _cancelled(self._unread)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _is_between_requests(self) -> bool:
        # uvicorn has no cycle before the first request.
        return not self.cycle or self.cycle.response_complete

    def _give_up(self) -> None:
        self._head = None
        if self._is_between_requests():
            self.transport.close()


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Patience:
    """An ASGI middleware: a body that comes too slowly ends in status 408."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on the request, its body within limits of time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, _in_time(receive), send)
        except HTTPException as error:  # what reads the body before any route lets it through
            await refuse(scope, send, error.status_code, error.detail)


def _in_time(receive: Receive) -> Receive:
    """The same messages; raises `HTTPException` where the next part of a body is overdue."""
    loop = asyncio.get_running_loop()
    started, received, is_whole = loop.time(), 0, False

    async def next_message() -> Message:
        nonlocal received, is_whole
        if is_whole:  # what comes now is only that the client has gone
            return await receive()
        try:
            async with asyncio.timeout_at(started + BODY_SECONDS + received / BODY_BYTES_A_SECOND):
                message: dict[str, Any] = dict(await receive())
        except TimeoutError as error:
            line = "the request came too slowly; send it again"
            raise HTTPException(408, line, {"Connection": "close"}) from error
        received += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        return message

    return next_message
