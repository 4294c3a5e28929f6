"""Jobs: the order of the queue, claims, leases, and every change as a compare-and-set."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from rhapsode.database import jobs, media, results
from rhapsode.database.engine import Database, Transaction
from rhapsode.database.jobs import JobFilter
from rhapsode.database.results import Result
from rhapsode.domain.jobs import (
    Job,
    JobError,
    JobId,
    JobSpec,
    JobState,
    Layout,
    Priority,
    Progress,
    RunnerId,
)
from rhapsode.domain.runners import AssignedMedia, Lease
from tests.database.rows import (
    ANY_MODEL,
    LATER,
    NOW,
    claim,
    find,
    make_job,
    make_media,
    make_runner,
    make_user,
)

ERROR = JobError("broken", "It broke.")
AFTER = LATER + timedelta(seconds=1)


async def claimed(database: Database, **changes: Any) -> Job:
    """A job that a runner holds."""
    await make_job(database, await make_user(database), **changes)
    job = await claim(database)
    assert job is not None
    return job


async def test_a_job_survives_its_row(database: Database) -> None:
    spec = JobSpec(
        engine="e",
        model="m",
        language="yue",
        layout=Layout.SEGMENTATION,
        word_times=False,
        prompt="Ünïcode 🎤",
        priority=Priority.URGENT,
    )

    job = await make_job(database, await make_user(database), spec=spec, name="录音 🎤.wav")

    assert await find(database, job.id) == job


async def test_another_users_job_is_not_found(database: Database) -> None:
    job = await make_job(database, await make_user(database))
    stranger = await make_user(database)

    async with database.read() as connection:
        assert await jobs.get(connection, job.id, stranger.id) is None


async def test_claims_go_by_priority_then_age(database: Database) -> None:
    user = await make_user(database)
    order = [Priority.BATCH, Priority.NORMAL, Priority.URGENT, Priority.NORMAL, Priority.URGENT]
    made = [await make_job(database, user, spec=JobSpec(priority=p)) for p in order]

    taken = [await claim(database) for _ in made]

    assert [job.id for job in taken if job] == [made[i].id for i in (2, 4, 1, 3, 0)]


async def test_a_claim_makes_a_lease(database: Database) -> None:
    job = await make_job(database, await make_user(database))
    runner_id = (await make_runner(database)).id

    taken = await claim(database, runner_id)

    assert taken == job.evolve(
        state=JobState.RUNNING,
        runner_id=runner_id,
        runner_name="runner",
        started_at=NOW,
        lease_expires_at=LATER,
    )


async def test_a_claim_passes_over_what_it_cannot_do(database: Database) -> None:
    user = await make_user(database)
    await make_job(database, user, spec=JobSpec(model="large", priority=Priority.URGENT))
    await make_job(database, user, spec=JobSpec(layout=Layout.DIARISATION))
    fitting = await make_job(database, user, spec=JobSpec(model="base"))

    first, second = await claim(database), await claim(database)

    assert first is not None
    assert (first.id, second) == (fitting.id, None)


async def test_a_claim_brings_what_the_runner_must_know_of_the_recording(
    database: Database,
) -> None:
    await make_job(database, await make_user(database))
    runner = await make_runner(database)

    async with database.write_once() as transaction:
        taken = await jobs.claim(
            transaction.connection,
            runner_id=runner.id,
            runner_name="runner",
            requirements=ANY_MODEL,
            now=NOW,
            lease_expires_at=LATER,
        )

    assert taken is not None
    assert taken[1] == AssignedMedia(name="talk.wav", size=10, digest="d" * 64, duration=2.5)


async def test_who_can_do_nothing_claims_nothing(database: Database) -> None:
    await make_job(database, await make_user(database))

    assert await claim(database, requirements=frozenset()) is None


async def test_sixteen_claimers_take_each_job_once(database: Database) -> None:
    user = await make_user(database)
    recording = await make_media(database, user)
    made = [(await make_job(database, user, recording)).id for _ in range(200)]

    async def claimer() -> list[JobId]:
        taken = []
        while job := await claim(database):
            taken.append(job.id)
        return taken

    taken = await asyncio.gather(*(claimer() for _ in range(16)))

    assert Counter(job_id for each in taken for job_id in each) == Counter(made)


def lease_of(job: Job) -> Lease:
    assert job.runner_id is not None
    return Lease(job.runner_id, job.id, job.attempt)


Report = Callable[[Transaction, Lease], Awaitable[Job | None]]


async def _renew(t: Transaction, lease: Lease) -> Job | None:
    progress = Progress("transcribe", 0.5)
    return await jobs.renew(t.connection, lease, lease_expires_at=AFTER, progress=progress)


async def _finish(t: Transaction, lease: Lease) -> Job | None:
    result = Result(language="en", duration=2.0, warnings=["a"], document=b"packed")
    return await results.accept(t.connection, lease, result, NOW)


async def _fail(t: Transaction, lease: Lease) -> Job | None:
    return await jobs.fail(t.connection, lease, now=NOW, error=ERROR)


async def _give_back(t: Transaction, lease: Lease) -> Job | None:
    return await jobs.give_back(t.connection, lease, now=NOW, costs_attempt=False)


REPORTS = [_renew, _finish, _fail, _give_back]


@pytest.mark.parametrize("report", REPORTS)
async def test_reports_of_the_lease_holder_count(database: Database, report: Report) -> None:
    job = await claimed(database)

    async with database.write() as transaction:
        changed = await report(transaction, lease_of(job))

    assert changed is not None
    assert changed == await find(database, job.id)


@pytest.mark.parametrize("report", REPORTS)
async def test_stale_reports_are_refused(database: Database, report: Report) -> None:
    job = await claimed(database)
    held = lease_of(job)
    stale = [
        replace(held, attempt=held.attempt + 1),
        replace(held, runner_id=RunnerId(uuid7())),
        replace(held, job_id=JobId(uuid7())),
    ]

    async with database.write() as transaction:
        refused = [await report(transaction, lease) for lease in stale]

    assert (refused, await find(database, job.id)) == ([None, None, None], job)


@pytest.mark.parametrize("report", REPORTS)
async def test_reports_after_a_cancellation_are_refused(
    database: Database, report: Report
) -> None:
    job = await claimed(database)
    async with database.write() as transaction:
        canceled = await jobs.cancel(transaction.connection, job.id, NOW)

    async with database.write() as transaction:
        refused = await report(transaction, lease_of(job))

    assert (refused, await find(database, job.id)) == (None, canceled)


async def test_a_cancellation_and_a_result_at_once(database: Database) -> None:
    """One of the two counts, and the loser knows."""
    for _ in range(10):
        job = await claimed(database)

        async def cancel(job: Job = job) -> Job | None:
            async with database.write() as transaction:
                return await jobs.cancel(transaction.connection, job.id, NOW)

        async def finish(job: Job = job) -> Job | None:
            async with database.write() as transaction:
                return await _finish(transaction, lease_of(job))

        winners = [job for job in await asyncio.gather(cancel(), finish()) if job]

        assert winners == [await find(database, job.id)]


async def test_a_return_costs_an_attempt_or_raises_the_limit(database: Database) -> None:
    counts = []
    for costs in (True, False):
        lease = lease_of(await claimed(database))
        async with database.write() as transaction:
            again = await jobs.give_back(
                transaction.connection, lease, now=NOW, costs_attempt=costs
            )
        assert again is not None
        counts.append((again.state, again.attempt, again.max_attempts))
        await claim(database)

    assert counts == [(JobState.QUEUED, 2, 3), (JobState.QUEUED, 2, 4)]


async def test_a_lapsed_lease_returns_to_the_queue(database: Database) -> None:
    job = await claimed(database)

    async with database.write() as transaction:
        returned = await jobs.requeue_lapsed(transaction.connection, AFTER, 10)

    assert returned == [
        job.evolve(
            state=JobState.QUEUED,
            attempt=2,
            queued_at=AFTER,
            runner_id=None,
            runner_name=None,
            lease_expires_at=None,
        )
    ]


async def test_a_lease_that_was_renewed_does_not_lapse(database: Database) -> None:
    job = await claimed(database)
    async with database.write() as transaction:
        await _renew(transaction, lease_of(job))

    async with database.write() as transaction:
        assert await jobs.requeue_lapsed(transaction.connection, AFTER, 10) == []


async def test_a_lease_that_lapsed_can_be_extended(database: Database) -> None:
    job = await claimed(database)

    async with database.write() as transaction:
        spared = await jobs.extend_lapsed(
            transaction.connection, AFTER, AFTER + timedelta(seconds=1)
        )
        returned = await jobs.requeue_lapsed(transaction.connection, AFTER, 10)

    assert (spared, returned) == (1, [])
    assert await find(database, job.id) == job.evolve(
        lease_expires_at=AFTER + timedelta(seconds=1)
    )


async def test_the_last_attempt_that_lapses_fails(database: Database) -> None:
    job = await claimed(database, max_attempts=1)

    async with database.write() as transaction:
        returned = await jobs.requeue_lapsed(transaction.connection, AFTER, 10)
        failed = await jobs.fail_lapsed(transaction.connection, AFTER, 10, ERROR)

    assert (returned, failed) == (
        [],
        [
            job.evolve(
                state=JobState.FAILED, error=ERROR, finished_at=AFTER, lease_expires_at=None
            )
        ],
    )


async def test_sweepers_at_once_return_each_job_once(database: Database) -> None:
    user = await make_user(database)
    recording = await make_media(database, user)
    made = [(await make_job(database, user, recording)).id for _ in range(60)]
    while await claim(database):
        pass

    async def sweeper() -> list[JobId]:
        swept: list[JobId] = []
        while True:
            async with database.write() as transaction:
                found = await jobs.requeue_lapsed(transaction.connection, AFTER, 7)
            if not found:
                return swept
            swept += [job.id for job in found]

    swept = await asyncio.gather(*(sweeper() for _ in range(6)))

    assert Counter(job_id for each in swept for job_id in each) == Counter(made)
    assert {(await find(database, job_id)).attempt for job_id in made} == {2}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_what_has_not_ended_is_not_retried(database: Database, state: JobState) -> None:
    job = await make_job(database, await make_user(database), state=state)

    async with database.write() as transaction:
        assert await jobs.retry(transaction.connection, job.id, 3, NOW) is None


async def test_a_retry_has_fresh_attempts_and_a_fresh_number(database: Database) -> None:
    job = await claimed(database)
    async with database.write() as transaction:
        await jobs.cancel(transaction.connection, job.id, NOW)
        again = await jobs.retry(transaction.connection, job.id, 3, NOW)

    assert again is not None
    assert (again.state, again.attempt, again.max_attempts) == (JobState.QUEUED, 2, 4)


@pytest.mark.parametrize("state", [JobState.FINISHED, JobState.FAILED, JobState.CANCELED])
async def test_what_has_ended_is_not_canceled(database: Database, state: JobState) -> None:
    job = await make_job(database, await make_user(database), state=state)

    async with database.write() as transaction:
        assert await jobs.cancel(transaction.connection, job.id, NOW) is None


@pytest.mark.parametrize(
    ("search", "found"),
    [("ALK", ["talk.wav"]), ("100%", ["100%.wav"]), ("_", []), ("%", ["100%.wav"])],
)
async def test_searching_takes_its_text_literally(
    database: Database, search: str, found: list[str]
) -> None:
    user = await make_user(database)
    for name in ("talk.wav", "100%.wav"):
        await make_job(database, user, name=name)

    async with database.read() as connection:
        wanted = JobFilter(user_id=user.id, search=search)
        assert [job.name for job in await jobs.page(connection, wanted, 10)] == found


async def test_a_page_is_newest_first(database: Database) -> None:
    user = await make_user(database)
    made = [await make_job(database, user) for _ in range(3)]

    async with database.read() as connection:
        found = await jobs.page(connection, JobFilter(user_id=user.id), 2)
        rest = await jobs.page(connection, JobFilter(user_id=user.id, before=found[-1].id), 2)

    assert ([job.id for job in found], [job.id for job in rest]) == (
        [made[2].id, made[1].id],
        [made[0].id],
    )


async def test_counts_of_what_is_not_over(database: Database) -> None:
    user = await make_user(database)
    for state in (JobState.QUEUED, JobState.QUEUED, JobState.RUNNING, JobState.FINISHED):
        await make_job(database, user, state=state)

    async with database.read() as connection:
        assert await jobs.count_by_state(connection) == {
            JobState.QUEUED: 2,
            JobState.RUNNING: 1,
            JobState.DELIVERING: 0,
        }


async def test_media_are_needed_until_the_job_has_ended(database: Database) -> None:
    user = await make_user(database)
    recording = await make_media(database, user)
    job = await make_job(database, user, recording)
    async with database.write() as transaction:
        needed = await jobs.needs_media(transaction.connection, recording.id)
        await jobs.cancel(transaction.connection, job.id, NOW)
        needed_later = await jobs.needs_media(transaction.connection, recording.id)
        used = await jobs.uses_media(transaction.connection, recording.id)

    assert (needed, needed_later, used) == (True, False, True)


async def test_a_job_outlives_its_media(database: Database) -> None:
    user = await make_user(database)
    recording = await make_media(database, user)
    job = await make_job(database, user, recording, state=JobState.CANCELED)
    async with database.write() as transaction:
        await media.mark_deleting(transaction.connection, recording.id, NOW)
        await media.remove(transaction.connection, recording.id)

    assert (await find(database, job.id)).media_id is None


async def test_expired_leases_lapse_at_the_next_sweep(database: Database) -> None:
    job = await claimed(database)
    assert job.runner_id is not None
    async with database.write() as transaction:
        await jobs.expire_leases(transaction.connection, [job.runner_id], NOW)

    async with database.read() as connection:
        soon = NOW + timedelta(milliseconds=1)
        assert await jobs.has_lapsed(connection, soon) is True


async def test_the_head_of_the_queue(database: Database) -> None:
    user = await make_user(database)
    await make_job(database, user)
    await make_job(database, user, spec=JobSpec(model="large", priority=Priority.URGENT))

    async with database.read() as connection:
        found = await jobs.queued_requirements(connection, 10)

    assert found == ["faster-whisper/large", *ANY_MODEL]
