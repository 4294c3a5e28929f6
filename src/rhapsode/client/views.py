"""What the API shows where that is not exactly a domain object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from rhapsode.domain.jobs import Job
from rhapsode.domain.media import MediaId, MediaProbe, MediaState


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaView:
    """A stored recording as the API shows it to its owner; duration in seconds."""

    id: MediaId
    name: str
    state: MediaState
    size: int
    digest: str | None
    media_type: str | None = None
    duration: float | None = None
    created_at: datetime
    probe: MediaProbe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list that is never long, of things that are only shown."""

    items: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some jobs, newest first, and the cursor of the next page (None: that was all)."""

    items: tuple[Job, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPage:
    """Some media, newest first, and the cursor of the next page (None: that was all)."""

    items: tuple[MediaView, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A key or token just made; its secret is shown this once."""

    id: UUID
    name: str
    created_at: datetime
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a new job shall be beside its spec.

    `keep` stores what is fetched from a URL; `outputs` are artifacts by name, with the URLs
    to PUT them to; `key` is an idempotency key of one's own, so that a program that was
    killed and does not know whether it asked can ask again.
    """

    name: str | None = None
    keep: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)
    email: bool = False
    media_days: float | None = None
    transcript_days: float | None = None
    key: str | None = None
