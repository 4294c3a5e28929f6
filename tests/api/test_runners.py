"""The runner protocol."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from rhapsode.services import runners as service
from rhapsode.services import sweeping
from tests.api.people import (
    CONTENT,
    TRANSCRIPT,
    Lease,
    Person,
    Runner,
    client_of,
    make_runner,
    problem,
)
from tests.api.wire import call
from tests.support.server import App

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_registering_tells_the_rhythm(shared: App) -> None:
    answer = await client_of(shared, shared.runner_token).post(
        "/api/runners/register", json={"name": "a", "version": "1", "capabilities": {}}
    )

    assert answer.status_code == 200
    assert (answer.json()["heartbeat_seconds"], answer.json()["lease_seconds"]) == (15.0, 60.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a\0b"},
        {"name": "x" * 101},
        {"colour": "red"},
        {"capabilities": {"colour": "red"}},
        {"capabilities": {"speed": {"a/b": "fast"}}},
        {"capabilities": {"stages": ["sing"]}},
        {"capabilities": None},
    ],
)
async def test_what_is_no_registration_is_refused(shared: App, changes: dict[str, Any]) -> None:
    body = {"name": "a", "version": "1", "capabilities": {}, **changes}

    answer = await client_of(shared, shared.runner_token).post(
        "/api/runners/register", json=body
    )

    assert problem(answer) == (422, "invalid_request")


async def test_a_runner_that_can_do_too_much_is_refused(shared: App) -> None:
    engines = [{"engine": "a", "models": [str(n) for n in range(1001)]}]

    answer = await client_of(shared, shared.runner_token).post(
        "/api/runners/register",
        json={"name": "a", "version": "1", "capabilities": {"engines": engines}},
    )

    assert problem(answer) == (422, "too_many_models")


async def test_a_claim_hands_out_the_job(ann: Person, runner: Runner) -> None:
    media = await ann.media()
    job = await ann.job(runner, media.id, language="en", prompt="Ünï")

    answer = await runner.claim()

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "job_id": job["id"],
            "attempt": 1,
            "spec": {
                **job["spec"],
                "speakers": {"least": 1, "most": None},
                "partials": False,
            },
            "media": {
                "name": "talk.wav",
                "size": media.size,
                "digest": media.digest,
                "duration": 2.5,
            },
            "source": None,
        },
    )


async def test_an_empty_queue_answers_after_the_wait(runner: Runner) -> None:
    started = time.monotonic()

    answer = await runner.claim(0.2)

    assert answer.status_code == 204
    assert time.monotonic() - started >= 0.2


async def test_a_waiting_claim_is_woken_by_a_job(ann: Person, runner: Runner) -> None:
    media = await ann.media()
    waiting = asyncio.create_task(runner.claim(20))
    await asyncio.sleep(0.05)

    job = await ann.job(runner, media.id)
    started = time.monotonic()
    answer = await waiting

    assert answer.json()["job_id"] == job["id"]
    assert time.monotonic() - started < 1.0  # milliseconds, on a machine that is not busy


async def test_one_of_fifty_waiting_claims_wakes_for_a_job(
    ann: Person, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await ann.media()
    waiting = [asyncio.create_task(runner.claim(3)) for _ in range(50)]
    claims = runner.app.context.claims
    while sum(runner_requirement(runner) in w.requirements for w in claims._waiters) < 50:
        await asyncio.sleep(0.01)
    looks = 0
    look = service._claim

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*arguments)

    while any(w.woken.is_set() for w in claims._waiters):
        await asyncio.sleep(0.01)
    monkeypatch.setattr(service, "_claim", counted)

    await ann.job(runner, media.id)
    answers = await asyncio.gather(*waiting)

    assert sorted(answer.status_code for answer in answers) == [200] + [204] * 49
    assert looks == 1


def runner_requirement(runner: Runner) -> str:
    return f"tests/{runner.model}"


async def test_a_claim_whose_client_hung_up_does_not_keep_the_wake_up(
    shared: App, ann: Person, runner: Runner
) -> None:
    media = await ann.media()
    path = f"{runner.path}/claim"
    async with call(
        shared,
        "POST",
        path,
        shared.runner_token,
        [b'{"wait_seconds": 20}'],
        content_type="application/json",
    ) as gone:
        await waiting_claims(runner, 1)
        other = asyncio.create_task(runner.claim(20))
        await waiting_claims(runner, 2)
        gone.hang_up()

        job = await ann.job(runner, media.id)
        started = time.monotonic()
        answer = await other

    assert answer.json()["job_id"] == job["id"]
    assert time.monotonic() - started < 5  # the next sweep would come after ten seconds


async def waiting_claims(runner: Runner, count: int) -> None:
    claims = runner.app.context.claims
    async with asyncio.timeout(20):
        while (
            sum(runner_requirement(runner) in w.requirements for w in claims._waiters) < count
        ):
            await asyncio.sleep(0.01)


async def test_a_job_that_was_handed_to_nobody_is_given_back(
    shared: App, ann: Person, runner: Runner
) -> None:
    job = await ann.job(runner)
    json = {"content_type": "application/json"}
    path = f"{runner.path}/claim"
    async with call(shared, "POST", path, shared.runner_token, None, **json) as gone:
        gone.send(b"{}")
        gone.hang_up()
        await gone.started()

    seen = await ann.see(job)

    assert (seen["state"], seen["attempt"], seen["max_attempts"]) == ("queued", 2, 4)


async def test_a_heartbeat_carries_progress(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    lease = await runner.claimed()

    answer = await lease.heartbeat({"stage": "transcribe", "fraction": 0.25})

    assert answer.json() == {"verdict": "continue"}
    assert (await ann.see(job))["progress"] == {"stage": "transcribe", "fraction": 0.25}


async def test_a_heartbeat_without_news_keeps_the_progress(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    lease = await runner.claimed()
    await lease.heartbeat({"stage": "transcribe", "fraction": 0.25})

    await lease.heartbeat()

    assert (await ann.see(job))["progress"] == {"stage": "transcribe", "fraction": 0.25}


@pytest.mark.parametrize("fraction", [-0.1, 1.1, "half", None])
async def test_what_is_no_progress_is_refused(
    ann: Person, runner: Runner, fraction: object
) -> None:
    await ann.job(runner)
    lease = await runner.claimed()

    answer = await lease.heartbeat({"stage": "transcribe", "fraction": fraction})

    assert problem(answer) == (422, "invalid_request")


@pytest.mark.parametrize("end", ["cancel", "delete"])
async def test_a_heartbeat_of_a_job_that_is_off(ann: Person, runner: Runner, end: str) -> None:
    lease = await called_off(ann, runner, end)

    assert (await lease.heartbeat()).json() == {"verdict": "cancel"}


async def called_off(ann: Person, runner: Runner, end: str) -> Lease:
    job = await ann.job(runner)
    lease = await runner.claimed()
    if end == "cancel":
        await ann.client.post(f"/api/jobs/{job['id']}/cancel")
    else:
        await ann.client.delete(f"/api/jobs/{job['id']}")
    return lease


@pytest.mark.parametrize("report", [Lease.result, Lease.failure, Lease.give_back, Lease.media])
@pytest.mark.parametrize("end", ["cancel", "delete"])
async def test_reports_on_a_job_that_is_off_are_refused(
    ann: Person, runner: Runner, end: str, report: Any
) -> None:
    lease = await called_off(ann, runner, end)

    assert problem(await report(lease)) == (409, "lease_lost")


@pytest.mark.parametrize(
    "report", [Lease.heartbeat, Lease.result, Lease.failure, Lease.give_back, Lease.media]
)
async def test_reports_on_somebody_elses_lease_are_refused(
    ann: Person, runner: Runner, report: Any
) -> None:
    await ann.job(runner)
    lease = await runner.claimed()
    stranger = Lease(await make_runner(runner.app), lease.assignment)

    assert problem(await report(stranger)) == (409, "lease_lost")


async def test_a_result_finishes_the_job(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    lease = await runner.claimed()

    answer = await lease.result(warnings=["Much noise."])

    seen = await ann.see(job)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [seen[k] for k in ("state", "language", "duration", "warnings", "progress")] == [
        "finished",
        "en",
        2.5,
        ["Much noise."],
        None,
    ]


async def test_the_same_result_again_is_fine(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    lease = await runner.claimed()
    await lease.result()

    again = await lease.result({**TRANSCRIPT, "language": "de"})

    assert (again.status_code, (await ann.see(job))["language"]) == (204, "en")


@pytest.mark.parametrize(
    ("transcript", "code"),
    [
        ({}, "transcript_malformed"),
        ({**TRANSCRIPT, "segments": 5}, "transcript_malformed"),
        ({**TRANSCRIPT, "language": "x" * 17}, "transcript_malformed"),
        ({**TRANSCRIPT, "language": "\0"}, "invalid_request"),
        ([], "invalid_request"),
        ("text", "invalid_request"),
    ],
)
async def test_what_is_no_transcript_is_refused(
    ann: Person, runner: Runner, transcript: Any, code: str
) -> None:
    job = await ann.job(runner)
    lease = await runner.claimed()

    answer = await lease.result(transcript)

    assert problem(answer) == (422, code)
    assert (await ann.see(job))["state"] == "running"


@pytest.mark.parametrize(
    "body",
    [
        b'{"transcript": {"language": null, "duration": NaN, "segments": []}}',
        b'{"transcript": {"language": "\\ud800", "duration": 1, "segments": []}}',
    ],
)
async def test_what_cannot_be_stored_is_refused(
    ann: Person, runner: Runner, body: bytes
) -> None:
    await ann.job(runner)
    lease = await runner.claimed()

    answer = await runner.client.put(
        f"{lease.path}/result", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422, answer.text


async def test_a_permanent_failure_ends_the_job(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)

    answer = await (await runner.claimed()).failure(permanent=True)

    seen = await ann.see(job)
    assert (answer.status_code, seen["state"], seen["error"]) == (
        204,
        "failed",
        {"code": "broken", "message": "It broke."},
    )


async def test_other_failures_are_tried_again_up_to_the_limit(
    ann: Person, runner: Runner
) -> None:
    job = await ann.job(runner)
    states = []
    for _ in range(3):
        await (await runner.claimed()).failure()
        seen = await ann.see(job)
        states.append((seen["state"], seen["attempt"]))

    assert states == [("queued", 2), ("queued", 3), ("failed", 3)]


async def test_giving_back_costs_nothing(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    for _ in range(5):
        assert (await (await runner.claimed()).give_back()).status_code == 204

    seen = await ann.see(job)
    assert (seen["state"], seen["max_attempts"] - seen["attempt"]) == ("queued", 2)


async def test_what_is_given_back_goes_to_who_waits(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    lease = await runner.claimed()
    waiting = asyncio.create_task(runner.claim(20))
    await waiting_claims(runner, 1)

    await lease.give_back()

    assert (await waiting).json()["job_id"] == job["id"]


async def test_the_recording_comes_in_ranges(ann: Person, runner: Runner) -> None:
    media = await ann.media(CONTENT[:10])
    await ann.job(runner, media.id)
    lease = await runner.claimed()

    whole, part = await lease.media(), await lease.media(range="bytes=4-")

    assert (whole.status_code, whole.content) == (200, CONTENT[:10])
    assert (part.status_code, part.content) == (206, CONTENT[4:10])
    assert whole.headers["etag"] == f'"{media.digest}"'


async def test_a_runner_that_is_not_known_registers_again(runner: Runner) -> None:
    answer = await runner.client.post(f"/api/runners/{uuid4()}/claim", json={})

    assert problem(answer) == (404, "runner_not_found")


async def test_a_token_serves_its_own_runners_only(shared: App, runner: Runner) -> None:
    other = (await service.create_token(shared.context, "other")).secret

    answer = await client_of(shared, other).post(f"{runner.path}/claim", json={})

    assert problem(answer) == (404, "runner_not_found")


async def test_a_revoked_token_is_refused(shared: App) -> None:
    token = await service.create_token(shared.context, "short-lived")
    runner = await make_runner(
        App(shared.context, shared.client, shared.admin, shared.key, token.secret)
    )
    await shared.client.delete(f"/api/runner-tokens/{token.token.id}")

    assert problem(await runner.claim()) == (401, "unauthenticated")


async def test_replacing_a_token_releases_its_leases(shared: App, ann: Person) -> None:
    """As a server does for its embedded runner when it starts again."""
    token = await service.replace_token(shared.context, "embedded@tests")
    app = App(shared.context, shared.client, shared.admin, shared.key, token.secret)
    dead = await make_runner(app)
    job = await ann.job(dead)
    await dead.claimed()

    await service.replace_token(shared.context, "embedded@tests")
    await sweeping.lapse(shared.context)

    seen = await ann.see(job)
    assert (seen["state"], seen["attempt"]) == ("queued", 2)


async def test_runners_are_listed_with_their_job(
    shared: App, ann: Person, runner: Runner
) -> None:
    job = await ann.job(runner)
    await runner.claimed()

    items = (await shared.client.get("/api/runners")).json()["items"]

    found = next(item for item in items if item["id"] == runner.id)
    assert (found["name"], found["job_id"]) == ("runner", job["id"])


async def test_a_job_without_its_recording_does_not_stop_the_queue(
    ann: Person, runner: Runner
) -> None:
    from rhapsode.database import media as table
    from tests.database.rows import NOW

    media = await ann.media()
    broken, good = await ann.job(runner, media.id), await ann.job(runner)
    async with ann.app.context.database.write() as transaction:
        await table.mark_deleting(transaction.connection, media.id, NOW)

    lease = await runner.claimed()

    assert lease.assignment["job_id"] == good["id"]
    assert (await ann.see(broken))["error"]["code"] == "media_deleted"
