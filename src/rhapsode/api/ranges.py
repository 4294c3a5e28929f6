"""Hands out a stored recording, whole or in part (RFC 9110, ranges of bytes)."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from rhapsode.domain.errors import Invalid
from rhapsode.domain.media import Media
from rhapsode.services.context import Context

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class RangeNotSatisfiable(Invalid):
    """The range lies outside of the file."""

    def __init__(self, size: int) -> None:
        super().__init__("range_not_satisfiable", f"The file has {size} bytes.")
        self.size = size


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The one range that is asked for, end exclusive; None where the whole is to be sent.

    Several ranges, and what is not understood, may be answered with the whole.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if last and first and int(last) < int(first):
        return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(size)
    return start, end


async def content(
    request: Request, context: Context, media: Media, *, download: bool
) -> Response:
    """The recording, or the part of it that the request's headers ask for."""
    headers = _headers(media, download=download)
    if _is_known(request.headers.get("if-none-match"), headers["etag"]):
        return Response(status_code=304, headers=headers)
    wanted = None
    unchanged = request.headers.get("if-range", headers["etag"]) == headers["etag"]
    if unchanged and request.method == "GET":  # a range means nothing to any other method
        wanted = byte_range(request.headers.get("range"), media.size)
    start, end = wanted or (0, media.size)
    headers["content-length"] = str(end - start)
    if wanted:
        headers["content-range"] = f"bytes {start}-{end - 1}/{media.size}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    chunks: AsyncIterator[bytes] = await context.store.stream(media.key, start, end)
    return StreamingResponse(chunks, status_code=status, headers=headers)


def _is_known(known: str | None, etag: str) -> bool:
    """Whether If-None-Match names this very content, or any."""
    tags = {tag.strip().removeprefix("W/") for tag in (known or "").split(",")}
    return bool(tags & {etag, "*"})


def _headers(media: Media, *, download: bool) -> dict[str, str]:
    kind = "attachment" if download else "inline"
    media_type = media.probe.media_type if media.probe else "application/octet-stream"
    return {
        "content-type": media_type,
        "content-disposition": disposition(kind, media.name),
        "accept-ranges": "bytes",
        "etag": f'"{media.digest}"',
        "cache-control": "private, max-age=0, must-revalidate",
        # Whatever somebody uploaded, it never runs as a page of ours.
        "content-security-policy": "default-src 'none'; media-src 'self'; sandbox",
    }


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition that old and new clients read (RFC 6266)."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
