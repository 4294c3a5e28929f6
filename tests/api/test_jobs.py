"""Jobs: asked for, listed, changed, fetched, deleted."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from rhapsode.database import media as media_table
from rhapsode.services.context import now
from tests.api.people import Person, Runner, job_in, make_runner, problem
from tests.database.rows import make_job
from tests.support.server import App

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ask(ann: Person, media_id: object, spec: object = None, **headers: str) -> Any:
    body: dict[str, Any] = {"input": {"media_id": str(media_id)}}
    if spec is not None:
        body["spec"] = spec
    return await ann.client.post("/api/jobs", json=body, headers=headers)


async def test_a_job_with_the_defaults(ann: Person) -> None:
    media = await ann.media()

    answer = await ask(ann, media.id)

    body = answer.json()
    assert answer.status_code == 201
    assert body == {
        "id": body["id"],
        "name": "talk.wav",
        "media_id": str(media.id),
        "user_id": str(ann.user.id),
        "spec": {
            "engine": "faster-whisper",
            "model": "base",
            "language": None,
            "layout": "simple",
            "word_times": True,
            "prompt": None,
            "priority": 1,
            "speakers": {"min": 1, "max": None},
            "languages": [],
            "mixed_languages": False,
            "translate_to": None,
            "hotwords": [],
            "temperature": None,
            "numerals": True,
            "punctuation": True,
        },
        "state": "queued",
        "attempt": 1,
        "max_attempts": 3,
        "progress": None,
        "runner_name": None,
        "language": None,
        "duration": 2.5,
        "created_at": body["created_at"],
        "queued_at": body["created_at"],
        "started_at": None,
        "finished_at": None,
        "transcribed_at": None,
        "transcript_deleted_at": None,
        "error": None,
        "warnings": [],
        "source": None,
        "outputs": {},
        "notify": {"email": False},
        "retention": {"media_days": None, "transcript_days": None},
    }
    await ann.client.delete(f"/api/jobs/{body['id']}")


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"engine": "faster-wisper"}, "unknown_engine"),
        ({"model": "bse"}, "unknown_model"),
        ({"model": "tiny.en", "language": "de"}, "unsupported_language"),
        ({"language": "xx"}, "unsupported_language"),
        ({"layout": "diarisation"}, "layout_unavailable"),
        ({"language": "English"}, "invalid_request"),
        ({"language": "en\n"}, "invalid_request"),
        ({"layout": "fancy"}, "invalid_request"),
        ({"priority": 3}, "invalid_request"),
        ({"prompt": "x" * 2001}, "invalid_request"),
        ({"prompt": "a\0b"}, "invalid_request"),
        ({"engine": ""}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
        ({"word_times": "maybe"}, "invalid_request"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    ann: Person, spec: dict[str, Any], code: str
) -> None:
    media = await ann.media()

    assert problem(await ask(ann, media.id, spec)) == (422, code)


async def test_a_refusal_names_the_choices(ann: Person) -> None:
    media = await ann.media()

    answer = (await ask(ann, media.id, {"model": "bse"})).json()

    assert answer["detail"] == "There is no model of faster-whisper called 'bse'."
    assert answer["hint"].startswith("Did you mean 'base'? There are: ")


async def test_a_refusal_names_the_places(ann: Person) -> None:
    answer = (await ask(ann, "none", {"colour": "red"})).json()

    assert sorted(fault["where"] for fault in answer["errors"]) == [
        "body.input.media_id",
        "body.spec.colour",
    ]


async def test_an_unknown_media_makes_no_job(ann: Person) -> None:
    assert problem(await ask(ann, uuid4())) == (404, "media_not_found")


async def test_the_same_request_makes_one_job(ann: Person) -> None:
    media = await ann.media()
    key = {"idempotency-key": str(uuid4())}

    answers = [await ask(ann, media.id, **key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


async def test_five_equal_requests_at_once_make_one_job(ann: Person, runner: Runner) -> None:
    media = await ann.media()
    body = {
        "input": {"media_id": str(media.id)},
        "spec": {"engine": "tests", "model": runner.model},
    }
    headers = {"idempotency-key": str(uuid4())}

    answers = await asyncio.gather(
        *(ann.client.post("/api/jobs", json=body, headers=headers) for _ in range(5))
    )

    listed = (await ann.get("/api/jobs")).json()["items"]
    assert [answer.json() for answer in answers] == listed * 5


async def test_an_idempotency_key_means_one_request(ann: Person) -> None:
    media = await ann.media()
    headers = {"idempotency-key": str(uuid4())}
    body = {"input": {"media_id": str(media.id)}}
    await ann.client.post("/api/jobs", json=body, headers=headers)

    answer = await ann.client.post(
        "/api/jobs", json={**body, "spec": {"priority": 2}}, headers=headers
    )

    assert problem(answer) == (422, "idempotency_key_reused")


@contextmanager
def statements(app: App) -> Iterator[list[str]]:
    """The SQL that is executed meanwhile."""
    seen: list[str] = []
    engine = app.context.database.engine.sync_engine

    def note(_c: object, _u: object, statement: str, *_rest: object) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("what", ["jobs", "media"])
async def test_lists_take_the_same_queries_whatever_their_length(
    shared: App, ann: Person, what: str, count: int
) -> None:
    for _ in range(count):
        await make_job(shared.context.database, ann.user)

    with statements(shared) as seen:
        items = (await ann.get(f"/api/{what}")).json()["items"]

    tables = [s.split("FROM ")[1].split()[0] for s in seen if f"FROM {what}" in s]
    assert (len(items), tables) == (count, [what])


async def test_pages_have_neither_holes_nor_repeats_while_jobs_come(
    shared: App, ann: Person
) -> None:
    made = [await make_job(shared.context.database, ann.user) for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await ann.get("/api/jobs", **params)).json()
        seen += [item["id"] for item in page["items"]]
        await make_job(shared.context.database, ann.user)
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == [str(job.id) for job in reversed(made)]


async def test_a_full_page_that_is_the_last_has_no_next(shared: App, ann: Person) -> None:
    for _ in range(2):
        await make_job(shared.context.database, ann.user)

    page = (await ann.get("/api/jobs", limit=2)).json()

    assert (len(page["items"]), page["next"]) == (2, None)


async def test_filters(shared: App, ann: Person) -> None:
    database = shared.context.database
    one = await make_job(database, ann.user, name="Talk.wav")
    two = await make_job(database, ann.user, name="song.wav")
    await ann.client.post(f"/api/jobs/{two.id}/cancel")

    async def found(**params: Any) -> list[str]:
        items = (await ann.get("/api/jobs", **params)).json()["items"]
        return [item["id"] for item in items]

    assert await found(state="queued") == [str(one.id)]
    assert await found(state=["queued", "canceled"]) == [str(two.id), str(one.id)]
    assert await found(search="TALK") == [str(one.id)]
    assert await found(media_id=str(two.media_id)) == [str(two.id)]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 201},
        {"cursor": "x"},
        {"state": "happy"},
        {"search": "a\0"},
        {"search": "x" * 201},
    ],
)
@pytest.mark.parametrize("path", ["/api/jobs"])
async def test_what_is_no_filter_is_refused(
    ann: Person, path: str, params: dict[str, Any]
) -> None:
    assert problem(await ann.get(path, **params)) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("state", "status"),
    [("queued", 200), ("running", 200), ("finished", 409), ("failed", 409), ("canceled", 409)],
)
async def test_cancel(ann: Person, runner: Runner, state: str, status: int) -> None:
    job = await job_in(state, ann, runner)

    answer = await ann.client.post(f"/api/jobs/{job['id']}/cancel")

    assert answer.status_code == status
    if status == 200:
        assert answer.json()["state"] == "canceled"
    else:
        assert problem(answer) == (409, "job_state")


@pytest.mark.parametrize(
    ("state", "status"),
    [("queued", 409), ("running", 409), ("finished", 409), ("failed", 200), ("canceled", 200)],
)
async def test_retry(ann: Person, runner: Runner, state: str, status: int) -> None:
    job = await job_in(state, ann, runner)

    answer = await ann.client.post(f"/api/jobs/{job['id']}/retry")

    assert answer.status_code == status
    if status == 200:
        again = answer.json()
        assert (again["state"], again["attempt"], again["error"]) == ("queued", 2, None)
    else:
        assert problem(answer) == (409, "job_state")


async def test_a_retried_job_is_done(ann: Person, runner: Runner) -> None:
    job = await job_in("failed", ann, runner)
    await ann.client.post(f"/api/jobs/{job['id']}/retry")

    await (await runner.claimed()).result()

    assert (await ann.see(job))["state"] == "finished"


async def test_no_retry_without_the_recording(ann: Person, runner: Runner) -> None:
    job = await job_in("canceled", ann, runner)
    await ann.client.delete(f"/api/media/{job['media_id']}")

    answer = await ann.client.post(f"/api/jobs/{job['id']}/retry")

    assert problem(answer) == (409, "media_deleted")


async def test_no_retry_while_the_recording_goes(ann: Person, runner: Runner) -> None:
    """Its object may take a while to go, as when the store does not answer."""
    media = await ann.media()
    job = await ann.job(runner, media.id)
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")
    async with ann.app.context.database.write() as transaction:
        await media_table.mark_deleting(transaction.connection, media.id, now())

    answer = await ann.client.post(f"/api/jobs/{job['id']}/retry")

    assert problem(answer) == (409, "media_deleted")


@pytest.mark.parametrize("state", ["queued", "running", "finished"])
async def test_deleting_a_job_takes_its_recording_along(
    ann: Person, runner: Runner, state: str
) -> None:
    job = await job_in(state, ann, runner)

    answer = await ann.client.delete(f"/api/jobs/{job['id']}")

    gone = await ann.get(f"/api/media/{job['media_id']}")
    assert answer.status_code == 204
    assert problem(await ann.get(f"/api/jobs/{job['id']}")) == (404, "job_not_found")
    assert problem(gone) == (404, "media_not_found")
    keys = await ann.app.context.store.keys("media")
    assert f"media/{job['media_id']}" not in keys


async def test_deleting_a_job_can_keep_its_recording(ann: Person, runner: Runner) -> None:
    job = await job_in("finished", ann, runner)

    await ann.client.delete(f"/api/jobs/{job['id']}", params={"keep_media": True})

    assert (await ann.get(f"/api/media/{job['media_id']}")).status_code == 200


async def test_a_recording_stays_while_another_job_uses_it(ann: Person, runner: Runner) -> None:
    media = await ann.media()
    one, two = [await ann.job(runner, media.id) for _ in range(2)]

    await ann.client.delete(f"/api/jobs/{one['id']}")
    kept = await ann.get(f"/api/media/{media.id}")
    await ann.client.delete(f"/api/jobs/{two['id']}")

    assert kept.status_code == 200
    assert problem(await ann.get(f"/api/media/{media.id}")) == (404, "media_not_found")


async def test_two_jobs_of_one_recording_deleted_at_once(ann: Person, runner: Runner) -> None:
    media = await ann.media()
    pair = [await ann.job(runner, media.id) for _ in range(2)]

    answers = await asyncio.gather(
        *(ann.client.delete(f"/api/jobs/{job['id']}") for job in pair)
    )

    assert [answer.status_code for answer in answers] == [204, 204]
    assert problem(await ann.get(f"/api/media/{media.id}")) == (404, "media_not_found")


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_a_recording_in_use_is_not_deleted(
    ann: Person, runner: Runner, state: str
) -> None:
    job = await job_in(state, ann, runner)

    answer = await ann.client.delete(f"/api/media/{job['media_id']}")

    assert problem(answer) == (409, "media_in_use")


@pytest.mark.parametrize("state", ["finished", "failed", "canceled"])
async def test_a_job_outlives_its_recording(ann: Person, runner: Runner, state: str) -> None:
    job = await job_in(state, ann, runner)

    answer = await ann.client.delete(f"/api/media/{job['media_id']}")

    assert answer.status_code == 204
    assert (await ann.see(job))["media_id"] is None


async def test_options(ann: Person) -> None:
    runner = await make_runner(ann.app)

    body = (await ann.get("/api/options")).json()

    engines = {e["name"]: [m["name"] for m in e["models"]] for e in body["engines"]}
    assert runner.model in engines["tests"]
    assert {"base", "tiny.en"} <= set(engines["faster-whisper"])
    assert (body["layouts"], body["formats"], body["max_upload_bytes"]) == (
        ["simple", "segmentation"],
        ["json", "txt", "srt", "vtt", "tsv", "csv"],
        1_000_000,
    )
    assert body["defaults"] == {
        "engine": "faster-whisper",
        "model": "base",
        "language": None,
        "layout": "simple",
        "word_times": True,
    }
