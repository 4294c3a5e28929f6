"""Who waits for a job to claim: woken one at a time, the longest waiting first.

Waking everybody for one job would make two hundred idle runners ask the database at once,
and one hundred and ninety-nine of them in vain.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rhapsode.database.signals import Signal, Signals, Topic


@dataclass(slots=True, eq=False)
class Waiter:
    """One claim that waits; `woken` is set once for each job that it should try to take."""

    requirements: Collection[str]
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    served: bool = False

    async def wait(self, seconds: float, closing: asyncio.Event) -> bool:
        """True when woken, False when the time is over or the server closes."""
        if not await first_of(seconds, self.woken, closing) or closing.is_set():
            return False
        self.woken.clear()
        return True


async def first_of(seconds: float, *events: asyncio.Event) -> bool:
    """Wait for whichever of these is set first; False when the time is over before."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(
            tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in tasks:
            task.cancel()
    return bool(done)


class ClaimQueue:
    """The claims that wait in this replica."""

    def __init__(self, signals: Signals) -> None:
        self._waiters: list[Waiter] = []
        signals.listen(self._heard)

    @asynccontextmanager
    async def waiting(self, requirements: Collection[str]) -> AsyncIterator[Waiter]:
        """Be in the line; from before the first look at the queue, so that no job slips by."""
        waiter = Waiter(requirements)
        self._waiters.append(waiter)
        try:
            yield waiter
        finally:
            self._waiters.remove(waiter)
            if waiter.woken.is_set() and not waiter.served:
                self._pass_on(waiter)

    def wake(self, requirement: str) -> bool:
        """Wake the first that can take such a job; False if nobody can."""
        for waiter in self._waiters:
            if not waiter.woken.is_set() and requirement in waiter.requirements:
                waiter.woken.set()
                return True
        return False

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waiters

    def _heard(self, signal: Signal) -> None:
        if signal.topic is Topic.JOB_QUEUED and signal.requirement is not None:
            self.wake(signal.requirement)

    def _pass_on(self, gone: Waiter) -> None:
        """Somebody left with a wake-up unused: it must not be lost."""
        for requirement in gone.requirements:
            if self.wake(requirement):
                return
