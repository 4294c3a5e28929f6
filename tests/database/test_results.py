"""A result is accepted once, with its transcript, and only from who holds the lease."""

from dataclasses import replace
from typing import Any

import pytest

from rhapsode.database import jobs, results, transcripts, webhooks
from rhapsode.database.engine import Database
from rhapsode.database.results import Result
from rhapsode.domain.deliveries import Endpoint, EndpointId, Event
from rhapsode.domain.jobs import Job, JobState, Notify, RunnerId
from rhapsode.domain.runners import Lease
from rhapsode.domain.users import User
from tests.database.rows import LATER, NOW, claim, make_job, make_runner, make_user, uuid7

RESULT = Result(language="en", duration=2.0, warnings=["quiet"], document=b"packed")


async def leased(database: Database) -> Lease:
    await make_job(database, await make_user(database))
    job = await claim(database, (await make_runner(database)).id)
    assert job is not None
    return lease_of(job)


def lease_of(job: Job) -> Lease:
    assert job.runner_id is not None
    return Lease(job.runner_id, job.id, job.attempt)


async def accept(database: Database, lease: Lease, result: Result = RESULT) -> Job | None:
    async with database.write_briefly() as transaction:
        return await results.accept(transaction.connection, lease, result, NOW)


async def finish(database: Database, lease: Lease) -> Job | None:
    async with database.write_briefly() as transaction:
        return await results.finish(transaction.connection, lease, RESULT, NOW)


async def stored(database: Database, lease: Lease) -> tuple[bytes | None, int | None]:
    async with database.read() as connection:
        document = await transcripts.get(connection, lease.job_id)
        return document, await transcripts.attempt_of(connection, lease.job_id)


async def test_job_and_transcript_change_together(database: Database) -> None:
    lease = await leased(database)
    job = await accept(database, lease)
    assert job is not None
    assert (job.state, job.language, job.duration) == (JobState.FINISHED, "en", 2.0)
    assert (job.warnings, job.finished_at, job.lease_expires_at) == (("quiet",), NOW, None)
    assert await stored(database, lease) == (b"packed", lease.attempt)


async def test_a_second_result_changes_nothing(database: Database) -> None:
    lease = await leased(database)
    await accept(database, lease)
    assert await accept(database, lease, replace(RESULT, document=b"other")) is None
    assert await stored(database, lease) == (b"packed", lease.attempt)


@pytest.mark.parametrize("wrong", ["attempt", "runner", "job"])
async def test_who_holds_no_lease_stores_nothing(database: Database, wrong: str) -> None:
    lease = await leased(database)
    changed = {
        "attempt": replace(lease, attempt=lease.attempt + 1),
        "runner": replace(lease, runner_id=RunnerId(uuid7())),
        "job": replace(lease, job_id=uuid7()),
    }[wrong]
    assert await accept(database, changed) is None
    assert await stored(database, lease) == (None, None)


async def test_a_later_run_replaces_the_transcript(database: Database) -> None:
    first = await leased(database)
    await accept(database, first)
    async with database.write() as transaction:
        again = jobs.jobs.update().where(jobs.jobs.c.id == first.job_id)
        values = {"state": "running", "attempt": 2, "lease_expires_at": LATER}
        await transaction.connection.execute(again.values(values))
    second = replace(first, attempt=2)
    assert await accept(database, second, replace(RESULT, document=b"new")) is not None
    assert await stored(database, second) == (b"new", 2)


async def test_the_short_way_is_for_jobs_that_nobody_hears_of(database: Database) -> None:
    lease = await leased(database)
    job = await finish(database, lease)
    assert job is not None
    assert (job.state, job.finished_at, job.transcribed_at) == (JobState.FINISHED, NOW, NOW)
    assert await stored(database, lease) == (b"packed", lease.attempt)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"outputs": {"vtt": "https://example.org"}}, JobState.DELIVERING),
        ({"notify": Notify(email=True)}, JobState.FINISHED),
        ({}, JobState.FINISHED),
    ],
    ids=["outputs", "e-mail", "webhook"],
)
async def test_the_short_way_leaves_the_others_alone(
    database: Database, told: dict[str, Any], state: JobState
) -> None:
    user = await make_user(database)
    await make_job(database, user, **told)
    if not told:
        await subscribe(database, user)
    job = await claim(database)
    assert job is not None
    lease = lease_of(job)
    assert await finish(database, lease) is None
    assert await stored(database, lease) == (None, None)
    done = await accept(database, lease)
    assert done is not None
    ended = None if state is JobState.DELIVERING else NOW
    assert (done.state, done.finished_at, done.transcribed_at) == (state, ended, NOW)
    assert await stored(database, lease) == (b"packed", lease.attempt)


async def subscribe(database: Database, user: User) -> None:
    endpoint = Endpoint(
        id=EndpointId(uuid7()),
        user_id=user.id,
        url="https://example.org",
        description="",
        events=(Event.FINISHED,),
        secrets=(),
        created_at=NOW,
    )
    async with database.write() as transaction:
        await webhooks.insert(transaction.connection, endpoint)
