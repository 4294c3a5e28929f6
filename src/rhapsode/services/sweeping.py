"""Sweeping: what time does to jobs, uploads and logins. Safe in every replica at once."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import structlog

from rhapsode.database import idempotency as idempotency_table
from rhapsode.database import jobs as jobs_table
from rhapsode.database import partials as partials_table
from rhapsode.database import runners as runners_table
from rhapsode.database import users as users_table
from rhapsode.domain.errors import DomainError
from rhapsode.domain.jobs import Change, JobError
from rhapsode.services import media as media_service
from rhapsode.services import outbox, transcription
from rhapsode.services import uploads as uploads_service
from rhapsode.services.context import Context, now
from rhapsode.services.jobs import changed, queued, stopped

BATCH = 200
_FORGET_RUNNERS_SECONDS = 7 * 86400.0
_FORGET_KEYS_SECONDS = 86400.0
_FORGET_PARTIALS_SECONDS = 60.0
_CLEAN_UP_EVERY = 60

EXHAUSTED = JobError(
    "attempts_exhausted",
    "Every runner that took this job was lost before it finished. Look at the runners' "
    "logs, then retry the job.",
)

log = structlog.get_logger(__name__)


async def run(context: Context) -> None:
    """Sweep for as long as the application runs; a sweep that fails is tried again."""
    await tried(spare(context))
    rounds = 0
    while True:
        await tried(sweep(context))
        if rounds % _CLEAN_UP_EVERY == 0:
            await tried(clean_up(context))
            await tried(uploads_service.sweep_orphans(context))
        rounds += 1
        await asyncio.sleep(context.rules.sweep_seconds)


async def tried(work: Awaitable[object]) -> None:
    """Await some sweeping; what goes wrong is logged, and tried again with the next round."""
    try:
        await work
    except DomainError as error:
        log.warning("sweep.failed", error=str(error))
    except Exception:  # without sweeps no lost job would ever come back
        log.exception("sweep.failed")


async def spare(context: Context) -> None:
    """At the start: leases that expired while no server ran are given another chance.

    Their runners could not renew them, and may well be in the middle of the work.
    """
    moment = now()
    async with context.database.read() as connection:
        if not await jobs_table.has_lapsed(connection, moment):
            return
    async with context.database.write() as transaction:
        spared = await jobs_table.extend_lapsed(
            transaction.connection, moment, context.lease_end()
        )
    log.info("leases.spared", count=spared)


async def sweep(context: Context) -> None:
    """One round: leases, uploads, and runners that a lost signal left waiting.

    Each by itself: what cannot be removed must not keep jobs from coming back.
    """
    for step in (lapse, media_service.sweep, uploads_service.sweep, transcription.sweep, wake):
        await tried(step(context))


async def lapse(context: Context) -> int:
    """Take jobs back from runners that were not heard of; returns how many."""
    moment = now()
    async with context.database.read() as connection:
        if not await jobs_table.has_lapsed(connection, moment):
            return 0
    async with context.database.write() as transaction:
        failed = await jobs_table.fail_lapsed(transaction.connection, moment, BATCH, EXHAUSTED)
        returned = await jobs_table.requeue_lapsed(transaction.connection, moment, BATCH)
        await outbox.ended(transaction, *failed)
        transaction.signal(*(stopped(job) for job in [*failed, *returned]))
        transaction.signal(*(changed(job) for job in [*failed, *returned]))
        transaction.signal(*(queued(job) for job in returned))
    for job in [*failed, *returned]:
        log.warning("job.lease_lapsed", job_id=str(job.id), attempt=job.attempt, now=job.state)
    context.recorder.changed(Change.LAPSE, *returned)
    context.recorder.changed(Change.EXHAUST, *failed)
    return len(failed) + len(returned)


async def wake(context: Context) -> None:
    """Wake claims for jobs that are queued all the same: the signal may have been lost."""
    if context.claims.is_idle:
        return
    async with context.database.read() as connection:
        waiting = await jobs_table.queued_requirements(connection, BATCH)
    for requirement in waiting:
        context.claims.wake(requirement)


async def clean_up(context: Context) -> None:
    """Forget what has expired: logins, idempotency keys, runners long unseen, partials."""
    moment = now()
    async with context.database.write() as transaction:
        connection = transaction.connection
        await users_table.delete_expired_logins(connection, moment)
        await idempotency_table.forget(
            connection, moment - timedelta(seconds=_FORGET_KEYS_SECONDS)
        )
        await runners_table.forget_unseen(
            connection, moment - timedelta(seconds=_FORGET_RUNNERS_SECONDS)
        )
        await partials_table.forget(
            connection, moment - timedelta(seconds=_FORGET_PARTIALS_SECONDS)
        )
