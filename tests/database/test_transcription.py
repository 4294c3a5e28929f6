"""Records of `/transcription/`: numbers that never come again, and whose time is over when."""

from datetime import timedelta

import pytest

from rhapsode.database import jobs as jobs_table
from rhapsode.database import transcription as table
from rhapsode.database.engine import Database
from rhapsode.database.tables import jobs
from rhapsode.domain.jobs import Job, JobState, Priority
from rhapsode.domain.transcription import Asked, AskedEngine, NotificationType
from tests.database import rows
from tests.database.rows import NOW

SECOND = timedelta(seconds=1)


def asked(expiration: float) -> Asked:
    return Asked(
        engine=AskedEngine.OPENAI_WHISPER,
        model="base",
        language=None,
        input="https://in.example/a",
        outputs={},
        notification_type=NotificationType.POLL,
        notification_url=None,
        expiration_seconds=expiration,
        priority=Priority.NORMAL,
        document="{}",
    )


async def numbered(database: Database, expiration: float = 60.0) -> tuple[int, Job]:
    job = await rows.make_job(database, await rows.make_user(database))
    async with database.write() as transaction:
        return await table.insert(transaction.connection, job, asked(expiration)), job


async def end(database: Database, job: Job) -> None:
    """The job ends NOW."""
    async with database.write() as transaction:
        await transaction.connection.execute(
            jobs.update()
            .where(jobs.c.id == job.id)
            .values(state=JobState.FINISHED, finished_at=NOW)
        )


async def read(database: Database, number: int, after: timedelta) -> None:
    async with database.write() as transaction:
        await table.mark_read(transaction.connection, number, NOW + after)


async def due(database: Database, after: timedelta, grace: timedelta = 5 * SECOND) -> list[int]:
    moment = NOW + after
    async with database.read() as connection:
        found = await table.due(connection, moment, moment - grace, 10)
    return [record.number for record in found]


async def test_a_number_never_comes_again(database: Database) -> None:
    first, job = await numbered(database)
    async with database.write() as transaction:
        await jobs_table.delete(transaction.connection, job.id)
    async with database.read() as connection:
        assert await table.get(connection, first) is None
    second, _ = await numbered(database)
    assert second > first


@pytest.mark.parametrize("expiration", [0.0, 60.0, 86_400.0])
async def test_time_is_over_the_expiration_after_the_end(
    database: Database, expiration: float
) -> None:
    number, job = await numbered(database, expiration)
    ends = timedelta(seconds=expiration)
    assert await due(database, ends + 9 * SECOND) == []
    await end(database, job)
    assert await due(database, ends - SECOND) == []
    assert await due(database, ends + SECOND) == [number]


async def test_what_was_read_stays_for_the_grace_and_no_longer(database: Database) -> None:
    number, job = await numbered(database)
    await end(database, job)
    await read(database, number, 2 * SECOND)
    await read(database, number, 4 * SECOND)  # the first time counts
    assert await due(database, 6 * SECOND) == []
    assert await due(database, 8 * SECOND) == [number]


async def test_a_reading_before_the_end_does_not_count(database: Database) -> None:
    number, job = await numbered(database)
    await read(database, number, timedelta(0))
    await end(database, job)
    async with database.read() as connection:
        found = await table.page(connection, None, 0, 10)
    assert [(record.number, record.read_at) for record in found] == [(number, None)]


async def test_others_do_not_count_against_the_limit(database: Database) -> None:
    for _ in range(2):
        await numbered(database)
    number, job = await numbered(database)
    async with database.read() as connection:
        found = await table.page(connection, job.user_id, 0, 1)
    assert [record.number for record in found] == [number]
