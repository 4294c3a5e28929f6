"""Deliveries as their owner sees them: looked at, sent again, given fresh URLs."""

from collections.abc import Mapping

from rhapsode.database import deliveries as table
from rhapsode.database import delivering
from rhapsode.database import jobs as jobs_table
from rhapsode.database.deliveries import DeliveryFilter
from rhapsode.database.engine import Transaction
from rhapsode.domain.deliveries import (
    UNSETTLED,
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    latest,
)
from rhapsode.domain.errors import Conflict, Invalid, NotFound
from rhapsode.domain.jobs import TERMINAL, Change, Job, JobId
from rhapsode.domain.users import User
from rhapsode.services import jobs as jobs_service
from rhapsode.services import outbox, resending, sources
from rhapsode.services.context import Context, now


def not_found() -> NotFound:
    """There is no such delivery, or the asker may not know of it."""
    return NotFound("delivery_not_found", "There is no such delivery.")


async def page(context: Context, wanted: DeliveryFilter, limit: int) -> list[Delivery]:
    """The newest deliveries that fit, at most `limit`."""
    async with context.database.read() as connection:
        return await table.page(connection, wanted, limit)


async def of_job(context: Context, user: User, job_id: JobId) -> list[Delivery]:
    """All deliveries of one of the user's jobs, the oldest first."""
    async with context.database.read() as connection:
        if await jobs_table.get(connection, job_id, user.id) is None:
            raise jobs_service.not_found()
        return await table.of_job(connection, job_id)


async def unsettled(context: Context) -> dict[DeliveryState, int]:
    """How many deliveries of everybody's wait, and how many were given up."""
    async with context.database.read() as connection:
        return await table.count_unsettled(connection)


async def redeliver(context: Context, user: User, delivery_id: DeliveryId) -> Delivery:
    """Send a delivery once more, or now instead of later, with all its attempts before it."""
    async with context.database.read() as connection:
        known = await table.get(connection, delivery_id, user.id)
    if known is None:
        raise not_found()
    before: Job | None = None
    job: Job | None = None
    async with context.database.write() as transaction:
        if known.kind is DeliveryKind.ARTIFACT and known.job_id is not None:
            before = await delivering.lock(transaction.connection, known.job_id)
        found = await table.get(transaction.connection, delivery_id)
        if found is None:
            raise not_found()
        if found.state in UNSETTLED:
            await _hurry(transaction, found)
        elif before is not None:
            job = await _artifact_again(transaction, before, found)
        else:
            await table.send_again(transaction.connection, [found.id], now())
            transaction.signal(outbox.due(found))
        again = await table.get(transaction.connection, delivery_id)
    _record(context, before, job)
    return again or found


def _record(context: Context, before: Job | None, job: Job | None) -> None:
    if before is not None and job is not None and before.state in TERMINAL:
        context.recorder.changed(Change.REDELIVER, job)


async def _hurry(transaction: Transaction, delivery: Delivery) -> None:
    """One that waits for its next attempt need not wait; one that is being sent, is."""
    if delivery.state is DeliveryState.HELD:
        raise Conflict(
            "delivery_held",
            "The job's record is sent when all its other artifacts are settled.",
            hint="Look at the job's other deliveries.",
        )
    await table.hurry(transaction.connection, delivery.id, now())
    transaction.signal(outbox.due(delivery))


async def _artifact_again(transaction: Transaction, job: Job, delivery: Delivery) -> Job:
    await _ensure_transcript(transaction, job)
    current = latest(await table.of_job(transaction.connection, job.id))
    if current[delivery.subject].id != delivery.id:
        raise Conflict(
            "delivery_replaced",
            f"'{delivery.subject}' has got another URL since.",
            hint="Redeliver the later delivery of the same name.",
        )
    return await resending.send(transaction, job, [delivery], {})


async def _ensure_transcript(transaction: Transaction, job: Job) -> None:
    if not await resending.has_transcript(transaction, job):
        raise jobs_service.no_transcript(job)


async def resend(
    context: Context, user: User, job_id: JobId, outputs: Mapping[str, str]
) -> Job:
    """Deliver again what of an ended job did not arrive, to fresh URLs where there are any.

    Conflict where everything arrived. It is what a retry means for a job with a transcript.
    """
    sources.ensure_outputs(context, outputs)
    async with context.database.write() as transaction:
        before = await _own(transaction, user, job_id)
        await _ensure_transcript(transaction, before)
        job = await resending.undelivered(transaction, before, outputs)
    _record(context, before, job)
    return job


async def _own(transaction: Transaction, user: User, job_id: JobId) -> Job:
    """One of the user's jobs, locked."""
    job = await delivering.lock(transaction.connection, job_id)
    if job is None or job.user_id != user.id:
        raise jobs_service.not_found()
    return job


async def give_urls(
    context: Context, user: User, job_id: JobId, outputs: Mapping[str, str]
) -> list[Delivery]:
    """Deliver a job's transcript to fresh or further URLs, without transcribing it again.

    A job that has not been transcribed yet goes to them when it is. Returns its deliveries.
    """
    if not outputs:
        raise Invalid(
            "no_outputs",
            "No outputs are given.",
            hint='Name at least one, as in {"outputs": {"vtt": "https://…"}}.',
        )
    sources.ensure_outputs(context, outputs)
    async with context.database.write() as transaction:
        before = await _own(transaction, user, job_id)
        job = await _send_to(transaction, before, outputs)
        found = await table.of_job(transaction.connection, job_id)
    _record(context, before, job)
    return found


async def _send_to(
    transaction: Transaction, job: Job, outputs: Mapping[str, str]
) -> Job | None:
    if job.transcribed_at is None and job.state not in TERMINAL:
        merged = {**job.outputs, **outputs}
        await delivering.set_outputs(transaction.connection, job.id, merged)
        transaction.signal(jobs_service.changed(job))
        return None
    await _ensure_transcript(transaction, job)
    return await resending.send(transaction, job, [], outputs)
