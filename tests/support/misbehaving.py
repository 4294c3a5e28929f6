"""A real HTTP server, written by hand, that can misbehave in every way that a test needs.

What it answers is a list of acts for each path: one for each request, the last one for all
that follow. An act writes to the socket what it likes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

Write = asyncio.StreamWriter


@dataclass(frozen=True)
class Asked:
    """One request: headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Act = Callable[[Asked, Write], Awaitable[None]]


@dataclass
class Misbehaving:
    """What it does by path, and what it was asked for."""

    port: int
    host: str = "127.0.0.1"
    acts: dict[str, list[Act]] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def at(self, path: str, *acts: Act) -> str:
        """Have these answer there; the URL."""
        self.acts[path] = list(acts)
        return self.url + path

    def asked(self, path: str, header: str) -> list[str | None]:
        """What the requests for a path said in that header."""
        return [r.headers.get(header) for r in self.requests if r.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: Write) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                asked = await _read(reader)
                self.requests.append(asked)
                acts = self.acts.get(asked.path.partition("?")[0], [status(404)])
                await (acts.pop(0) if len(acts) > 1 else acts[0])(asked, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


@asynccontextmanager
async def misbehaving(host: str = "127.0.0.1") -> AsyncIterator[Misbehaving]:
    """Such a server on a free port, within the block."""
    server = Misbehaving(0, host)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: Write) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve(reader, writer)
        tasks.discard(task)

    listening = await asyncio.start_server(serve, host, 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def head(code: int, **headers: object) -> bytes:
    """An answer's first lines; names are written with `_` for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {code} X", "Connection: close", *lines, "", ""]).encode()


def status(code: int, body: bytes = b"", **headers: object) -> Act:
    """An answer with a status and a body."""

    async def act(_: Asked, writer: Write) -> None:
        writer.write(head(code, Content_Length=len(body), **headers) + body)
        await writer.drain()

    return act


def redirect(to: str, code: int = 302) -> Act:
    return status(code, Location=to)


def raw(data: bytes) -> Act:
    """These very bytes."""

    async def act(_: Asked, writer: Write) -> None:
        writer.write(data)
        await writer.drain()

    return act


def file(
    content: bytes,
    *,
    etag: str | None = '"one"',
    modified: float | None = None,
    cut_after: int | None = None,
    ranges: bool = True,
    **headers: object,
) -> Act:
    """A file as a good server sends it, with Range and If-Range; or cut off after so much."""
    tags: dict[str, object] = {} if etag is None else {"ETag": etag}
    if modified is not None:
        tags["Last_Modified"] = formatdate(modified, usegmt=True)

    async def act(asked: Asked, writer: Write) -> None:
        start = _start(asked, {str(v) for v in tags.values()}) if ranges else 0
        body = content[start:]
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        more = {"Content_Range": span} if start else {}
        said = {"Content_Length": len(body), **tags, **more, **headers}
        writer.write(head(206 if start else 200, **said))
        writer.write(body[:cut_after])
        await writer.drain()

    return act


def _start(asked: Asked, tags: set[str]) -> int:
    if "range" not in asked.headers or asked.headers.get("if-range") not in {None, *tags}:
        return 0
    return int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))


def drip(content: bytes, seconds: float, step: int = 1, code: int = 200) -> Act:
    """The content, a few bytes at a time, with a pause before each."""

    async def act(_: Asked, writer: Write) -> None:
        writer.write(head(code, Content_Length=len(content)))
        for at in range(0, len(content), step):
            await writer.drain()
            await asyncio.sleep(seconds)
            writer.write(content[at : at + step])
        await writer.drain()

    return act


def endless(block: bytes = b"\0" * 65536) -> Act:
    """A body without an end."""

    async def act(_: Asked, writer: Write) -> None:
        writer.write(head(200))
        while True:
            writer.write(block)
            await writer.drain()

    return act


def silence() -> Act:
    """No answer at all."""

    async def act(_: Asked, __: Write) -> None:
        await asyncio.sleep(3600)

    return act


def chunked(content: bytes, *, whole: bool = True) -> Act:
    """Without a length; not `whole`, it breaks off."""

    async def act(_: Asked, writer: Write) -> None:
        writer.write(head(200, Transfer_Encoding="chunked"))
        for at in range(0, len(content), 10_000):
            piece = content[at : at + 10_000]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        writer.write(b"0\r\n\r\n" if whole else b"")
        await writer.drain()

    return act
