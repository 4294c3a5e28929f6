"""Killed at any point between result and delivery, every artifact arrives all the same."""

import asyncio
import contextlib
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.posting import SPEC, Posting, text_of
from tests.acceptance.program import Document, Program, program
from tests.support.delivering import LOCAL
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.recordings import tone
from tests.support.server import Server, running_server, settings_for

_ARTIFACTS = ("txt", "vtt", "json", "meta")
_RUNNERS = 6
_AHEAD = 60
"""So many jobs are under way at a time, so that a kill finds some between their ends."""


@dataclass
class Storm:
    """Submits jobs with outputs and kills the server while they are delivered."""

    server: Server
    receiver: Receiver
    count: int
    most_kills: int
    seed: int
    calm_seconds: float
    kills: list[int] = field(default_factory=list, init=False)
    job_ids: list[str] = field(default_factory=list, init=False)
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def rage(self, driver: Program, posting: Posting, media: Document) -> None:
        """Until every job has ended."""
        started = time.monotonic()
        killing = asyncio.create_task(self._kill_on(posting))
        room = asyncio.Semaphore(_AHEAD)
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                await room.acquire()
                if killing.done():
                    killing.result()  # what went wrong there ends the test
                group.create_task(self._one(driver, media, number, room))
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
        self.seconds = time.monotonic() - started

    async def _one(
        self, driver: Program, media: Document, number: int, room: asyncio.Semaphore
    ) -> None:
        outputs = {name: f"{self.receiver.url}/{number}/{name}" for name in _ARTIFACTS}
        body = {"input": {"media_id": media["id"]}, "spec": SPEC, "outputs": outputs}
        headers = {"idempotency-key": f"job {number}"}
        job = await driver.json("POST", "/api/jobs", json=body, headers=headers)
        self.job_ids.append(job["id"])
        while job["state"] in {"queued", "running", "delivering"}:
            await asyncio.sleep(self._random.uniform(1, 2))
            job = await driver.json("GET", f"/api/jobs/{job['id']}")
        room.release()

    async def _kill_on(self, posting: Posting) -> None:
        while len(self.kills) < self.most_kills:
            await asyncio.sleep(self._random.expovariate(1 / self.calm_seconds))
            arrived = {item.path for item in self.receiver.log}
            await asyncio.to_thread(self.server.kill)
            between = len(posting.posted) * len(_ARTIFACTS) - len(arrived)
            self.kills.append(between)
            await asyncio.to_thread(self.server.start)

    def report(self, database: str) -> str:
        """The storm in figures."""
        at = Counter(item.path for item in self.receiver.log)
        times = ", ".join(f"{n}×: {c}" for n, c in sorted(Counter(at.values()).items()))
        return (
            f"\n{self.count} jobs on {database}, seed {self.seed}: {self.seconds:.0f} s, "
            f"{len(self.kills)} kills\n"
            f"  artifacts on their way at each kill: {self.kills}\n"
            f"  artifacts by how often they were put: {times}"
        )


class _Moody(Receiver):
    """Takes its time, and now and then refuses to."""

    def behaviour(self, target: str) -> Reply:
        number = len(self.log)
        return Reply(503 if number % 7 == 3 else 200, after=0.02)


@asynccontextmanager
async def _moody() -> AsyncIterator[Receiver]:
    async with receiving(_Moody()) as receiver:
        yield receiver


async def _storm(folder: Path, url: str, count: int, most_kills: int, seed: int) -> None:
    settings = settings_for(
        folder,
        database_url=url,
        outbound=LOCAL,
        deliveries={"first_seconds": 0.2, "most_seconds": 1.0, "timeout_seconds": 3.0},
        queue={
            "lease_seconds": 3.0,
            "heartbeat_seconds": 1.0,
            "sweep_seconds": 0.5,
            "max_attempts": 100,
        },
    )
    started = time.monotonic()
    with running_server(settings, folder) as server:
        calm = 0.8 * (time.monotonic() - started)
        key, token = server.secret("--api-key", "tests"), server.secret("--runner", "tests")
        async with (
            _moody() as receiver,
            program(key, server.url) as driver,
            program(token, server.url) as runner,
        ):
            media = await driver.upload(await asyncio.to_thread(tone, folder / "tone.wav"))
            posting = Posting(runner)
            await posting.register()
            working = [asyncio.create_task(posting.work()) for _ in range(_RUNNERS)]
            storm = Storm(server, receiver, count, most_kills, seed, calm)
            await storm.rage(driver, posting, media)
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            print(storm.report(url.partition(":")[0]))
            await _ensure_whole(driver, receiver, storm)


async def _ensure_whole(driver: Program, receiver: Receiver, storm: Storm) -> None:
    found = await driver.jobs()
    assert Counter(job["state"] for job in found) == {"finished": storm.count}
    put: dict[str, list[str]] = defaultdict(list)
    for item in receiver.log:
        put[item.path].append(item.delivery_id)
    assert len(put) == storm.count * len(_ARTIFACTS)
    for job in found:
        listed = await driver.json("GET", f"/api/jobs/{job['id']}/deliveries")
        for item in listed["items"]:
            path = item["url"].removeprefix(receiver.url)
            assert (item["state"], set(put[path])) == ("delivered", {item["id"]})
    texts = {item.path: item.body.decode() for item in receiver.log}
    for job in found:
        path = job["outputs"]["txt"].removeprefix(receiver.url)
        assert texts[path] == text_of(job["id"]) + "\n"
    assert max(storm.kills) > 0  # at least one fell between a result and its deliveries


@pytest.mark.timeout(300)
async def test_a_few_kills(database_url: str, tmp_path: Path) -> None:
    await _storm(tmp_path, database_url, count=40, most_kills=3, seed=5)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
async def test_many_kills(database_url: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("RHAPSODE_TEST_SEED") or random.randrange(1_000_000))
    await _storm(tmp_path, database_url, count=500, most_kills=25, seed=seed)
