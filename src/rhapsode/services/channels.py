"""Channels: how each kind of delivery is sent. The sender knows none of them by itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rhapsode.domain.deliveries import Delivery, DeliveryKind, DeliveryState
from rhapsode.domain.urls import without_secrets
from rhapsode.outbound.answers import waiting_time
from rhapsode.services.context import Context

MAX_RESPONSE_CHARACTERS = 1000
"""So much of a receiver's answer is kept, for people to look at."""

MAX_RETRY_AFTER_SECONDS = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt came to.

    `state` DELIVERED, DEAD and EXPIRED are final; PENDING means to try again, in
    `retry_after` seconds at the earliest where the receiver said so. Whether an attempt was
    the last is not the channel's to know. `latency` is in seconds. `error` is a sentence for
    people, without any secret; `response` is the beginning of what the receiver answered.
    """

    state: DeliveryState
    status: int | None = None
    latency: float | None = None
    error: str | None = None
    response: str | None = None
    retry_after: float | None = None


Send = Callable[[Context, Delivery], Awaitable[Outcome]]
"""One attempt. It may take its time, but no longer than its own time-outs.

What goes wrong on the way is an Outcome. A DomainError that it raises counts as a fault of
ours or of the network: it is tried again like PENDING.
"""

Channels = Mapping[DeliveryKind, Send]
"""Which channel sends which kind; `bootstrap` puts them together."""


def delivered(status: int | None = None, latency: float | None = None) -> Outcome:
    """It arrived."""
    return Outcome(state=DeliveryState.DELIVERED, status=status, latency=latency)


def again(error: str, *, retry_after: float | None = None) -> Outcome:
    """It did not arrive, and may the next time."""
    return Outcome(state=DeliveryState.PENDING, error=error, retry_after=retry_after)


def dead(error: str) -> Outcome:
    """It will never arrive as it is."""
    return Outcome(state=DeliveryState.DEAD, error=error)


def retry_after(told: str | None, moment: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for, at most a day; None where it is none."""
    seconds = waiting_time(told, moment)
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER_SECONDS)


def shown_response(body_start: bytes, url: str) -> str | None:
    """The beginning of what `url` answered, without its secrets; None where it is empty."""
    text = without_secrets(body_start.decode(errors="replace"), url)
    return storable(text[:MAX_RESPONSE_CHARACTERS]).strip() or None


def storable(text: str) -> str:
    """The text without what no database keeps: NUL, and halves of characters."""
    whole = text.encode(errors="replace").decode()
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
