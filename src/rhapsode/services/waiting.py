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
    """One claim that waits; woken for a job of some requirement, it should look for one."""

    requirements: Collection[str]
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    woken_for: str | None = None

    async def wait(self, seconds: float, closing: asyncio.Event) -> bool:
        """True when woken, False when the time is over or the server closes."""
        return await first_of(seconds, self.woken, closing) and not closing.is_set()

    def wake(self, requirement: str) -> None:
        """There is a job of this requirement."""
        self.woken_for = requirement
        self.woken.set()

    def looking(self) -> str | None:
        """The wake-up is being used: what it was for, if there was one."""
        used, self.woken_for = self.woken_for, None
        self.woken.clear()
        return used


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
            if waiter.woken_for is not None:  # it leaves with a wake-up unused
                self.wake(waiter.woken_for)

    def wake(self, requirement: str) -> bool:
        """Wake the first that can take such a job; False if nobody can."""
        for waiter in self._waiters:
            if not waiter.woken.is_set() and requirement in waiter.requirements:
                waiter.wake(requirement)
                return True
        return False

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waiters

    def _heard(self, signal: Signal) -> None:
        if signal.topic is Topic.JOB_QUEUED and signal.requirement is not None:
            self.wake(signal.requirement)
