"""One child process, from outside: its start, its pipes, its death."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import structlog

from rhapsode.domain.environment import without_ours
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.messages import Answer, Command, decode, encode

_LINE_BYTES = 1024 * 1024
_KEPT_LINES = 40
_KEPT_CHARACTERS = 500

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended: its exit code (negative: a signal), and why if it was our doing."""

    code: int
    reason: str | None

    @property
    def how(self) -> str:
        """In words, for people."""
        if self.code >= 0:
            return f"it ended with exit code {self.code}"
        name = signal.Signals(-self.code).name
        memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"it was ended by {name}{memory}"


class ChildProcess:
    """One life of the child. `death` is done once the process is reaped and read out."""

    death: "asyncio.Task[Death]"

    def __init__(self, process: Process, hear: Callable[[Answer], None]) -> None:
        self._process = process
        self._hear = hear
        self._reason: str | None = None
        self._chatter = deque[str](maxlen=_KEPT_LINES)

    @classmethod
    async def spawn(cls, settings: ChildSettings, hear: Callable[[Answer], None]) -> Self:
        """Start one; `hear` gets every message. No secret is handed down."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rhapsode.runner.child", settings.to_json()),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=without_ours(os.environ),
            limit=_LINE_BYTES,
        )
        child = cls(process, hear)
        child.death = asyncio.create_task(child._live(), name="child")
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines that its libraries printed."""
        return "\n".join(self._chatter)

    def send(self, command: Command) -> None:
        """Say something. Commands are few and small; whether it died shows in `death`."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._process.stdin.write(encode(command))

    def kill(self, reason: str) -> None:
        """End it by force, for a reason of ours."""
        if self._process.returncode is None:
            self._reason = self._reason or reason
            self._kill()

    def _kill(self) -> None:
        # Not by the Process object: its kill() looks first whether the process is dead, and
        # if so takes the exit code away from the event loop, which then reports a wrong one.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    async def close(self, patience: float = 1.0) -> None:
        """Close its input, which makes it leave; by force after `patience` seconds."""
        self._reason = self._reason or "the runner is leaving"
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.wait({self.death}, timeout=patience)
        self.kill("the runner is leaving")
        await asyncio.wait({self.death})

    async def _live(self) -> Death:
        chatter = asyncio.create_task(self._read_chatter())
        try:
            await self._read_answers()
        except (ValueError, KeyError) as error:
            log.warning("child cannot be understood", error=str(error)[:_KEPT_CHARACTERS])
        # It is dead, or it closed its pipe or talks nonsense and is of no use any more.
        if self._process.returncode is None:
            self._kill()
        code = await self._process.wait()
        await asyncio.wait({chatter}, timeout=1)  # a process of the engine's may hold the pipe
        chatter.cancel()
        return Death(code, self._reason)

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 (it is a pipe)
        async for line in self._process.stdout:
            self._hear(decode(line))

    async def _read_chatter(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 (it is a pipe)
        rest = b""
        while block := await self._process.stderr.read(65536):
            *lines, rest = (rest + block).split(b"\n")
            rest = rest[-_KEPT_CHARACTERS:]
            for line in lines:
                text = line.decode(errors="replace").strip()[:_KEPT_CHARACTERS]
                self._chatter.append(text)
                log.debug("child printed", line=text)
