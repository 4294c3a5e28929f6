"""Settling: what comes of an attempt, and of the job when nothing of it is left to send.

The job's row is locked before any of its deliveries, here, in cancelling and in sending
again alike: so two that settle the last deliveries at once see each other, and nobody waits
crosswise.
"""

import random
from datetime import timedelta
from uuid import UUID

from rhapsode.database import deliveries as table
from rhapsode.database import delivering
from rhapsode.database.deliveries import Attempt
from rhapsode.database.engine import Transaction
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.deliveries import (
    UNSETTLED,
    Backoff,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Ending,
    ending,
    latest,
)
from rhapsode.domain.jobs import Job, JobState
from rhapsode.services import outbox
from rhapsode.services.channels import Outcome, storable
from rhapsode.services.context import Context, now


def judged(delivery: Delivery, outcome: Outcome, backoff: Backoff) -> Attempt:
    """What the delivery is after this attempt: settled, or due another time."""
    moment = now()
    state, next_at = outcome.state, moment
    if state is DeliveryState.PENDING and delivery.attempts >= backoff.attempts:
        state = DeliveryState.DEAD
    if state is DeliveryState.PENDING:
        wait = backoff.wait(delivery.attempts, random.random())  # noqa: S311
        next_at = moment + timedelta(seconds=max(wait, outcome.retry_after or 0.0))
    return Attempt(
        state=state,
        next_at=next_at,
        settled_at=None if state in UNSETTLED else moment,
        status=outcome.status,
        latency=outcome.latency,
        error=_storable(outcome.error),
        response=_storable(outcome.response),
    )


def _storable(text: str | None) -> str | None:
    """What cannot be written down would be sent again for ever."""
    return None if text is None else storable(text)


async def settle(context: Context, sender: UUID, delivery: Delivery, attempt: Attempt) -> bool:
    """Write an attempt down, and go on with its job; False if it was the sender's no more."""
    ended: tuple[Job, Ending] | None = None
    async with context.database.write() as transaction:
        job = await _lock(transaction, delivery)
        noted = await table.note(transaction.connection, sender, delivery.id, attempt)
        if noted is None:
            return False
        if job is not None and noted.state not in UNSETTLED:
            ended = await advance(transaction, job)
    if ended is not None:
        context.recorder.changed(ended[1].change, ended[0])
    return True


async def _lock(transaction: Transaction, delivery: Delivery) -> Job | None:
    """The job, where it depends on this delivery."""
    if delivery.kind is not DeliveryKind.ARTIFACT or delivery.job_id is None:
        return None
    return await delivering.lock(transaction.connection, delivery.job_id)


async def advance(transaction: Transaction, job: Job) -> tuple[Job, Ending] | None:
    """Take a locked job further: send its record once all else is settled, or end it."""
    if job.state is not JobState.DELIVERING:
        return None
    current = latest(await table.of_job(transaction.connection, job.id)).values()
    states = {item.state for item in current}
    if DeliveryState.PENDING in states:
        return None
    held = [item for item in current if item.state is DeliveryState.HELD]
    if held:
        await table.send_again(transaction.connection, [it.id for it in held], now())
        transaction.signal(outbox.due(held[0]))
        return None
    return await _end(transaction, job, ending(current))


async def _end(
    transaction: Transaction, job: Job, comes_to: Ending
) -> tuple[Job, Ending] | None:
    ended = await delivering.end(transaction.connection, job.id, comes_to, now())
    if ended is None:
        return None
    await outbox.ended(transaction, ended)
    transaction.signal(Signal(Topic.JOB_CHANGED, str(ended.id), str(ended.user_id)))
    return ended, comes_to
