"""What the transcription service did wrong (seed 001), one by one; how long things stay."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from rhapsode.database.tables import audit_events, flags, jobs
from rhapsode.domain.transcription import document
from rhapsode.domain.users import Role
from rhapsode.services import transcription
from tests.api.people import TRANSCRIPT, Lease, Person, Runner, make_person, make_runner
from tests.api.wire import call
from tests.support.delivering import delivering_settings
from tests.support.ports import free_port
from tests.support.receiver import Manner, Received, Receiver, Reply, receiving
from tests.support.server import App, running_app
from tests.support.transcription import client_as, info, listed, request, submitted

ENDED = {"finished", "error", "expired", "canceled"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(
    params=["sqlite", "postgresql"], scope="module", loop_scope="module", name="site"
)
async def _site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[App]:
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").create()
    folder = tmp_path_factory.mktemp("transcription")
    async with running_app(delivering_settings(folder, url, deliveries={"attempts": 2})) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="module")
async def app(site: App) -> AsyncIterator[App]:
    """The application that the tests here share, without what the one before left."""
    yield site
    async with site.context.database.write() as transaction:
        for table in (jobs, flags, audit_events):
            await transaction.connection.execute(table.delete())


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def ann(app: App) -> Person:
    return await make_person(app)


@pytest_asyncio.fixture(loop_scope="module")
async def client(app: App, ann: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with client_as(app, ann) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def runner(app: App) -> Runner:
    offer = {"engine": "faster-whisper", "models": ["small.en", "base"]}
    return await make_runner(app, engines=[offer])


def to(receiver: Receiver, *names: str) -> dict[str, str]:
    return {f"{name}_url": f"{receiver.url}/{name}?X-Signature=very-secret" for name in names}


async def started(
    client: httpx.AsyncClient, runner: Runner, receiver: Receiver, *names: str, **changes: Any
) -> tuple[dict[str, Any], Lease]:
    """A job that a runner has taken."""
    made = await submitted(client, outputs=to(receiver, *(names or ("txt",))), **changes)
    return made, await runner.claimed()


async def done(
    client: httpx.AsyncClient, runner: Runner, receiver: Receiver, *names: str, **changes: Any
) -> dict[str, Any]:
    """A job whose transcript was just stored."""
    made, lease = await started(client, runner, receiver, *names, **changes)
    answer = await lease.result()
    assert answer.is_success, answer.text
    return made


async def holds(question: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await question():
            await asyncio.sleep(0.02)


async def end_of(app: App, ann: Person, job: dict[str, Any]) -> dict[str, Any]:
    """The record once its job has ended, looked at without reading it."""

    async def has_ended() -> bool:
        return (await transcription.get(app.context, ann.user, job["id"])).has_ended

    await holds(has_ended)
    record = await transcription.get(app.context, ann.user, job["id"])
    return document(record, with_secrets=True)


async def gone(client: httpx.AsyncClient, job: dict[str, Any]) -> None:
    """Until the record is no more; looking at the list reads nothing."""

    async def is_gone() -> bool:
        return job["id"] not in await listed(client)

    await holds(is_gone)


def closed() -> str:
    return f"http://127.0.0.1:{free_port()}/told"


# The defects of that service, one after the other


async def test_poison_loop_an_unreachable_notification_url_repeats_and_blocks_nothing(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job = await done(
        client, runner, receiver, notification_type="url", notification_url=closed()
    )
    following = await done(client, runner, receiver)
    assert (await end_of(app, ann, job))["state"] == "finished"
    assert (await end_of(app, ann, following))["state"] == "finished"
    assert (await runner.claim()).status_code == 204, "nothing came back into the queue"
    assert (await info(client, job))["url_notified"] is False
    assert len(receiver.at("/txt")) == 2


async def test_a_receiver_that_hangs_holds_up_no_request(
    app: App, client: httpx.AsyncClient, runner: Runner, receiver: Receiver
) -> None:
    receiver.always["/txt"] = receiver.always["/told"] = Manner.HANG
    job = await done(client, runner, receiver)
    await holds(lambda: _is_true(receiver.busy > 0))
    async with asyncio.timeout(1):
        assert (await info(client, job))["state"] == "running"


async def _is_true(value: bool) -> bool:
    return value


async def test_cancel_is_not_overwritten_and_nothing_is_delivered_after_it(
    app: App, client: httpx.AsyncClient, runner: Runner, receiver: Receiver
) -> None:
    job, lease = await started(client, runner, receiver, notification_type="expire")
    assert (await client.delete(f"/transcription/{job['id']}")).json() == {"ok": True}
    assert (await lease.result()).status_code == 409
    assert (await info(client, job))["state"] == "canceled"
    assert receiver.log == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_upload_that_is_refused_makes_the_job_expired(
    app: App,
    client: httpx.AsyncClient,
    ann: Person,
    runner: Runner,
    receiver: Receiver,
    status: int,
) -> None:
    receiver.always["/json"] = Reply(status)
    job = await done(client, runner, receiver, "json", "txt")
    found = await end_of(app, ann, job)
    assert found["state"] == "expired"
    assert "json" in found["message"]
    assert "very-secret" not in found["message"]
    assert found["finish_time"] > 0


async def test_upload_that_fails_otherwise_is_an_error(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    receiver.always["/txt"] = Reply(400)
    job = await done(client, runner, receiver)
    assert (await end_of(app, ann, job))["state"] == "error"


async def test_get_does_not_destroy_what_the_client_did_not_receive(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job = await done(client, runner, receiver)
    await end_of(app, ann, job)
    async with call(app, "GET", f"/transcription/{job['id']}", ann.key, body=[]) as request:
        request.hang_up()
        await request.body()
    assert await listed(client) == [job["id"]]
    assert (await info(client, job))["state"] == "finished"
    assert await listed(client) == []


async def test_a_client_that_lost_the_answer_may_ask_again_for_a_while(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job = await done(client, runner, receiver)
    await end_of(app, ann, job)
    first, second = await info(client, job), await info(client, job)
    assert first == second
    assert await transcription.sweep(app.context) == 0


async def test_list_takes_the_owner_before_the_limit(
    app: App, client: httpx.AsyncClient, runner: Runner
) -> None:
    async with client_as(app, await make_person(app)) as other:
        for _ in range(3):
            await submitted(other)
        own = await submitted(client)
        assert await listed(client, limit=1) == [own["id"]]
        assert len(await listed(other, limit=2)) == 2


@pytest.mark.parametrize("name", ["json", "vtt", "txt", "csv", "meta"])
async def test_any_output_will_do_alone(
    app: App,
    client: httpx.AsyncClient,
    ann: Person,
    runner: Runner,
    receiver: Receiver,
    name: str,
) -> None:
    job = await done(client, runner, receiver, name, engine="whisper.cpp")
    assert (await end_of(app, ann, job))["state"] == "finished"
    assert [item.path.partition("?")[0] for item in receiver.log] == [f"/{name}"]


async def test_priority_counts_where_that_services_client_puts_it(
    client: httpx.AsyncClient, runner: Runner
) -> None:
    batch, normal = await submitted(client, priority=0), await submitted(client)
    body = request()
    body["options"]["priority"] = 2
    urgent = (await client.post("/transcription/", json=body)).json()
    assert [job["priority"] for job in (batch, normal, urgent)] == [0, 1, 2]
    claimed = [(await runner.claimed()).assignment["spec"]["priority"] for _ in range(3)]
    assert claimed == [2, 1, 0]


async def test_lock_holds_in_every_replica_and_over_restarts(
    database_url: str, tmp_path: Path
) -> None:
    settings = delivering_settings(tmp_path, database_url)
    async with running_app(settings) as one, running_app(settings) as two:
        ann = await make_person(one)
        admin = await make_person(one, Role.ADMIN)
        async with client_as(one, admin) as its, client_as(two, ann) as hers:
            assert (await its.get("/transcription/lock")).status_code == 200
            assert (await hers.post("/transcription/", json=request())).status_code == 503
    async with running_app(settings) as again, client_as(again, ann) as hers:
        assert (await hers.post("/transcription/", json=request())).status_code == 503
        async with client_as(again, admin) as its:
            await its.get("/transcription/unlock")
        assert (await submitted(hers))["state"] == "queued"


async def test_lock_and_unlock_are_in_the_audit_trail(app: App) -> None:
    admin = await make_person(app, Role.ADMIN)
    async with client_as(app, admin) as client:
        await client.get("/transcription/lock")
        await client.get("/transcription/unlock")
    async with app.context.database.read() as connection:
        query = select(audit_events).where(audit_events.c.action == "flag.changed")
        rows = (await connection.execute(query.order_by(audit_events.c.id))).all()
    assert [(row.subject_id, row.actor_id, row.detail) for row in rows] == [
        ("transcription.locked", admin.user.id, {"value": True}),
        ("transcription.locked", admin.user.id, {"value": False}),
    ]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]", "0x0a000001"]
)
@pytest.mark.parametrize("what", ["input", "output", "notification"])
async def test_requests_do_not_reach_into_the_operators_network(
    app: App, client: httpx.AsyncClient, address: str, what: str
) -> None:
    url = f"http://{address}/latest"
    changes: dict[str, dict[str, Any]] = {
        "input": {"input": url},
        "output": {"outputs": {"txt_url": url}},
        "notification": {"notification_type": "url", "notification_url": url},
    }
    answer = await client.post("/transcription/", json=request(**changes[what]))
    assert answer.status_code == 403
    assert list(answer.json()) == ["detail"]


async def test_language_is_the_one_that_was_heard(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    made, lease = await started(client, runner, receiver, language="auto", model="base")
    await lease.result({**TRANSCRIPT, "language": "fr"})
    assert (await end_of(app, ann, made))["language_used"] == "fr"


# What is sent


async def test_notification_is_the_jobs_document_without_its_secrets(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    url = f"{receiver.url}/told?X-Signature=very-secret"
    job = await done(client, runner, receiver, notification_type="url", notification_url=url)
    await holds(lambda: _is_true(len(receiver.at("/told")) > 0))

    async def is_notified() -> bool:
        return bool((await info(client, job))["url_notified"])

    await holds(is_notified)
    told = received(receiver, "/told")
    assert (told.method, told.headers["content-type"]) == ("PUT", "application/json")
    sent = json.loads(told.body)
    seen = await info(client, job)
    assert sent | {"request": "", "url_notified": True} == seen | {"request": ""}
    assert (sent["state"], sent["url_notified"]) == ("finished", False)
    assert b"very-secret" not in told.body
    asked = json.loads(sent["request"])
    assert asked["options"]["outputs"]["txt_url"] == f"{receiver.url}/txt"
    assert asked["notification_url"] == f"{receiver.url}/told"


def received(receiver: Receiver, path: str) -> Received:
    (item,) = receiver.at(path)
    return item


async def test_a_notification_is_sent_until_it_arrives(
    app: App, client: httpx.AsyncClient, runner: Runner, receiver: Receiver
) -> None:
    url = receiver.plan("/told", Reply(503))
    job = await done(client, runner, receiver, notification_type="url", notification_url=url)

    async def is_notified() -> bool:
        return bool((await info(client, job))["url_notified"])

    await holds(is_notified)
    assert len(receiver.at("/told")) == 2


async def test_nobody_is_told_where_polling_was_asked_for(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job = await done(client, runner, receiver, notification_url=f"{receiver.url}/told")
    await end_of(app, ann, job)
    assert receiver.at("/told") == []


async def test_outputs_are_what_the_engine_asked_for_writes(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    names = ("json", "vtt", "txt", "csv", "meta")
    job = await done(client, runner, receiver, *names, engine="whisper.cpp")
    await end_of(app, ann, job)
    assert received(receiver, "/csv").body.decode() == (
        'start,end,text\n0,1500," Hello there, all of you."\n2000,2500," Good bye."\n'
    )
    assert received(receiver, "/txt").body == b" Hello there, all of you.\n Good bye.\n"
    assert received(receiver, "/vtt").body.startswith(b"WEBVTT\n\n00:00:00.000 --> 00:00:01.5")
    result = json.loads(received(receiver, "/json").body)
    assert [part["text"] for part in result["transcription"]] == [
        " Hello there, all of you.",
        " Good bye.",
    ]
    meta = json.loads(received(receiver, "/meta").body)
    seen = await info(client, job)
    assert meta | {"request": "", "finish_time": 0} == seen | {"request": "", "finish_time": 0}
    assert meta["state"] == "finished"
    assert seen["start_time"] <= meta["finish_time"] <= seen["finish_time"]
    assert b"very-secret" not in received(receiver, "/meta").body


async def test_other_jobs_outputs_stay_as_they_are(
    app: App, client: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    runner = await make_runner(app)
    asked = {
        "input": {"media_id": str((await ann.media()).id)},
        "spec": {"engine": "tests", "model": runner.model},
        "outputs": {"csv": f"{receiver.url}/csv"},
    }
    assert (await ann.client.post("/api/jobs", json=asked)).status_code == 201
    await (await runner.claimed()).result()
    await holds(lambda: _is_true(len(receiver.at("/csv")) > 0))
    assert received(receiver, "/csv").body.startswith(b"start,end,text\n0,1500,")
    assert b'" Hello' not in received(receiver, "/csv").body


# How long things stay


async def jobs_of(ann: Person) -> list[str]:
    return [job["state"] for job in (await ann.get("/api/jobs")).json()["items"]]


async def test_what_was_read_goes_with_its_job_after_the_grace(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = delivering_settings(tmp_path, database_url, transcription={"grace_seconds": 0.5})
    async with running_app(settings) as app:
        ann = await make_person(app)
        offer = {"engine": "faster-whisper", "models": ["small.en"]}
        runner = await make_runner(app, engines=[offer])
        async with client_as(app, ann) as client:
            unread = await done(client, runner, receiver)
            job = await done(client, runner, receiver)
            await end_of(app, ann, unread)
            await end_of(app, ann, job)
            await info(client, job)

            async def is_gone() -> bool:
                return (await client.get(f"/transcription/{job['id']}")).status_code == 404

            await holds(is_gone)
            assert await listed(client) == [unread["id"]]
            assert await jobs_of(ann) == ["finished"]


@pytest.mark.parametrize("kind", ["poll", "expire"])
async def test_what_has_expired_goes_with_its_job(
    app: App,
    client: httpx.AsyncClient,
    ann: Person,
    runner: Runner,
    receiver: Receiver,
    kind: str,
) -> None:
    kept = await done(client, runner, receiver, notification_type=kind)
    job = await done(client, runner, receiver, notification_type=kind, expiration=0)
    await gone(client, job)
    await end_of(app, ann, kept)
    await transcription.sweep(app.context)
    assert await listed(client) == [kept["id"]]
    assert await jobs_of(ann) == ["finished"]
    assert await deletions(app) == [(None, "retention")]


async def deletions(app: App) -> list[tuple[Any, str]]:
    """Who deleted jobs, and why."""
    async with app.context.database.read() as connection:
        query = select(audit_events).where(audit_events.c.action == "job.deleted")
        rows = (await connection.execute(query)).all()
    return [(row.actor_id, row.detail["reason"]) for row in rows]


async def test_the_trail_names_the_administrator_who_removed_a_job(
    app: App, client: httpx.AsyncClient
) -> None:
    job = await submitted(client)
    admin = await make_person(app, Role.ADMIN)
    async with client_as(app, admin) as other:
        await other.delete(f"/transcription/{job['id']}")
    assert await deletions(app) == [(admin.user.id, "user")]


async def test_a_job_that_is_read_as_often_as_one_likes_stays(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job = await done(client, runner, receiver, notification_type="expire")
    await end_of(app, ann, job)
    assert await info(client, job) == await info(client, job)
    assert await listed(client) == [job["id"]]


async def test_jobs_that_have_not_ended_do_not_expire(
    app: App, client: httpx.AsyncClient, runner: Runner, receiver: Receiver
) -> None:
    running, _ = await started(client, runner, receiver, expiration=0)
    waiting = await submitted(client, expiration=0)
    assert await transcription.sweep(app.context) == 0
    assert await listed(client) == [running["id"], waiting["id"]]


async def test_a_record_stays_while_its_notification_is_on_its_way(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    url = receiver.plan("/told", Reply(503, {"Retry-After": "600"}))
    job = await done(
        client,
        runner,
        receiver,
        notification_type="url",
        notification_url=url,
        expiration=0,
    )
    await end_of(app, ann, job)
    await holds(lambda: _is_true(len(receiver.at("/told")) == 1))
    assert await transcription.sweep(app.context) == 0
    assert await listed(client) == [job["id"]]


async def test_a_transcript_that_did_not_arrive_stays_with_its_job(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    receiver.always["/txt"] = Reply(403)
    job = await done(client, runner, receiver, expiration=0)
    await gone(client, job)
    (left,) = (await ann.get("/api/jobs")).json()["items"]
    assert left["state"] == "expired"
    text = await ann.get(f"/api/jobs/{left['id']}/transcript", format="txt")
    assert text.text == "Hello there, all of you.\nGood bye.\n"


async def test_a_job_that_failed_goes_when_it_expires(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job, lease = await started(client, runner, receiver, expiration=0)
    await lease.failure(permanent=True)
    await gone(client, job)
    assert await jobs_of(ann) == []


async def test_a_job_that_is_tried_again_after_it_was_read_is_read_anew(
    app: App, client: httpx.AsyncClient, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job, lease = await started(client, runner, receiver)
    await lease.failure(permanent=True)
    assert (await info(client, job))["state"] == "error"
    assert await listed(client) == []
    (ours,) = (await ann.get("/api/jobs")).json()["items"]
    await ann.client.post(f"/api/jobs/{ours['id']}/retry")
    assert await listed(client) == [job["id"]]
    await (await runner.claimed()).result()
    await end_of(app, ann, job)
    assert await listed(client) == [job["id"]]
    assert (await info(client, job))["state"] == "finished"
    assert await listed(client) == []
