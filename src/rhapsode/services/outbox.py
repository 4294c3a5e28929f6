"""The outbox: what a job has to send is written down with what happened to the job.

These take part in the caller's transaction, so that nothing is sent that did not happen and
nothing that happened stays untold, wherever a server is killed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rhapsode.database import deliveries as table
from rhapsode.database import retention as retention_table
from rhapsode.database import webhooks as webhooks_table
from rhapsode.database.engine import Transaction
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.deliveries import (
    EVENT_OF_STATE,
    META,
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    Endpoint,
    Event,
)
from rhapsode.domain.jobs import TERMINAL, Job, JobState, Notify, Retention
from rhapsode.domain.retention import expiry
from rhapsode.domain.urls import destination
from rhapsode.domain.users import UserId
from rhapsode.domain.webhooks import job_message
from rhapsode.services.context import new_id, now

MAIL = "mail"
"""The destination of all e-mails: they leave by one server."""


def due(delivery: Delivery) -> Signal:
    """Tells senders that there is something to send."""
    return Signal(Topic.DELIVERY_DUE, str(delivery.job_id or ""), str(delivery.user_id))


async def post(transaction: Transaction, *made: Delivery) -> None:
    """Put these into the outbox; they are sent once the transaction has been committed."""
    await table.insert(transaction.connection, made)
    if any(item.state is DeliveryState.PENDING for item in made):
        transaction.signal(due(made[0]))


async def transcribed(transaction: Transaction, job: Job) -> None:
    """A transcript was stored: its artifacts are due, or the job has ended therewith."""
    if job.state is JobState.DELIVERING:
        await post(transaction, *artifacts(job, job.outputs))
    else:
        await ended(transaction, job)


def artifacts(job: Job, outputs: Mapping[str, str]) -> list[Delivery]:
    """The deliveries of artifacts to URLs; the record of the job waits for the others."""
    waits = DeliveryState.HELD if set(outputs) - {META} else DeliveryState.PENDING
    return [
        new_delivery(
            job,
            DeliveryKind.ARTIFACT,
            name,
            destination(url),
            url=url,
            state=waits if name == META else DeliveryState.PENDING,
        )
        for name, url in outputs.items()
    ]


async def ended(transaction: Transaction, *jobs: Job) -> None:
    """These jobs reached a terminal state: whoever wants to know of it is told."""
    known: dict[tuple[UserId, Event], list[Endpoint]] = {}
    for job in jobs:
        event = EVENT_OF_STATE[job.state]
        asking = (job.user_id, event)
        if job.notify.webhooks and asking not in known:
            known[asking] = await webhooks_table.subscribed(transaction.connection, *asking)
        await post(transaction, *_news(job, event, known.get(asking, ())))
        await _keep_until(transaction, job)


async def _keep_until(transaction: Transaction, job: Job) -> None:
    """Note when what the job has is due to go; what it leaves to the policy needs no note."""
    if job.retention != Retention():
        expires = expiry(job, job.finished_at or now())
        await retention_table.note(transaction.connection, job.id, expires)


def _news(job: Job, event: Event, endpoints: Iterable[Endpoint]) -> list[Delivery]:
    made = [
        new_delivery(
            job,
            DeliveryKind.WEBHOOK,
            event,
            destination(endpoint.url),
            endpoint_id=endpoint.id,
            payload=job_message(event, job),
        )
        for endpoint in (endpoints if job.notify.webhooks else ())
    ]
    if job.notify.email:
        made.append(new_delivery(job, DeliveryKind.EMAIL, event, MAIL))
    if url := job.notify.put_url:
        kind = DeliveryKind.NOTIFICATION
        made.append(new_delivery(job, kind, event, destination(url), url=url))
    return made


def new_delivery(
    job: Job, kind: DeliveryKind, subject: str, where: str, **more: Any
) -> Delivery:
    """A delivery of a job that is due at once, unless told otherwise."""
    moment = now()
    given: dict[str, Any] = {"state": DeliveryState.PENDING, **more}
    return Delivery(
        id=DeliveryId(new_id()),
        user_id=job.user_id,
        job_id=job.id,
        kind=kind,
        subject=str(subject),
        destination=where,
        next_at=moment,
        created_at=moment,
        **given,
    )


async def deleted(transaction: Transaction, job: Job) -> None:
    """A job is about to be deleted: its webhooks are told all the same, and nobody else.

    Where it had not ended, this is its end.
    """
    if job.state not in TERMINAL:
        off = job.evolve(
            state=JobState.CANCELED,
            finished_at=now(),
            notify=Notify(webhooks=job.notify.webhooks),
            retention=Retention(),
        )
        await ended(transaction, off)
    await table.forget_but_webhooks(transaction.connection, job.id)


async def canceled(transaction: Transaction, job: Job) -> None:
    """A job was called off: what it had not sent yet stays here, and its end is told."""
    reason = "The job was called off before this was sent."
    await table.cancel_artifacts(transaction.connection, job.id, now(), reason)
    await ended(transaction, job)
