"""Jobs and their deliveries go together: canceled, sent again, to fresh URLs, told once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import select

from rhapsode.database import webhooks as webhooks_table
from rhapsode.database.deliveries import DeliveryFilter
from rhapsode.database.tables import deliveries as deliveries_table
from rhapsode.database.tables import transcripts
from rhapsode.domain.deliveries import (
    Delivery,
    DeliveryId,
    DeliveryState,
    Endpoint,
    EndpointId,
    Event,
    SigningKey,
)
from rhapsode.domain.errors import Conflict, Denied, Invalid, NotFound
from rhapsode.domain.jobs import JobError, JobId, JobState, Notify
from rhapsode.domain.users import User
from rhapsode.services import deliveries, jobs, leases, sweeping
from rhapsode.services.context import Context, new_id, now
from tests.database import rows
from tests.support.delivering import (
    TEXT,
    TRANSCRIPT,
    delivering_settings,
    ended,
    running,
    sent,
    sent_until,
    transcribed,
)
from tests.support.receiver import Manner, Receiver, Reply, receiving
from tests.support.server import App, running_app


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    settings = delivering_settings(tmp_path, database_url, deliveries={"attempts": 2})
    async with running_app(settings) as running:
        yield running


def urls(receiver: Receiver, *names: str) -> dict[str, str]:
    return {name: f"{receiver.url}/{name}" for name in names}


async def failed(app: App, receiver: Receiver, *names: str) -> tuple[JobId, Delivery]:
    """A job whose `txt` was given up."""
    receiver.always["/txt"] = Reply(400)
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt", *names))
    assert (await ended(app.context, job_id)).state is JobState.FAILED
    receiver.always.clear()
    return job_id, (await sent(app.context, job_id))["txt"]


# What a result writes


async def test_a_result_and_its_deliveries_are_one(app: App, receiver: Receiver) -> None:
    lease = await running(app.context, app.admin, urls(receiver, "txt", "meta"))
    app.context.closing.set()  # nobody sends now
    await leases.result(app.context, lease, TRANSCRIPT, ())
    await leases.result(app.context, lease, TRANSCRIPT, ())  # as after an answer that got lost

    job = await rows.find(app.context.database, lease.job_id)
    assert (job.state, job.finished_at) == (JobState.DELIVERING, None)
    assert job.transcribed_at is not None
    found = await deliveries.of_job(app.context, app.admin, lease.job_id)
    assert [(item.subject, item.state) for item in found] == [
        ("txt", DeliveryState.PENDING),
        ("meta", DeliveryState.HELD),
    ]


async def test_a_job_without_outputs_is_finished_at_once(app: App) -> None:
    job_id = await transcribed(app.context, app.admin, {})
    job = await rows.find(app.context.database, job_id)
    assert (job.state, job.finished_at) == (JobState.FINISHED, job.transcribed_at)
    assert await deliveries.of_job(app.context, app.admin, job_id) == []


async def test_a_result_of_a_job_that_ended_since_is_known(
    app: App, receiver: Receiver
) -> None:
    receiver.always["/txt"] = Reply(400)
    lease = await running(app.context, app.admin, urls(receiver, "txt"))
    await leases.result(app.context, lease, TRANSCRIPT, ())
    await ended(app.context, lease.job_id)
    await leases.result(app.context, lease, TRANSCRIPT, ())
    job = await rows.find(app.context.database, lease.job_id)
    assert job.state is JobState.FAILED


# Cancelling


async def test_canceling_calls_off_what_was_not_sent(app: App, receiver: Receiver) -> None:
    receiver.always["/txt"] = Manner.HANG
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt", "vtt", "meta"))
    await sent_until(
        app.context, job_id, "vtt", lambda item: item.state is DeliveryState.DELIVERED
    )
    canceled = await jobs.cancel(app.context, app.admin, job_id)

    states = {name: item.state for name, item in (await sent(app.context, job_id)).items()}
    assert canceled.state is JobState.CANCELED
    assert states == {
        "txt": DeliveryState.CANCELED,
        "vtt": DeliveryState.DELIVERED,
        "meta": DeliveryState.CANCELED,
    }
    await asyncio.sleep(1.5)  # the attempt that was under way has ended, to no effect
    job = await rows.find(app.context.database, job_id)
    assert (job.state, (await sent(app.context, job_id))["txt"].state) == (
        JobState.CANCELED,
        DeliveryState.CANCELED,
    )


@pytest.mark.parametrize("_round", range(5))
async def test_a_cancel_and_the_last_delivery_at_once(
    app: App, receiver: Receiver, _round: int
) -> None:
    """One of them is first, and what either leaves behind fits together."""
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt", "vtt"))
    async with asyncio.timeout(10):
        while not receiver.log:
            await asyncio.sleep(0)
    try:
        await jobs.cancel(app.context, app.admin, job_id)
        canceled = True
    except Conflict:
        canceled = False
    job = await ended(app.context, job_id)
    states = {item.state for item in (await sent(app.context, job_id)).values()}
    if not canceled:
        assert (job.state, states) == (JobState.FINISHED, {DeliveryState.DELIVERED})
    else:
        assert job.state is JobState.CANCELED
        assert states <= {DeliveryState.DELIVERED, DeliveryState.CANCELED}


# Sending again


async def test_what_is_dead_is_redelivered(app: App, receiver: Receiver) -> None:
    job_id, dead = await failed(app, receiver, "vtt", "meta")
    again = await deliveries.redeliver(app.context, app.admin, dead.id)
    assert (again.id, again.state, again.attempts) == (dead.id, DeliveryState.PENDING, 0)

    job = await ended(app.context, job_id)
    assert (job.state, job.error, job.attempt) == (JobState.FINISHED, None, 1)
    got = receiver.at("/txt")
    assert [item.delivery_id for item in got] == [str(dead.id)] * 2
    assert len(receiver.at("/vtt")) == 1
    first, second = receiver.at("/meta")
    assert (b'"state": "failed"' in first.body, b'"state": "finished"' in second.body) == (
        True,
        True,
    )
    assert first.delivery_id == second.delivery_id


async def test_what_waits_for_its_next_attempt_goes_now(app: App, receiver: Receiver) -> None:
    url = receiver.plan("/txt", Reply(503, {"Retry-After": "3600"}))
    job_id = await transcribed(app.context, app.admin, {"txt": url})
    waiting = await sent_until(app.context, job_id, "txt", lambda item: item.status == 503)
    await deliveries.redeliver(app.context, app.admin, waiting.id)
    assert (await ended(app.context, job_id)).state is JobState.FINISHED


async def test_a_record_that_waits_for_others_cannot_be_hurried(
    app: App, receiver: Receiver
) -> None:
    receiver.always["/txt"] = Manner.HANG
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt", "meta"))
    held = (await sent(app.context, job_id))["meta"]
    with pytest.raises(Conflict, match="other artifacts"):
        await deliveries.redeliver(app.context, app.admin, held.id)


async def test_others_deliveries_are_unknown(app: App, receiver: Receiver) -> None:
    _, dead = await failed(app, receiver)
    stranger = await rows.make_user(app.context.database)
    with pytest.raises(NotFound):
        await deliveries.redeliver(app.context, stranger, dead.id)
    with pytest.raises(NotFound):
        await deliveries.redeliver(app.context, app.admin, DeliveryId(new_id()))
    assert dead.job_id is not None
    with pytest.raises(NotFound):
        await deliveries.of_job(app.context, stranger, dead.job_id)
    with pytest.raises(NotFound):
        await deliveries.give_urls(app.context, stranger, dead.job_id, urls(receiver, "txt"))


async def test_without_its_transcript_nothing_is_sent_again(
    app: App, receiver: Receiver
) -> None:
    job_id, dead = await failed(app, receiver)
    async with app.context.database.write() as transaction:
        await transaction.connection.execute(
            transcripts.delete().where(transcripts.c.job_id == job_id)
        )
    for act in (
        deliveries.redeliver(app.context, app.admin, dead.id),
        deliveries.give_urls(app.context, app.admin, job_id, urls(receiver, "vtt")),
        deliveries.resend(app.context, app.admin, job_id, {}),
    ):
        with pytest.raises(Conflict) as refusal:
            await act
        assert refusal.value.code == "transcript_not_ready"


async def test_a_retry_sends_what_did_not_arrive(app: App, receiver: Receiver) -> None:
    receiver.always["/csv"] = Reply(403)
    job_id, _ = await failed_or_expired(app, receiver, "txt", "csv", "vtt")
    again = await deliveries.resend(
        app.context, app.admin, job_id, {"csv": f"{receiver.url}/other"}
    )
    assert again.state is JobState.DELIVERING

    job = await ended(app.context, job_id)
    assert (job.state, job.attempt) == (JobState.FINISHED, 1)
    assert job.outputs["csv"] == f"{receiver.url}/other"
    counts = {path: len(receiver.at(path)) for path in ("/txt", "/csv", "/other", "/vtt")}
    assert counts == {"/txt": 2, "/csv": 1, "/other": 1, "/vtt": 1}


async def failed_or_expired(
    app: App, receiver: Receiver, *names: str
) -> tuple[JobId, Mapping[str, Delivery]]:
    receiver.always["/txt"] = Reply(400)
    job_id = await transcribed(app.context, app.admin, urls(receiver, *names))
    assert (await ended(app.context, job_id)).state is JobState.EXPIRED
    receiver.always.clear()
    return job_id, await sent(app.context, job_id)


async def test_a_retry_of_what_arrived_is_refused(app: App, receiver: Receiver) -> None:
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt"))
    await ended(app.context, job_id)
    with pytest.raises(Conflict) as refusal:
        await deliveries.resend(app.context, app.admin, job_id, {})
    assert refusal.value.code == "nothing_to_deliver"


# Fresh URLs


async def test_fresh_urls_finish_an_expired_job(app: App, receiver: Receiver) -> None:
    receiver.always["/txt"] = Reply(403)
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt", "vtt", "meta"))
    assert (await ended(app.context, job_id)).state is JobState.EXPIRED

    found = await deliveries.give_urls(
        app.context, app.admin, job_id, {"txt": f"{receiver.url}/fresh"}
    )
    assert [(item.subject, item.state) for item in found] == [
        ("txt", DeliveryState.CANCELED),
        ("vtt", DeliveryState.DELIVERED),
        ("meta", DeliveryState.HELD),
        ("txt", DeliveryState.PENDING),
    ]
    job = await ended(app.context, job_id)
    assert (job.state, job.error, job.attempt) == (JobState.FINISHED, None, 1)
    assert [item.body for item in receiver.at("/fresh")] == [TEXT]
    waits = DeliveryFilter(
        user_id=app.admin.id, states=[DeliveryState.EXPIRED, DeliveryState.DEAD]
    )
    assert await deliveries.page(app.context, waits, 10) == []
    assert len(receiver.at("/vtt")) == 1
    assert b'"state": "finished"' in receiver.at("/meta")[-1].body


async def test_a_record_that_is_being_sent_is_sent_anew(app: App, receiver: Receiver) -> None:
    """What it tells is not true any more once something else is to be delivered."""
    receiver.plan("/meta", Reply(after=0.7))
    job_id = await transcribed(app.context, app.admin, urls(receiver, "txt", "meta"))
    async with asyncio.timeout(10):
        while not receiver.at("/meta"):
            await asyncio.sleep(0.01)
    fresh = {"txt": f"{receiver.url}/fresh"}
    await deliveries.give_urls(app.context, app.admin, job_id, fresh)

    assert (await ended(app.context, job_id)).state is JobState.FINISHED
    assert [item.path for item in receiver.log] == ["/txt", "/meta", "/fresh", "/meta"]
    assert len({item.delivery_id for item in receiver.at("/meta")}) == 1


async def test_further_urls_of_a_finished_job(app: App, receiver: Receiver) -> None:
    job_id = await transcribed(app.context, app.admin, {})
    await deliveries.give_urls(app.context, app.admin, job_id, urls(receiver, "srt", "meta"))
    job = await ended(app.context, job_id)
    assert (job.state, set(job.outputs)) == (JobState.FINISHED, {"srt", "meta"})
    assert [item.path for item in receiver.log] == ["/srt", "/meta"]


async def test_urls_for_a_job_that_is_not_transcribed_yet(app: App, receiver: Receiver) -> None:
    lease = await running(app.context, app.admin, {})
    found = await deliveries.give_urls(
        app.context, app.admin, lease.job_id, urls(receiver, "txt")
    )
    assert found == []
    await leases.result(app.context, lease, TRANSCRIPT, ())
    assert (await ended(app.context, lease.job_id)).state is JobState.FINISHED
    assert [item.body for item in receiver.at("/txt")] == [TEXT]


async def test_a_fresh_url_takes_the_place_of_one_that_waits(
    app: App, receiver: Receiver
) -> None:
    url = receiver.plan("/txt", Reply(503, {"Retry-After": "3600"}))
    job_id = await transcribed(app.context, app.admin, {"txt": url})
    waiting = await sent_until(app.context, job_id, "txt", lambda item: item.status == 503)
    fresh = {"txt": f"{receiver.url}/fresh"}
    await deliveries.give_urls(app.context, app.admin, job_id, fresh)
    await deliveries.give_urls(app.context, app.admin, job_id, fresh)  # repeated

    assert (await ended(app.context, job_id)).state is JobState.FINISHED
    assert len(receiver.at("/fresh")) == 1
    with pytest.raises(Conflict) as refusal:
        await deliveries.redeliver(app.context, app.admin, waiting.id)
    assert refusal.value.code == "delivery_replaced"


@pytest.mark.parametrize(
    ("outputs", "kind", "code"),
    [
        ({}, Invalid, "no_outputs"),
        ({"doc": "https://example.org/"}, Invalid, "unknown_artifact"),
        ({"txt": "ftp://example.org/"}, Invalid, "url_invalid"),
        ({"txt": "http://169.254.169.254/latest"}, Denied, "address_refused"),
    ],
)
async def test_urls_of_no_use_are_refused(
    app: App, outputs: dict[str, str], kind: type[Exception], code: str
) -> None:
    job_id = await transcribed(app.context, app.admin, {})
    with pytest.raises(kind) as refusal:
        await deliveries.give_urls(app.context, app.admin, job_id, outputs)
    assert getattr(refusal.value, "code", None) == code


# Who hears of a job's end


async def subscribe(context: Context, user: User, url: str, *events: Event) -> None:
    endpoint = Endpoint(
        id=EndpointId(new_id()),
        user_id=user.id,
        url=url,
        description="",
        events=events or tuple(Event),
        secrets=(SigningKey("whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"),),
        created_at=now(),
    )
    async with context.database.write() as transaction:
        await webhooks_table.insert(transaction.connection, endpoint)


async def told(context: Context) -> list[tuple[str, str]]:
    """Kind and subject of everything that is no artifact, in order."""
    c = deliveries_table.c
    query = select(c.kind, c.subject).where(c.kind != "artifact").order_by(c.id)
    async with context.database.read() as connection:
        return [(row.kind, row.subject) for row in await connection.execute(query)]


async def test_each_end_is_told_once(app: App, receiver: Receiver) -> None:
    context, user = app.context, app.admin
    await subscribe(context, user, f"{receiver.url}/all")
    await subscribe(context, user, f"{receiver.url}/some", Event.EXPIRED)
    await subscribe(context, await rows.make_user(context.database), f"{receiver.url}/other")

    await transcribed(context, user, {})
    job_id = await transcribed(context, user, urls(receiver, "txt"))
    await ended(context, job_id)
    receiver.always["/vtt"] = Reply(404)
    await ended(context, await transcribed(context, user, urls(receiver, "vtt")))
    lease = await running(context, user, {})
    await leases.failure(context, lease, JobError("broken", "It broke."), permanent=True)
    await jobs.cancel(context, user, (await running(context, user, {})).job_id)

    assert await told(context) == [
        ("webhook", "job.finished"),
        ("webhook", "job.finished"),
        ("webhook", "job.expired"),
        ("webhook", "job.expired"),
        ("webhook", "job.failed"),
        ("webhook", "job.canceled"),
    ]


async def test_an_exhausted_job_is_told_too(app: App, receiver: Receiver) -> None:
    await subscribe(app.context, app.admin, f"{receiver.url}/all")
    for _ in range(3):
        await rows.make_job(app.context.database, app.admin, max_attempts=1)
        await rows.claim(app.context.database)
    await sweeping.lapse(app.context)
    assert await told(app.context) == [("webhook", "job.failed")] * 3


async def test_mail_and_notification_are_rows_of_the_end(app: App, receiver: Receiver) -> None:
    notify = Notify(email=True, put_url=f"{receiver.url}/notify")
    job_id = await transcribed(app.context, app.admin, {}, notify=notify)
    assert await told(app.context) == [
        ("email", "job.finished"),
        ("notification", "job.finished"),
    ]
    job = await rows.find(app.context.database, job_id)
    assert job.state is JobState.FINISHED


async def test_what_is_told_does_not_hold_up_the_job(app: App, receiver: Receiver) -> None:
    receiver.always["/hook"] = Manner.HANG
    await subscribe(app.context, app.admin, f"{receiver.url}/hook")
    job = await ended(
        app.context, await transcribed(app.context, app.admin, urls(receiver, "txt"))
    )
    assert job.state is JobState.FINISHED


# Several that settle at once


async def test_two_that_settle_the_last_at_once_end_the_job_once(
    app: App, receiver: Receiver
) -> None:
    await subscribe(app.context, app.admin, f"{receiver.url}/hook")
    names = ("txt", "vtt", "srt", "tsv")
    for name in names:
        receiver.always[f"/{name}"] = Reply(after=0.3)  # so all answer in the same moment
    ids = [
        await transcribed(app.context, app.admin, urls(receiver, *names, "meta"))
        for _ in range(4)
    ]
    for job_id in ids:
        assert (await ended(app.context, job_id)).state is JobState.FINISHED
    assert len(receiver.at("/meta")) == 4
    assert await told(app.context) == [("webhook", "job.finished")] * 4
