"""Errors as problem details (RFC 9457)."""

from http.client import responses


def problem(status: int, line: str) -> dict[str, str | int]:
    """The members of one error; `error` repeats `detail` for programs written before /v1."""
    title = responses.get(status, "Error")
    return {"type": "about:blank", "title": title, "status": status, "detail": line, "error": line}
