"""Work on long documents: in a thread, so that everybody else is served meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SHORT_SEGMENTS = 50
"""A transcript up to here is done sooner than a thread is woken: under a millisecond."""


async def aside(segments: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns, from a thread where so many segments make it long."""
    if segments <= SHORT_SEGMENTS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
