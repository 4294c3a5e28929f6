"""Leases: what a runner reports about one run of one job, and what it is answered."""

import asyncio
from datetime import datetime, timedelta

from rhapsode.database import jobs as jobs_table
from rhapsode.database import media as media_table
from rhapsode.database import results as results_table
from rhapsode.database import runners as runners_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database.engine import Transaction
from rhapsode.database.results import Result
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.errors import Conflict
from rhapsode.domain.jobs import Change, Job, JobError, JobState, Progress
from rhapsode.domain.media import Media
from rhapsode.domain.runners import Lease, Verdict
from rhapsode.domain.transcripts import Transcript
from rhapsode.services import outbox, speakers
from rhapsode.services.aside import aside
from rhapsode.services.context import Context, now
from rhapsode.services.jobs import changed, queued
from rhapsode.services.waiting import first_of

_RECHECK_SECONDS = 10.0
"""A signal can get lost between replicas; so long at most a cancel stays unheard."""


async def heartbeat(context: Context, lease: Lease, progress: Progress | None) -> Verdict:
    """Renew a lease; `cancel` if the job was called off, Conflict if the lease is lost."""
    async with context.database.write() as transaction:
        job = await jobs_table.renew(
            transaction.connection,
            lease,
            lease_expires_at=context.lease_end(),
            progress=progress,
        )
        if job is not None:
            await runners_table.touch(transaction.connection, lease.runner_id, now())
            transaction.signal(changed(job))
            context.recorder.heard(Verdict.CONTINUE)
            return Verdict.CONTINUE
        found = await jobs_table.get(transaction.connection, lease.job_id)
    verdict = _verdict(found, lease)
    context.recorder.heard(verdict)
    return verdict


async def verdict(context: Context, lease: Lease, wait_seconds: float) -> Verdict:
    """Whether to go on: at once where not, otherwise as soon as not or after the wait.

    It renews nothing. A runner asks it beside its heartbeats, so that a cancel reaches it
    in an instant, however rarely its heart beats.
    """
    deadline = now() + timedelta(seconds=min(wait_seconds, context.rules.claim_wait_seconds))
    stopped = asyncio.Event()

    def heard(signal: Signal) -> None:
        if signal.job_id == str(lease.job_id) and signal.topic in _STOPS:
            stopped.set()

    stop_listening = context.database.signals.listen(heard)
    try:
        while True:
            stopped.clear()
            async with context.database.read() as connection:
                found = await jobs_table.get(connection, lease.job_id)
            if _verdict(found, lease) is Verdict.CANCEL:
                return Verdict.CANCEL
            seconds = min(_RECHECK_SECONDS, _seconds_until(deadline))
            if seconds <= 0 or context.closing.is_set():
                return Verdict.CONTINUE
            await first_of(seconds, stopped, context.closing)
    finally:
        stop_listening()


_STOPS = {Topic.JOB_STOPPED, Topic.JOB_DELETED}


def _seconds_until(moment: datetime) -> float:
    return (moment - now()).total_seconds()


def _verdict(job: Job | None, lease: Lease) -> Verdict:
    """Conflict where the lease is lost in another way than by a cancel."""
    if job is None or job.state is JobState.CANCELED:
        return Verdict.CANCEL
    if not _holds(job, lease):
        raise lease_lost()
    return Verdict.CONTINUE


def lease_lost() -> Conflict:
    """Somebody else has the job now, or nobody may have it any more."""
    return Conflict(
        "lease_lost", "This lease is over; drop the work.", hint="Claim the next job."
    )


async def leased_recording(context: Context, lease: Lease) -> tuple[Job, Media | None]:
    """The job of a lease, and what is stored of its recording; Conflict if it is lost."""
    async with context.database.read() as connection:
        job = await jobs_table.get(connection, lease.job_id)
        if job is None or not _holds(job, lease):
            raise lease_lost()
        if job.media_id is None:
            return job, None
        return job, await media_table.get(connection, job.media_id)


