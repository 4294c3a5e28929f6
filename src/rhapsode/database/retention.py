"""The queries on what has been kept for long enough."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.media import media_from_row
from rhapsode.database.tables import deliveries, jobs, media, transcripts
from rhapsode.domain.deliveries import UNSETTLED
from rhapsode.domain.jobs import TERMINAL, JobId
from rhapsode.domain.media import Media, MediaId
from rhapsode.domain.retention import UNDELIVERED, Expiry
from rhapsode.domain.users import UserId

_ENDED = sorted(TERMINAL)
_NOT_DELIVERED = sorted(UNDELIVERED)
_OPEN = sorted(UNSETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoff:
    """The moment of a sweep, and the ends of jobs that the policy has waited long enough for.

    `undelivered` is that of jobs whose transcript was not delivered; None is for ever.
    """

    now: datetime
    ended: datetime | None
    undelivered: datetime | None = None


@dataclass(frozen=True, slots=True)
class Owned:
    """A job whose transcript was deleted, and whose it is."""

    job_id: JobId
    user_id: UserId


async def note(connection: AsyncConnection, job_id: JobId, expires: Expiry) -> None:
    """Write down when what an ended job has is due to go."""
    await connection.execute(
        jobs.update()
        .where(jobs.c.id == job_id)
        .values(media_expires_at=expires.media, transcript_expires_at=expires.transcript)
    )


# Media


def _media_is_due(job: Any, cutoff: Cutoff) -> ColumnElement[bool]:
    """Whether an ended job needs its recording no more. Never NULL, so it can be negated."""
    by_policy: ColumnElement[bool] = (
        false() if cutoff.ended is None else _reached(job.c.finished_at, cutoff.ended)
    )
    own = job.c.media_expires_at
    return and_(
        job.c.state.in_(_ENDED),
        case((own.is_not(None), own <= cutoff.now), else_=by_policy),
    )


def _reached(moment: ColumnElement[Any], cutoff: datetime) -> ColumnElement[bool]:
    return and_(moment.is_not(None), moment <= cutoff)


def _is_free(cutoff: Cutoff) -> ColumnElement[bool]:
    """No job needs this media: each has ended, waited, and told everybody of its end."""
    other = jobs.alias("other")
    needs = (
        select(other.c.id)
        .where(other.c.media_id == media.c.id, ~_media_is_due(other, cutoff))
        .exists()
    )
    tells = (
        select(other.c.id)
        .join(deliveries, deliveries.c.job_id == other.c.id)
        .where(other.c.media_id == media.c.id, deliveries.c.state.in_(_OPEN))
        .exists()
    )
    return and_(media.c.state == "ready", ~needs, ~tells)


async def due_media(connection: AsyncConnection, cutoff: Cutoff, limit: int) -> list[MediaId]:
    """Media that all their jobs have kept for long enough."""
    found: dict[MediaId, None] = {}
    for candidates in _candidates(cutoff):
        query = (
            select(media.c.id)
            .join(jobs, jobs.c.media_id == media.c.id)
            .where(jobs.c.state.in_(_ENDED), candidates, _is_free(cutoff))
            .distinct()
            .limit(limit)
        )
        found |= dict.fromkeys((await connection.execute(query)).scalars())
    return list(found)[:limit]


def _candidates(cutoff: Cutoff) -> list[ColumnElement[bool]]:
    """One at a time, so that each finds its index."""
    own = and_(jobs.c.media_expires_at.is_not(None), jobs.c.media_expires_at <= cutoff.now)
    if cutoff.ended is None:
        return [own]
    by_policy = and_(
        jobs.c.media_id.is_not(None),
        jobs.c.media_expires_at.is_(None),
        jobs.c.finished_at <= cutoff.ended,
    )
    return [own, by_policy]


async def is_free(connection: AsyncConnection, media_id: MediaId, cutoff: Cutoff) -> bool:
    """Whether that holds of this media now; to be asked once it is locked."""
    query = select(media.c.id).where(media.c.id == media_id, _is_free(cutoff))
    return (await connection.execute(query)).first() is not None


async def unused_media(
    connection: AsyncConnection, since: datetime, limit: int
) -> list[MediaId]:
    """Media that no job was made for, and that nothing has happened to since then."""
    query = select(media.c.id).where(_is_unused(since)).limit(limit)
    return list((await connection.execute(query)).scalars())


def _is_unused(since: datetime) -> ColumnElement[bool]:
    used = select(jobs.c.id).where(jobs.c.media_id == media.c.id).exists()
    return and_(media.c.state == "ready", media.c.touched_at < since, ~used)


async def is_unused(connection: AsyncConnection, media_id: MediaId, since: datetime) -> bool:
    """Whether that holds of this media now; to be asked once it is locked."""
    query = select(media.c.id).where(media.c.id == media_id, _is_unused(since))
    return (await connection.execute(query)).first() is not None


async def forget_media_expiry(connection: AsyncConnection, media_id: MediaId) -> None:
    """The media goes now, so there is nothing to wait for any more."""
    await connection.execute(
        jobs.update().where(jobs.c.media_id == media_id).values(media_expires_at=None)
    )


# Transcripts


def _transcript_is_due(cutoff: Cutoff) -> list[ColumnElement[bool]]:
    """By the job's own wish, and by the policy."""
    own = and_(
        jobs.c.transcript_expires_at.is_not(None),
        jobs.c.transcript_expires_at <= cutoff.now,
    )
    if cutoff.ended is None or cutoff.undelivered is None:
        return [own]
    by_policy = and_(
        jobs.c.transcribed_at.is_not(None),
        jobs.c.transcript_expires_at.is_(None),
        jobs.c.transcript_deleted_at.is_(None),
        jobs.c.finished_at <= cutoff.ended,
        or_(jobs.c.state.not_in(_NOT_DELIVERED), jobs.c.finished_at <= cutoff.undelivered),
    )
    return [own, by_policy]


