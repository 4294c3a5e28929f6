"""Segments on their way to whoever waits for them while a job runs.

Best effort: what does not arrive here is in the result all the same.
"""

import asyncio

import structlog

from rhapsode.client import Lease
from rhapsode.domain.errors import DomainError
from rhapsode.domain.transcripts import Segment
from rhapsode.runner.messages import Heard

_GATHER_SECONDS = 0.1

log = structlog.get_logger()


class Telling:
    """Gathers what is heard, and sends it in one request after the other."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._first = 0
        self._waiting: list[Segment] = []
        self._task: asyncio.Task[None] | None = None

    def heard(self, message: Heard) -> None:
        """Take segments; they are sent soon."""
        self._waiting += message.segments
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name="segments")

    async def end(self) -> None:
        """Wait for what is on its way, but not for what cannot be sent."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=1.0)
            self._task.cancel()

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER_SECONDS)
            segments, self._waiting = self._waiting, []
            try:
                await self._lease.tell(self._first, segments)
            except DomainError as error:
                log.debug("segments not told", error=str(error))
                return
            self._first += len(segments)
