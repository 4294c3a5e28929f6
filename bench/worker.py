"""Processes that measure: each is told what to do by lines of JSON, and answers by such."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).resolve().parents[1]
_LINE_BYTES = 64 * 1024 * 1024


class Worker:
    """A process at the other end of a pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._in, self._out = process.stdin, process.stdout

    def tell(self, **command: Any) -> None:
        """Send a command."""
        self._in.write(json.dumps(command).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The next answer."""
        line = await self._out.readline()
        if not line:
            raise RuntimeError("a measuring process ended; see what it printed above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        self.tell(**command)
        return await self.hear()


@asynccontextmanager
async def worker(module: str, **setup: Any) -> AsyncIterator[Worker]:
    """`python -m MODULE`, once it has said that it is ready; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        cwd=_CHECKOUT,
        env=os.environ,
    )
    try:
        made = Worker(process)
        await made.ask(**setup)
        yield made
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Orders:
    """The same pipe, seen from the process: commands in, answers out."""

    async def open(self) -> None:
        """Begin to read, on the event loop that runs."""
        self._reader = asyncio.StreamReader(limit=_LINE_BYTES)
        protocol = asyncio.StreamReaderProtocol(self._reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)

    async def next(self) -> dict[str, Any] | None:
        """The next command; None when there will be no more."""
        line = await self._reader.readline()
        command: dict[str, Any] | None = json.loads(line) if line else None
        return command

    def answer(self, **fields: Any) -> None:
        """Answer a command, or tell of something that happened."""
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()
