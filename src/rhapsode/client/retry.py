"""Waiting longer and longer between tries, each wait shifted at random."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rhapsode.client.problems import Unreachable

T = TypeVar("T")


class Backoff:
    """Seconds to wait before the next try.

    They double from `first` up to `most`; each is drawn between half of that and all of
    it, so that many clients of a server that restarted do not come back at once.
    """

    def __init__(self, first: float = 0.25, most: float = 30.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        """Start over, after a success."""
        self._next = self._first

    def seconds(self) -> float:
        """The next wait."""
        bound = self._next
        self._next = min(self._most, bound * 2)
        return bound * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)

    async def wait(self) -> None:
        """Sleep for the next wait."""
        await asyncio.sleep(self.seconds())


async def with_retries(attempt: Callable[[], Awaitable[T]], tries: int = 4) -> T:
    """The first answer within `tries`; only a connection that failed is tried again."""
    backoff = Backoff()
    for _ in range(tries - 1):
        try:
            return await attempt()
        except Unreachable:
            await backoff.wait()
    return await attempt()
