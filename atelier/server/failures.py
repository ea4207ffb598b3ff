"""The status and the problem details (RFC 9457) with which each error is answered."""

import errno
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from atelier.discretion import without_places
from atelier.outcomes import outcome_of
from atelier.server.answers import Answer
from atelier.server.problems import problem
from interfaces.errors import AtelierError

_log = logging.getLogger("atelier.server")

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Failure(Answer):
    """Answer to every error, as `application/problem+json` (RFC 9457)."""

    type: str = Field(description="Kind of error: always 'about:blank'; the status says which.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The status.")
    detail: str = Field(description="One line: what was wrong, what to do.")
    error: str = Field(description="`detail` again, for programs written before /v1.")


FAILURES: dict[int | str, dict[str, Any]] = {
    kind: {
        "description": "What was wrong, in one line.",
        "content": {"application/problem+json": {"schema": Failure.model_json_schema()}},
    }
    for kind in ("4XX", "5XX")
}


def handle_errors(app: FastAPI, workspace: Path) -> None:
    """Answer every error as a problem, without the place of the workspace."""

    @app.exception_handler(AtelierError)
    async def known(request: Request, error: AtelierError) -> Response:
        return _failure(outcome_of(error).status, without_places(str(error), [workspace]))

    @app.exception_handler(OSError)
    async def disk(request: Request, error: OSError) -> Response:
        if error.errno in _NO_ROOM:
            return _failure(503, f"the disk of the workspace: {error.strerror}; make room there")
        return await unknown(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _failure(422, "; ".join(map(_fault, error.errors()[:5])))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _failure(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        _log.error("%s %s", request.method, request.url.path, exc_info=error)
        return _failure(500, "an internal error; see the server's own output")


def _fault(fault: ErrorDetails) -> str:
    if fault["type"] == "json_invalid":
        return f"the request is not JSON from character {fault['loc'][-1]} on"
    where = ".".join(str(part) for part in fault["loc"][1:]) or "the request"
    return f"{where[:200]}: {fault['msg'].removeprefix('Value error, ')[:300]}"


def _failure(status: int, line: str, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(problem(status, " ".join(line.split())))
    more = {"Retry-After": "5"} if status == 503 else {}
    return Response(
        body, status, {**more, **(headers or {})}, media_type="application/problem+json"
    )
