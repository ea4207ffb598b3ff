"""The page: plain HTML, CSS and JavaScript over the API, without a build step.

mount_page(app)

`app` is the FastAPI application that answers /api; the page reads and changes all through it, and
loads nothing from anywhere else. docs/page.md says why it is no Gradio.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def mount_page(app: "FastAPI") -> None:
    """Answer `/` with the page, and `/assets/NAME` with what it is made of."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    # All of it is read here, so that no part of an address ever becomes a path.
    files = {
        path.name: (path.read_bytes(), _MEDIA_TYPES[path.suffix])
        for path in Path(__file__).parent.iterdir()
        if path.suffix in _MEDIA_TYPES
    }
    tags = {name: f'"{hashlib.sha256(data).hexdigest()[:32]}"' for name, (data, _) in files.items()}

    def answer(request: "Request", name: str) -> "Response":
        if name not in files:
            raise HTTPException(404, "there is no such page")
        # Asked for anew each time, so that another version is seen at once.
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(None, 304, headers)
        data, media_type = files[name]
        return Response(data, media_type=media_type, headers=headers)

    def page(request: "Request") -> "Response":
        return answer(request, "index.html")

    def asset(request: "Request") -> "Response":
        return answer(request, request.path_params["name"])

    app.add_route("/", page, include_in_schema=False)
    app.add_route("/assets/{name}", asset, include_in_schema=False)


__all__ = ["mount_page"]
