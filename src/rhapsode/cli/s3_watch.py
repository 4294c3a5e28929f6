"""Following many jobs at once by the one stream of all our events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.jobs import TERMINAL, Job, JobId

if TYPE_CHECKING:
    from rhapsode.client import Client

Result = TypeVar("Result")

_LOOK_SECONDS = 30.0
"""An event can get lost; so long at most stays the end of a job unnoticed."""

_LOOKS_PER_SECOND = 5
"""Where many wait, each looks more rarely, so that the server has other things to do."""

_TRIES = 30
"""With the pauses between, about ten minutes without a server."""


async def patiently(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """The answer, also of a server that is being restarted."""
    from rhapsode.client import Backoff, ServerFault

    backoff = Backoff(most=30)
    for _ in range(_TRIES - 1):
        try:
            return await attempt()
        except ServerFault:
            raise
        except Unavailable:
            await backoff.wait()
    return await attempt()


class Watch:
    """Tells of each job that somebody waits for; made by `watching`."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._waiting: dict[JobId, asyncio.Queue[Job | None]] = {}

    async def end_of(self, job: Job, report: Callable[[Job], None]) -> Job:
        """The job once it has ended; `report` hears of it at each change."""
        news: asyncio.Queue[Job | None] = asyncio.Queue()
        self._waiting[job.id] = news
        try:
            current = await self._look(job.id)  # from here on, no change is missed
            while current.state not in TERMINAL:
                report(current)
                current = await self._next(news) or await self._look(job.id)
            report(current)
            return current
        finally:
            del self._waiting[job.id]

    async def _next(self, news: "asyncio.Queue[Job | None]") -> Job | None:
        seconds = max(_LOOK_SECONDS, len(self._waiting) / _LOOKS_PER_SECOND)
        try:
            async with asyncio.timeout(seconds):
                return await news.get()
        except TimeoutError:
            return None

    async def _look(self, job_id: JobId) -> Job:
        return await patiently(lambda: self._client.job(job_id))

    async def hear(self) -> None:
        """Pass on what happens, until canceled."""
        from rhapsode.client import RECONNECTED

        async with aclosing(self._client.events()) as arriving:
            async for name, data in arriving:
                if name == RECONNECTED:
                    self._tell(list(self._waiting), None)
                elif name == "job":
                    job = _job(data)
                    self._tell([job.id], job)
                elif name == "job_deleted":
                    self._tell(list(self._waiting), None)

    def _tell(self, job_ids: list[JobId], news: Job | None) -> None:
        for job_id in job_ids:
            if job_id in self._waiting:
                self._waiting[job_id].put_nowait(news)


def _job(data: Any) -> Job:
    from rhapsode.client.decode import decode

    return decode(Job, data)


@asynccontextmanager
async def watching(client: "Client") -> AsyncIterator[Watch]:
    """A watch for as long as the block runs."""
    watch = Watch(client)
    hearing = asyncio.create_task(watch.hear())
    try:
        yield watch
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
