"""Whoever is told of a job's end is told of it also where the job is deleted at once."""

from dataclasses import replace

from rhapsode.database import deliveries as table
from rhapsode.database.deliveries import DeliveryFilter
from rhapsode.domain.deliveries import Delivery, DeliveryId, DeliveryKind, DeliveryState
from rhapsode.domain.jobs import Job, JobState, Notify
from rhapsode.services import deliveries, jobs, webhooks
from rhapsode.services.context import new_id
from tests.database.rows import NOW, make_job
from tests.support.server import App

HOOK = "https://receiver.example.org/hook"


async def left(app: App) -> list[Delivery]:
    return await deliveries.page(app.context, DeliveryFilter(user_id=app.admin.id), 50)


async def told(app: App) -> list[tuple[str, str]]:
    """Event and job of each webhook that is to be sent."""
    found = await left(app)
    hooks = [item for item in found if item.kind is DeliveryKind.WEBHOOK]
    return [(it.subject, str((it.payload or {})["data"]["job_id"])) for it in hooks]


async def deleted(app: App, **changes: object) -> Job:
    await webhooks.create(app.context, app.admin, HOOK)
    job = await make_job(app.context.database, app.admin, **changes)
    await jobs.delete(app.context, app.admin, job.id, keep_media=False)
    return job


async def test_a_job_that_had_not_ended_is_told_to_be_canceled(app: App) -> None:
    job = await deleted(app)

    assert await told(app) == [("job.canceled", str(job.id))]


async def test_what_was_on_its_way_stays_so(app: App) -> None:
    await webhooks.create(app.context, app.admin, HOOK)
    job = await make_job(app.context.database, app.admin)
    await jobs.cancel(app.context, app.admin, job.id)
    before = await told(app)

    await jobs.delete(app.context, app.admin, job.id, keep_media=False)

    assert (before, await told(app)) == ([("job.canceled", str(job.id))],) * 2


async def test_a_job_that_had_ended_is_told_nothing_more(app: App) -> None:
    await deleted(app, state=JobState.FINISHED, finished_at=NOW)

    assert await told(app) == []


async def test_a_quiet_job_tells_no_webhook(app: App) -> None:
    await deleted(app, notify=Notify(webhooks=False))

    assert await told(app) == []


async def test_its_other_deliveries_go_with_it(app: App) -> None:
    job = await make_job(app.context.database, app.admin, state=JobState.DELIVERING)
    other = Delivery(
        id=DeliveryId(new_id()),
        user_id=app.admin.id,
        job_id=job.id,
        kind=DeliveryKind.ARTIFACT,
        subject="vtt",
        destination="receiver.example.org:443",
        url=HOOK,
        state=DeliveryState.DEAD,
        next_at=NOW,
        created_at=NOW,
    )
    email = replace(other, id=DeliveryId(new_id()), kind=DeliveryKind.EMAIL, url=None)
    async with app.context.database.write() as transaction:
        await table.insert(transaction.connection, [other, email])

    await jobs.delete(app.context, app.admin, job.id, keep_media=False)

    assert await left(app) == []
