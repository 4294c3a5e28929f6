"""Jobs: asked for, looked at, canceled, retried, deleted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from rhapsode.database import delivering
from rhapsode.database import jobs as table
from rhapsode.database import media as media_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database.engine import Transaction
from rhapsode.database.jobs import JobFilter
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.errors import Conflict, Invalid, NotFound
from rhapsode.domain.jobs import (
    TERMINAL,
    Change,
    Job,
    JobId,
    JobSpec,
    JobState,
    Notify,
    Retention,
    Source,
    ensure_allowed,
)
from rhapsode.domain.media import Media, MediaId, clean_name
from rhapsode.domain.transcripts import Transcript
from rhapsode.domain.urls import name_in
from rhapsode.domain.users import User, UserId
from rhapsode.services import audit, idempotency, mail, offers, outbox, sources
from rhapsode.services import media as media_service
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.idempotency import Once


def changed(job: Job) -> Signal:
    """Tells that a job is not what it was."""
    return Signal(Topic.JOB_CHANGED, str(job.id), str(job.user_id))


def stopped(job: Job) -> Signal:
    """Tells whoever runs this job that it shall stop."""
    return Signal(Topic.JOB_STOPPED, str(job.id), str(job.user_id))


def queued(job: Job) -> Signal:
    """Tells that a job is free to claim."""
    return Signal(Topic.JOB_QUEUED, str(job.id), str(job.user_id), job.spec.requirement)


def not_found() -> NotFound:
    """There is no such job, or the asker may not know of it."""
    return NotFound("job_not_found", "There is no such job.")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOrder:
    """What is asked for: a recording, by `media_id` or `source`, and what comes of it.

    Without a `name`, the job takes the recording's own, or what the URL's path ends with.
    """

    spec: JobSpec = field(default_factory=JobSpec)
    media_id: MediaId | None = None
    source: Source | None = None
    name: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    notify: Notify = field(default_factory=Notify)
    retention: Retention = field(default_factory=Retention)


Alongside = Callable[[Transaction, Job], Awaitable[None]]
"""What shall be written in the transaction that makes a job, or not at all."""


async def create(
    context: Context,
    user: User,
    order: JobOrder,
    *,
    request: Once | None = None,
    alongside: Alongside | None = None,
) -> Job:
    """Queue a job for one of the user's media or for a URL.

    Invalid where nothing could do it, or where a URL can be seen to be of no use.
    """

    async def make() -> Job:
        mail.ensure_enabled(context, order.notify)
        await offers.ensure_possible(context, order.spec)
        await sources.ensure_usable(context, order.spec, order.source, order.outputs)
        return await _create(context, user, order, request, alongside)

    async def recall(job_id: UUID) -> Job:
        return await get(context, user, JobId(job_id))

    return await idempotency.create_once(context, request, make, recall)


async def _create(
    context: Context,
    user: User,
    order: JobOrder,
    request: Once | None,
    alongside: Alongside | None,
) -> Job:
    async with context.database.write() as transaction:
        job = await _new_job(context, transaction, user, order)
        await table.insert(transaction.connection, job)
        await idempotency.record(transaction, request, job.id)
        if alongside is not None:
            await alongside(transaction, job)
        transaction.signal(queued(job), changed(job))
    context.recorder.changed("create", job)
    return job


async def _new_job(
    context: Context, transaction: Transaction, user: User, order: JobOrder
) -> Job:
    moment = now()
    name, duration = await _name_and_duration(transaction, user, order)
    return Job(
        id=JobId(new_id()),
        user_id=user.id,
        media_id=order.media_id,
        name=name,
        spec=order.spec,
        state=JobState.QUEUED,
        attempt=1,
        max_attempts=context.rules.max_attempts,
        created_at=moment,
        queued_at=moment,
        duration=duration,
        source=order.source,
        outputs=order.outputs,
        notify=order.notify,
        retention=order.retention,
    )


async def _name_and_duration(
    transaction: Transaction, user: User, order: JobOrder
) -> tuple[str, float | None]:
    """Of the recording, which from now to the commit stays; NotFound if it is not theirs."""
    if order.media_id is not None:
        media = await media_table.lock(transaction.connection, order.media_id)
        if media is None or media.user_id != user.id:
            raise media_service.not_found()
        return (clean_name(order.name) if order.name else media.name), media.duration
    if order.source is None:
        raise Invalid("no_recording", "The job names neither a stored recording nor a URL.")
    return clean_name(order.name or name_in(order.source.url)), None


async def get(context: Context, user: User, job_id: JobId) -> Job:
    """One of a user's jobs; NotFound if it is not theirs."""
    async with context.database.read() as connection:
        job = await table.get(connection, job_id, user.id)
    if job is None:
        raise not_found()
    return job


