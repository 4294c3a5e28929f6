"""`python -m bench`: all parts, or those that are named."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import (
    accuracy,
    by_url,
    deliveries,
    engine,
    immediate,
    latency,
    memory,
    report,
    sound,
    throughput,
    waiting,
)
from bench.report import Figure, note
from bench.worker import worker
from bench.world import DATABASES, POSTGRESQL, SQLITE, World, world
from tests.support import speech
from tests.support.postgres import Postgres, postgres

_RECORDINGS = Path(__file__).resolve().parents[1] / ".cache" / "bench"


class Part(StrEnum):
    """What can be measured."""

    ENGINE = "engine"
    LATENCY = "latency"
    QUEUE = "queue"
    DELIVERIES = "deliveries"
    MEMORY = "memory"
    OPENAI = "openai"
    ACCURACY = "accuracy"


def main(
    parts: Annotated[
        list[Part] | None, typer.Argument(help="What to measure.", show_default="everything")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="JSON in place of a table.")] = False,
    model: Annotated[str, typer.Option(help="Engine, memory: the model.")] = "tiny.en",
    minutes: Annotated[float, typer.Option(help="Engine, memory: short recording.")] = 10,
    hours: Annotated[float, typer.Option(help="Memory: the long recording.")] = 10,
    speech_share: Annotated[
        float, typer.Option(help="Memory: how much of the long recording is speech.")
    ] = 0.05,
    gigabytes: Annotated[float, typer.Option(help="Memory: the upload.")] = 4,
    threads: Annotated[int, typer.Option(help="Engine: threads of the model.")] = 2,
    database: Annotated[
        list[str] | None, typer.Option(help="Queue: sqlite or postgresql.")
    ] = None,
    rows: Annotated[list[int] | None, typer.Option(help="Queue: sizes of the table.")] = None,
    runners: Annotated[list[int] | None, typer.Option(help="Queue: how many.")] = None,
    idle_runners: Annotated[int, typer.Option(help="Queue: how many wait.")] = 200,
    jobs: Annotated[int, typer.Option(help="Latency, claims: so many jobs.")] = 200,
    rounds: Annotated[int, typer.Option(help="Queue: rounds; the median counts.")] = 3,
    turns: Annotated[int, typer.Option(help="Engine: rounds; the median counts.")] = 2,
    sent: Annotated[int, typer.Option(help="Deliveries: so many to a bad receiver.")] = 1000,
    packages: Annotated[
        str | None, typer.Option(help="Accuracy: site-packages with missing libraries.")
    ] = None,
) -> None:
    """Measure Rhapsode against the parts that it is made of, in one run on this machine."""
    wanted = set(parts or Part)
    kinds = database or list(DATABASES)
    sizes, counts = sorted(rows or [1000, 1_000_000]), runners or [1, 8, 64]
    arrivals = (idle_runners, jobs)
    measured: dict[Part, Callable[[], list[Figure]]] = {
        Part.ENGINE: lambda: _engine(model, minutes, threads, turns),
        Part.LATENCY: lambda: _latency(kinds, jobs),
        Part.QUEUE: lambda: _queues(kinds, sizes, counts, arrivals, rounds),
        Part.OPENAI: lambda: _openai(jobs),
        Part.DELIVERIES: lambda: _deliveries(kinds, jobs, sent),
        Part.ACCURACY: lambda: accuracy.measure((), packages, 11, 11),
        Part.MEMORY: lambda: _memory(model, minutes, hours, speech_share, gigabytes),
    }
    figures = [figure for part in Part if part in wanted for figure in measured[part]()]
    (report.show_json if json else report.show)(figures)
    if any(figure.is_met is False for figure in figures):
        note("Some targets are missed.")


def _openai(jobs: int) -> list[Figure]:
    with world(SQLITE, None, _with_runner()) as place:
        return immediate.overhead(place, speech.sample("jfk"), min(jobs, 50))


def _with_runner(threads: int | None = None) -> dict[str, dict[str, Any]]:
    """Settings of a server with the embedded runner, as `rhapsode serve` has it."""
    return {
        "runner": {"enabled": True, "device": "cpu", "threads": threads},
        "models": {"folder": speech.models_folder()},
    }


def _engine(model: str, minutes: float, threads: int, turns: int) -> list[Figure]:
    folder, clip = speech.model_path(model), speech.sample("jfk")
    recording = sound.with_speech(
        _RECORDINGS / f"speech-{minutes:g}min.flac", minutes, minutes, 1
    )

    async def work(server: World) -> list[Figure]:
        async with worker("bench.bare_engine", model=str(folder), threads=threads) as bare:
            async with server.wire() as wire:
                await engine.warm(wire, bare, clip, model)
            return await engine.measure(server, bare, recording, minutes, model, turns)

    with world(SQLITE, sections=_with_runner(threads)) as server:
        return asyncio.run(work(server))


def _latency(kinds: list[str], jobs: int) -> list[Figure]:
    figures = []
    for kind in kinds:
        with world(kind) as server:
            figures += asyncio.run(latency.bench_runner(server, kind, jobs))
    speech.model_path("tiny.en")
    with world(SQLITE, sections=_with_runner()) as server:
        clip = speech.sample("jfk")
        return figures + asyncio.run(latency.real_runner(server, clip, max(10, jobs // 10)))


def _queues(
    kinds: list[str],
    sizes: list[int],
    runners: list[int],
    arrivals: tuple[int, int],
    rounds: int,
) -> list[Figure]:
    every = [_queue(kind, sizes, runners, arrivals, rounds) for kind in kinds]
    return [figure for figures in every for figure in figures]


def _queue(
    kind: str, sizes: list[int], runners: list[int], arrivals: tuple[int, int], rounds: int
) -> list[Figure]:
    async def work(worlds: dict[int, World]) -> list[Figure]:
        for size, server in worlds.items():
            note(f"{kind}: inserting {size:,} rows")
            queued = throughput.queued_of(size)
            await server.rows.fill(size - queued, queued)
        figures = await throughput.measure(worlds, kind, runners, rounds)
        idle, jobs = arrivals
        return figures + await waiting.measure(worlds, kind, idle, jobs, rounds)

    with ExitStack() as stack:
        shared: Postgres | None = None
        if kind == POSTGRESQL:
            shared = stack.enter_context(postgres())
        worlds = {size: stack.enter_context(world(kind, shared)) for size in sizes}
        return asyncio.run(work(worlds))


def _deliveries(kinds: list[str], jobs: int, sent: int) -> list[Figure]:
    figures = []
    for kind in kinds:
        with world(kind, sections=deliveries.SECTIONS) as server:
            figures += asyncio.run(deliveries.measure(server, kind, jobs, sent))
    return figures


def _memory(
    model: str, minutes: float, hours: float, share: float, gigabytes: float
) -> list[Figure]:
    size = int(gigabytes * 1e9)
    speech.model_path(model)
    long_name = f"speech-{minutes:g}min-then-{share:g}-{hours:g}h.flac"
    recordings = [
        sound.with_speech(_RECORDINGS / f"speech-{minutes:g}min.flac", minutes, minutes, 1),
        sound.with_speech(_RECORDINGS / long_name, hours * 60, minutes, share),
    ]
    peaks = []
    for recording in recordings:
        with world(SQLITE, sections=_with_runner()) as server:
            peaks.append(asyncio.run(memory.runner(server, recording, model)))
    figures = memory.runner_figures(
        peaks[0], peaks[1], f"{hours:g} h ÷ on {minutes:g} min, {model}"
    )
    with world(SQLITE, sections={**_with_runner(), **by_url.SETTINGS}) as server:
        figures += by_url.measure(server, size, model)
    with world(SQLITE) as server:
        return [*figures, memory.server(server, size), memory.resumable(server, size)]


if __name__ == "__main__":
    typer.run(main)
