"""Deliveries: artifacts and events on their way out, and the rhythm of trying again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import Change, JobError, JobId, JobState
from rhapsode.domain.urls import shown
from rhapsode.domain.users import UserId

DeliveryId = NewType("DeliveryId", UUID)
EndpointId = NewType("EndpointId", UUID)

META = "meta"
"""The artifact that is the job's own record; it is sent once all others are settled."""

ARTIFACTS = (*(str(item) for item in Format), META)
"""What a job can put somewhere, by name."""


class DeliveryKind(StrEnum):
    """What is sent, and how."""

    ARTIFACT = "artifact"
    """PUT of a rendered transcript, or of the job's record, to a URL of the job."""
    WEBHOOK = "webhook"
    """Signed POST of an event to an endpoint of the user."""
    EMAIL = "email"
    """A message to the job's owner."""
    NOTIFICATION = "notification"
    """PUT of seed 001's job document to the URL that its client named."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    HELD = "held"
    """Waits for the job's other artifacts."""
    PENDING = "pending"
    """Is due at `next_at`, or being sent until then."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; redelivered on request."""
    EXPIRED = "expired"
    """Its URL stopped working; a fresh one is needed."""
    CANCELED = "canceled"
    """Its job was called off before it was sent."""


UNSETTLED = frozenset({DeliveryState.HELD, DeliveryState.PENDING})


class Event(StrEnum):
    """What webhooks tell of."""

    FINISHED = "job.finished"
    FAILED = "job.failed"
    EXPIRED = "job.expired"
    CANCELED = "job.canceled"
    TEST = "webhook.test"


EVENT_OF_STATE: Mapping[JobState, Event] = {
    JobState.FINISHED: Event.FINISHED,
    JobState.FAILED: Event.FAILED,
    JobState.EXPIRED: Event.EXPIRED,
    JobState.CANCELED: Event.CANCELED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One thing to bring to one place, tried until it arrives or is given up.

    `subject` is the artifact's name or the event; `url` may carry secrets (`urls.shown`).
    `status`, `latency` (seconds), `error` and `response` tell of the last attempt.
    """

    id: DeliveryId
    user_id: UserId
    job_id: JobId | None
    endpoint_id: EndpointId | None = None
    kind: DeliveryKind
    subject: str
    destination: str
    url: str | None = None
    payload: Mapping[str, Any] | None = None
    state: DeliveryState
    attempts: int = 0
    next_at: datetime
    created_at: datetime
    settled_at: datetime | None = None
    status: int | None = None
    latency: float | None = None
    error: str | None = None
    response: str | None = None

    def evolve(self, **changes: object) -> "Delivery":
        """A copy with these fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A URL of a user's that is told of events.

    `secrets` are the signing keys, newest first; after a rotation the old one signs along
    until it expires. `disabled_reason` says why nothing is sent any more, None while it is.
    """

    id: EndpointId
    user_id: UserId
    url: str
    description: str
    events: tuple[Event, ...]
    secrets: tuple["SigningKey", ...]
    created_at: datetime
    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the Standard Webhooks form `whsec_…`, and until when it signs."""

    secret: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before trying again, in seconds; `attempts` in all, then it is dead."""

    first: float = 5.0
    most: float = 3600.0
    attempts: int = 32

    def wait(self, attempts_made: int, chance: float) -> float:
        """Doubles each time up to `most`; `chance` (0 to 1) draws from its upper half."""
        bound = min(self.most, self.first * 2.0 ** min(attempts_made - 1, 30))
        return bound * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class Ending:
    """What a job comes to that has nothing left to send, and why if not well."""

    change: Change
    error: JobError | None = None


def latest(found: Iterable[Delivery]) -> dict[str, Delivery]:
    """The newest delivery of each artifact; one with a fresh URL takes its place.

    Ids are in the order of time, so the greatest is the newest.
    """
    artifacts = (item for item in found if item.kind is DeliveryKind.ARTIFACT)
    return {item.subject: item for item in sorted(artifacts, key=lambda item: item.id)}


def ending(current: Iterable[Delivery]) -> Ending:
    """What the settled deliveries of a job's artifacts come to; what expired weighs most."""
    by_state: dict[DeliveryState, list[Delivery]] = {}
    for item in current:
        by_state.setdefault(item.state, []).append(item)
    if expired := by_state.get(DeliveryState.EXPIRED):
        return Ending(Change.EXPIRE, JobError("output_expired", _reason(expired, _FRESH)))
    if dead := by_state.get(DeliveryState.DEAD):
        return Ending(Change.UNDELIVERED, JobError("delivery_failed", _reason(dead, _AGAIN)))
    return Ending(Change.DELIVERED)


_FRESH = "The transcript is kept: give fresh URLs, and it is sent without transcribing again."
_AGAIN = "The transcript is kept: mend the receiver and redeliver, or give other URLs."


def _reason(failed: list[Delivery], advice: str) -> str:
    told = [
        f"{item.subject} could not be put to {shown(item.url or '')}: "
        f"{(item.error or 'no reason is known').rstrip('.')}."
        for item in failed
    ]
    return " ".join([*told, advice])
