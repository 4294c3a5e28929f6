"""Deliveries: artifacts and events on their way out, and the rhythm of trying again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import JobId, JobState
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
    attempts: int = 12

    def wait(self, attempts_made: int, chance: float) -> float:
        """Doubles each time up to `most`; `chance` (0 to 1) draws from its upper half."""
        bound = min(self.most, self.first * 2.0 ** min(attempts_made - 1, 30))
        return bound * (0.5 + chance / 2)
