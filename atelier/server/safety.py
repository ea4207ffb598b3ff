"""Guard before every route of the server, the page's own among them.

- The Host header must name this machine, or a page of somebody else's could reach it under a name
  of its own (DNS rebinding).
- What changes something must come from this server's own page or from no page at all (CSRF).
- On any address but the loopback, a token is asked for: as a Bearer token from programs, as a
  password from people, who then hold a cookie. From an address that guesses, tokens are compared
  one after another, ten in a second; the right one waits its turn there, and nowhere else.
- A body has a limit, and an answer says that nothing from outside may be loaded.
"""

import asyncio
import hashlib
import hmac
import html
import ipaddress
import json
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from weakref import WeakValueDictionary

from atelier.server.problems import problem
from interfaces.errors import RefusedError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "atelier_session"

MAX_BODY_BYTES = 2**20
MAX_GATHERED_BYTES = 2**23
"""A request that names all the pictures of a collection, with their styles."""

MAX_UPLOAD_BYTES = 8 * 2**30
_MIN_TOKEN_LETTERS = 8
_SESSION_SECONDS = 30 * 24 * 3600
_MAX_FAILURES = 20
"""Wrong tokens from one address in a minute before each further one waits its turn."""

_TURN_SECONDS = 0.1
"""Time that the comparison of each of these takes."""

_MAX_ADDRESSES = 10_000
"""Addresses whose failures are remembered."""

_ANSWER_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        b"frame-ancestors 'self'; form-action 'self'; base-uri 'self'",
    ),
)


