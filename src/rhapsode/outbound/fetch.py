"""Fetches a recording into a file, over connections that break and servers that misbehave."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import structlog

from rhapsode.domain.errors import Limited, Unavailable
from rhapsode.outbound.answers import Opened
from rhapsode.outbound.arrival import Arrival, Report, Room
from rhapsode.outbound.problems import Busy, NoSuchHost, Stalled, Unreachable

Open = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Opened]]
"""Asks for the recording, with these headers besides."""

_WORTH_BYTES = 64 * 1024
"""Getting on by less than this does not count as getting on."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a fetch may take: bytes, and seconds.

    Where less than `slowest` bytes a second came on the whole of `stall_seconds`, the
    connection counts as broken. `tries` is how often in a row it is tried without getting
    on. A wait that the server asks for is kept to if it is no longer than `longest_wait`.
    """

    max_bytes: int
    whole_seconds: float = 6 * 3600.0
    stall_seconds: float = 60.0
    slowest: float = 256.0
    tries: int = 8
    first_wait: float = 0.5
    longest_wait: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What arrived: its size in bytes, and the media type that the server gave it."""

    size: int
    media_type: str | None


def _nobody(*_: object) -> None:
    """A Report that nobody reads; a Room without bounds."""


async def fetch(
    ask: Open,
    name: str,
    target: Path,
    limits: Limits,
    *,
    report: Report = _nobody,
    room: Room = _nobody,
) -> Fetched:
    """Bring a recording to the file `target`; `name` is its URL as it may be shown.

    Connections that break are continued by Range if the recording can be told to be the
    same, else begun anew. Raises, beside what `ask` raises: Unavailable (`input_unreachable`)
    when that leads nowhere, Limited (`input_too_large`, `input_too_slow`), Invalid
    (`input_wrong_length`, `input_refused`), OSError where the disk refuses.
    """
    # Opened here and not in a thread: a cancellation half-way would leave it open.
    with target.open("wb") as file:
        arrival = Arrival(file, name, limits.max_bytes, report, room)
        try:
            async with asyncio.timeout(limits.whole_seconds):
                await _arrive(ask, arrival, limits)
        except TimeoutError:
            raise _too_slow(arrival, f"within {limits.whole_seconds:.0f} s") from None
        return Fetched(size=arrival.size, media_type=arrival.media_type)


async def _arrive(ask: Open, arrival: Arrival, limits: Limits) -> None:
    patience = _Patience(limits)
    while True:
        before = arrival.size
        try:
            return await _continue(ask, arrival, limits)
        except Unavailable as error:
            seconds = patience.after(error, arrival.size - before)
            if seconds is None:
                raise _given_up(error, arrival, limits) from error
            log.info("fetch interrupted", error=error.message, wait=round(seconds, 1))
        await asyncio.sleep(seconds)


_NAME_TRIES = 2
"""A name that is unknown now may be a resolver's lapse, but rarely is."""


class _Patience:
    """How long to wait after a failure, and when to stop trying."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._failures = 0

    def after(self, error: Unavailable, gained: int) -> float | None:
        """Seconds to wait; None where it is enough. What drips does not count as gain."""
        if gained >= _WORTH_BYTES and not isinstance(error, Stalled):
            self._failures = 0
        self._failures += 1
        tries = _NAME_TRIES if isinstance(error, NoSuchHost) else self._limits.tries
        if self._failures >= tries:
            return None
        longest = self._limits.longest_wait
        bound = min(longest, self._limits.first_wait * 2.0 ** (self._failures - 1))
        seconds = bound * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load)
        wanted = error.wait if isinstance(error, Busy) else None
        if wanted is not None and wanted > longest:
            return None
        return max(seconds, wanted or 0.0)


def _given_up(error: Unavailable, arrival: Arrival, limits: Limits) -> Unavailable | Limited:
    if isinstance(error, Stalled):
        return _too_slow(arrival, f"at {limits.slowest:.0f} bytes a second or more")
    if arrival.size and isinstance(error, Unreachable):
        of = f" of {arrival.total}" if arrival.total else ""
        return Unreachable(
            "input_unreachable",
            f"{error.message} It stopped after {arrival.size}{of} bytes, again and again.",
            hint=error.hint,
        )
    return error


def _too_slow(arrival: Arrival, bound: str) -> Limited:
    of = f" of {arrival.total}" if arrival.total else ""
    return Limited(
        "input_too_slow",
        f"{arrival.name} did not arrive {bound}; {arrival.size}{of} bytes came.",
        hint="Give a URL on a faster server, or upload the recording.",
    )


async def _continue(ask: Open, arrival: Arrival, limits: Limits) -> None:
    """One connection's worth of the recording."""
    async with ask(arrival.headers()) as answer:
        arrival.begin(answer)
        pace = _Pace(arrival.name, limits)
        try:
            async for block in answer.blocks:
                pace.count(len(block))
                for _ in arrival.take(block):
                    if arrival.is_heavy:
                        await asyncio.to_thread(arrival.flush)
        except Unavailable:
            # What came before a break counts, so that the next try goes on behind it.
            arrival.flush()
            raise
        arrival.flush()
        arrival.end(answer)


class _Pace:
    """Whether enough comes; silence alone is the connection's own time limit to notice."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._since = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        """Note that so many came; Stalled where that is too few for the time it took."""
        self._bytes += size
        seconds = time.monotonic() - self._since
        if seconds < self._limits.stall_seconds:
            return
        if self._bytes < self._limits.slowest * seconds:
            raise Stalled("input_too_slow", f"{self._name} sends next to nothing.")
        self._since, self._bytes = time.monotonic(), 0
