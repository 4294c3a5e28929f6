"""Queue: how soon a job that arrives is in the hands of one of many idle runners."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench import sound
from bench.fleet import MODEL
from bench.report import Figure, median, note, percentile
from bench.wire import Wire
from bench.worker import Worker
from bench.world import World

PART = "queue"


@dataclass(frozen=True, slots=True)
class Posted:
    """A job as its asker saw it; monotonic seconds, the same clock in every process here."""

    job: str
    sent: float
    answered: float


async def upload(wire: Wire) -> str:
    """A tiny recording, and its id."""
    answer = await wire.send("POST", "/api/media?name=tiny.wav", sound.tiny())
    assert answer.status == 201, answer.body
    found: str = answer.json()["id"]
    return found


async def post(wire: Wire, media: str) -> Posted:
    """Ask for a job."""
    spec = {"model": MODEL, "language": "en"}
    sent = time.monotonic()
    answer = await wire.request(
        "POST", "/api/jobs", {"input": {"media_id": media}, "spec": spec}
    )
    answered = time.monotonic()
    assert answer.status == 201, answer.body
    return Posted(answer.json()["id"], sent, answered)


async def claims(world: World, fleet: Worker, jobs: int, every: float) -> list[float]:
    """Seconds from each job's answer to its claim, jobs arriving one after the other.

    The claim may well be answered before the asker is; that counts as no time at all.
    """
    async with world.wire() as wire:
        media = await upload(wire)
        fleet.tell(do="serve", fetch=False)
        await asyncio.sleep(2)  # all of them ask once, find nothing, and wait
        posted, beats = [], _beats(every)
        for _ in range(jobs):
            await asyncio.sleep(max(0.0, next(beats) - time.monotonic()))
            posted.append(await post(wire, media))
        told = [await fleet.hear() for _ in posted]
        await fleet.ask(do="stop")
    claimed = {item["job"]: item["claimed"] for item in told}
    return [max(0.0, claimed[item.job] - item.answered) for item in posted]


def _beats(every: float) -> Iterator[float]:
    """Moments that are `every` seconds apart on average, and not in step with anything."""
    chance, moment = random.Random(1), time.monotonic()
    while True:
        moment += every * chance.uniform(0.5, 1.5)
        yield moment


async def measure(
    worlds: dict[int, World], kind: str, runners: int, jobs: int, rounds: int
) -> list[Figure]:
    """The 99th percentile on each table, and how it grows with the table."""
    found: dict[int, list[list[float]]] = {rows: [] for rows in worlds}
    for _ in range(rounds):
        for rows, world in worlds.items():
            await world.rows.empty_queue()
            async with world.fleet(runners) as fleet:
                found[rows].append(await claims(world, fleet, jobs, 0.05))
            note(f"{kind}, {rows:,} rows, {runners} idle: p99 {_p99(found[rows][-1]):.0f} ms")
    return [_figure(kind, rows, runners, lists) for rows, lists in found.items()]


def _p99(seconds: list[float]) -> float:
    return percentile(seconds, 0.99) * 1000


def _figure(kind: str, rows: int, runners: int, rounds: list[list[float]]) -> Figure:
    middle = median(percentile(one, 0.5) * 1000 for one in rounds)
    tails = " ".join(f"{_p99(one):.0f}" for one in rounds)
    return Figure(
        part=PART,
        name=f"claim p99, {runners} idle runners, jobs arriving: {kind}, {rows:,} rows",
        value=median(_p99(one) for one in rounds),
        unit="ms",
        at_most=50,
        detail=f"p50 {middle:.1f} ms; p99 of each round {tails} ms; {len(rounds[0])} jobs each",
    )
