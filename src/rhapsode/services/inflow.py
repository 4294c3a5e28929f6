"""The body of a request, in blocks that can be stored before all of it is there."""

import asyncio
import time
from collections.abc import AsyncIterator

from rhapsode.domain.errors import DomainError, Invalid, Unavailable
from rhapsode.domain.uploads import PART_BYTES

BLOCK_SECONDS = 20.0
"""What drips is stored at least so often: else a kill would lose hours of it."""


class Inflow:
    """Blocks of PART_BYTES, or of what came within BLOCK_SECONDS.

    Where the body breaks off, what came before is a block, too; `cut` then tells why. Close it
    at the end.
    """

    def __init__(
        self, chunks: AsyncIterator[bytes], closing: asyncio.Event, *, stall_seconds: float
    ) -> None:
        self.cut: DomainError | None = None
        self._chunks = chunks
        self._stall_seconds = stall_seconds
        self._closing = asyncio.create_task(closing.wait())
        self._coming: asyncio.Task[bytes | None] | None = None
        self._held = bytearray()
        self._ended = False

    async def block(self) -> bytes:
        """The next block; empty at the end."""
        since = time.monotonic()
        while len(self._held) < PART_BYTES and not self._ended:
            left = since + BLOCK_SECONDS - time.monotonic()
            if self._held and left <= 0:
                break
            await self._take(left if self._held else self._stall_seconds)
        found = bytes(memoryview(self._held)[:PART_BYTES])
        del self._held[:PART_BYTES]
        return found

    async def _take(self, seconds: float) -> None:
        """Hold the next chunk, if it comes within so many seconds."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._next())
        done, _ = await asyncio.wait(
            {self._coming, self._closing},
            timeout=seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self._coming in done:
            task, self._coming = self._coming, None
            self._receive(task)
        elif self._closing in done:
            self._end(_stopping())
        elif not self._held:
            self._end(Invalid("upload_cut", "The upload stood still and was cut off."))

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)

    def _receive(self, task: "asyncio.Task[bytes | None]") -> None:
        try:
            chunk = task.result()
        except DomainError as error:
            self._end(error)
            return
        if chunk is None:
            self._ended = True
        else:
            self._held += chunk

    def _end(self, why: DomainError) -> None:
        self._ended, self.cut = True, why

    async def close(self) -> None:
        """Wait for nothing any more."""
        tasks = [task for task in (self._coming, self._closing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stopping() -> Unavailable:
    return Unavailable(
        "server_stopping",
        "The server is stopping; what has arrived is kept.",
        hint="Go on in a moment.",
    )
