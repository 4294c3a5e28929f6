"""Segments that are told of while their job runs, for whoever cannot wait for its end."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from rhapsode.database import jobs as jobs_table
from rhapsode.database import partials as table
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.jobs import TERMINAL, Job, JobId, JobState
from rhapsode.domain.runners import Lease
from rhapsode.domain.transcripts import Segment
from rhapsode.domain.users import User
from rhapsode.services.context import Context
from rhapsode.services.leases import lease_lost
from rhapsode.services.waiting import first_of

_RECHECK_SECONDS = 2.0
_NEWS = {Topic.JOB_HEARD, Topic.JOB_CHANGED, Topic.JOB_DELETED}


async def tell(context: Context, lease: Lease, first: int, segments: Sequence[Segment]) -> None:
    """Note segments of a run; Conflict where its lease is lost."""
    async with context.database.write() as transaction:
        job = await jobs_table.get(transaction.connection, lease.job_id)
        if job is None or not _is_run(job, lease):
            raise lease_lost()
        if job.spec.partials and segments:
            await table.insert(
                transaction.connection, lease.job_id, lease.attempt, first, segments
            )
            transaction.signal(Signal(Topic.JOB_HEARD, str(job.id), str(job.user_id)))


def _is_run(job: Job, lease: Lease) -> bool:
    found = (job.state, job.attempt, job.runner_id)
    return found == (JobState.RUNNING, lease.attempt, lease.runner_id)


async def follow(
    context: Context, user: User, job_id: JobId
) -> AsyncGenerator[Segment | Job, None]:
    """A job's segments as they come, each stretch of time once, and at last the job.

    Another attempt begins anew; what was told of before is not told again.
    """
    news = asyncio.Event()

    def heard(signal: Signal) -> None:
        if signal.job_id == str(job_id) and signal.topic in _NEWS:
            news.set()

    stop_listening = context.database.signals.listen(heard)
    attempt, number, told_until = 0, 0, 0.0
    try:
        while not context.closing.is_set():
            news.clear()
            async with context.database.read() as connection:
                job = await jobs_table.get(connection, job_id, user.id)
                found = await table.since(connection, job_id, attempt, number)
            for item in found:
                attempt, number = item.attempt, item.number + 1
                if item.segment.start >= told_until:
                    told_until = item.segment.end
                    yield item.segment
            if job is None:
                return
            if job.state in TERMINAL:
                yield job
                return
            await first_of(_RECHECK_SECONDS, news, context.closing)
    finally:
        stop_listening()