async def page(context: Context, wanted: JobFilter, limit: int) -> list[Job]:
    """The newest jobs that fit, at most `limit`."""
    async with context.database.read() as connection:
        return await table.page(connection, wanted, limit)


async def unfinished(context: Context) -> dict[JobState, int]:
    """How many jobs of everybody's wait, run and are being delivered."""
    async with context.database.read() as connection:
        return await table.count_by_state(connection)


async def transcript(context: Context, user: User, job_id: JobId) -> tuple[Job, Transcript]:
    """A job and its transcript, whatever the job's state; Conflict where there is none."""
    async with context.database.read() as connection:
        job = await table.get(connection, job_id, user.id)
        found = await transcripts_table.get(connection, job_id) if job else None
    if job is None:
        raise not_found()
    if found is None:
        raise no_transcript(job)
    return job, await asyncio.to_thread(transcripts_table.unpack, found)


def no_transcript(job: Job) -> Conflict:
    """Why a job has no transcript."""
    if job.transcript_deleted_at is not None:
        return Conflict(
            "transcript_deleted",
            f"The transcript was deleted at {job.transcript_deleted_at:%Y-%m-%d %H:%M} UTC, "
            "when the time was over for which it was to be kept.",
            hint="Make a new job for the recording; a longer retention.transcript_days keeps "
            "what comes of it.",
        )
    return Conflict(
        "transcript_not_ready",
        f"The job is {job.state}: there is no transcript"
        f"{' any more to come' if job.state in TERMINAL else ' yet'}.",
    )


async def cancel(context: Context, user: User, job_id: JobId) -> Job:
    """Call a job off. Whatever its runner reports from now on is refused."""
    async with context.database.write() as transaction:
        job = await table.get(transaction.connection, job_id, user.id)
        if job is None:
            raise not_found()
        canceled = await table.cancel(transaction.connection, job_id, now())
        if canceled is None:
            raise refusal(job, Change.CANCEL)
        await outbox.canceled(transaction, canceled)
        transaction.signal(stopped(canceled), changed(canceled))
    context.recorder.changed(Change.CANCEL, canceled)
    return canceled


def refusal(job: Job, change: Change) -> Conflict:
    """Why the compare-and-set did not apply."""
    try:
        ensure_allowed(job.state, change)
    except Conflict as conflict:
        return conflict
    return Conflict("job_state", "The job changed in this very moment; look again.")


async def delete(
    context: Context,
    user: User,
    job_id: JobId,
    *,
    keep_media: bool,
    reason: Reason = Reason.USER,
    actor: User | None = None,
    only_ended: bool = False,
) -> None:
    """Remove a job and its transcript, and its recording if no other job uses it.

    With `only_ended`, a job that somebody has queued again meanwhile is not found.

    A job that runs is thereby canceled: its runner finds the lease gone. For another reason
    than the user's wish, the trail names the server as who did it; `actor` is who wished it
    where that was not the user, but an administrator.
    """
    actor_id = (actor or user).id if reason is Reason.USER else None
    async with context.database.write() as transaction:
        job = await table.get(transaction.connection, job_id, user.id)
        if job is None:
            raise not_found()
        recording = None
        if job.media_id is not None:  # before the job: two deletes must not wait crosswise
            recording = await media_table.lock(transaction.connection, job.media_id)
        job = await delivering.lock(transaction.connection, job_id)
        if job is None or (only_ended and job.state not in TERMINAL):
            raise not_found()
        await outbox.deleted(transaction, job)
        await table.delete(transaction.connection, job_id)
        await _note_deleted(transaction, job, reason, actor_id)
        orphan = None
        if recording is not None:
            orphan = await _left_over(transaction, recording, keep_media=keep_media)
        if orphan is not None:
            await media_service.condemn(transaction, orphan, reason, actor_id=actor_id)
        transaction.signal(Signal(Topic.JOB_DELETED, str(job_id), str(user.id)))
    context.recorder.deleted("job", reason)
    if orphan is not None:
        context.recorder.deleted("media", reason)
        await media_service.purge(context, orphan.id)


async def _left_over(
    transaction: Transaction, recording: Media, *, keep_media: bool
) -> Media | None:
    """The recording if it goes with its job; one that stays counts as unused from now on."""
    if keep_media:
        await media_table.used(transaction.connection, recording.id, now())
        return None
    if await table.uses_media(transaction.connection, recording.id):
        return None
    return recording


async def _note_deleted(
    transaction: Transaction, job: Job, reason: Reason, actor_id: UserId | None
) -> None:
    await audit.deleted(
        transaction,
        Action.JOB_DELETED,
        job.id,
        reason,
        actor_id=actor_id,
        owner=str(job.user_id),
        state=str(job.state),
        had_transcript=job.transcribed_at is not None and job.transcript_deleted_at is None,
    )
