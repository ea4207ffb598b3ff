"""Make the application, and serve it until it is asked to end."""

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from atelier.server.backend import Backend
from atelier.server.safety import Safety
from atelier.signals import is_ignored
from interfaces.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from fastapi import FastAPI

_INSTALL = "the page needs FastAPI and uvicorn; pip install 'atelier[ui]'"


def create_app(backend: Backend, safety: Safety) -> "FastAPI":
    """The API under /api, guarded; a page can be mounted into it.

    Raises `AtelierError` where FastAPI is not installed.
    """
    try:
        from atelier.server.app import make_app
    except ImportError as error:
        raise UnavailableError(_INSTALL) from error
    return make_app(backend, safety)


def serve(
    app: "FastAPI", host: str, port: int, ready: Callable[[str], None], *, log_level: str = "error"
) -> None:
    """Serve in the main thread until Ctrl-C; `ready` is called with the address once it answers.

    Port 0 takes a free one. Raises `AtelierError` where the address cannot be had.
    """
    try:
        import uvicorn

        from atelier.server.patience import PatientProtocol
    except ImportError as error:
        raise UnavailableError(_INSTALL) from error

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(address)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if sig not in unheard:
                super().handle_exit(sig, frame)

    # uvicorn would hear Ctrl-C although a shell had it ignored for what it started with `&`.
    unheard = {number for number in (signal.SIGINT, signal.SIGTERM) if is_ignored(number)}
    listening = _bind(host, port)
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    address = f"http://{shown}:{listening.getsockname()[1]}"
    server = Server(
        uvicorn.Config(
            app,
            http=PatientProtocol,
            log_level=log_level,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=3,
        )
    )
    app.state.is_closing = lambda: server.should_exit
    with listening:
        server.run(sockets=[listening])


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise RefusedError(f"--host {host}: no address of this machine ({error})") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(256)
    except (OSError, OverflowError) as error:
        listening.close()
        raise UnavailableError(
            f"{host}:{port}: cannot listen there ({error}); choose another --port, or --port 0"
        ) from error
    return listening
