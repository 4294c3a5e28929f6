"""Server-sent events: parsing them, and staying connected."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx

from rhapsode.client.http import Http
from rhapsode.client.problems import Unreachable
from rhapsode.client.retry import Backoff
from rhapsode.domain.errors import Unavailable

RECONNECTED = "reconnected"
"""The name of the event (data None) that tells a reader that it may have missed some."""

# The server comments every 15 s; silence of three such beats is a dead connection.
_TIMEOUT = httpx.Timeout(connect=10, read=45, write=10, pool=10)

Event = tuple[str, Any]

_OPENED: Event = ("opened", None)


async def events(
    http: Http, path: str, *, tries: int | None = None
) -> AsyncGenerator[Event, None]:
    """(name, data) of each event; connects again by itself when the connection breaks.

    It ends only by its reader's leaving or after `tries` failures in a row (None: never);
    refusals are raised at once. After each new connection comes a RECONNECTED event.
    """
    backoff, failures, opened = Backoff(most=10), 0, False
    while True:
        try:
            async with aclosing(_connection(http, path)) as arriving:
                async for event in arriving:
                    if event is not _OPENED:
                        backoff.reset()
                        failures = 0
                        yield event
                    elif opened:
                        yield RECONNECTED, None
                    opened = True
        except Unavailable:
            failures += 1
            if tries is not None and failures >= tries:
                raise
        await backoff.wait()


async def _connection(http: Http, path: str) -> AsyncGenerator[Event, None]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    async with (
        http.stream("GET", path, headers=headers, timeout=_TIMEOUT) as response,
        aclosing(_parsed(response.aiter_lines())) as arriving,
    ):
        yield _OPENED
        async for event in arriving:
            yield event


async def _parsed(lines: AsyncIterator[str]) -> AsyncGenerator[Event, None]:
    """Events of a stream of lines, as the HTML standard defines them."""
    name, data = "message", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield name, _value("\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _value(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise Unreachable("event_garbled", "The server's events arrived damaged.") from error
