"""Deliveries reach receivers of every kind, or are given up for a reason that is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rhapsode.domain.deliveries import Backoff, DeliveryState
from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import JobState
from rhapsode.services import jobs
from tests.support.delivering import (
    TEXT,
    TRANSCRIPT,
    delivering_settings,
    ended,
    sent,
    sent_until,
    transcribed,
)
from tests.support.receiver import Behaviour, Manner, Receiver, Reply, receiving
from tests.support.server import App, running_app


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    settings = delivering_settings(tmp_path, database_url, deliveries={"attempts": 4})
    async with running_app(settings) as running:
        yield running


async def test_every_artifact_arrives_and_then_the_record(app: App, receiver: Receiver) -> None:
    outputs = {str(item): f"{receiver.url}/{item}?X-Secret=abc" for item in Format}
    outputs["meta"] = f"{receiver.url}/meta"
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))

    assert (job.state, job.error) == (JobState.FINISHED, None)
    assert len(receiver.log) == 7
    for item in Format:
        (got,) = receiver.at(f"/{item}")
        assert (got.method, got.body) == ("PUT", render(TRANSCRIPT, item).encode())
        assert got.headers["content-type"] == item.media_type
        assert got.headers["content-length"] == str(len(got.body))
        assert "transfer-encoding" not in got.headers
    deliveries = await sent(app.context, job.id)
    assert {item.delivery_id for item in receiver.log} == {
        str(item.id) for item in deliveries.values()
    }
    assert {item.state for item in deliveries.values()} == {DeliveryState.DELIVERED}


async def test_the_record_tells_the_end(app: App, receiver: Receiver) -> None:
    outputs = {"txt": f"{receiver.url}/txt?X-Secret=abc", "meta": f"{receiver.url}/meta"}
    job_id = await transcribed(app.context, app.admin, outputs)
    await ended(app.context, job_id)

    assert [item.path.partition("?")[0] for item in receiver.log] == ["/txt", "/meta"]
    record = json.loads(receiver.log[1].body)
    assert (record["id"], record["state"], record["error"]) == (str(job_id), "finished", None)
    assert record["transcribed_at"] <= record["finished_at"]
    assert record["outputs"]["txt"] == f"{receiver.url}/txt"
    (told,) = record["deliveries"]
    assert (told["subject"], told["state"], told["status"]) == ("txt", "delivered", 200)
    assert b"abc" not in receiver.log[1].body


async def test_the_record_tells_of_failure_too(app: App, receiver: Receiver) -> None:
    receiver.always["/txt"] = Reply(422, body=b"no")
    outputs = {"txt": f"{receiver.url}/txt", "meta": f"{receiver.url}/meta"}
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))

    record = json.loads(receiver.at("/meta")[0].body)
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "delivery_failed")
    assert (record["state"], record["error"]["code"]) == ("failed", "delivery_failed")
    assert record["error"]["message"] == job.error.message


async def test_a_record_alone_waits_for_nothing(app: App, receiver: Receiver) -> None:
    outputs = {"meta": f"{receiver.url}/meta"}
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))
    record = json.loads(receiver.log[0].body)
    assert (job.state, record["state"]) == (JobState.FINISHED, "finished")


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(500),
        Reply(503),
        Reply(408),
        Reply(425),
        Reply(429),
        Manner.CLOSE,
        Manner.CUT,
        Manner.HANG,
        Reply(after=1.5),
    ],
    ids=str,
)
async def test_what_passes_is_tried_again(
    app: App, receiver: Receiver, trouble: Behaviour
) -> None:
    url = receiver.plan("/txt", trouble, trouble)
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))

    delivery = (await sent(app.context, job.id))["txt"]
    assert (job.state, delivery.attempts, delivery.status) == (JobState.FINISHED, 3, 200)
    assert delivery.error is None
    assert {item.delivery_id for item in receiver.log} == {str(delivery.id)}
    assert receiver.log[-1].body == TEXT


@pytest.mark.parametrize("status", [307, 308])
async def test_redirects_that_keep_the_method_are_followed(
    app: App, receiver: Receiver, status: int
) -> None:
    url = receiver.plan("/from", Reply(status, {"Location": "/to"}))
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))

    (got,) = receiver.at("/to")
    assert (job.state, got.method, got.body) == (JobState.FINISHED, "PUT", TEXT)


@pytest.mark.parametrize("status", [400, 405, 411, 413, 302, 303])
async def test_what_will_not_pass_is_given_up_at_once(
    app: App, receiver: Receiver, status: int
) -> None:
    receiver.always["/txt"] = Reply(status, {"Location": "/to"}, b"because")
    url = f"{receiver.url}/txt"
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))

    delivery = (await sent(app.context, job.id))["txt"]
    assert (delivery.state, delivery.attempts) == (DeliveryState.DEAD, 1)
    assert (delivery.status, delivery.response) == (status, "because")
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "delivery_failed")
    assert receiver.at("/to") == []
    _, transcript = await jobs.transcript(app.context, app.admin, job.id)
    assert transcript == TRANSCRIPT


@pytest.mark.parametrize(
    "refusal",
    [
        *(Reply(status) for status in (401, 403, 404, 410)),
        Reply(400, body=b"<Error><Code>ExpiredToken</Code></Error>"),
        Reply(400, body=b"<Error><Message>Request has expired</Message></Error>"),
    ],
    ids=str,
)
async def test_a_url_that_stopped_working_keeps_the_transcript(
    app: App, receiver: Receiver, refusal: Reply
) -> None:
    receiver.always["/txt"] = refusal
    outputs = {"txt": f"{receiver.url}/txt?sig=hush-hush", "vtt": f"{receiver.url}/vtt"}
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))

    deliveries = await sent(app.context, job.id)
    assert (deliveries["txt"].state, deliveries["txt"].attempts) == (DeliveryState.EXPIRED, 1)
    assert deliveries["vtt"].state is DeliveryState.DELIVERED
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.EXPIRED, "output_expired")
    assert f"{receiver.url}/txt" in job.error.message
    assert "hush" not in job.error.message
    _, transcript = await jobs.transcript(app.context, app.admin, job.id)
    assert transcript == TRANSCRIPT


async def test_the_last_attempt_is_the_last(app: App, receiver: Receiver) -> None:
    receiver.always["/txt"] = Reply(500, body=b"ouch")
    url = f"{receiver.url}/txt"
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))

    delivery = (await sent(app.context, job.id))["txt"]
    assert (delivery.state, delivery.attempts) == (DeliveryState.DEAD, 4)
    assert (job.state, len(receiver.log)) == (JobState.FAILED, 4)
    assert (delivery.status, delivery.response) == (500, "ouch")


async def test_a_receiver_says_when_to_come_again(app: App, receiver: Receiver) -> None:
    url = receiver.plan("/txt", Reply(429, {"Retry-After": "1"}))
    started = asyncio.get_running_loop().time()
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))

    assert (job.state, len(receiver.log)) == (JobState.FINISHED, 2)
    assert asyncio.get_running_loop().time() - started >= 1.0


async def test_a_receiver_cannot_put_it_off_for_ever(app: App, receiver: Receiver) -> None:
    url = receiver.plan("/txt", Reply(503, {"Retry-After": "99999999"}))
    job_id = await transcribed(app.context, app.admin, {"txt": url})
    waiting = await sent_until(app.context, job_id, "txt", lambda it: it.status == 503)
    delay = waiting.next_at - datetime.now(UTC)
    assert timedelta(hours=23) < delay <= timedelta(hours=24)


async def test_nobody_there_is_a_fault_that_passes(app: App, receiver: Receiver) -> None:
    outputs = {"txt": "http://127.0.0.1:9/txt"}
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))
    delivery = (await sent(app.context, job.id))["txt"]
    assert (job.state, delivery.attempts, delivery.status) == (JobState.FAILED, 4, None)
    assert delivery.error is not None
    assert "cannot be reached" in delivery.error


async def test_a_private_address_is_not_tried_twice(app: App) -> None:
    outputs = {"txt": "http://10.1.2.3/txt"}
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))
    delivery = (await sent(app.context, job.id))["txt"]
    assert (delivery.state, delivery.attempts) == (DeliveryState.DEAD, 1)
    assert delivery.error is not None
    assert "outbound.allow_networks" in delivery.error


async def test_an_answer_that_repeats_a_secret_is_masked(app: App, receiver: Receiver) -> None:
    receiver.always["/txt"] = Reply(403, body=b"<SignatureProvided>c2lnbmF0dXJl</Sign")
    url = f"{receiver.url}/txt?X-Amz-Signature=c2lnbmF0dXJl"
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))
    delivery = (await sent(app.context, job.id))["txt"]
    assert delivery.response == "<SignatureProvided>********</Sign"


async def test_a_slow_receiver_holds_up_nobody_else(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = delivering_settings(
        tmp_path, database_url, deliveries={"at_once": 4, "timeout_seconds": 20}
    )
    async with receiving() as slow, running_app(settings) as app:
        slow.always["/txt"] = Manner.HANG
        for _ in range(5):
            await transcribed(app.context, app.admin, {"txt": f"{slow.url}/txt"})
        quick = [
            await transcribed(app.context, app.admin, {"txt": f"{receiver.url}/txt"})
            for _ in range(5)
        ]
        states = [(await ended(app.context, job_id, 5)).state for job_id in quick]
        assert states == [JobState.FINISHED] * 5
        assert (slow.busy, slow.most_busy) == (1, 1)


async def test_at_shutdown_what_is_not_sent_is_given_back(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = delivering_settings(tmp_path, database_url, deliveries={"timeout_seconds": 60})
    receiver.plan("/txt", Manner.HANG)
    async with running_app(settings) as app:
        job_id = await transcribed(app.context, app.admin, {"txt": f"{receiver.url}/txt"})
        async with asyncio.timeout(10):
            while not receiver.busy:
                await asyncio.sleep(0.02)
    async with running_app(settings) as app:
        job = await ended(app.context, job_id, 10)
        delivery = (await sent(app.context, job_id))["txt"]
    assert (job.state, delivery.attempts, len(receiver.log)) == (JobState.FINISHED, 1, 2)
    assert {item.delivery_id for item in receiver.log} == {str(delivery.id)}


def test_the_wait_doubles_and_is_drawn_by_lot() -> None:
    backoff = Backoff(first=5, most=60, attempts=12)
    assert [backoff.wait(made, 1.0) for made in (1, 2, 3, 4, 5, 50)] == [5, 10, 20, 40, 60, 60]
    assert [backoff.wait(made, 0.0) for made in (1, 4, 50)] == [2.5, 20, 30]
