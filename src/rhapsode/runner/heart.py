"""The heartbeat of one job: renews its lease, carries progress, and hears what to do."""

import asyncio
import time
from enum import StrEnum

import structlog

from rhapsode.client import Backoff, Lease, LeaseLost
from rhapsode.domain.errors import DomainError
from rhapsode.domain.jobs import Progress
from rhapsode.domain.runners import Verdict

LISTEN_SECONDS = 30.0
"""How long the server may let us wait for word of a cancel before we ask again."""

log = structlog.get_logger()


class Stop(StrEnum):
    """Why a job is dropped before it is done."""

    CANCELED = "canceled"
    LOST = "lost"
    LEAVING = "leaving"
    FAULT = "fault"


class Heart:
    """Beats until cancelled. `stop` is done once the job must be dropped.

    A server that cannot be reached stops nothing: the job goes on, and only the server's
    own word that the lease is lost ends it.
    """

    def __init__(self, lease: Lease, beat_seconds: float, news_seconds: float) -> None:
        self.stop: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self._lease = lease
        self._beat_seconds = beat_seconds
        self._news_seconds = min(news_seconds, beat_seconds)
        self._progress: Progress | None = None
        self._news = asyncio.Event()
        self._backoff = Backoff(first=min(1.0, beat_seconds), most=beat_seconds)

    def drop(self, reason: Stop) -> None:
        """Say that the job must be dropped; the first reason counts."""
        if not self.stop.done():
            self.stop.set_result(reason)

    def tell(self, progress: Progress) -> None:
        """Have progress sent with the next beat, which comes soon when there is news."""
        if progress != self._progress:
            self._progress = progress
            self._news.set()

    async def live(self) -> None:
        """Beat, and listen for a cancel, for as long as the job is ours."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._listen())

    async def _listen(self) -> None:
        """Hear of a cancel at once: the next beat may be many seconds away."""
        backoff = Backoff()
        while not self.stop.done():
            asked = _now()
            try:
                self._heed(await self._lease.verdict(LISTEN_SECONDS))
            except LeaseLost as error:
                self._lost(error)
            except DomainError as error:
                log.debug("listening for a cancel failed", error=error.message)
            if _now() - asked > 1:
                backoff.reset()
            elif not self.stop.done():  # a failure, or a server that lets nobody wait
                await backoff.wait()

    async def _beat(self) -> None:
        last = time.monotonic()
        while not self.stop.done():
            await self._until_due(last)
            self._news.clear()
            last = time.monotonic()
            await self._beat_once()

    async def _until_due(self, last: float) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), last + self._beat_seconds - _now())
        except TimeoutError:
            return
        await asyncio.sleep(last + self._news_seconds - _now())

    async def _beat_once(self) -> None:
        try:
            verdict = await self._lease.heartbeat(self._progress)
        except LeaseLost as error:
            self._lost(error)
        except DomainError as error:
            log.warning("heartbeat failed", error=error.message, code=error.code)
            self._news.clear()
            await self._backoff.wait()
            self._news.set()
        else:
            self._backoff.reset()
            self._heed(verdict)

    def _heed(self, verdict: Verdict) -> None:
        if verdict is Verdict.CANCEL:
            self.drop(Stop.CANCELED)

    def _lost(self, error: LeaseLost) -> None:
        if not self.stop.done():
            log.warning("lease lost", error=error.message)
        self.drop(Stop.LOST)


def _now() -> float:
    return time.monotonic()
