"""The audit trail: who did what to which thing, kept after the thing is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from rhapsode.domain.users import UserId

AuditId = NewType("AuditId", UUID)


class Action(StrEnum):
    """What is recorded."""

    JOB_DELETED = "job.deleted"
    MEDIA_DELETED = "media.deleted"
    TRANSCRIPT_DELETED = "transcript.deleted"
    UPLOAD_DELETED = "upload.deleted"
    OBJECT_DELETED = "object.deleted"
    USER_DELETED = "user.deleted"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_ROTATED = "webhook.rotated"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_DELETED = "webhook.deleted"
    FLAG_CHANGED = "flag.changed"


class Reason(StrEnum):
    """Why something was deleted."""

    USER = "user"
    """Somebody asked for it."""
    RETENTION = "retention"
    """The time that a job or the policy set for it was over."""
    UNUSED = "unused"
    """A recording that no job was made for, for as long as the policy sets."""
    ORPHAN = "orphan"
    """A row without its object, or an object without its row."""
    ABANDONED = "abandoned"
    """An upload that nobody went on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One entry. `actor_id` is None where the server itself did it.

    `detail` says the rest in plain values, and never holds a secret.
    """

    id: AuditId
    at: datetime
    actor_id: UserId | None
    action: Action
    subject_kind: str
    subject_id: str
    detail: Mapping[str, Any]
