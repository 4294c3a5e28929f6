"""/transcription/: what that service's clients send and read, to the word."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rhapsode.domain.transcription import MODELS, AskedEngine
from rhapsode.domain.users import Role
from tests.api.people import Person, client_of, make_person
from tests.support.server import App
from tests.support.transcription import (
    INPUT,
    client_as,
    info,
    listed,
    request,
    submitted,
)

NEVER = 2**31
pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def client(shared: App, ann: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with client_as(shared, ann) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def admin(shared: App) -> AsyncIterator[httpx.AsyncClient]:
    async with client_as(shared, await make_person(shared, Role.ADMIN)) as client:
        yield client


async def test_ids_are_integers_that_grow_and_never_come_again(
    shared: App, client: httpx.AsyncClient
) -> None:
    first, second = await submitted(client), await submitted(client)
    assert (await client.delete(f"/transcription/{second['id']}")).json() == {"ok": True}
    third = await submitted(client)
    assert first["id"] < second["id"] < third["id"]


@pytest.mark.parametrize("name", ["{email}", "{local}", "{EMAIL}"])
async def test_user_is_an_address_or_what_stands_before_the_at(
    shared: App, ann: Person, name: str
) -> None:
    email = ann.user.email
    given = name.format(email=email, local=email.partition("@")[0], EMAIL=email.upper())
    async with client_as(shared, ann, given) as client:
        assert await listed(client) == []


async def test_a_plain_key_will_do(ann: Person) -> None:
    assert await listed(ann.client) == []


@pytest.mark.parametrize(
    "credentials",
    ["nobody@example.org:{key}", "{email}:wrong", "{email}:", ":", "{runner}", "x:{runner}"],
)
async def test_wrong_credentials_are_refused(
    shared: App, ann: Person, credentials: str
) -> None:
    given = credentials.format(key=ann.key, email=ann.user.email, runner=shared.runner_token)
    async with client_of(shared, given) as client:
        answer = await client.get("/transcription/")
    assert (answer.status_code, list(answer.json())) == (401, ["detail"])
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_credentials_there_is_nothing(shared: App) -> None:
    async with client_of(shared, None) as client:
        answers = [
            await client.get("/transcription/"),
            await client.post("/transcription/", json=request()),
            await client.get("/transcription/1"),
            await client.delete("/transcription/1"),
            await client.get("/transcription/lock"),
        ]
    assert [answer.status_code for answer in answers] == [401] * 5


WRONG: list[tuple[dict[str, Any], list[str], str]] = [
    ({"version": "2"}, ["body", "version"], "'1'"),
    ({"notification_type": "mail"}, ["body", "notification_type"], "'poll'"),
    ({"notification_type": "url"}, ["body"], "notification_url"),
    ({"notification_type": "url", "notification_url": "ftp://a/b"}, ["body"], "URL"),
    ({"expiration": -1}, ["body", "expiration"], "greater"),
    ({"expiration": 1e300}, ["body", "expiration"], "less"),
    ({"priority": 3}, ["body", "priority"], "0, 1 or 2"),
    ({"engine": "vosk"}, ["body", "options"], "'openai-whisper'"),
    ({"model": "huge"}, ["body", "options", "openai-whisper"], "large-v3-turbo"),
    ({"model": "small-q5_1"}, ["body", "options", "openai-whisper"], "no model"),
    ({"language": "xx"}, ["body", "options", "openai-whisper", "language"], "auto, af"),
    ({"input": "file:///etc/passwd"}, ["body", "options", "openai-whisper", "input"], "URL"),
    ({"outputs": {}}, ["body", "options", "openai-whisper", "outputs"], "at least one"),
    (
        {"outputs": {"json_url": "talk.json"}},
        ["body", "options", "openai-whisper", "outputs", "json_url"],
        "URL",
    ),
    (
        {"engine": "whisper.cpp", "model": "small-q4"},
        ["body", "options", "whisper.cpp"],
        "small-q5_1",
    ),
    (
        {"engine": "faster-whisper", "compute_type": "int4"},
        ["body", "options", "faster-whisper", "compute_type"],
        "'int8'",
    ),
    ({"input": "https://a/\ud800"}, ["body"], "surrogate"),
]


@pytest.mark.parametrize(("changes", "where", "what"), WRONG)
async def test_unusable_requests_are_refused_as_fastapi_does(
    client: httpx.AsyncClient, changes: dict[str, Any], where: list[str], what: str
) -> None:
    answer = await client.post(
        "/transcription/",
        content=json.dumps(request(**changes)),
        headers={"content-type": "application/json"},
    )
    fault = answer.json()["detail"][0]
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert fault["loc"] == where
    assert what in fault["msg"]
    assert "secret" not in answer.text


async def test_an_english_model_is_not_asked_for_german(client: httpx.AsyncClient) -> None:
    answer = await client.post("/transcription/", json=request(language="de"))
    assert answer.status_code == 422
    assert "lacks 'de'" in answer.json()["detail"]


async def test_unknown_keys_are_passed_over(client: httpx.AsyncClient) -> None:
    body = request(beam_size=5)
    body["options"]["outputs"]["srt_url"] = "https://a.example/b"
    answer = await client.post("/transcription/", json={**body, "comment": "hello"})
    assert answer.status_code == 200


EVERY_MODEL = {
    "openai-whisper": 12,
    "whisper.cpp": 30,
    "faster-whisper": 16,
}


@pytest.mark.parametrize(("engine", "count"), EVERY_MODEL.items())
async def test_every_model_of_that_service_is_taken(
    client: httpx.AsyncClient, engine: str, count: int
) -> None:
    models = MODELS[AskedEngine(engine)]
    assert len(set(models)) == count
    for model in models:
        made = await submitted(client, engine=engine, model=model, language="en")
        assert json.loads(made["request"])["options"]["model"] == model


@pytest.mark.parametrize("language", ["auto", "en", "es", "de", "fr", "ja"])
async def test_languages(client: httpx.AsyncClient, language: str) -> None:
    made = await submitted(client, language=language, model="base")
    assert json.loads(made["request"])["options"]["language"] == language


@pytest.mark.parametrize("number", [0, -1, NEVER, 10**30])
async def test_what_is_not_there(client: httpx.AsyncClient, number: int) -> None:
    for method in ("GET", "DELETE"):
        answer = await client.request(method, f"/transcription/{number}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Job not found."})


async def test_an_id_is_a_number(client: httpx.AsyncClient) -> None:
    answer = await client.get("/transcription/first")
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["path", "number"])


async def test_only_the_owner_sees_the_request_whole(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    made = await submitted(client)
    own, others = await info(client, made), await info(admin, made)
    assert json.loads(own["request"])["options"]["input"] == INPUT
    asked = json.loads(others["request"])["options"]
    assert asked["input"] == "https://media.example.org/in/talk.wav"
    assert asked["outputs"]["txt_url"] == "https://media.example.org/out/talk.txt"
    assert "secret" not in others["request"]


async def test_secrets_of_a_request_are_not_logged(
    client: httpx.AsyncClient, logged: io.StringIO
) -> None:
    made = await submitted(client)
    await info(client, made)
    await client.post("/transcription/", json=request(model="huge"))
    assert "request" in logged.getvalue()
    assert "secret" not in logged.getvalue()


async def test_offset_and_limit(client: httpx.AsyncClient) -> None:
    made = [(await submitted(client))["id"] for _ in range(3)]
    assert await listed(client) == made
    assert await listed(client, limit=2) == made[:2]
    assert await listed(client, offset=1, limit=1) == made[1:2]
    assert await listed(client, offset=5) == []
    for wrong in ({"limit": 101}, {"limit": -1}, {"offset": -1}):
        assert (await client.get("/transcription/", params=wrong)).status_code == 422


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_lock_refuses_submissions_until_unlocked(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, method: str
) -> None:
    before = await submitted(client)
    assert (await admin.request(method, "/transcription/lock")).json() == {"ok": True}
    answer = await client.post("/transcription/", json=request())
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("Submitting new jobs is prohibited.")
    assert (await info(client, before))["state"] == "queued"
    assert (await admin.request(method, "/transcription/unlock")).json() == {"ok": True}
    assert (await submitted(client))["state"] == "queued"


async def test_lock_is_for_administrators(client: httpx.AsyncClient) -> None:
    for name in ("lock", "unlock"):
        answer = await client.get(f"/transcription/{name}")
        assert (answer.status_code, list(answer.json())) == (401, ["detail"])
    assert (await submitted(client))["state"] == "queued"


async def test_the_same_request_sent_twice_makes_one_job(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "once"}
    made = [
        (await client.post("/transcription/", json=request(), headers=key)).json()["id"]
        for _ in range(2)
    ]
    assert await listed(client) == [made[0]]
    assert made[0] == made[1]


async def test_a_job_shows_among_all_others_of_its_owner(
    client: httpx.AsyncClient, ann: Person
) -> None:
    await submitted(client)
    found = (await ann.get("/api/jobs")).json()["items"]
    assert [(job["name"], job["source"]["url"]) for job in found] == [
        ("talk.wav", "https://media.example.org/in/talk.wav")
    ]


async def test_a_job_deleted_elsewhere_is_gone_here(
    client: httpx.AsyncClient, ann: Person
) -> None:
    await submitted(client)
    found = (await ann.get("/api/jobs")).json()["items"]
    await ann.client.delete(f"/api/jobs/{found[0]['id']}")
    assert await listed(client) == []


async def test_unknown_paths_answer_in_the_same_words(client: httpx.AsyncClient) -> None:
    answer = await client.put("/transcription/1")
    assert (answer.status_code, list(answer.json())) == (405, ["detail"])


async def test_slashes_at_the_end_make_no_difference(client: httpx.AsyncClient) -> None:
    answers = [await client.get(path) for path in ("/transcription", "/transcription/")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await client.get("/transcription/999999/")).json() == (
        await client.get("/transcription/999999")
    ).json()
