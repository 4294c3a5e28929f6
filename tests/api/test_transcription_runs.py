"""/transcription/: a job on its way, as that service's clients see it."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from rhapsode.domain.users import Role
from tests.api.people import Person, Runner, make_person, make_runner
from tests.support.server import App
from tests.support.transcription import client_as, info, listed, outputs, request, submitted


@pytest.fixture
async def ann(app: App) -> Person:
    return await make_person(app)


@pytest.fixture
async def client(app: App, ann: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with client_as(app, ann) as client:
        yield client


@pytest.fixture
async def admin(app: App) -> AsyncIterator[httpx.AsyncClient]:
    async with client_as(app, await make_person(app, Role.ADMIN)) as client:
        yield client


async def standing_in(app: App, *models: str) -> Runner:
    """A runner as the default install has it."""
    offer = {"engine": "faster-whisper", "models": ["small.en", "base", *models]}
    return await make_runner(app, engines=[offer])


async def test_new_job_is_the_document_that_clients_know(
    app: App, client: httpx.AsyncClient, ann: Person
) -> None:
    await standing_in(app)
    made = await submitted(client)
    queued, asked = made.pop("queue_time"), json.loads(made.pop("request"))
    assert made == {
        "id": made["id"],
        "owner": ann.user.email,
        "state": "queued",
        "message": "Job has been queued. No runner offers openai-whisper small.en, "
        "so faster-whisper small.en does it.",
        "media_length": 0.0,
        "language_used": "",
        "start_time": 0.0,
        "finish_time": 0.0,
        "processing_time": 0.0,
        "url_notified": False,
        "priority": 1,
    }
    assert isinstance(made["id"], int)
    assert queued > 1_700_000_000
    assert asked == {
        "version": "1",
        "notification_type": "poll",
        "notification_url": None,
        "expiration": 3600.0,
        "priority": 1,
        "options": {
            **request()["options"],
            "outputs": {
                **{f"{name}_url": None for name in ("vtt", "csv", "meta")},
                **outputs("json", "txt"),
            },
        },
    }


async def test_the_engine_that_is_asked_for_is_used_where_a_runner_has_it(
    app: App, client: httpx.AsyncClient
) -> None:
    offers = [
        {"engine": "whisper.cpp", "models": ["small.en-q5_1"]},
        {"engine": "faster-whisper", "models": ["small.en"]},
    ]
    runner = await make_runner(app, engines=offers)
    made = await submitted(client, engine="whisper.cpp", model="small.en-q5_1")
    assert made["message"] == "Job has been queued."
    spec = (await runner.claimed()).assignment["spec"]
    assert (spec["engine"], spec["model"]) == ("whisper.cpp", "small.en-q5_1")


async def test_faster_whisper_stands_in_where_no_runner_has_the_engine(
    app: App, client: httpx.AsyncClient
) -> None:
    runner = await standing_in(app)
    made = await submitted(client, engine="whisper.cpp", model="small.en-q5_1")
    assert "so faster-whisper small.en does it" in made["message"]
    spec = (await runner.claimed()).assignment["spec"]
    assert (spec["engine"], spec["model"], spec["language"]) == (
        "faster-whisper",
        "small.en",
        "en",
    )


async def test_a_job_goes_through_its_states(app: App, client: httpx.AsyncClient) -> None:
    runner = await standing_in(app)
    made = await submitted(client, language="auto", model="base", notification_type="expire")
    lease = await runner.claimed()
    await lease.heartbeat({"stage": "transcribing", "fraction": 0.25})
    running = await info(client, made)
    assert running["state"] == "running"
    assert running["message"].startswith("Transcription started: transcribing, 25%.")
    assert running["start_time"] >= running["queue_time"]
    await lease.failure(permanent=True, message="There is no such recording.")
    ended = await info(client, made)
    assert (ended["state"], ended["message"].partition(". ")[0]) == (
        "error",
        "There is no such recording",
    )
    assert ended["finish_time"] >= ended["start_time"]
    assert ended["processing_time"] == pytest.approx(
        ended["finish_time"] - ended["start_time"], abs=1e-3
    )


async def test_delete_cancels_what_runs_and_removes_what_waits(
    app: App, client: httpx.AsyncClient
) -> None:
    runner = await standing_in(app)
    running = await submitted(client, notification_type="expire")
    lease = await runner.claimed()
    waiting = await submitted(client)
    for job in (running, waiting):
        answer = await client.delete(f"/transcription/{job['id']}")
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert (await info(client, running))["state"] == "canceled"
    assert (await lease.heartbeat()).json()["verdict"] == "cancel"
    assert await listed(client) == [running["id"]]
    assert (await client.delete(f"/transcription/{running['id']}")).json() == {"ok": True}
    assert await listed(client) == []


async def test_outputs_being_sent_are_still_running(
    app: App, client: httpx.AsyncClient
) -> None:
    runner = await standing_in(app)
    made = await submitted(client, language="auto", model="base")
    await (await runner.claimed()).result()
    found = await info(client, made)
    assert (found["state"], found["language_used"], found["media_length"]) == (
        "running",
        "en",
        2.5,
    )


async def test_others_jobs_are_refused_and_stay(
    app: App, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    made = await submitted(client)
    async with client_as(app, await make_person(app)) as other:
        assert await listed(other) == []
        for method in ("GET", "DELETE"):
            answer = await other.request(method, f"/transcription/{made['id']}")
            assert (answer.status_code, list(answer.json())) == (403, ["detail"])
    assert await listed(admin) == [made["id"]]
    assert (await admin.delete(f"/transcription/{made['id']}")).json() == {"ok": True}
    assert await listed(client) == []
