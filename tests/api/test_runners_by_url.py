"""Jobs by URL in the runners' protocol: what they are told, and what they may report."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rhapsode.database.tables import jobs
from tests.api.people import Lease, Person, Runner, problem
from tests.support.recordings import noise
from tests.support.server import App

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "https://me:hunter2@media.example.org/talks/talk.wav?token=s3cret"
SHOWN = "https://media.example.org/talks/talk.wav"


async def by_url(ann: Person, runner: Runner, **changes: Any) -> dict[str, Any]:
    """A job by URL that only this runner can do."""
    body = {
        "input": {"url": URL, **changes},
        "spec": {"engine": "tests", "model": runner.model},
    }
    answer = await ann.client.post("/api/jobs", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def kept(lease: Lease, content: bytes) -> Any:
    return await lease.runner.client.put(f"{lease.path}/media", content=content)


@pytest.fixture
def recording(tmp_path: Path) -> bytes:
    return noise(tmp_path / "a.wav", 2.0).read_bytes()


async def test_a_claim_says_where_to_fetch_it(ann: Person, runner: Runner) -> None:
    await by_url(ann, runner, keep=True)

    lease = await runner.claimed()

    assert (lease.assignment["media"], lease.assignment["source"]) == (
        None,
        {
            "name": "talk.wav",
            "shown": SHOWN,
            "url": URL,
            "keep": True,
            "max_bytes": 1_000_000,
            "max_redirects": 5,
            "connect_seconds": 10.0,
            "read_seconds": 60.0,
            "fetch_seconds": 21600.0,
        },
    )


async def test_a_url_that_does_not_work_any_more(ann: Person, runner: Runner) -> None:
    job = await by_url(ann, runner)
    lease = await runner.claimed()

    answer = await lease.failure(code="input_expired", message="It is gone.", expired=True)

    assert answer.status_code == 204
    found = await ann.see(job)
    assert (found["state"], found["attempt"], found["error"]) == (
        "expired",
        1,
        {"code": "input_expired", "message": "It is gone."},
    )
    assert problem(await lease.failure(expired=True)) == (409, "lease_lost")


async def test_what_is_fetched_is_kept(ann: Person, runner: Runner, recording: bytes) -> None:
    job = await by_url(ann, runner, keep=True)
    lease = await runner.claimed()

    assert (await kept(lease, recording)).status_code == 204
    assert (await kept(lease, recording)).status_code == 204  # the answer got lost

    found = await ann.see(job)
    media = await ann.client.get(f"/api/media/{found['media_id']}")
    assert (media.json()["name"], media.json()["size"]) == ("talk.wav", len(recording))
    assert found["duration"] == pytest.approx(2.0)
    content = await ann.client.get(f"/api/media/{found['media_id']}/content")
    assert content.content == recording
    assert len((await ann.client.get("/api/media")).json()["items"]) == 1


async def test_what_was_kept_is_not_fetched_again(
    ann: Person, runner: Runner, recording: bytes
) -> None:
    await by_url(ann, runner, keep=True)
    lease = await runner.claimed()
    await kept(lease, recording)
    await lease.failure()

    again = await runner.claimed()

    assert again.assignment["source"] is None
    assert again.assignment["media"]["size"] == len(recording)
    assert (await again.media()).content == recording


async def test_what_cannot_be_kept_leaves_nothing(ann: Person, runner: Runner) -> None:
    await by_url(ann, runner, keep=True)
    lease = await runner.claimed()

    assert problem(await kept(lease, b"<html>")) == (422, "media_unreadable")
    assert problem(await kept(lease, b"")) == (422, "media_empty")
    assert problem(await kept(lease, bytes(1_000_001))) == (413, "media_too_large")

    assert (await ann.client.get("/api/media")).json()["items"] == []


async def test_what_is_not_wanted_is_not_kept(
    ann: Person, runner: Runner, recording: bytes
) -> None:
    await by_url(ann, runner)
    lease = await runner.claimed()

    assert problem(await kept(lease, recording)) == (409, "media_not_wanted")


async def test_a_lost_lease_keeps_nothing(
    ann: Person, runner: Runner, recording: bytes
) -> None:
    job = await by_url(ann, runner, keep=True)
    lease = await runner.claimed()
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")

    assert problem(await kept(lease, recording)) == (409, "lease_lost")

    assert (await ann.client.get("/api/media")).json()["items"] == []


async def test_a_server_that_does_not_fetch(ann: Person, runner: Runner) -> None:
    await by_url(ann, runner)
    lease = await runner.claimed()

    assert problem(await lease.media()) == (409, "lease_lost")


async def test_an_s3_url_that_may_not_be_read_any_more(
    shared: App, ann: Person, runner: Runner
) -> None:
    """The operator closed it after the job was made; the queue goes on."""
    job = await by_url(ann, runner)
    await _rewrite(shared, job["id"], "s3://closed/talk.wav")
    following = await by_url(ann, runner)

    lease = await runner.claimed()

    assert lease.assignment["job_id"] == following["id"]
    found = await ann.see(job)
    assert (found["state"], found["error"]["code"]) == ("failed", "s3_input_off")


async def _rewrite(app: App, job_id: str, url: str) -> None:
    async with app.context.database.write() as transaction:
        await transaction.connection.execute(
            jobs.update().where(jobs.c.id == UUID(job_id)).values(source_url=url)
        )
