"""A real receiver of deliveries that behaves as it is told: slow, cut off, refusing, silent."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto


class Manner(Enum):
    """What a receiver does that gives no proper answer."""

    HANG = auto()
    """Reads everything and says nothing."""
    CLOSE = auto()
    """Hangs up before it has read anything."""
    CUT = auto()
    """Hangs up in the middle of the answer's header."""


@dataclass(frozen=True)
class Reply:
    """An answer, after so many seconds."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: float = 0.0


@dataclass(frozen=True)
class Received:
    """One request that was read to its end."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def delivery_id(self) -> str:
        return self.headers["rhapsode-delivery"]


Behaviour = Reply | Manner


@dataclass
class Receiver:
    """Answers 200; `plans` holds what comes first at a path, `always` what stays."""

    url: str = ""
    log: list[Received] = field(default_factory=list)
    plans: dict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, Behaviour] = field(default_factory=dict)
    busy: int = 0
    most_busy: int = 0
    connections: set["asyncio.Task[None]"] = field(default_factory=set)

    def plan(self, path: str, *behaviours: Behaviour) -> str:
        """Behave like this, one after the other, at a path; returns its URL."""
        self.plans[path].extend(behaviours)
        return self.url + path

    def at(self, path: str) -> list[Received]:
        """What came to a path, query or not."""
        return [item for item in self.log if item.path.partition("?")[0] == path]

    def behaviour(self, target: str) -> Behaviour:
        path = target.partition("?")[0]
        if self.plans[path]:
            return self.plans[path].popleft()
        return self.always.get(path, Reply())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection, until either side has enough of it."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            while await self._one(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.connections.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether another may follow on the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        fields = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in fields}
        behaviour = self.behaviour(target)
        if behaviour is Manner.CLOSE:
            return False
        body = await reader.readexactly(int(headers["content-length"]))
        self.log.append(Received(method, target, headers, body))
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            return await self._answer(behaviour, reader, writer)
        finally:
            self.busy -= 1

    async def _answer(
        self,
        behaviour: Behaviour,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if behaviour is Manner.HANG:
            await reader.read()  # until the other side gives up
            return False
        if behaviour is Manner.CUT:
            writer.write(b"HTTP/1.1 200 O")
            await writer.drain()
            return False
        assert isinstance(behaviour, Reply)
        await asyncio.sleep(behaviour.after)
        fields = {**behaviour.headers, "Content-Length": str(len(behaviour.body))}
        told = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {behaviour.status} Told\r\n{told}\r\n".encode())
        writer.write(behaviour.body)
        await writer.drain()
        return True


@asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = receiver or Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()
        for task in (open_ones := tuple(receiver.connections)):
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
