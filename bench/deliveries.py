"""Deliveries: how soon artifacts arrive, and what trying again costs.

The receiver is in this process. *Result to last artifact* begins when the runner has the
answer to its result and ends when the receiver has answered the job's last artifact. For
the throughput, the receiver first puts everything off to one moment, so that all is due at
once and nothing but sending is measured; then it refuses a third of what comes.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.fleet import BenchRunner, transcript
from bench.report import Figure, note, percentile
from bench.waiting import upload
from bench.wire import Wire
from bench.world import World
from rhapsode.services.sending import Pace

PART = "deliveries"
ARTIFACTS = ("txt", "vtt", "json", "meta")
SECTIONS: dict[str, dict[str, Any]] = {
    "outbound": {"allow_networks": ["127.0.0.0/8"]},
    "deliveries": {"first_seconds": 0.2, "most_seconds": 2.0, "attempts": 30},
}
_READY_SECONDS = 5.0


@dataclass
class Receiver:
    """Notes when what arrived; `status` decides over each PUT."""

    status: Callable[[], int] = lambda: 200
    retry_after: Callable[[], int] = lambda: 0
    url: str = ""
    arrived: dict[str, float] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    puts: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        _, _, rest = head.lower().partition(b"content-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        status = self.status()
        self.puts += 1
        later = f"Retry-After: {self.retry_after()}\r\n" if status == 429 else ""
        writer.write(f"HTTP/1.1 {status} Told\r\n{later}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        if status == 200:
            self.arrived.setdefault(path, time.monotonic())
            self.bodies[path] = body
            self.news.set()

    async def all_of(self, paths: list[str], seconds: float) -> float:
        """When the last of these arrived."""
        async with asyncio.timeout(seconds):
            while not all(path in self.arrived for path in paths):
                self.news.clear()
                await self.news.wait()
        return max(self.arrived[path] for path in paths)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()


@dataclass
class Maker:
    """Brings jobs with outputs to their results, one after the other."""

    asking: Wire
    runner: BenchRunner
    receiver: Receiver
    media: str
    made: int = 0

    async def one(self) -> tuple[list[str], float]:
        """A job up to its result: where its artifacts go, and when the result was answered."""
        self.made += 1
        paths = [f"/{self.made}/{name}" for name in ARTIFACTS]
        outputs = {n: self.receiver.url + p for n, p in zip(ARTIFACTS, paths, strict=True)}
        spec = {"model": "tiny.en", "language": "en"}
        body = {"input": {"media_id": self.media}, "spec": spec, "outputs": outputs}
        answer = await self.asking.request("POST", "/api/jobs", body)
        assert answer.status == 201, answer.body
        wire, path = self.runner.wire, self.runner.path
        claimed = await wire.request("POST", f"{path}/claim", {"wait_seconds": 5})
        assert claimed.status == 200, claimed.body
        lease = claimed.json()
        report = f"{path}/leases/{lease['job_id']}/{lease['attempt']}/result"
        result = {"transcript": transcript(), "warnings": []}
        done = await wire.request("PUT", report, result)
        assert done.status in {200, 204}, done.body
        return paths, time.monotonic()


async def measure(world: World, kind: str, jobs: int, deliveries: int) -> list[Figure]:
    """How soon artifacts of single jobs arrive; how fast many do that are refused."""
    async with (
        receiving() as receiver,
        world.wire() as asking,
        Wire(world.server.url, world.token) as wire,
    ):
        runner = BenchRunner(world.server.url, world.token, wire)
        await runner.register("bench")
        maker = Maker(asking, runner, receiver, await upload(asking))
        waits = await _single(maker, jobs)
        note(f"deliveries, {kind}: p50 {percentile(waits, 0.5) * 1000:.0f} ms")
        figures = _latency(kind, waits)
        return figures + await _many(maker, kind, deliveries // len(ARTIFACTS))


async def _single(maker: Maker, jobs: int) -> list[float]:
    waits = []
    for _ in range(jobs):
        paths, stored = await maker.one()
        waits.append(max(0.0, await maker.receiver.all_of(paths, 30) - stored))
    return waits


def _latency(kind: str, waits: list[float]) -> list[Figure]:
    detail = f"{len(waits)} jobs, one by one; 3 artifacts and then the record"
    return [
        Figure(
            part=PART,
            name=f"result to last artifact, {kind}: p{share * 100:.0f}",
            value=percentile(waits, share) * 1000,
            unit="ms",
            at_most=limit,
            detail=detail,
        )
        for share, limit in ((0.5, 500), (0.99, 2000))
    ]


async def _many(maker: Maker, kind: str, jobs: int) -> list[Figure]:
    receiver, chance = maker.receiver, random.Random(3)
    # Only the jobs' three artifacts can be put off: their records come after them.
    start = time.monotonic() + _READY_SECONDS + jobs * 0.05
    receiver.status = lambda: 429
    receiver.retry_after = lambda: max(0, math.ceil(start - time.monotonic()))
    paths = [path for _ in range(jobs) for path in (await maker.one())[0]]
    await asyncio.sleep(max(0.0, start - time.monotonic()))
    receiver.puts, receiver.status = 0, lambda: 500 if chance.random() < 1 / 3 else 200
    began = time.monotonic()
    seconds = await receiver.all_of(paths, 300) - began
    ours = len(paths) / seconds
    puts = receiver.puts
    bodies = {path: receiver.bodies[path] for path in paths}
    bare = await _bare(receiver, bodies)
    arrived = sum(path in receiver.arrived for path in paths)
    return [
        Figure(
            part=PART,
            name=f"arrived at a receiver that fails a third of the time, {kind}",
            value=arrived / len(paths),
            at_least=1.0,
            detail=f"{arrived} of {len(paths)} in {seconds:.1f} s, {puts} PUTs",
        ),
        Figure(
            part=PART,
            name=f"deliveries ÷ bare httpx PUTs, {kind}",
            value=ours / bare,
            detail=f"{ours:.0f}/s ÷ {bare:.0f}/s",
        ),
    ]


async def _bare(receiver: Receiver, bodies: dict[str, bytes]) -> float:
    """The same bodies to the same receiver, as many at once, repeated at once; per second."""
    waiting = list(bodies.items())

    async def work(client: httpx.AsyncClient) -> None:
        while waiting:
            path, body = waiting.pop()
            while not (await client.put(receiver.url + path, content=body)).is_success:
                pass

    async with httpx.AsyncClient() as client:
        began = time.monotonic()
        works: list[Awaitable[None]] = [work(client) for _ in range(Pace().share)]
        await asyncio.gather(*works)
        return len(bodies) / (time.monotonic() - began)
