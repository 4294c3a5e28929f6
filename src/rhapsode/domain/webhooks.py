"""Webhooks: their keys, their signatures and what they say, as Standard Webhooks has it.

https://www.standardwebhooks.com: `webhook-signature` holds `v1,` and the base64 of
HMAC-SHA256 over `id.timestamp.body`, once for each key that signs, separated by spaces.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rhapsode.domain.deliveries import Endpoint, Event, SigningKey
from rhapsode.domain.jobs import Job

KEY_PREFIX = "whsec_"
KEY_BYTES = 32
OVERLAP = timedelta(hours=24)
"""How long a key signs along after another took its place."""

MOST_KEYS = 4
"""A key that is rotated out again and again must not make the header grow."""

MOST_ENDPOINTS = 20
MAX_DESCRIPTION_CHARACTERS = 200

JOB_EVENTS = (Event.FINISHED, Event.FAILED, Event.EXPIRED, Event.CANCELED)
"""What an endpoint can subscribe to; a test is sent on request only."""


def key_of(random: bytes) -> str:
    """A signing key made of 24 to 64 random bytes: `whsec_` and their base64."""
    if not 24 <= len(random) <= 64:
        raise ValueError("a signing key has 24 to 64 bytes")
    return KEY_PREFIX + base64.b64encode(random).decode("ascii")


def _bytes_of(key: str) -> bytes:
    try:
        return base64.b64decode(key.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing key is no base64") from error


def signature(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature; `timestamp` is in seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_bytes_of(key), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def headers(
    keys: Iterable[SigningKey], message_id: UUID, body: bytes, moment: datetime
) -> dict[str, str]:
    """What a message carries beside its body: its id, its time, a signature by each key."""
    timestamp = int(moment.timestamp())
    signatures = [
        signature(key.secret, str(message_id), timestamp, body) for key in signing(keys, moment)
    ]
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def signing(keys: Iterable[SigningKey], moment: datetime) -> tuple[SigningKey, ...]:
    """The keys that sign at this moment."""
    return tuple(key for key in keys if key.expires_at is None or key.expires_at > moment)


def rotated(keys: Sequence[SigningKey], new: str, moment: datetime) -> tuple[SigningKey, ...]:
    """The keys once `new` has taken the first place; those before sign along for a day."""
    old = [
        SigningKey(key.secret, key.expires_at or moment + OVERLAP)
        for key in signing(keys, moment)
    ]
    return (SigningKey(new), *old)[:MOST_KEYS]


def job_message(event: Event, job: Job) -> dict[str, Any]:
    """What an event says: what happened to which job. The rest is for who may ask for it."""
    error = job.error
    return message(
        event,
        job.finished_at or job.created_at,
        {
            "job_id": str(job.id),
            "name": job.name,
            "state": str(job.state),
            "language": job.language,
            "duration": job.duration,
            "error": None if error is None else {"code": error.code, "message": error.message},
        },
    )


def message(event: Event, moment: datetime, data: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an event: type, when it happened, and about what."""
    return {"type": str(event), "timestamp": moment.isoformat(), "data": dict(data)}


def is_subscribed(endpoint: Endpoint, event: Event) -> bool:
    """Whether this is to be told to the endpoint."""
    return endpoint.disabled_reason is None and event in endpoint.events