def _holds(job: Job, lease: Lease) -> bool:
    return (job.state, job.attempt, job.runner_id) == (
        JobState.RUNNING,
        lease.attempt,
        lease.runner_id,
    )


async def result(
    context: Context, lease: Lease, transcript: Transcript, warnings: tuple[str, ...]
) -> None:
    """Store a transcript and finish its job; the same result again is fine."""
    transcript = await speakers.with_known_voices(context, lease, transcript)
    document = await aside(len(transcript.segments), transcripts_table.pack, transcript)
    found = Result(
        language=transcript.language,
        duration=transcript.duration,
        warnings=warnings,
        document=document,
    )
    moment = now()
    job = await _finish(context, lease, found, moment)
    if job is None:
        job = await _accept(context, lease, found, moment)
    if job is not None:
        started = job.started_at or moment
        context.recorder.finished(job, (moment - started).total_seconds())


async def _finish(
    context: Context, lease: Lease, found: Result, moment: datetime
) -> Job | None:
    """The short way, for a job of which nobody is to be told."""
    async with context.database.write_briefly() as transaction:
        job = await results_table.finish(transaction.connection, lease, found, moment)
        if job is not None:
            transaction.signal(changed(job))
    return job


async def _accept(
    context: Context, lease: Lease, found: Result, moment: datetime
) -> Job | None:
    """The whole way, with what is to be sent; None for a result that was there before."""
    async with context.database.write() as transaction:
        job = await results_table.accept(transaction.connection, lease, found, moment)
        if job is None:
            await _ensure_repeated(transaction, lease)
            return None
        await outbox.transcribed(transaction, job)
        transaction.signal(changed(job))
    return job


async def _ensure_repeated(transaction: Transaction, lease: Lease) -> None:
    """A runner whose answer got lost sends its result again, whatever became of the job."""
    stored = await transcripts_table.attempt_of(transaction.connection, lease.job_id)
    if stored != lease.attempt:
        raise lease_lost()


async def expired(context: Context, lease: Lease, error: JobError) -> None:
    """End a run because its recording's URL does not work any more."""
    async with context.database.write() as transaction:
        job = await jobs_table.expire(transaction.connection, lease, now=now(), error=error)
        if job is None:
            raise lease_lost()
        await outbox.ended(transaction, job)
        transaction.signal(changed(job))
    context.recorder.changed(Change.EXPIRE, job)


async def failure(context: Context, lease: Lease, error: JobError, *, permanent: bool) -> None:
    """Note that a run failed: for good, or as one attempt of those that the job has."""
    async with context.database.write() as transaction:
        found = await jobs_table.get(transaction.connection, lease.job_id)
        if found is None or not _holds(found, lease):
            raise lease_lost()
        ends = permanent or found.attempt >= found.max_attempts
        job = await (fail if ends else _again)(transaction, lease, error)
        if job is None:
            raise lease_lost()
        if ends:
            await outbox.ended(transaction, job)
        transaction.signal(changed(job), *([] if ends else [queued(job)]))
    context.recorder.changed(Change.FAIL if ends else Change.LAPSE, job)


async def fail(transaction: Transaction, lease: Lease, error: JobError) -> Job | None:
    """End a lease with failure; None if it is lost."""
    return await jobs_table.fail(
        transaction.connection,
        lease,
        now=now(),
        error=error,
    )


async def _again(transaction: Transaction, lease: Lease, error: JobError) -> Job | None:
    return await jobs_table.give_back(
        transaction.connection,
        lease,
        now=now(),
        costs_attempt=True,
        error=error,
    )


async def give_back(context: Context, lease: Lease) -> None:
    """Return a job that the runner will not finish; it costs the job nothing."""
    async with context.database.write() as transaction:
        job = await jobs_table.give_back(
            transaction.connection,
            lease,
            now=now(),
            costs_attempt=False,
        )
        if job is None:
            raise lease_lost()
        transaction.signal(queued(job), changed(job))
    context.recorder.changed(Change.GIVE_BACK, job)
