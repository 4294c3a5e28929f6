"""Latency: from the answer to POST /api/jobs to the runner's first byte of the recording."""

import asyncio
import json
import random
import time
from datetime import datetime
from pathlib import Path

from bench.report import Figure, note, percentile
from bench.waiting import post, upload
from bench.wire import Wire
from bench.world import World

PART = "latency"


async def bench_runner(world: World, kind: str, jobs: int) -> list[Figure]:
    """Jobs one by one to one idle runner that fetches at once."""
    chance, posted, told = random.Random(2), [], []
    async with world.fleet(1) as fleet, world.wire() as wire:
        media = await upload(wire)
        fleet.tell(do="serve", fetch=True)
        for _ in range(jobs):
            await asyncio.sleep(chance.uniform(0.02, 0.08))  # idle again, and not in step
            posted.append(await post(wire, media))
            told.append(await fleet.hear())
        await fleet.ask(do="stop")
    waits = [
        max(0.0, item["first_byte"] - asked.answered)
        for asked, item in zip(posted, told, strict=True)
    ]
    note(f"latency, {kind}: p50 {percentile(waits, 0.5) * 1000:.1f} ms")
    return _figures(f"first byte at a bench runner, {kind}", waits)


def _figures(name: str, seconds: list[float]) -> list[Figure]:
    detail = f"{len(seconds)} jobs; slowest {max(seconds) * 1000:.0f} ms"
    return [
        Figure(
            part=PART,
            name=f"{name}: p{share * 100:.0f}",
            value=percentile(seconds, share) * 1000,
            unit="ms",
            at_most=limit,
            detail=detail,
        )
        for share, limit in ((0.5, 50), (0.99, 200))
    ]


async def real_runner(world: World, recording: Path, jobs: int) -> list[Figure]:
    """The embedded runner, seen through the server's log: its media request was answered.

    The log's line is written when the whole answer is out, so this is an upper bound.
    """
    asked: dict[str, float] = {}
    async with world.wire() as wire:
        media = await _uploaded(wire, recording)
        await _run(wire, media)  # loads the model
        for _ in range(jobs):
            await asyncio.sleep(0.2)
            job, answered = await _run(wire, media)
            asked[job] = answered
    fetched = _fetched(world.server.log)
    waits = [max(0.0, fetched[job] - answered) for job, answered in asked.items()]
    return _figures("recording sent to the real runner, sqlite", waits)


async def _uploaded(wire: Wire, recording: Path) -> str:
    answer = await wire.send("POST", "/api/media?name=clip.wav", recording.read_bytes())
    assert answer.status == 201, answer.body
    found: str = answer.json()["id"]
    return found


async def _run(wire: Wire, media: str) -> tuple[str, float]:
    """A job from its asking to its end; when (seconds since 1970) it was answered."""
    posted = await post(wire, media)
    answered = time.time() - (time.monotonic() - posted.answered)
    while True:
        state = (await wire.request("GET", f"/api/jobs/{posted.job}")).json()["state"]
        if state not in {"queued", "running"}:
            assert state == "finished", state
            return posted.job, answered
        await asyncio.sleep(0.1)


def _fetched(log: Path) -> dict[str, float]:
    """When each job's recording was sent, by the server's log."""
    found: dict[str, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        if not line.startswith("{") or '/media"' not in line or "/leases/" not in line:
            continue
        entry = json.loads(line)
        job = entry["path"].split("/")[5]
        found.setdefault(job, datetime.fromisoformat(entry["timestamp"]).timestamp())
    return found