_TELLS = (
    select(deliveries.c.id)
    .where(deliveries.c.job_id == jobs.c.id, deliveries.c.state.in_(_OPEN))
    .exists()
)


async def due_transcripts(
    connection: AsyncConnection, cutoff: Cutoff, limit: int
) -> list[JobId]:
    """Jobs whose transcript was kept for long enough, and that have told all there is."""
    found: dict[JobId, None] = {}
    for due in _transcript_is_due(cutoff):
        query = select(jobs.c.id).where(jobs.c.state.in_(_ENDED), due, ~_TELLS).limit(limit)
        found |= dict.fromkeys((await connection.execute(query)).scalars())
    return list(found)[:limit]


async def delete_transcripts(
    connection: AsyncConnection, job_ids: Collection[JobId], cutoff: Cutoff
) -> list[Owned]:
    """Delete the transcripts of those of these jobs of which that still holds."""
    query = (
        select(jobs.c.id, jobs.c.user_id)
        .where(
            jobs.c.id.in_(list(job_ids)),
            jobs.c.state.in_(_ENDED),
            or_(*_transcript_is_due(cutoff)),
            ~_TELLS,
        )
        .with_for_update(skip_locked=True, of=jobs)
    )
    found = [Owned(row.id, row.user_id) for row in await connection.execute(query)]
    ids = [item.job_id for item in found]
    await connection.execute(transcripts.delete().where(transcripts.c.job_id.in_(ids)))
    await connection.execute(
        jobs.update()
        .where(jobs.c.id.in_(ids))
        .values(transcript_expires_at=None, transcript_deleted_at=cutoff.now)
    )
    return found


# Orphans


async def known_media(connection: AsyncConnection, ids: Collection[MediaId]) -> set[MediaId]:
    """Those of these ids that have a row, in whatever state."""
    query = select(media.c.id).where(media.c.id.in_(list(ids)))
    return set((await connection.execute(query)).scalars())


async def ready_media(
    connection: AsyncConnection, after: MediaId | None, since: datetime, limit: int
) -> list[Media]:
    """Media in the order of their ids that were there before `since`, from after that one."""
    query = select(media).where(media.c.state == "ready", media.c.touched_at < since)
    if after is not None:
        query = query.where(media.c.id > after)
    rows = await connection.execute(query.order_by(media.c.id).limit(limit))
    return [media_from_row(row) for row in rows]
