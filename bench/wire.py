"""A lean HTTP/1.1 client: the machine is shared, so what measures must cost little."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `first_byte` is when the first byte of its body came (monotonic seconds)."""

    status: int
    body: bytes
    first_byte: float

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class Wire:
    """One connection that is kept alive, with one request at a time."""

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._fixed = f"Host: {parts.netloc}\r\nAuthorization: Bearer {secret}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()

    async def request(self, method: str, path: str, document: Any = None) -> Response:
        """Send a request, with JSON if there is a document, and read the whole answer."""
        body = b"" if document is None else json.dumps(document).encode()
        return await self.send(method, path, body)

    async def send(self, method: str, path: str, body: bytes = b"") -> Response:
        """Send a request whose body is JSON already."""
        assert self._reader is not None
        assert self._writer is not None
        kind = "Content-Type: application/json\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._fixed}{kind}Content-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        return await self._answer(self._reader)

    async def _answer(self, reader: asyncio.StreamReader) -> Response:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            body, first = await _chunked(reader)
        else:
            _, found, rest = head.partition(b"content-length:")
            length = int(rest.partition(b"\r\n")[0]) if found else 0
            body, first = await _sized(reader, length)
        return Response(status, body, first)


async def _sized(reader: asyncio.StreamReader, length: int) -> tuple[bytes, float]:
    if not length:
        return b"", time.monotonic()
    start = await reader.read(length)
    first = time.monotonic()
    return start + await reader.readexactly(length - len(start)), first


async def _chunked(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    body, first = b"", 0.0
    while size := int(await reader.readline(), 16):
        first = first or time.monotonic()
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body, first or time.monotonic()
