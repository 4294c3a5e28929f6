"""Runners that only speak the protocol: claim, fetch if told to, hand in a small transcript.

A process of its own (`python -m bench.fleet`), so that it measures what a runner sees.
"""

import asyncio
import json
import time
import zlib
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench.wire import Response, Wire
from bench.worker import Orders

ENGINE, MODEL = "faster-whisper", "tiny.en"
WAIT_SECONDS = 55
_TEXT = "It was the best of times, it was the worst of times"
_CAPABILITIES = {"engines": [{"engine": ENGINE, "models": [MODEL]}], "threads": 1}


def transcript() -> dict[str, Any]:
    """A short transcript with word times, as a runner hands it in."""
    words = [
        {"start": i * 0.2, "end": i * 0.2 + 0.15, "text": word, "probability": 0.98}
        for i, word in enumerate(_TEXT.split())
    ]
    segment = {"start": 0.0, "end": 2.4, "text": _TEXT, "speaker": None, "words": words}
    return {
        "text": _TEXT,
        "language": "en",
        "duration": 2.5,
        "segments": [segment],
        "language_probability": None,
    }


def packed_transcript() -> bytes:
    """The same as the server stores it."""
    return zlib.compress(json.dumps(transcript()).encode(), level=3)


_RESULT = json.dumps({"transcript": transcript(), "warnings": []}).encode()


@dataclass
class Tally:
    """What the runners of one round have done, up to `goal` finished jobs."""

    goal: int
    finished: int = 0
    claims: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def note_claim(self, seconds: float) -> None:
        self.claims.append(seconds)

    def note_finish(self) -> None:
        self.finished += 1
        if self.finished >= self.goal:
            self.done.set()


@dataclass
class BenchRunner:
    """One runner: a registration and a connection."""

    url: str
    token: str
    wire: Wire
    path: str = ""

    async def register(self, name: str) -> None:
        body = {"name": name, "version": "bench", "capabilities": _CAPABILITIES}
        answer = await self.wire.request("POST", "/api/runners/register", body)
        assert answer.status == 200, answer.body
        self.path = f"/api/runners/{answer.json()['runner_id']}"

    async def claim(self) -> dict[str, Any]:
        """The next job, however long it takes to come."""
        body = json.dumps({"wait_seconds": WAIT_SECONDS}).encode()
        while True:
            answer = await self.wire.send("POST", f"{self.path}/claim", body)
            if answer.status == 200:
                found: dict[str, Any] = answer.json()
                return found
            assert answer.status == 204, answer.body

    def _lease(self, job: dict[str, Any]) -> str:
        return f"{self.path}/leases/{job['job_id']}/{job['attempt']}"

    async def fetch(self, job: dict[str, Any]) -> Response:
        """The recording."""
        answer = await self.wire.send("GET", f"{self._lease(job)}/media")
        assert answer.status == 200, answer.body
        return answer

    async def finish(self, job: dict[str, Any]) -> None:
        """Hand in the transcript."""
        answer = await self.wire.send("PUT", f"{self._lease(job)}/result", _RESULT)
        assert answer.status == 204, answer.body

    async def drain(self, tally: Tally) -> None:
        """Claim and finish until cancelled, as fast as the server goes."""
        while True:
            asked = time.monotonic()
            job = await self.claim()
            tally.note_claim(time.monotonic() - asked)
            await self.finish(job)
            tally.note_finish()

    async def serve(self, orders: Orders, *, fetch: bool) -> None:
        """Claim and finish until cancelled, and tell the times of each job."""
        while True:
            job = await self.claim()
            told = {"job": job["job_id"], "claimed": time.monotonic()}
            if fetch:
                told["first_byte"] = (await self.fetch(job)).first_byte
            await self.finish(job)
            orders.answer(**told)


class Fleet:
    """All runners of this process."""

    def __init__(self, orders: Orders, url: str, token: str, count: int) -> None:
        self._orders = orders
        self._runners = [BenchRunner(url, token, Wire(url, token)) for _ in range(count)]

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect and register everyone."""
        for number, runner in enumerate(self._runners):
            await stack.enter_async_context(runner.wire)
            await runner.register(f"bench-{number}")

    async def drain(self, jobs: int) -> None:
        """Finish so many jobs; tells the seconds from the first claim to the last result."""
        tally = Tally(jobs)
        started = time.monotonic()
        tasks = [asyncio.create_task(runner.drain(tally)) for runner in self._runners]
        await _first(asyncio.create_task(tally.done.wait()), *tasks)
        seconds = time.monotonic() - started
        await _cancelled(tasks)
        await self._reconnect()
        self._orders.answer(seconds=seconds, jobs=tally.finished, claims=tally.claims)

    async def serve(self, *, fetch: bool) -> None:
        """Serve until the next command."""
        tasks = [
            asyncio.create_task(runner.serve(self._orders, fetch=fetch))
            for runner in self._runners
        ]
        await _first(asyncio.create_task(self._orders.next()), *tasks)
        await _cancelled(tasks)
        await self._reconnect()
        self._orders.answer(stopped=True)

    async def _reconnect(self) -> None:
        """A runner that was stopped amid a request has to begin anew."""
        for runner in self._runners:
            await runner.wire.__aexit__()
            await runner.wire.__aenter__()


async def _first(wanted: asyncio.Task[Any], *tasks: asyncio.Task[None]) -> None:
    """Wait for `wanted`; whoever of the others ends earlier has failed."""
    done, _ = await asyncio.wait([wanted, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def main() -> None:
    orders = Orders()
    await orders.open()
    setup = await orders.next()
    assert setup is not None
    async with AsyncExitStack() as stack:
        fleet = Fleet(orders, setup["url"], setup["token"], setup["runners"])
        await fleet.open(stack)
        orders.answer(ready=True)
        while command := await orders.next():
            if command["do"] == "drain":
                await fleet.drain(command["jobs"])
            else:
                await fleet.serve(fetch=command["fetch"])


if __name__ == "__main__":
    uvloop.run(main())
