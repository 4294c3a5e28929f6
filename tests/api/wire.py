"""One request to the application with its wires in hand: to stream, to wait, to hang up."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.server import App

Message = dict[str, Any]


class Call:
    """A request that is under way."""

    def __init__(self, app: App, method: str, path: str, headers: dict[str, str]) -> None:
        self._app = app.client._transport.app  # type: ignore[attr-defined]
        path, _, query = path.partition("?")
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            "server": ("server", 80),
            "client": ("client", 1),
        }
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._sent: asyncio.Queue[Message | None] = asyncio.Queue()
        self.status: int | None = None

    async def run(self) -> None:
        try:
            await self._app(self._scope, self._incoming.get, self._sent.put)
        finally:
            await self._sent.put(None)

    def send(self, body: bytes, *, more: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def started(self) -> int:
        """The status, once the answer begins."""
        message = await self._next()
        assert message is not None
        status: int = message["status"]
        return status

    async def chunk(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        message = await self._next()
        while message is not None and not message.get("body"):
            message = await self._next()
        return None if message is None else bytes(message["body"])

    async def body(self) -> bytes:
        whole = b""
        while (chunk := await self.chunk()) is not None:
            whole += chunk
        return whole

    async def event(self) -> tuple[str, Any] | None:
        """The next server-sent event, comments passed over; None at the end."""
        while (chunk := await self.chunk()) is not None:
            if not chunk.startswith(b":"):
                return _event(chunk.decode())
        return None

    async def _next(self) -> Message | None:
        async with asyncio.timeout(20):
            return await self._sent.get()


def _event(text: str) -> tuple[str, Any]:
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def call(
    app: App,
    method: str,
    path: str,
    secret: str,
    body: Iterable[bytes] | None = (b"",),
    **headers: str,
) -> AsyncIterator[Call]:
    """A request; without a body, it is for the test to send it. At the end it hangs up."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Call(
        app, method, path, {"host": "server", "authorization": f"Bearer {secret}", **named}
    )
    pieces = list(body or ())
    for index, piece in enumerate(pieces, start=1):
        request.send(piece, more=index < len(pieces))
    task = asyncio.create_task(request.run())
    try:
        yield request
    finally:
        request.hang_up()
        async with asyncio.timeout(20):
            await asyncio.gather(task, return_exceptions=True)
