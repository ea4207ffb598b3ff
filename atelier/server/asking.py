"""Rules for requests: HEAD wherever GET is answered, and no parameter passed over in silence."""

import asyncio
from collections.abc import Iterator
from typing import get_origin

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from atelier.server.safety import App, Message, Receive, Scope, Send
from interfaces.errors import RefusedError


class Heads:
    """An ASGI middleware: HEAD is answered as GET is, without the body (RFC 9110, 9.3.2)."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on the request; the answer to HEAD ends with its headers, a stream of events too."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_answered = asyncio.Event()

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                is_answered.set()

        async def leave() -> Message:
            await is_answered.wait()
            return {"type": "http.disconnect"}

        await self._app({**scope, "method": "GET"}, leave, send_headers)


def check_query(request: Request) -> None:
    """Raise `AtelierError` for a parameter that the route does not take, or takes once."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    takes_many = dict(_parameters(route))
    for name in request.query_params:
        shown = repr(name[:100])
        if name not in takes_many:
            taken = ", ".join(takes_many) or "none"
            raise RefusedError(f"{shown}: no such parameter here; there is {taken}")
        if not takes_many[name] and len(request.query_params.getlist(name)) > 1:
            raise RefusedError(f"{shown}: given more than once; give it once")


def _parameters(route: APIRoute) -> Iterator[tuple[str, bool]]:
    """Names of a route's query parameters, and whether each may be given several times."""
    for parameter in route.dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                yield name, get_origin(field.annotation) in (list, tuple)
        else:
            yield parameter.alias, get_origin(annotation) in (list, tuple)
