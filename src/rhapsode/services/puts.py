"""PUT of a document to a URL that a user gave, and what its answer means."""

import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from rhapsode.domain.deliveries import Delivery, DeliveryState
from rhapsode.domain.errors import DomainError, Unavailable
from rhapsode.domain.urls import shown
from rhapsode.outbound.http import Answer, Outbound
from rhapsode.outbound.sigv4 import expiry_of
from rhapsode.services.channels import Outcome, dead, retry_after, shown_response
from rhapsode.services.context import now

DELIVERY_HEADER = "Rhapsode-Delivery"
"""Carries the delivery's id, the same at each attempt, so that a receiver knows repetitions."""

_NO_MORE = frozenset({401, 403, 404, 410})
_LATER = frozenset({408, 425, 429})
_BLOCK_BYTES = 256 * 1024


async def put(
    outbound: Outbound, delivery: Delivery, body: bytes, content_type: str
) -> Outcome:
    """One attempt to put these bytes where the delivery goes."""
    url = delivery.url or ""
    plain = {"Content-Length": str(len(body)), DELIVERY_HEADER: str(delivery.id)}
    try:
        answer = await outbound.put(
            url, lambda: _blocks(body), {**plain, "Content-Type": content_type}
        )
        if _signed_without_type(url, answer):
            answer = await outbound.put(url, lambda: _blocks(body), plain)
    except Unavailable as error:
        return _if_expired(url) or Outcome(state=DeliveryState.PENDING, error=error.message)
    except DomainError as error:
        return dead(str(error))
    return judged(url, answer)


def _signed_without_type(url: str, answer: Answer) -> bool:
    """Whether the content type stands in the way, and only that.

    S3's earlier signature, which boto3 still makes by itself, covers it: who signed none
    accepts none.
    """
    given = {name.lower() for name, _ in parse_qsl(urlsplit(url).query)}
    earlier = "signature" in given and bool(given & {"awsaccesskeyid", "googleaccessid"})
    return earlier and answer.status == 403 and _reason(answer) == "SignatureDoesNotMatch"


async def _blocks(body: bytes) -> AsyncIterator[bytes]:
    """In pieces, since the time-out is for each: a slow line is not one that stands still."""
    for start in range(0, len(body), _BLOCK_BYTES):
        yield body[start : start + _BLOCK_BYTES]


def judged(url: str, answer: Answer) -> Outcome:
    """What the receiver's answer means for the delivery."""
    state = _state(url, answer)
    well = state is DeliveryState.DELIVERED
    return Outcome(
        state=state,
        status=answer.status,
        latency=answer.latency,
        error=None if well else _told(url, answer),
        response=shown_response(answer.body_start, url),
        retry_after=retry_after(_header(answer.headers, "retry-after"), now()),
    )


def _state(url: str, answer: Answer) -> DeliveryState:
    status = answer.status
    if 200 <= status < 300:
        return DeliveryState.DELIVERED
    if status in _NO_MORE or _is_past(url) or (status == 400 and _says_expired(answer)):
        return DeliveryState.EXPIRED
    if status in _LATER or status >= 500:
        return DeliveryState.PENDING
    return DeliveryState.DEAD


def _is_past(url: str) -> bool:
    expiry = expiry_of(url)
    return expiry is not None and expiry <= now()


def _if_expired(url: str) -> Outcome | None:
    """Nobody answered, and nobody will any more."""
    if not _is_past(url):
        return None
    return Outcome(state=DeliveryState.EXPIRED, error=_past(url))


def _past(url: str) -> str:
    expiry = expiry_of(url)
    return f"The URL's signature expired at {expiry:%Y-%m-%d %H:%M:%S} UTC."


_EXPIRED = re.compile(rb"(?i)<code>\s*\w*expired\w*\s*</code>|has expired")
"""How S3 and its kin say it: `<Code>ExpiredToken</Code>`, `Request has expired`."""


def _says_expired(answer: Answer) -> bool:
    return _EXPIRED.search(answer.body_start) is not None


_REASON = re.compile(rb"(?is)<code>\s*(\w{1,60})\s*</code>")


def _reason(answer: Answer) -> str | None:
    """The code in an answer of S3."""
    found = _REASON.search(answer.body_start)
    return found.group(1).decode() if found else None


def _told(url: str, answer: Answer) -> str:
    reason = _reason(answer)
    code = f" ({reason})" if reason else ""
    told = f"The receiver answered {answer.status}{code}."
    if 300 <= answer.status < 400:
        there = _header(answer.headers, "location")
        where = f" to {shown(there)}" if there and "://" in there else ""
        return f"The receiver redirects{where} ({answer.status}); give the final URL."
    return f"{told} {_past(url)}" if _is_past(url) else told


def _header(headers: Mapping[str, str], name: str) -> str | None:
    found = {key.lower(): value for key, value in headers.items()}
    return found.get(name)
