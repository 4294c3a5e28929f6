"""Sending again what a job did not get rid of; it is never transcribed a second time.

These take part in the caller's transaction, with the job's row locked.
"""

from collections.abc import Collection, Mapping

from rhapsode.database import deliveries as table
from rhapsode.database import delivering
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database.engine import Transaction
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.deliveries import META, UNSETTLED, Delivery, DeliveryState, latest
from rhapsode.domain.errors import Conflict
from rhapsode.domain.jobs import Change, Job, JobState, ensure_allowed
from rhapsode.outbound.sigv4 import expiry_of
from rhapsode.services import outbox, settling
from rhapsode.services.context import now

_REPLACED = "A fresh URL took its place."
_UNDELIVERED = frozenset({DeliveryState.DEAD, DeliveryState.EXPIRED, DeliveryState.CANCELED})


async def has_transcript(transaction: Transaction, job: Job) -> bool:
    """Whether there is something to send."""
    return await transcripts_table.attempt_of(transaction.connection, job.id) is not None


async def undelivered(transaction: Transaction, job: Job, outputs: Mapping[str, str]) -> Job:
    """Send every artifact of an ended job again that did not arrive; Conflict if all did.

    This is what `retry` means for a job that has its transcript. What `outputs` names goes
    there instead.
    """
    current = await _current(transaction, job)
    waiting = [
        item
        for name, item in current.items()
        if item.state in _UNDELIVERED and name not in outputs
    ]
    if not waiting and not outputs:
        raise Conflict(
            "nothing_to_deliver",
            "The job has its transcript, and nothing that is still to be delivered.",
            hint="Fetch the transcript, or name outputs to deliver it to.",
        )
    return await send(transaction, job, waiting, outputs)


async def send(
    transaction: Transaction,
    job: Job,
    chosen: Collection[Delivery],
    outputs: Mapping[str, str],
) -> Job:
    """Send these artifacts of a job again, others to the URLs of `outputs`, then its record.

    What was not sent yet to the URLs that these replace never will be.
    """
    ensure_allowed_again(job)
    connection, current = transaction.connection, await _current(transaction, job)
    outputs = {name: url for name, url in outputs.items() if _is_new(current.get(name), url)}
    replaced = [item.id for name, item in current.items() if name in outputs]
    await table.supersede(connection, replaced, now(), _REPLACED)
    names = {item.subject for item in chosen}
    ids = [item.id for item in chosen if item.subject != META]
    await table.send_again(connection, ids, now())
    if META not in outputs:
        await _hold_record(transaction, current, asked=META in names)
    await outbox.post(transaction, *map(_held_record, outbox.artifacts(job, outputs)))
    merged = {**job.outputs, **outputs}
    await delivering.set_outputs(connection, job.id, merged)
    return await _take_up(transaction, job.evolve(outputs=merged))


def _is_new(known: Delivery | None, url: str) -> bool:
    """A request that is repeated, because its answer got lost, shall not send things twice."""
    return known is None or known.url != url or known.state not in UNSETTLED


def _held_record(made: Delivery) -> Delivery:
    return made.evolve(state=DeliveryState.HELD) if made.subject == META else made


def ensure_allowed_again(job: Job) -> None:
    """Conflict for a job that has not been transcribed yet."""
    if job.state is not JobState.DELIVERING:
        ensure_allowed(job.state, Change.REDELIVER)


async def _current(transaction: Transaction, job: Job) -> dict[str, Delivery]:
    return latest(await table.of_job(transaction.connection, job.id))


async def _hold_record(
    transaction: Transaction, current: Mapping[str, Delivery], *, asked: bool
) -> None:
    """What the record told before will not be true any more; it goes out after the others.

    Unless nobody asked for it and its URL has expired: that it arrived once must do.
    """
    record = current.get(META)
    if record is None:
        return
    expiry = expiry_of(record.url or "")
    if asked or expiry is None or expiry > now():
        await table.send_again(transaction.connection, [record.id], now(), DeliveryState.HELD)


async def _take_up(transaction: Transaction, job: Job) -> Job:
    """The job as it is with this to send; what waited for nothing but that goes at once."""
    again = await delivering.deliver_again(transaction.connection, job.id) or job
    await settling.advance(transaction, again)
    transaction.signal(
        Signal(Topic.DELIVERY_DUE, str(job.id), str(job.user_id)),
        Signal(Topic.JOB_CHANGED, str(job.id), str(job.user_id)),
    )
    return again
