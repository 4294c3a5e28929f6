"""Retention: how long recordings and transcripts are kept once their job has ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rhapsode.domain.jobs import Job, JobState

UNDELIVERED_DAYS = 7.0
"""A transcript that could not be delivered is kept for so long at least: there is no other."""

READING_DAYS = 1 / 1440
"""A transcript stays for a minute at least: whoever waits for the job's end can read it."""

UNUSED_DAYS = 1 / 24
"""A recording without a job is left alone for so long at least: its job may be on the way."""

UNDELIVERED = frozenset({JobState.FAILED, JobState.EXPIRED})
"""Ends of a job that has a transcript by which it was not, or not wholly, delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What counts where a job says nothing itself, in days; None is for ever.

    `orphan_days` is for objects without a row and rows without an object, `audit_days` for
    the audit trail.
    """

    media_days: float | None = None
    transcript_days: float | None = None
    unused_media_days: float | None = None
    orphan_days: float | None = 7.0
    audit_days: float | None = 365.0


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a job's recording and transcript are due to go, where the job itself says so."""

    media: datetime | None
    transcript: datetime | None


def expiry(job: Job, ended: datetime) -> Expiry:
    """What an ended job's own wishes come to; what it leaves to the policy is None."""
    kept = job.retention
    return Expiry(
        _after(ended, kept.media_days if job.media_id is not None else None),
        _after(ended, _transcript_days(job)),
    )


def _transcript_days(job: Job) -> float | None:
    days = job.retention.transcript_days
    if days is None or job.transcribed_at is None:
        return None
    return max(days, UNDELIVERED_DAYS if job.state in UNDELIVERED else READING_DAYS)


def _after(moment: datetime, days: float | None) -> datetime | None:
    return None if days is None else moment + timedelta(days=days)


def before(moment: datetime, days: float | None, least: float = 0.0) -> datetime | None:
    """What is older than this has been kept for `days`; None where it is kept for ever."""
    return None if days is None else moment - timedelta(days=max(days, least))
