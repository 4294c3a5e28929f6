"""Jobs by URL: what is taken, what is refused at once, what is shown, and fresh URLs."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import pytest

from rhapsode.domain.jobs import JobId, JobState, Source
from tests.api.people import Person, Runner, make_runner, problem
from tests.database.rows import find, make_job
from tests.support.server import App

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALK = "https://archive.example.org/talks/talk.mp3"


def presigned(url: str = TALK, *, seconds: float = 3600, ago: float = 0) -> str:
    """A URL with the query of a SigV4 signature; nobody here can tell that it is made up."""
    made = datetime.now(UTC) - timedelta(seconds=ago)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "KEY/20260101/us-east-1/s3/aws4_request",
        "X-Amz-Date": made.strftime("%Y%m%dT%H%M%SZ"),
        "X-Amz-Expires": str(int(seconds)),
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "signed-by-tests",
    }
    return f"{url}?{urlencode(query)}"


async def ask(ann: Person, runner: Runner, url: str = TALK, **more: Any) -> httpx.Response:
    body: dict[str, Any] = {
        "input": {"url": url},
        "spec": {"engine": "tests", "model": runner.model},
        **more,
    }
    return await ann.client.post("/api/jobs", json=body)


async def made(ann: Person, runner: Runner, url: str = TALK, **more: Any) -> dict[str, Any]:
    answer = await ask(ann, runner, url, **more)
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_a_job_shows_its_urls_without_their_secrets(ann: Person, runner: Runner) -> None:
    job = await made(
        ann,
        runner,
        presigned("https://me:pass@archive.example.org/talks/t%20%C3%A4.mp3"),
        outputs={"vtt": presigned("https://archive.example.org/talks/t.vtt")},
        retention={"media_days": 0, "transcript_days": 1.5},
    )

    assert await ann.see(job) == job
    assert {
        name: job[name]
        for name in ("name", "media_id", "duration", "source", "outputs", "notify", "retention")
    } == {
        "name": "t ä.mp3",
        "media_id": None,
        "duration": None,
        "source": {"url": "https://archive.example.org/talks/t%20%C3%A4.mp3", "keep": False},
        "outputs": {"vtt": "https://archive.example.org/talks/t.vtt"},
        "notify": {"email": False},
        "retention": {"media_days": 0.0, "transcript_days": 1.5},
    }


async def test_what_is_secret_is_kept_whole_for_the_one_who_fetches(
    shared: App, ann: Person, runner: Runner
) -> None:
    url, output = presigned(), presigned("https://archive.example.org/t.txt")

    job = await made(ann, runner, url, outputs={"txt": output})

    stored = await find(shared.context.database, JobId(UUID(job["id"])))
    assert stored.source is not None
    assert (stored.source.url, stored.outputs) == (url, {"txt": output})


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/talk.mp3?x=1#t", "talk.mp3"),
        ("https://example.org/a/talk.mp3/", "talk.mp3"),
        ("https://example.org/%2e%2e%2fpasswd", "passwd"),
        ("https://example.org/a%0Ab%E2%80%AEc.wav", "abc.wav"),
        ("https://example.org/%ff.wav", "\N{REPLACEMENT CHARACTER}.wav"),
        ("https://example.org/", "example.org"),
        ("https://example.org", "example.org"),
        ("https://example.org/" + "x" * 300 + ".wav", "x" * 196 + ".wav"),
    ],
)
async def test_the_name_is_the_last_of_the_path(
    ann: Person, runner: Runner, url: str, name: str
) -> None:
    assert (await made(ann, runner, url))["name"] == name


async def test_a_name_can_be_given(ann: Person, runner: Runner) -> None:
    answer = await ann.client.post(
        "/api/jobs",
        json={
            "input": {"url": TALK, "name": "Vortrag: Teil 1", "keep": True},
            "spec": {"engine": "tests", "model": runner.model},
        },
    )

    assert (answer.json()["name"], answer.json()["source"]["keep"]) == ("Vortrag: Teil 1", True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "exactly one of media_id and url"),
        ({"media_id": str(uuid4()), "url": TALK}, "exactly one of media_id and url"),
        ({"media_id": str(uuid4()), "keep": True}, "keep goes with url"),
        ({"url": ""}, "at least 1 character"),
        ({"url": "https://example.org/" + "x" * 9000}, "at most 8192 characters"),
        ({"url": TALK, "name": ""}, "at least 1 character"),
        ({"url": TALK, "method": "POST"}, "Extra inputs are not permitted"),
    ],
)
async def test_an_input_is_one_thing(
    ann: Person, runner: Runner, given: dict[str, Any], says: str
) -> None:
    answer = await ann.client.post("/api/jobs", json={"input": given})

    assert problem(answer) == (422, "invalid_request")
    assert says in answer.json()["detail"]
    assert answer.json()["errors"][0]["where"].startswith("body.input")


@pytest.mark.parametrize(
    "url",
    [
        "talk.mp3",
        "ftp://example.org/talk.mp3",
        "file:///etc/passwd",
        "http:///talk.mp3",
        "https://example.org:port/talk.mp3",
        "https://[::1/talk.mp3",
        "https://example.org/a b.mp3",
        "gopher://example.org/1",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a/../b.wav",
    ],
)
async def test_what_is_no_url_of_the_web_is_refused(
    ann: Person, runner: Runner, url: str
) -> None:
    assert problem(await ask(ann, runner, url)) == (422, "url_invalid")


HIDDEN = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "10.1.2.3",
    "192.168.0.1",
    "169.254.169.254",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[fd00::1]",
    "[fe80::1%25eth0]",
    "[64:ff9b::7f00:1]",
    "0.0.0.0",
    "0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "user:pass@127.0.0.1",
    "example.org@127.0.0.1",
]


@pytest.mark.parametrize("host", HIDDEN)
async def test_a_private_address_is_refused_in_whatever_notation(
    ann: Person, runner: Runner, host: str
) -> None:
    as_input = await ask(ann, runner, f"http://{host}:80/talk.mp3?secret=1")
    as_output = await ask(ann, runner, outputs={"vtt": f"http://{host}/talk.vtt?secret=1"})

    assert [problem(as_input), problem(as_output)] == [(403, "address_refused")] * 2
    assert "secret" not in as_input.text + as_output.text
    assert "pass@" not in as_input.text + as_output.text


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "example.org", "1.example"])
async def test_public_addresses_and_names_are_taken(
    ann: Person, runner: Runner, host: str
) -> None:
    assert (await ask(ann, runner, f"http://{host}/talk.mp3")).status_code == 201


@pytest.mark.parametrize(
    ("outputs", "code"),
    [
        ({"pdf": TALK}, "unknown_artifact"),
        ({"vtt": "ftp://example.org/a.vtt"}, "url_invalid"),
        ({"vtt": "s3://bucket/a.vtt"}, "url_invalid"),
        ({"vtt": presigned(), "txt": "https://example.org/a"}, None),
        ({"vtt": "https://example.org/a", "txt": "https://example.org/a"}, "outputs_collide"),
        ({"vtt": "https://example.org/a?f=vtt", "txt": "https://example.org/a?f=txt"}, None),
        ({"vtt": ""}, "invalid_request"),
        (dict.fromkeys("abcdefgh", TALK), "invalid_request"),
    ],
)
async def test_outputs(
    ann: Person, runner: Runner, outputs: dict[str, str], code: str | None
) -> None:
    answer = await ask(ann, runner, outputs=outputs)

    if code is None:
        assert answer.status_code == 201
    else:
        assert problem(answer) == (422, code)


@pytest.mark.parametrize("days", [-1, 40_000, "soon", "Infinity"])
async def test_what_is_no_retention_is_refused(
    ann: Person, runner: Runner, days: object
) -> None:
    answer = await ask(ann, runner, retention={"media_days": days})

    assert problem(answer) == (422, "invalid_request")


async def test_outputs_go_with_an_uploaded_recording_too(ann: Person, runner: Runner) -> None:
    media = await ann.media()

    answer = await ann.client.post(
        "/api/jobs",
        json={
            "input": {"media_id": str(media.id)},
            "spec": {"engine": "tests", "model": runner.model},
            "outputs": {"srt": "https://example.org/a.srt"},
        },
    )

    assert (answer.json()["outputs"], answer.json()["source"]) == (
        {"srt": "https://example.org/a.srt"},
        None,
    )


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize(
    ("times", "code"),
    [
        ({"seconds": 60, "ago": 120}, "url_expired"),
        ({"seconds": 30}, "url_expires_soon"),
        ({"seconds": 120}, None),
    ],
)
async def test_a_signature_must_hold_until_the_job_can_start(
    ann: Person, runner: Runner, where: str, times: dict[str, float], code: str | None
) -> None:
    url = presigned(**times)
    given = {"url": url} if where == "input" else {"outputs": {"vtt": url}}

    answer = await ask(ann, runner, **given)

    if code is None:
        assert answer.status_code == 201
        return
    assert problem(answer) == (422, code)
    assert "https://archive.example.org/talks/talk.mp3, expire" in answer.json()["detail"]
    assert " UTC" in answer.json()["detail"]
    assert "signed-by-tests" not in answer.text


async def test_a_queue_ahead_counts_towards_the_start(ann: Person, shared: App) -> None:
    """Ten jobs of about a minute each wait ahead; five minutes are not enough."""
    runner = await make_runner(shared)
    first = await made(ann, runner)
    stored = await find(shared.context.database, JobId(UUID(first["id"])))
    shared.context.recorder.finished(stored, 60.0)
    for _ in range(9):
        await made(ann, runner)

    soon = await ask(ann, runner, presigned(seconds=300))
    later = await ask(ann, runner, presigned(seconds=900))
    urgent = await ann.client.post(
        "/api/jobs",
        json={
            "input": {"url": presigned(seconds=300)},
            "spec": {"engine": "tests", "model": runner.model, "priority": 2},
        },
    )

    assert problem(soon) == (422, "url_expires_soon")
    assert (later.status_code, urgent.status_code) == (201, 201)


async def test_s3_urls_need_a_key_of_the_operator(ann: Person, runner: Runner) -> None:
    assert problem(await ask(ann, runner, "s3://bucket/a.wav")) == (422, "s3_input_off")


async def test_jobs_are_found_by_name_and_by_source(ann: Person, runner: Runner) -> None:
    one = await made(ann, runner, presigned("https://example.org/A/one.mp3"))
    two = await made(ann, runner, presigned("https://example.org/a/two.mp3"))

    async def found(**params: str) -> list[str]:
        items = (await ann.get("/api/jobs", **params)).json()["items"]
        return [item["id"] for item in items]

    assert await found(search="two") == [two["id"]]
    assert await found(source="https://example.org/a") == [two["id"]]
    assert await found(source="https://example.org/A/one.mp3") == [one["id"]]
    assert await found(source="https://example.org/") == [two["id"], one["id"]]
    assert await found(source="https://example.org/%") == []
    assert problem(await ann.get("/api/jobs", source="https://a?X-Amz")) == (
        422,
        "invalid_request",
    )


async def test_the_same_request_makes_one_job(ann: Person, runner: Runner) -> None:
    body = {
        "input": {"url": presigned()},
        "spec": {"engine": "tests", "model": runner.model},
        "outputs": {"vtt": "https://example.org/a.vtt"},
    }
    headers = {"idempotency-key": str(uuid4())}

    answers = await asyncio.gather(
        *(ann.client.post("/api/jobs", json=body, headers=headers) for _ in range(5))
    )
    other = {**body, "outputs": {"vtt": "https://example.org/b.vtt"}}
    another = await ann.client.post("/api/jobs", json=other, headers=headers)

    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert problem(another) == (422, "idempotency_key_reused")


async def canceled(ann: Person, runner: Runner, **more: Any) -> dict[str, Any]:
    job = await made(ann, runner, **more)
    answer = await ann.client.post(f"/api/jobs/{job['id']}/cancel")
    assert answer.status_code == 200
    return job


async def again(ann: Person, job: dict[str, Any], body: Any = None) -> httpx.Response:
    return await ann.client.post(f"/api/jobs/{job['id']}/retry", json=body)


async def test_a_retry_takes_fresh_urls(shared: App, ann: Person, runner: Runner) -> None:
    old = {"vtt": "https://example.org/a.vtt?old", "txt": "https://example.org/a.txt?old"}
    job = await canceled(ann, runner, outputs=old)
    fresh = {"input": {"url": TALK + "?new"}, "outputs": {"vtt": "https://example.org/a?new"}}

    answer = await again(ann, job, fresh)

    stored = await find(shared.context.database, JobId(UUID(job["id"])))
    assert (answer.status_code, answer.json()["state"], answer.json()["name"]) == (
        200,
        "queued",
        "talk.mp3",
    )
    assert stored.source is not None
    assert stored.source.url == TALK + "?new"
    assert stored.outputs == {**old, "vtt": "https://example.org/a?new"}


async def test_a_retry_without_urls_keeps_them(
    shared: App, ann: Person, runner: Runner
) -> None:
    job = await canceled(ann, runner, url=TALK + "?x", outputs={"vtt": "https://example.org/a"})

    answer = await again(ann, job)

    stored = await find(shared.context.database, JobId(UUID(job["id"])))
    assert answer.status_code == 200
    assert stored.source is not None
    assert (stored.source.url, stored.outputs) == (
        TALK + "?x",
        {"vtt": "https://example.org/a"},
    )


@pytest.mark.parametrize(
    ("fresh", "code"),
    [
        ({"input": {"url": "http://127.0.0.1/a"}}, (403, "address_refused")),
        ({"input": {"url": presigned(ago=7200)}}, (422, "url_expired")),
        ({"input": {}}, (422, "invalid_request")),
        ({"outputs": {"pdf": TALK}}, (422, "unknown_artifact")),
        ({"outputs": {"txt": "https://example.org/a"}}, (422, "outputs_collide")),
        ({"spec": {}}, (422, "invalid_request")),
    ],
)
async def test_fresh_urls_are_looked_at_like_the_first(
    ann: Person, runner: Runner, fresh: dict[str, Any], code: tuple[int, str]
) -> None:
    job = await canceled(ann, runner, outputs={"vtt": "https://example.org/a"})

    assert problem(await again(ann, job, fresh)) == code
    assert (await ann.see(job))["state"] == "canceled"


async def test_a_retry_needs_fresh_urls_once_the_old_ones_expired(
    shared: App, ann: Person, runner: Runner
) -> None:
    stored = await make_job(
        shared.context.database,
        ann.user,
        media_id=None,
        source=Source(url=presigned(ago=7200)),
        state=JobState.EXPIRED,
    )
    job = {"id": str(stored.id)}

    assert problem(await again(ann, job)) == (422, "url_expired")
    assert (await again(ann, job, {"input": {"url": presigned()}})).status_code == 200


async def test_a_fresh_url_is_looked_at_though_the_recording_was_kept(
    shared: App, ann: Person
) -> None:
    """It is what the recording is fetched from once that has been deleted."""
    stored = await make_job(
        shared.context.database, ann.user, source=Source(url=TALK), state=JobState.FAILED
    )
    job = {"id": str(stored.id)}

    assert problem(await again(ann, job, {"input": {"url": "ftp://example.org/a"}})) == (
        422,
        "url_invalid",
    )
    assert (await again(ann, job, {"input": {"url": TALK}})).status_code == 200


async def test_an_uploaded_recording_takes_no_url(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")

    answer = await again(ann, job, {"input": {"url": TALK}})

    assert problem(answer) == (422, "input_not_by_url")


async def test_a_retry_after_the_transcript_only_delivers(
    shared: App, ann: Person, runner: Runner
) -> None:
    """Nobody answers at the output's address; the job is called off, then wanted after all."""
    media = await ann.media()
    made = await ann.client.post(
        "/api/jobs",
        json={
            "input": {"media_id": str(media.id)},
            "spec": {"engine": "tests", "model": runner.model},
            "outputs": {"vtt": "https://nowhere.invalid/a.vtt"},
        },
    )
    job = made.json()
    await (await runner.claimed()).result()
    assert (await ann.see(job))["state"] == "delivering"
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")

    answer = await again(ann, job, {"outputs": {"txt": "https://nowhere.invalid/a.txt"}})

    after = answer.json()
    assert (after["state"], after["attempt"], after["outputs"]) == (
        "delivering",
        1,
        {"vtt": "https://nowhere.invalid/a.vtt", "txt": "https://nowhere.invalid/a.txt"},
    )
    assert (await runner.claim()).status_code == 204
    assert (await ann.get(f"/api/jobs/{job['id']}/transcript")).status_code == 200
    await ann.client.delete(f"/api/jobs/{job['id']}")


async def test_no_log_has_what_is_secret_in_a_url(
    ann: Person, runner: Runner, logged: io.StringIO
) -> None:
    secret = "https://me:passw0rd@archive.example.org/talk.mp3"
    job = await made(ann, runner, presigned(secret), outputs={"vtt": presigned(secret)})
    await ask(ann, runner, presigned("http://me:passw0rd@127.0.0.1/talk.mp3"))
    await ask(ann, runner, presigned(secret, ago=7200))
    await (await runner.claimed()).failure(permanent=True)
    await again(ann, job, {"input": {"url": presigned(secret, seconds=7200)}})

    lines = logged.getvalue()
    assert lines.count('"path": "/api/jobs"') >= 3
    assert [part for part in ("signed-by-tests", "passw0rd", "X-Amz") if part in lines] == []
