"""Jobs that ended some time ago, and what is left of them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rhapsode.database import deliveries as deliveries_table
from rhapsode.database import jobs as jobs_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database.audit import AuditFilter
from rhapsode.database.tables import media
from rhapsode.domain.audit import AuditEvent
from rhapsode.domain.deliveries import Delivery, DeliveryId, DeliveryKind, DeliveryState
from rhapsode.domain.errors import Conflict
from rhapsode.domain.jobs import Job, JobError
from rhapsode.domain.media import Media, MediaId, media_key
from rhapsode.domain.retention import RetentionPolicy
from rhapsode.domain.runners import Lease
from rhapsode.domain.users import User
from rhapsode.services import audit, jobs, leases
from rhapsode.services.context import Context, new_id, now
from tests.api.people import CONTENT, chunks
from tests.database import rows
from tests.support.delivering import TRANSCRIPT
from tests.support.server import App

DAY = timedelta(days=1)
FOR_EVER = RetentionPolicy(orphan_days=None, audit_days=None)


def under(app: App, **policy: float | None) -> Context:
    """The application under another policy."""
    wanted = replace(FOR_EVER, **policy)
    return replace(app.context, rules=replace(app.context.rules, retention=wanted))


async def recording(app: App, ann: User) -> Media:
    made = await rows.make_media(app.context.database, ann)
    await app.context.store.put(made.key, chunks(CONTENT))
    return made


async def running(app: App, ann: User, made: Media | None = None, **changes: Any) -> Lease:
    """A job of a recording that a runner works on."""
    made = made or await recording(app, ann)
    job = await rows.make_job(app.context.database, ann, made, **changes)
    await rows.set_job(app.context.database, job.id, queue_rank=-99)
    taken = await rows.claim(app.context.database)
    assert taken is not None
    assert (taken.id, taken.runner_id is None) == (job.id, False)
    assert taken.runner_id is not None
    return Lease(taken.runner_id, taken.id, taken.attempt)


async def finished(
    app: App,
    ann: User,
    made: Media | None = None,
    *,
    ago: timedelta = timedelta(0),
    **changes: Any,
) -> Job:
    """A job that ended well, as long ago as is said."""
    lease = await running(app, ann, made, **changes)
    await leases.result(app.context, lease, TRANSCRIPT, ())
    return await aged(app, lease, ago)


async def failed(app: App, ann: User, made: Media | None = None, **changes: Any) -> Job:
    lease = await running(app, ann, made, **changes)
    await leases.failure(app.context, lease, JobError("broken", "It broke."), permanent=True)
    return await aged(app, lease, timedelta(0))


async def aged(app: App, lease: Lease, ago: timedelta) -> Job:
    """Everything that the job's end noted lies so much further back."""
    columns = ("finished_at", "media_expires_at", "transcript_expires_at")
    async with app.context.database.read() as connection:
        table = jobs_table.jobs
        row = (await connection.execute(table.select().where(table.c.id == lease.job_id))).one()
    moved = {name: _before(getattr(row, name), ago) for name in columns}
    await rows.set_job(app.context.database, lease.job_id, **moved)
    return await rows.find(app.context.database, lease.job_id)


def _before(moment: datetime | None, ago: timedelta) -> datetime | None:
    return None if moment is None else moment - ago


async def has_row(app: App, media_id: MediaId | None) -> bool:
    """Whether the row is there; it outlives its object for a moment."""
    async with app.context.database.read() as connection:
        query = media.select().where(media.c.id == media_id)
        return (await connection.execute(query)).one_or_none() is not None


async def has_media(app: App, media_id: MediaId | None) -> bool:
    """Whether row and object are there; they must agree."""
    row = await has_row(app, media_id)
    assert media_id is not None
    there = await app.context.store.exists(media_key(media_id))
    assert there == row
    return there


async def has_transcript(app: App, ann: User, job: Job) -> bool:
    async with app.context.database.read() as connection:
        there = await transcripts_table.get(connection, job.id) is not None
    if there:
        await jobs.transcript(app.context, ann, job.id)
    else:
        with pytest.raises(Conflict) as refused:
            await jobs.transcript(app.context, ann, job.id)
        assert refused.value.code == "transcript_deleted"
    return there


async def trail(app: App, subject: object) -> list[AuditEvent]:
    return await audit.page(app.context, AuditFilter(subject=str(subject)), 10)


def deleted(app: App, kind: str, reason: str) -> float:
    found = app.context.recorder.metrics.registry.get_sample_value(
        "rhapsode_deleted_total", {"kind": kind, "reason": reason}
    )
    return found or 0.0


async def told(app: App, job: Job) -> DeliveryId:
    """A delivery of the job that is tried again tomorrow."""
    made = Delivery(
        id=DeliveryId(new_id()),
        user_id=job.user_id,
        job_id=job.id,
        kind=DeliveryKind.EMAIL,
        subject="job.finished",
        destination="mail",
        state=DeliveryState.PENDING,
        next_at=now() + DAY,
        created_at=now(),
    )
    async with app.context.database.write() as transaction:
        await deliveries_table.insert(transaction.connection, [made])
    return made.id
