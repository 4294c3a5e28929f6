"""Engine: a recording through server and runner, against the bare faster-whisper call.

The embedded runner is the real program in its own processes. Both sides have the model in
memory before anything is measured, and take turns.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from bench.report import Figure, listed, median, note
from bench.wire import Wire
from bench.worker import Worker
from bench.world import World

PART = "engine"
TARGET = 0.95


@dataclass
class Times:
    """Seconds that each way took, one entry a round."""

    run: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    unconditioned: list[float] = field(default_factory=list)
    run_cpu: list[float] = field(default_factory=list)
    bare_cpu: list[float] = field(default_factory=list)


async def measure(
    world: World, bare: Worker, recording: Path, minutes: float, model: str, rounds: int
) -> list[Figure]:
    """Turns of ours and of the bare call's, in changing order."""
    times = Times()
    async with world.wire() as wire:
        answer = await wire.send("POST", "/api/media?name=talk.flac", recording.read_bytes())
        assert answer.status == 201, answer.body
        media = answer.json()["id"]
    for number in range(rounds):
        turns = [_ours(world, media, model, times), _theirs(bare, recording, times)]
        for turn in turns if number % 2 == 0 else reversed(turns):
            await turn
    return _figures(times, minutes * 60, model)


async def warm(wire: Wire, bare: Worker, clip: Path, model: str) -> None:
    """Have both sides load the model and use it once."""
    answer = await wire.send("POST", "/api/media?name=clip.wav", clip.read_bytes())
    await finished(wire, answer.json()["id"], model)
    await bare.ask(path=str(clip), language="en", conditioned=True)


async def _ours(world: World, media: str, model: str, times: Times) -> None:
    assert world.server.process is not None
    asked, used = time.monotonic(), cpu_seconds(world.server.process.pid)
    async with world.wire() as wire:  # a new one: nothing was sent for a minute
        job = await finished(wire, media, model)
    times.whole.append(time.monotonic() - asked)
    started, ended = (datetime.fromisoformat(job[k]) for k in ("started_at", "finished_at"))
    times.run.append((ended - started).total_seconds())
    times.run_cpu.append(cpu_seconds(world.server.process.pid) - used)
    note(f"engine: ours {times.run[-1]:.1f} s, {times.run_cpu[-1]:.0f} s of processor time")


async def _theirs(bare: Worker, recording: Path, times: Times) -> None:
    for conditioned, into in ((True, times.bare), (False, times.unconditioned)):
        command = {"path": str(recording), "language": "en", "conditioned": conditioned}
        used = cpu_seconds(bare.pid)
        into.append((await bare.ask(**command))["seconds"])
        used = cpu_seconds(bare.pid) - used
        if conditioned:
            times.bare_cpu.append(used)
        note(f"engine: bare call {into[-1]:.1f} s, {used:.0f} s of processor time")


def cpu_seconds(pid: int) -> float:
    """The processor time that a process and its descendants have used."""
    root = psutil.Process(pid)
    used = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
    return float(sum(item.user + item.system for item in used))


async def finished(wire: Wire, media: str, model: str) -> dict[str, Any]:
    """Ask for a job and wait for its end, looking five times a second."""
    body = {"input": {"media_id": media}, "spec": {"model": model, "language": "en"}}
    answer = await wire.request("POST", "/api/jobs", body)
    assert answer.status == 201, answer.body
    while True:
        found = await wire.request("GET", f"/api/jobs/{answer.json()['id']}")
        job: dict[str, Any] = found.json()
        if job["state"] not in {"queued", "running"}:
            assert job["state"] == "finished", job
            return job
        await asyncio.sleep(0.2)


def _figures(times: Times, seconds: float, model: str) -> list[Figure]:
    bare = f"bare call {listed(times.bare, '.1f')} s"
    other = f"bare call {listed(times.unconditioned, '.1f')} s"
    run, whole = (f"ours {listed(taken, '.1f')} s" for taken in (times.run, times.whole))

    def figure(name: str, ours: list[float], theirs: list[float], **more: Any) -> Figure:
        ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
        return Figure(part=PART, name=f"{name}, {model}", value=ratio, **more)

    return [
        figure(
            "audio s/s ÷ bare call, claim to finished",
            *(times.run, times.bare),
            at_least=TARGET,
            detail=f"{run}; {bare}",
        ),
        figure(
            "audio s/s ÷ bare call, POST to seen finished",
            *(times.whole, times.bare),
            at_least=TARGET,
            detail=f"{whole}; {bare}",
        ),
        figure(
            "the same, bare call with condition_on_previous_text=False",
            *(times.run, times.unconditioned),
            detail=f"{run}; {other}",
        ),
        figure(
            "processor time of the bare call ÷ of server and runner",
            *(times.run_cpu, times.bare_cpu),
            detail=f"ours {listed(times.run_cpu)} s; bare call {listed(times.bare_cpu)} s",
        ),
        Figure(
            part=PART,
            name=f"audio seconds per second, claim to finished, {model}",
            value=seconds / median(times.run),
            detail=f"{seconds / 60:g} minutes of recording",
        ),
    ]
