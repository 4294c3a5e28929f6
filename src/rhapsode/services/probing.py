"""Looks into stored recordings, each in a process that may die of what it finds.

What people upload is parsed by native code. A file that crashes or hangs it must cost that
file, not the server.
"""

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from rhapsode.domain import errors
from rhapsode.domain.environment import without_ours
from rhapsode.domain.errors import DomainError, Invalid, Unavailable
from rhapsode.domain.media import MediaProbe
from rhapsode.storage.objects import StoreConfig

PROBE_SECONDS = 120.0


class Prober:
    """A few worker processes that look into objects of one store; idle ones are kept."""

    def __init__(self, config: StoreConfig, workers: int = 2) -> None:
        self._config = config
        self._free = asyncio.Semaphore(workers)
        self._idle: list[asyncio.subprocess.Process] = []

    async def probe(self, key: str) -> MediaProbe:
        """What the object is; Invalid where it is no recording that can be used."""
        async with self._free:
            answer = await self._answer_of(self._idle.pop(), key) if self._idle else None
            if answer is None:
                # Nobody was there, or died: perhaps while idle, so a fresh one has to say.
                answer = await self._answer_of(await self._start(), key)
        if answer is None:
            raise _unreadable("It crashed the library that reads recordings.")
        return _understood(answer)

    async def _answer_of(
        self, worker: asyncio.subprocess.Process, key: str
    ) -> dict[str, Any] | None:
        """What the worker says; None if it died. A worker that answered is kept."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                answer = await _ask(worker, key)
        except TimeoutError:
            await _kill(worker)
            raise _unreadable("Looking into it took too long.") from None
        except BaseException:
            await asyncio.shield(_kill(worker))
            raise
        if answer is None:
            await _kill(worker)
        else:
            self._idle.append(worker)
        return answer

    async def close(self) -> None:
        """End the workers."""
        while self._idle:
            await _kill(self._idle.pop())

    async def _start(self) -> asyncio.subprocess.Process:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rhapsode.services.probe_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=without_ours(os.environ),  # it reads what strangers send
        )
        _write(worker, asdict(self._config))
        return worker


def _write(worker: asyncio.subprocess.Process, document: Any) -> None:
    if worker.stdin is not None:
        worker.stdin.write(json.dumps(document).encode() + b"\n")


async def _ask(worker: asyncio.subprocess.Process, key: str) -> dict[str, Any] | None:
    """The worker's answer; None if it died."""
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("a worker without pipes")
    try:
        _write(worker, key)
        await worker.stdin.drain()
        line = await worker.stdout.readline()
    except (BrokenPipeError, ConnectionResetError):
        return None
    if not line:
        return None
    answer: dict[str, Any] = json.loads(line)
    return answer


async def _kill(worker: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        worker.kill()
    await worker.wait()


def _understood(answer: dict[str, Any]) -> MediaProbe:
    if "probe" in answer:
        return MediaProbe(**answer["probe"])
    kind: type[DomainError] = getattr(errors, answer["kind"], Unavailable)
    raise kind(answer["code"], answer["message"], hint=answer["hint"])


def _unreadable(what: str) -> Invalid:
    return Invalid(
        "media_unreadable",
        f"The recording cannot be read. {what}",
        hint="Convert it to another format, such as WAV or FLAC, and upload that.",
    )
