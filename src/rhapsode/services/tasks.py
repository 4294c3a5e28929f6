"""Work that goes on after the request that began it has been answered."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """At most one task for each key; all of them end with the application."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._closed = False

    def start(
        self, key: Hashable, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None] | None:
        """The task that does this work, begun unless it is there; None while closing."""
        if self._closed:
            return None
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(_told(work()))
            self._tasks[key].add_done_callback(lambda _: self._tasks.pop(key, None))
        return self._tasks[key]

    async def close(self) -> None:
        """Call off what still goes on, and wait for its end."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _told(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # nobody awaits it who could tell
        log.exception("task.failed")
