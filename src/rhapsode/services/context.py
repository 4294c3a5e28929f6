"""What every service function works on, and the numbers that it keeps to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from rhapsode.database.engine import Database
from rhapsode.domain.media import MediaProbe
from rhapsode.domain.retention import RetentionPolicy
from rhapsode.outbound.guard import Policy
from rhapsode.outbound.smtp import SmtpConfig
from rhapsode.services.known import KnownRunners
from rhapsode.services.recorder import Recorder
from rhapsode.services.tasks import Tasks
from rhapsode.services.waiting import ClaimQueue
from rhapsode.storage.inputs import InputBuckets
from rhapsode.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rhythm and the limits of the service; times in seconds, sizes in bytes."""

    lease_seconds: float = 60.0
    heartbeat_seconds: float = 15.0
    sweep_seconds: float = 10.0
    claim_wait_seconds: float = 55.0
    online_seconds: float = 90.0
    abandoned_upload_seconds: float = 3600.0
    login_seconds: float = 14 * 86400.0
    unfinished_upload_seconds: float = 86400.0
    assembly_wait_seconds: float = 20.0
    max_attempts: int = 3
    max_upload_bytes: int = 64 * 1024**3
    presign_downloads: bool = False
    transcription_stand_in: bool = True
    transcription_grace_seconds: float = 600.0
    public_url: str | None = None
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    fetch_by_server: bool = False
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    max_redirects: int = 5
    fetch_seconds: float = 6 * 3600.0
    least_url_seconds: float = 60.0
    model_aliases: Mapping[str, str] = field(default_factory=dict)


Probe = Callable[[str], Awaitable[MediaProbe]]
"""Looks into a stored object by key; Invalid where it is not a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The application's parts, as the services need them.

    Once `closing` is set, whoever waits for something to happen stops waiting. Without
    `smtp`, no e-mails are sent.
    """

    database: Database
    store: ObjectStore
    probe: Probe
    claims: ClaimQueue
    recorder: Recorder
    rules: Rules = Rules()
    policy: Policy = field(default_factory=Policy)
    input_buckets: InputBuckets | None = None
    known_runners: KnownRunners = field(default_factory=KnownRunners)
    tasks: Tasks = field(default_factory=Tasks)
    smtp: SmtpConfig | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def lease_end(self) -> datetime:
        """When a lease that is granted or renewed now will lapse."""
        return now() + timedelta(seconds=self.rules.lease_seconds)


def now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A UUIDv7: later ids sort after earlier ones."""
    return uuid7()
