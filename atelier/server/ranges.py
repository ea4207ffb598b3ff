"""Files over HTTP: validated by their digest, and in parts (RFC 9110, sections 13 and 14)."""

import re
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def file_response(
    request_headers: Mapping[str, str],
    data: bytes,
    media_type: str,
    tag: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A file, a part of it where one range is asked for, or 304 where the client has it.

    `tag` stands for the bytes: another file has another one. Several ranges give the whole file,
    as the standard allows; a range beyond the end gives 416.
    """
    etag = f'"{tag}"'
    told = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    told |= headers or {}
    if etag in _tags(request_headers.get("if-none-match", "")):
        return Response(None, 304, told)
    found = _RANGE.fullmatch(request_headers.get("range", "").replace(" ", ""))
    is_same = request_headers.get("if-range", etag) == etag
    if found is None or not is_same or found.groups() == ("", ""):
        return Response(data, headers=told, media_type=media_type)
    return _part(data, found.group(1), found.group(2), media_type, told)


def _part(data: bytes, first: str, last: str, media_type: str, headers: dict[str, str]) -> Response:
    size = len(data)
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        told = {"Content-Range": f"bytes */{size}"}
        raise HTTPException(416, f"the file has {size} bytes, and none of those asked for", told)
    told = headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
    return Response(data[start:end], 206, told, media_type=media_type)


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