class Safety:
    """Rules by which the server is guarded, depending on where it listens.

    Raises `AtelierError` where it listens to other machines without a token. `names` are further
    names that it is reached by.
    """

    def __init__(
        self, host: str = "127.0.0.1", token: str | None = None, names: Iterable[str] = ()
    ) -> None:
        if token is None and not is_loopback(host):
            raise RefusedError(
                f"--host {host}: other machines could reach the server; give it a --token too"
            )
        if token is not None and len(token) < _MIN_TOKEN_LETTERS:
            raise RefusedError(f"--token: give at least {_MIN_TOKEN_LETTERS} letters")
        self.token = token
        self._names = {"localhost", host.lower(), *(name.lower() for name in names)}
        self._is_local = is_loopback(host)
        if not self._is_local:
            self._names.add(socket.gethostname().lower())
        self._failures: dict[str, deque[float]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def is_for_one(self) -> bool:
        """Whether this machine alone is meant to reach the server."""
        return self.token is None and self._is_local and len(self._names) <= 2

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this server; an address cannot be another's name."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._is_local

    def is_token(self, given: str) -> bool:
        """Compare in constant time; True where no token is asked for."""
        if self.token is None:
            return True
        # Digests, so that not even the length can be measured.
        digests = [
            hashlib.sha256(t.encode("utf-8", "replace")).digest() for t in (given, self.token)
        ]
        return hmac.compare_digest(*digests)

    async def try_token(self, address: str, given: str) -> tuple[bool, bool]:
        """Whether a token is right, and whether it had to wait, as one of many from an address.

        Whoever leaves meanwhile takes a turn all the same, or leaving would make guesses quick.
        """
        network = _network(address)
        if is_guessing := self._is_guessing(network):
            turn = self._turns.setdefault(network, asyncio.Lock())
            async with turn:
                await asyncio.sleep(_TURN_SECONDS)
        is_right = self.is_token(given)
        if not is_right:
            self._note_failure(network)
        return is_right, is_guessing

    def _is_guessing(self, network: str) -> bool:
        failures = self._failures.get(network, ())
        return len(failures) == _MAX_FAILURES and failures[0] > time.monotonic() - 60

    def _note_failure(self, network: str) -> None:
        failures = self._failures.pop(network, deque[float](maxlen=_MAX_FAILURES))
        failures.append(time.monotonic())
        self._failures[network] = failures  # behind those that failed longer ago
        if len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]

    def new_session(self) -> str:
        """A cookie's value: when it ends, signed with the token."""
        end = str(int(time.time()) + _SESSION_SECONDS)
        return f"{end}.{self._sign(end)}"

    def is_session(self, cookie: str) -> bool:
        """Whether a cookie is ours and has not expired."""
        end, _, signature = cookie.partition(".")
        is_signed = hmac.compare_digest(signature.encode(), self._sign(end).encode())
        return is_signed and end.isascii() and end.isdecimal() and int(end) > time.time()

    def _sign(self, text: str) -> str:
        key = hashlib.sha256(b"atelier session " + (self.token or "").encode()).digest()
        return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _network(address: str) -> str:
    """Part of an address that belongs to one client: all of it, or the upper half in version 6."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(known) if known.version == 4 else known.exploded[:19]


class Guard:
    """The guard as an ASGI middleware."""

    def __init__(self, app: App, safety: Safety) -> None:
        self._app = app
        self._safety = safety

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        guarded = _with_headers(send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refuse(scope, guarded, *refusal)
        elif scope["path"] == "/login" and self._safety.token is not None:
            await self._login(scope, receive, guarded, headers)
        else:
            is_known, has_waited = await self._identify(scope, headers)
            if is_known:
                await self._app(scope, _limited(receive, _limit(scope["path"])), guarded)
            else:
                await self._ask(scope, guarded, headers, 429 if has_waited else 401)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._safety.knows_host(host):
            return 403, "this server is not known under that name; use its address"
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and not _is_from_here(headers, host):
            return 403, "the request comes from another page"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return 400, "the Content-Length is no number"
        if len(length) > 18 or int(length) > _limit(scope["path"]):
            return 413, "the request is too large"
        return None

    async def _identify(self, scope: Scope, headers: dict[str, str]) -> tuple[bool, bool]:
        """Whether a request may pass, and whether its token had to wait its turn."""
        safety = self._safety
        if safety.token is None or safety.is_session(_cookie(headers)):
            return True, False
        given = _bearer(headers)
        return await safety.try_token(_address(scope), given) if given else (False, False)

    async def _ask(self, scope: Scope, send: Send, headers: dict[str, str], status: int) -> None:
        if scope["type"] == "websocket" or scope["path"].startswith("/api/"):
            await refuse(scope, send, status, "give the token: Authorization: Bearer …")
        elif "text/html" in headers.get("accept", ""):
            await answer(send, 303, b"", [(b"location", b"/login")])
        else:
            await refuse(scope, send, 401, "log in first")

    async def _login(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]
    ) -> None:
        if scope["method"] != "POST":
            await answer(
                send, 200, _login_page(""), [(b"content-type", b"text/html; charset=utf-8")]
            )
            return
        body = await _body(receive)
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        is_right, has_waited = await self._safety.try_token(_address(scope), given)
        if is_right:
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = (
                f"{COOKIE}={self._safety.new_session()}; Path=/; HttpOnly; SameSite=Strict; "
                f"Max-Age={_SESSION_SECONDS}{secure}"
            )
            place = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
            await answer(send, 303, b"", place)
        else:
            status = 429 if has_waited else 401
            page = _login_page("That is not the password.")
            await answer(send, status, page, [(b"content-type", b"text/html; charset=utf-8")])


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _bearer(headers: dict[str, str]) -> str:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: dict[str, str]) -> str:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _is_from_here(headers: dict[str, str], host: str) -> bool:
    """Browsers say which page a request comes from; programs say nothing."""
    origin = headers.get("origin")
    if origin is not None:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _limit(path: str) -> int:
    last = path.rstrip("/").rpartition("/")[2] if path.startswith("/api/") else ""
    larger = {"uploads": MAX_UPLOAD_BYTES, "collections": MAX_GATHERED_BYTES}
    return larger.get(last, MAX_BODY_BYTES)


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0

    async def count() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            # As if the client had gone: nobody works on what is left.
            return {"type": "http.disconnect"}
        return message

    return count


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", ())}
            more = [header for header in _ANSWER_HEADERS if header[0] not in given]
            message["headers"] = [*message.get("headers", ()), *more]
        await send(message)

    return add


async def refuse(scope: Scope, send: Send, status: int, line: str) -> None:
    """Answer a request with an error as a problem (RFC 9457); close a web socket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = json.dumps(problem(status, line)).encode()
    await answer(send, status, body, [(b"content-type", b"application/problem+json")])


async def answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a whole answer, not to be cached."""
    headers = [
        *headers,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > MAX_BODY_BYTES:
            return body[:MAX_BODY_BYTES]


def _login_page(line: str) -> bytes:
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Atelier</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ display: grid; place-items: center; min-height: 90vh; margin: 0 }}
form {{ display: grid; gap: .75rem; width: min(20rem, 85vw) }}
input, button {{ font: inherit; padding: .6rem .8rem }}
</style>
<form method="post" action="/login">
<h1>Atelier</h1>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" autofocus>
<button>Open</button>
<p role="alert">{html.escape(line)}</p>
</form>
</html>""".encode()
