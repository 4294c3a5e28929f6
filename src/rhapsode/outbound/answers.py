"""What a server's answer to a request for a recording means."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from rhapsode.domain.errors import DomainError, Invalid
from rhapsode.domain.urls import shown
from rhapsode.outbound.http import Outbound
from rhapsode.outbound.problems import (
    BadRedirect,
    Busy,
    Expired,
    TooManyRedirects,
    Unreachable,
)
from rhapsode.outbound.sigv4 import expiry_of

_RECORDING = {200, 203, 206, 416}
_GONE = {403, 404, 410}
_LATER = {408, 425, 429}
_LONGEST_START = 4096
_START_SECONDS = 5.0
_S3_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A recording that is about to come: status 200, 203, 206 or 416, and `blocks`.

    `headers` are in lower case. `connection` can tell of bytes beyond those announced.
    """

    status: int
    headers: Mapping[str, str]
    blocks: AsyncIterator[bytes]
    connection: object = None


@asynccontextmanager
async def opened(
    outbound: Outbound, url: str, headers: Mapping[str, str]
) -> AsyncIterator[Opened]:
    """The answer of a recording's URL.

    Raises Expired, Busy and Unreachable, Refused, or Invalid for what makes no sense; each
    with an `input_…` code (but `address_refused`), and naming the URL without its secrets.
    """
    try:
        async with outbound.get(url, headers) as response:
            if response.status_code not in _RECORDING:
                raise await _refusal(url, response)
            yield Opened(
                status=response.status_code,
                headers=dict(response.headers.items()),
                blocks=response.aiter_raw(),
                connection=response.extensions.get("network_stream"),
            )
    except (TooManyRedirects, BadRedirect) as error:
        raise BadRedirect("input_redirects", error.message, hint=error.hint) from error
    except Unreachable as error:
        raise Unreachable("input_unreachable", error.message, hint=error.hint) from error


async def _refusal(url: str, response: httpx.Response) -> DomainError:
    status = response.status_code
    said = _said(status, await _start(response))
    if status in _GONE or (status == HTTPStatus.BAD_REQUEST and _says_expired(url, said)):
        return _expired(url, said)
    if status in _LATER or status >= 500:
        wait = waiting_time(response.headers.get("Retry-After"), datetime.now(UTC))
        return Busy("input_unreachable", f"{shown(url)} answers {said}.", wait=wait)
    hint = {
        401: "The server wants a login; give a URL that works without one, such as a presigned "
        "one.",
    }.get(status, "Open the URL in a browser to see what is there.")
    return Invalid("input_refused", f"{shown(url)} answers {said}.", hint=hint)


async def _start(response: httpx.Response) -> bytes:
    """What comes soon tells enough."""
    found = b""
    with contextlib.suppress(DomainError, TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            async for block in response.aiter_raw():
                found += block
                if len(found) >= _LONGEST_START:
                    break
    return found


def _said(status: int, body: bytes) -> str:
    """`404 Not Found`, and S3's own word for it; nothing else of the body, it may be secret."""
    try:
        words = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        words = f"HTTP status {status}"
    match = _S3_CODE.search(body)
    return f"{words} ({match.group(1).decode()})" if match else words


def _says_expired(url: str, said: str) -> bool:
    return "Expired" in said or _is_over(expiry_of(url))


def _is_over(expiry: datetime | None) -> bool:
    return expiry is not None and expiry <= datetime.now(UTC)


def _expired(url: str, said: str) -> Expired:
    expiry = expiry_of(url)
    when = f"; its signature expired at {expiry:%Y-%m-%d %H:%M:%S} UTC" if expiry else ""
    why = when if _is_over(expiry) else ""
    return Expired(
        "input_expired",
        f"{shown(url)} does not work any more: it answers {said}{why}.",
        hint="Submit the job again with a fresh URL.",
    )


def waiting_time(told: str | None, moment: datetime) -> float | None:
    """The seconds from then on that a Retry-After header asks for; None where it is none.

    RFC 9110 allows a number of seconds or a date.
    """
    text = (told or "").strip()
    try:
        seconds = float(text) if text.isdecimal() else _until(text, moment)
    except (TypeError, ValueError, OverflowError):
        return None
    return max(seconds, 0.0)


def _until(text: str, moment: datetime) -> float:
    date = parsedate_to_datetime(text)
    return (date.replace(tzinfo=date.tzinfo or UTC) - moment).total_seconds()
